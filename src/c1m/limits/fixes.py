"""Set sysctls, with a record that lets every one of them be put back.

The record is a stack of entries {sysctl, before, after} in a JSON file, and an entry is written and
synced before its sysctl is. So after a crash at any moment the present value is either `after` (put
`before` back) or `before` (nothing to do). Anything else means that somebody else has changed it
meanwhile: that is left alone and reported.

`apply` does all or nothing: when one write fails, those done are put back. What is no sysctl
(nofile, memory, containers) is not touched here; the findings' remedies say how to do it.
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
    """A sysctl could not be set; what had been set before it was put back."""


@dataclass(frozen=True, slots=True)
class Change:
    """A sysctl that is to be set (or was): `before` is exactly what was there."""

    sysctl: str
    before: str
    after: str
    why: str
    is_needed: bool  # False: the connections fit without it


@dataclass(frozen=True, slots=True)
class Entry:
    """What the record keeps of one change."""

    sysctl: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Reverted:
    """One entry put back, or not: `outcome` is "restored", "unchanged" or "foreign"."""

    entry: Entry
    outcome: str
    present: str | None  # what was there when we came


def state_path(directory: str | None = None) -> Path:
    """The record's file: in `directory`, else in $C1M_STATE_DIR, else in /var/lib/c1m."""
    return Path(directory or os.environ.get(STATE_DIR_VARIABLE) or STATE_DIR) / STATE_FILE


def plan(findings: Iterable[Finding], root: Path = procfs.ROOT) -> list[Change]:
    """The changes that the findings ask for: each sysctl once, without those that are so already.

    Where two findings want one sysctl, the one that is needed wins over advice, else the first.
    A sysctl that does not exist here is left out: its finding's remedy still says it.
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
    """A file for /etc/sysctl.d, a comment above each line; for `sysctl --system` or a reboot."""
    lines = [f"# {title}", "# Save as /etc/sysctl.d/90-c1m.conf; apply with: sysctl --system"]
    if not changes:
        lines += ["", "# Nothing to set: this machine's values do as they are."]
    for change in changes:
        kind = "" if change.is_needed else " (advice)"
        lines += [
            "",
            f"# {change.why}{kind}; it was: {' '.join(change.before.split()) or 'empty'}",
            f"{change.sysctl} = {change.after}",
        ]
    return "\n".join(lines) + "\n"


def apply(changes: Sequence[Change], state: Path, root: Path = procfs.ROOT) -> None:
    """Make all changes, or none. Raises FixError (with what went wrong and what was put back).

    Raises UsageError, with nothing changed, when the record cannot be written.
    """
    record = load(state)
    made: list[Entry] = []
    try:
        for change in changes:
            before = procfs.read_sysctl(change.sysctl, root)  # it may have changed since the plan
            entry = Entry(change.sysctl, change.before if before is None else before, change.after)
            made.append(entry)
            _save(state, [*record, *made])
            _set(entry.sysctl, entry.after, root)
    except BaseException as error:  # an interrupt, too, must not leave half of it
        left = _undo(made, root)
        with suppress(UsageError):  # entries too many do no harm: the sysctls are as before
            _save(state, [*record, *left])
        if isinstance(error, OSError):
            text = _failure(made[-1], error, len(made) - 1, left)
            refused = error.errno in (errno.EPERM, errno.EACCES, errno.EROFS)
            raise FixError(text, "Run it as root, outside a container." * refused) from None
        raise


def revert(state: Path, root: Path = procfs.ROOT) -> list[Reverted]:
    """Put back what `apply` changed, the newest first; what somebody else changed is left.

    Entries left stay in the record. Raises FixError when one cannot be put back (it stays too).
    """
    record = load(state)
    done: list[Reverted] = []
    left: list[Entry] = []
    failures: list[str] = []
    stuck: set[str] = set()  # sysctls whose older entries must be left as well
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
            f"Could not put back {', '.join(failures)}.",
            "Run it as root. What could be put back has been, the rest is still in the record.",
        )
    return done


def _outcome(entries: Sequence[Entry], present: str | None) -> str:
    """What to do with the last of `entries`, given the present value of its sysctl."""
    entry = entries[-1]
    if present is None:
        return "foreign"
    if _same(present, entry.after):
        return "restored"
    # Not set in the end, put back already, or back to an older value by a reboot.
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
            raise ValueError("a change is no text")
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
    """Replace the record at once (write, sync, rename); remove it when empty."""
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
    """Write a sysctl and see that the kernel took it as it is. Raises OSError."""
    path = root / procfs.sysctl_path(name)
    if not path.exists():  # a fake or a foreign tree must not get files that were not there
        raise FileNotFoundError(errno.ENOENT, "there is no such sysctl", str(path))
    with path.open("w") as file:
        file.write(value + "\n")
    present = procfs.read_sysctl(name, root)
    if present is None or not _same(present, value):
        raise OSError(errno.EINVAL, f"the kernel made {present!r} of it", str(path))


def _undo(made: Sequence[Entry], root: Path) -> list[Entry]:
    """Put entries back, the newest first; those that could not be, oldest first."""
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
        return f"{text} These could not be put back: {', '.join(e.sysctl for e in left)}."
    return (
        f"{text} {'What was set before it has been put back.' if done else 'Nothing is changed.'}"
    )


def _same(one: str, other: str) -> bool:
    """Sysctls of several numbers come back with tabs for blanks."""
    return one.split() == other.split()
