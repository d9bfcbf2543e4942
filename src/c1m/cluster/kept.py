"""Files of a run by many workers: what each worker says each second, and its record.

In the run's folder, DIR/RUN:

    part-003.0.frames   of part 3, attempt 0, on its worker's disk: its head, then its frames
    part-003.0.json     and its record, where it came to its end
    heard-003.0.frames, heard-003.0.json   the same as the controller heard it
    run.json            what the controller knows of the whole

Every frame is handed to the kernel when it comes, so that what is kept survives the process that
keeps it; a last one that is not whole is left out when it is read. No file is held open between
frames: a controller of 10,000 workers needs no descriptor for each.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from c1m import files
from c1m.bounds import RECORD_BYTES_MAX
from c1m.cluster.frames import Frame, next_of, sealed
from c1m.cluster.head import Head
from c1m.errors import C1mError, UsageError
from c1m.limits.fixes import STATE_DIR_VARIABLE
from c1m.results import codec
from c1m.results.options import LoadOptions
from c1m.results.record import RunRecord

FORMAT = "c1m-run-of-parts/1"
RUNS_KEPT = 20  # of a machine, the newest
PART, HEARD = "part", "heard"
_NAME = re.compile(r"(part|heard)-(\d+)\.(\d+)\.(frames|json)")
_CHUNK = 1 << 16

Key = tuple[int, int]  # part, attempt


@dataclass(slots=True)
class Note:
    """What the controller knows of an attempt beside what it heard of it."""

    part: int = 0
    attempt: int = 0
    lost: str = ""  # why
    lost_s: float = 0.0
    clock_offset_s: float | None = None
    clock_uncertain_s: float | None = None
    start_errors_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class RunHead:
    """What the controller knows of the whole; `notes` by attempt."""

    format: str = FORMAT
    run: str = ""
    of: int = 1
    asked: LoadOptions = field(default_factory=LoadOptions)
    command: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def folder_of(run: str, directory: str | None) -> Path:
    """The folder of a run on this machine: below `directory`, else $C1M_STATE_DIR/runs, else
    ~/.local/state/c1m/runs. Makes it; of those there the oldest are removed.

    Raises UsageError where it cannot be made.
    """
    below = Path(directory) if directory else state_directory()
    folder = below / run
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not directory:
            _forget(below)
    except OSError as error:
        raise UsageError(
            f"The folder {folder}, where a run's frames are kept, cannot be made: "
            f"{error.strerror}.",
            "Give another one with --cluster-dir.",
        ) from error
    return folder


def state_directory() -> Path:
    """Where runs are kept on this machine unless the user says otherwise."""
    if given := os.environ.get(STATE_DIR_VARIABLE):
        return Path(given) / "runs"
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "c1m" / "runs"


def _forget(below: Path) -> None:
    """Keep the newest runs: folders that have frames, and nothing else."""
    runs = [one for one in below.iterdir() if _keys_of(one)]
    for old in sorted(runs, key=_changed, reverse=True)[RUNS_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


class Keeper:
    """Keeps what is said of one attempt. `kind`: PART, on the worker's disk, or HEARD."""

    def __init__(self, folder: Path, head: Head, kind: str = PART) -> None:
        name = f"{kind}-{head.part:03}.{head.attempt}"
        self._frames, self._record = folder / f"{name}.frames", folder / f"{name}.json"
        self.problem = ""  # why no more is kept
        self._append(sealed(head.text().encode()), os.O_TRUNC)

    def frame(self, data: bytes) -> None:
        """A frame as it was encoded."""
        self._append(data)

    def record(self, text: str) -> None:
        """The attempt's own record."""
        try:
            files.write_text(self._record, text)
        except UsageError as error:
            self.problem = str(error)

    def _append(self, data: bytes, flags: int = 0) -> None:
        """A full disk must not end a run: what could not be kept is said at its end."""
        if self.problem:
            return
        try:
            descriptor = os.open(
                self._frames, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | flags, 0o644
            )
            try:
                written = os.write(descriptor, data)
            finally:
                os.close(descriptor)
            if written < len(data):
                self.problem = f"{self._frames} cannot be written: there is no room left."
        except OSError as error:
            self.problem = f"{self._frames} cannot be written: {error.strerror}."


def write_run(folder: Path, run: RunHead) -> None:
    """What the controller knows, in the place of what it knew before."""
    path, new = folder / "run.json", folder / "run.json.new"
    with contextlib.suppress(OSError, UsageError):  # the frames say nearly all of it
        files.write_text(new, json.dumps(codec.encode(run)))
        os.replace(new, path)


def read_run(folder: Path) -> RunHead | None:
    """What `write_run` wrote; None: nothing. Raises UsageError where it is damaged."""
    path = folder / "run.json"
    if not path.exists():
        return None
    data: Any = files.read_json(path, RECORD_BYTES_MAX)
    try:
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ValueError("it is of another format")
        return codec.decode(RunHead, data)
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}.", "Remove it.") from error


# --- reading --------------------------------------------------------------------------------------


def _keys_of(folder: Path) -> dict[Key, set[str]]:
    """The attempts that a folder has files of, and the kinds of those."""
    found: dict[Key, set[str]] = {}
    with contextlib.suppress(OSError):
        for one in folder.iterdir():
            if match := _NAME.fullmatch(one.name):
                found.setdefault((int(match[2]), int(match[3])), set()).add(match[1])
    return found


def run_in(directory: str | Path) -> Path:
    """The folder of a run: this one, or the only one in it. Raises UsageError."""
    folder = Path(directory)
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is no directory.", "Give the one that the run's files were kept in."
        )
    if _keys_of(folder):
        return folder
    runs = sorted((one for one in folder.iterdir() if _keys_of(one)), key=_changed, reverse=True)
    if len(runs) == 1:
        return runs[0]
    if not runs:
        raise UsageError(
            f"{folder} has no frames of a run by several workers.",
            "Give the directory with files such as part-000.0.frames, of the controller's machine "
            "or of the workers'.",
        )
    names = ", ".join(one.name for one in runs[:5])
    raise UsageError(
        f"{folder} has {len(runs)} runs; the newest are {names}.",
        f"Say which, as in --from {runs[0]}.",
    )


def _changed(path: Path) -> float:
    with contextlib.suppress(OSError):  # another one forgets it, too
        return path.stat().st_mtime
    return 0.0


@dataclass(slots=True)
class KeptPart:
    """The files of one attempt, in the order in which they are believed."""

    folder: Path
    key: Key
    kinds: list[str]

    def head(self, problems: list[str]) -> Head | None:
        """Its head; what is damaged is added to `problems`."""
        for path in self._paths("frames"):
            try:
                body = next(_bodies(path), None)
                if body is not None:
                    return Head.read(body)
            except C1mError as error:
                problems.append(f"{path.name}: {error.message.rstrip('.')}.")
        return None

    def frames(self, problems: list[str]) -> Iterator[Frame]:
        """All of any of its files, by number, each once."""
        streams = [_frames(path, problems) for path in self._paths("frames")]
        heads = [next(stream, None) for stream in streams]
        while there := [one.number for one in heads if one is not None]:
            number, given = min(there), False
            for which, one in enumerate(heads):
                if one is not None and one.number == number:
                    if not given:
                        yield one
                    given = True
                    heads[which] = next(streams[which], None)

    def record(self, problems: list[str]) -> RunRecord | None:
        """Its own."""
        for path in self._paths("json"):
            try:
                return RunRecord.read(path)
            except UsageError as error:
                problems.append(error.message)
        return None

    def _paths(self, ending: str) -> list[Path]:
        part, attempt = self.key
        paths = (self.folder / f"{kind}-{part:03}.{attempt}.{ending}" for kind in self.kinds)
        return [path for path in paths if path.exists()]


def parts_in(folder: Path, kinds: Sequence[str] = (PART, HEARD)) -> list[KeptPart]:
    """All attempts that a folder has files of these kinds of."""
    found = sorted(_keys_of(folder).items())
    return [KeptPart(folder, key, [k for k in kinds if k in there]) for key, there in found]


def _frames(path: Path, problems: list[str]) -> Iterator[Frame]:
    """The frames of a file up to where it is damaged, which is added to `problems`."""
    try:
        bodies = _bodies(path)
        next(bodies, None)  # the head
        for body in bodies:
            yield Frame.of(body)
    except C1mError as error:
        problems.append(f"{path.name}: {error.message.rstrip('.')}.")


def _bodies(path: Path) -> Iterator[bytes]:
    """All that was sealed in a file, without holding it open. Raises C1mError at the first damage,
    and where the last is not whole."""
    at, data = 0, b""
    while True:
        try:
            with open(path, "rb") as file:
                file.seek(at + len(data))
                more = file.read(max(_CHUNK, len(data)))
        except OSError as error:
            raise C1mError(f"it cannot be read: {error.strerror}") from error
        data += more
        while (found := next_of(data, at)) is not None:
            body, length = found
            yield bytes(body)  # which may be kept, and not all that was read with it
            data, at = data[length:], at + length
        if not more:
            if data:
                raise C1mError("its last frame is not whole")
            return
