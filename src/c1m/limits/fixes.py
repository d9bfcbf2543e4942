"""Sets sysctls, and keeps a record from which each of them can be restored.

The record is a stack of entries {sysctl, before, after} in a JSON file. An entry is written and
synced before its sysctl is set. So after a crash at any moment the present value is either `after`
(restore `before`) or `before` (nothing to do). Anything else means that somebody else has changed
it since: that is left alone and reported.

`apply` makes all changes or none: when one fails, those made are undone. Limits that are no sysctls
(nofile, memory, containers) are not touched here; the findings' remedies say what to do.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from c1m import files
from c1m.errors import C1mError, UsageError
from c1m.kernel import procfs
from c1m.limits.limit import SHORT, Finding

STATE_DIR = Path("/var/lib/c1m")
STATE_DIR_VARIABLE = "C1M_STATE_DIR"
STATE_FILE = "doctor-revert.json"
STATE_VERSION = 1


class FixError(C1mError):
    """A sysctl could not be set, or not restored."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the record keeps of a sysctl that was set: `before` is exactly what was there."""

    sysctl: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change(Entry):
    """A sysctl that is to be set, and why."""

    why: str
    is_needed: bool  # False: the connections fit without it


@dataclass(frozen=True, slots=True)
class Reverted:
    """What became of one entry: `outcome` is "restored", "unchanged" or "foreign"."""

    entry: Entry
    outcome: str
    present: str | None  # what was there before


def state_path(directory: str | None = None) -> Path:
    """The record's file: in `directory`, else in $C1M_STATE_DIR, else in /var/lib/c1m."""
    return Path(directory or os.environ.get(STATE_DIR_VARIABLE) or STATE_DIR) / STATE_FILE


def plan(findings: Iterable[Finding], root: Path = procfs.ROOT) -> list[Change]:
    """The changes that the findings ask for: each sysctl once, without those already set so.

    Where two findings want the same sysctl, a needed change wins over advice, else the first. A
    sysctl that does not exist here is left out; its finding's remedy still names it.
    """
    changes: dict[str, Change] = {}
    for finding in sorted(findings, key=lambda f: f.verdict != SHORT):
        for fix in finding.fixes:
            before = procfs.read_sysctl(fix.sysctl, root)
            if before is None or fix.sysctl in changes or _same(before, fix.value):
                continue
            is_needed = finding.verdict == SHORT
            changes[fix.sysctl] = Change(fix.sysctl, before, fix.value, fix.why, is_needed)
    return list(changes.values())


def render_sysctl(changes: Sequence[Change], title: str) -> str:
    """A file for /etc/sysctl.d with a comment above each line."""
    lines = [f"# {title}", "# Save as /etc/sysctl.d/90-c1m.conf; apply with: sysctl --system"]
    if not changes:
        lines += ["", "# Nothing to set: this machine's values are large enough."]
    for change in changes:
        kind = "" if change.is_needed else " (advice)"
        lines += [
            "",
            f"# {change.why}{kind}; it was: {' '.join(change.before.split()) or 'empty'}",
            f"{change.sysctl} = {change.after}",
        ]
    return "\n".join(lines) + "\n"


def apply(changes: Sequence[Change], state: Path, root: Path = procfs.ROOT) -> None:
    """Make all changes, or none.

    Raises FixError where a sysctl cannot be set, UsageError where the record cannot be written.
    """
    record = load(state)
    made: list[Entry] = []
    try:
        for change in changes:
            present = procfs.read_sysctl(change.sysctl, root)  # it may have changed since the plan
            before = change.before if present is None else present
            entry = Entry(change.sysctl, before, change.after)
            made.append(entry)
            _save(state, [*record, *made])
            _set(entry.sysctl, entry.after, root)
    except BaseException as error:  # an interrupt must not leave half of them either
        left = _undo(made, root)
        with suppress(UsageError):  # surplus entries do no harm: the sysctls are as before
            _save(state, [*record, *left])
        if isinstance(error, OSError):
            text = _failure(made[-1], error, len(made) - 1, left)
            refused = error.errno in (errno.EPERM, errno.EACCES, errno.EROFS)
            raise FixError(text, "Run it as root, outside a container." * refused) from None
        raise


def revert(state: Path, root: Path = procfs.ROOT) -> list[Reverted]:
    """Restore what `apply` changed, the newest first, but not what somebody else changed since.

    What is not restored stays in the record. Raises FixError where one cannot be restored.
    """
    record = load(state)
    done: list[Reverted] = []
    left: list[Entry] = []
    failures: list[str] = []
    stuck: set[str] = set()  # sysctls whose older entries must stay as well
    for position in reversed(range(len(record))):
        entry = record[position]
        present = procfs.read_sysctl(entry.sysctl, root)
        outcome = "foreign" if entry.sysctl in stuck else _outcome(record[: position + 1], present)
        if outcome == "restored":
            try:
                _set(entry.sysctl, entry.before, root)
            except OSError as error:
                outcome = "foreign"
                failures.append(f"{entry.sysctl} to {entry.before!r} ({error.strerror})")
        if outcome == "foreign":
            stuck.add(entry.sysctl)
            left.append(entry)
        done.append(Reverted(entry, outcome, present))
    _save(state, left[::-1])
    if failures:
        raise FixError(
            f"Could not restore {', '.join(failures)}.",
            "Run it as root. All others are restored; these are still in the record.",
        )
    return done


def _outcome(entries: Sequence[Entry], present: str | None) -> str:
    """What the present value of a sysctl means for the last of `entries`."""
    entry = entries[-1]
    if present is None:
        return "foreign"
    if _same(present, entry.after):
        return "restored"
    # It was never set, or is restored already, or a reboot has brought an older value back.
    older = [e.before for e in entries if e.sysctl == entry.sysctl]
    return "unchanged" if any(_same(present, value) for value in older) else "foreign"


def load(state: Path) -> list[Entry]:
    """The record, oldest entry first; [] when there is none. Raises UsageError when unreadable."""
    try:
        content = files.read_json(state)
        if content["version"] != STATE_VERSION:
            raise ValueError(f"version {content['version']}")
        entries = [Entry(e["sysctl"], e["before"], e["after"]) for e in content["changes"]]
        if not all(isinstance(text, str) for e in entries for text in astuple(e)):
            raise ValueError("an entry is not text")
        return entries
    except (UsageError, ValueError, KeyError, TypeError) as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return []
        why = error.message if isinstance(error, UsageError) else error
        raise UsageError(
            f"The record of changes {state} cannot be read ({why}).",
            "Move it away if you do not need it.",
        ) from None


def _save(state: Path, entries: Sequence[Entry]) -> None:
    """Replace the record atomically (write, sync, rename); remove it when empty."""
    try:
        if not entries:
            state.unlink(missing_ok=True)
            return
        state.parent.mkdir(parents=True, exist_ok=True)
        content = {"version": STATE_VERSION, "changes": [asdict(entry) for entry in entries]}
        fresh = state.with_suffix(".new")
        with fresh.open("w") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(state)
    except OSError as error:
        raise UsageError(
            f"The record of changes {state} cannot be written ({error.strerror}).",
            f"Run as root, or name another directory by --state-dir or {STATE_DIR_VARIABLE}.",
        ) from None


def _set(name: str, value: str, root: Path) -> None:
    """Write a sysctl and check that the kernel took the value. Raises OSError."""
    path = root / procfs.sysctl_path(name)
    if not path.exists():  # never create files in a made-up tree
        raise FileNotFoundError(errno.ENOENT, "there is no such sysctl", str(path))
    with path.open("w") as file:
        file.write(value + "\n")
    present = procfs.read_sysctl(name, root)
    if present is None or not _same(present, value):
        raise OSError(errno.EINVAL, f"the kernel made {present!r} of it", str(path))


def _undo(made: Sequence[Entry], root: Path) -> list[Entry]:
    """Restore entries, the newest first; returns those that could not be, oldest first."""
    left = []
    for entry in reversed(made):
        present = procfs.read_sysctl(entry.sysctl, root)
        if present is None or _same(present, entry.before):
            continue
        try:
            _set(entry.sysctl, entry.before, root)
        except OSError:
            left.append(entry)
    return left[::-1]


def _failure(entry: Entry, error: OSError, done: int, left: Sequence[Entry]) -> str:
    text = f"{entry.sysctl} could not be set to {entry.after!r}: {error.strerror}."
    if left:
        return f"{text} These could not be restored: {', '.join(e.sysctl for e in left)}."
    return f"{text} {'What was set before it is restored.' if done else 'Nothing is changed.'}"


def _same(one: str, other: str) -> bool:
    """Sysctls of several numbers are read with tabs between them."""
    return one.split() == other.split()
