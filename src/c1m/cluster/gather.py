"""All that is known of a run by many workers, as it is heard or as it was kept; and its record."""

from __future__ import annotations

import heapq
import json
from dataclasses import replace
from pathlib import Path

from c1m.cluster.found import Found
from c1m.cluster.frames import Frame, Frames, Whole
from c1m.cluster.head import Head
from c1m.cluster.kept import (
    HEARD,
    PART,
    Keeper,
    KeptPart,
    Key,
    Note,
    RunHead,
    parts_in,
    read_run,
    run_in,
    write_run,
)
from c1m.cluster.merge import merged
from c1m.cluster.part_record import record_of
from c1m.errors import C1mError, UsageError
from c1m.results.record import RunRecord
from c1m.units import format_count, format_duration

PROBLEMS_SAID = 5


class Gathered:
    """Of one run, in `folder`. What is heard is kept there as it comes, for whoever puts the run
    together when this process has died."""

    def __init__(self, folder: Path, run: RunHead) -> None:
        self.folder, self.run = folder, run
        self.kinds: tuple[str, ...] = (HEARD,)  # of files that are believed
        self.whole = Whole(run.of)
        self.heads: dict[Key, Head] = {}
        self.records: dict[Key, RunRecord] = {}
        self.problems: list[str] = []  # sentences
        self._keepers: dict[Key, Keeper] = {}
        self._notes: dict[Key, Note] = {}

    # --- what is heard ------------------------------------------------------------------------

    def head(self, text: str) -> Head:
        """An attempt says who it is; before all else."""
        head = Head.read(text)
        key = head.part, head.attempt
        self.heads[key] = head
        self._keepers[key] = Keeper(self.folder, head, HEARD)
        return head

    def frame(self, data: bytes) -> Frame | None:
        """A frame; None where it was there before, or comes after its attempt was given up."""
        frame = Frame.decode(data)
        if keeper := self._keepers.get((frame.part, frame.attempt)):
            keeper.frame(data)
        return frame if self.whole.add(frame) else None

    def record(self, part: int, attempt: int, text: str) -> None:
        """The attempt has come to its end; nothing of it, where it was given up before."""
        if (frames := self.whole.parts.get((part, attempt))) is not None and frames.lost:
            return
        self.records[part, attempt] = RunRecord.from_json(json.loads(text))
        if keeper := self._keepers.get((part, attempt)):
            keeper.record(text)
        self.whole.end(part, attempt)

    def end(self, part: int, attempt: int, t_s: float, why: str) -> None:
        """It was lost, so long after the run's start."""
        note = self.note(part, attempt)
        note.lost, note.lost_s = why, t_s
        self.whole.end(part, attempt, round(t_s * 1e9), why)
        self.write()

    def note(self, part: int, attempt: int) -> Note:
        """What is known of it beside that, to be changed; `write` keeps it."""
        return self._notes.setdefault((part, attempt), Note(part, attempt))

    def write(self) -> None:
        """Keep what is known of the whole."""
        write_run(self.folder, replace(self.run, notes=list(self._notes.values())))

    # --- what comes of it ---------------------------------------------------------------------

    def result(self, why: str = "") -> RunRecord:
        """The record of the whole; `why` it was ended early, a sentence. Raises C1mError where
        nothing was heard of anybody."""
        if not self.heads:
            raise C1mError(
                why or "Nothing was heard of any worker.", "Look at the workers' own logs."
            )
        self.write()
        self.problems += [one.problem for one in self._keepers.values() if one.problem]
        files = {part.key: part for part in parts_in(self.folder, self.kinds)}
        found = [self._found(key, files.get(key)) for key in sorted(self.heads)]
        also = [why] if why else []
        if missing := self.run.of - len({key[0] for key in self.heads}):
            of = format_count(self.run.of)
            also.append(f"Nothing is there of {format_count(missing)} of {of} parts of the run.")
        record = merged(self.run.asked, found, self.whole, self.run.command, also)
        record.notes.extend(list(dict.fromkeys(self.problems))[:PROBLEMS_SAID])
        return record

    def _found(self, key: Key, kept: KeptPart | None) -> Found:
        head, note = self.heads[key], self._notes.get(key, Note(*key))
        frames = self.whole.parts.get(key, Frames())
        record = self.records.get(key)
        if record is None:
            record = record_of(head, self._alone(kept, note))
        return Found(
            head, record, frames, note.lost, note.lost_s, note.clock_offset_s,
            note.clock_uncertain_s, note.start_errors_s,
        )  # fmt: skip

    def _alone(self, kept: KeptPart | None, note: Note) -> Whole:
        """The frames of an attempt by themselves."""
        own = Whole()
        for frame in () if kept is None else kept.frames(self.problems):
            own.add(frame)
        own.end(note.part, note.attempt, round(note.lost_s * 1e9), note.lost)
        return own

    # --- what was kept ------------------------------------------------------------------------

    @classmethod
    def kept(cls, directory: str | Path) -> Gathered:
        """What is in a directory, of the controller or of workers or of both. Raises UsageError
        where there is nothing of a run, or something of several."""
        folder = run_in(directory)
        parts, problems = parts_in(folder), list[str]()
        heads = {part.key: head for part in parts if (head := part.head(problems)) is not None}
        runs = {head.run for head in heads.values()}
        if len(runs) > 1:
            raise UsageError(
                f"{folder} has parts of several runs: {', '.join(sorted(runs))}.",
                "Put the files of one run into a directory of their own.",
            )
        if not heads:
            said = f": {problems[0]}" if problems else "."
            raise UsageError(
                f"No part of a run can be read in {folder}{said}", "Give another directory."
            )
        run = read_run(folder) or _asked_by(list(heads.values()))
        made = cls(folder, run)
        made.heads, made.problems, made.kinds = heads, problems, (PART, HEARD)
        made._notes = {(one.part, one.attempt): one for one in run.notes}
        made._read([part for part in parts if part.key in heads])
        return made

    def _read(self, parts: list[KeptPart]) -> None:
        """The frames of all in the order of their times, and the records."""
        streams = [part.frames(self.problems) for part in parts]
        for frame in heapq.merge(*streams, key=lambda one: one.tally.t_ns):
            self.whole.add(frame)
        for part in parts:
            record = part.record(self.problems)
            note = self.note(*part.key)
            if record is not None:
                self.records[part.key] = record
            elif not note.lost:
                last_s = self.whole.parts.get(part.key, Frames()).t_ns / 1e9
                note.lost_s = last_s
                ended = format_duration(last_s * 1e9)
                note.lost = f"its frames end {ended} after the start, and it has no record"
            self.whole.end(*part.key, round(note.lost_s * 1e9), note.lost)

    def said(self) -> str:
        """What there is of the run that was kept, as a sentence."""
        there, of = {key[0] for key in self.heads}, self.run.of
        own = {key[0] for key in self.records}
        frames = sum(one.got for one in self.whole.parts.values())
        missing = sum(len(one.missing) for one in self.whole.parts.values())
        lost = f" ({format_count(missing)} missing)" if missing else ""
        return (
            f"{format_count(len(there))} of {format_count(of)} parts of run {self.run.run}, "
            f"{format_count(len(own))} of them to their end; {format_count(frames)} frames{lost}."
        )


def _asked_by(heads: list[Head]) -> RunHead:
    """What was asked of the whole, as far as its parts know: without the controller's own file."""
    first = min(heads, key=lambda head: (head.part, head.attempt))
    each = {head.part: head.asked.connections or 0 for head in heads}
    asked = replace(first.asked, connections=sum(each.values()))
    return RunHead(run=first.run, of=first.of, asked=asked)
