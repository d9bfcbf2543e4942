"""What is kept of a run by many workers, and what is put together of it when some is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from c1m.cli.report import report
from c1m.cluster.frames import Frame
from c1m.cluster.gather import Gathered
from c1m.cluster.kept import HEARD, RUNS_KEPT, Keeper, RunHead, folder_of
from c1m.errors import UsageError
from c1m.results.record import RunRecord
from generator_runs import Run
from laws import broken_laws

STAGES = ("ramp 20 in 1s", "hold for 5s at 20/s")
SECOND = 1_000_000_000


class Two:
    """A run by two parts, which came to its end: what each said."""

    def __init__(self) -> None:
        self.runs = [Run(STAGES, seed=seed) for seed in (1, 2)]
        self.records = [run.record() for run in self.runs]
        self.heads = [
            replace(run.head, part=part, of=2, worker=f"w{part}", run="abcd")
            for part, run in enumerate(self.runs)
        ]
        asked = replace(self.heads[0].asked, connections=40, require=["right == 240"])
        self.asked = RunHead(run="abcd", of=2, asked=asked, command=["c1m"])

    def frames(self, part: int) -> list[bytes]:
        found = (Frame.decode(data) for data in self.runs[part].frames)
        return [replace(frame, part=part, run="abcd").encode() for frame in found]

    def keep(self, folder: Path, part: int, *, frames: int = 99, record: bool = True) -> None:
        """As the part's worker does."""
        keeper = Keeper(folder, self.heads[part])
        for data in self.frames(part)[:frames]:
            keeper.frame(data)
        if record:
            keeper.record(self.records[part].text())

    def heard(self, folder: Path) -> Gathered:
        """By the controller, all of it."""
        gathered = Gathered(folder, self.asked)
        for part in range(2):
            gathered.head(self.heads[part].text())
            for data in self.frames(part):
                assert gathered.frame(data) is not None
                assert gathered.frame(data) is None
            gathered.record(part, 0, self.records[part].text())
        return gathered


@pytest.fixture(scope="module")
def two() -> Two:
    return Two()


def kept(folder: Path) -> tuple[Gathered, RunRecord]:
    """What can be put together, which holds the laws."""
    gathered = Gathered.kept(folder)
    record = gathered.result()
    assert broken_laws(record) == []
    return gathered, record


def test_what_was_heard_is_what_was_kept(two: Two, tmp_path: Path) -> None:
    record = two.heard(tmp_path).result()
    assert record.verdict.complete and record.thresholds[0].holds
    assert (record.connections.opened, record.requests.right) == (40, 200)
    gathered, again = kept(tmp_path)
    assert again == record
    assert gathered.said().startswith("2 of 2 parts of run abcd, 2 of them to their end; ")


def test_workers_files_alone_are_the_run_but_for_what_the_controller_knew(
    two: Two, tmp_path: Path
) -> None:
    (tmp_path / "heard").mkdir()
    whole = two.heard(tmp_path / "heard").result()
    for part in range(2):
        two.keep(tmp_path, part)
    _, record = kept(tmp_path)
    same = ("connections", "requests", "latencies", "series", "stages", "first", "samples", "ramp")
    for name in same:
        assert getattr(record, name) == getattr(whole, name), name
    assert record.asked.connections == 40


def test_one_that_was_killed_is_in_it_as_far_as_its_frames_go(two: Two, tmp_path: Path) -> None:
    two.keep(tmp_path, 0)
    two.keep(tmp_path, 1, frames=4, record=False)
    path = tmp_path / "part-001.0.frames"
    path.write_bytes(path.read_bytes() + two.frames(1)[4][:100])  # it was writing that
    gathered, record = kept(tmp_path)
    assert [(one.worker, one.connections) for one in record.degraded] == [("w1", 20)]
    assert "it has no record" in record.degraded[0].why
    assert record.workers[1].frames == 4 and record.connections.lost == 20
    assert [one.errno for one in record.failures] == ["worker lost"]
    assert record.notes == ["part-001.0.frames: its last frame is not whole."]
    assert not record.verdict.complete
    assert "1 of them to their end" in gathered.said()


def test_what_one_file_lacks_the_other_has(two: Two, tmp_path: Path) -> None:
    """The controller missed some, and the worker's file is damaged behind these."""
    two.keep(tmp_path, 0)
    two.keep(tmp_path, 1, record=False)
    frames = two.frames(1)
    keeper = Keeper(tmp_path, two.heads[1], HEARD)
    for number, data in enumerate(frames):
        if number != 1:
            keeper.frame(data)
    path = tmp_path / "part-001.0.frames"
    broken = bytearray(path.read_bytes())
    broken[-len(frames[-1]) - 10] ^= 1
    path.write_bytes(broken)
    _, record = kept(tmp_path)
    assert record.workers[1].frames == len(frames) and record.workers[1].frames_missing == 0
    assert record.requests.right == 200
    (note,) = record.notes
    assert note.startswith("part-001.0.frames: the frame at byte ")


def test_frames_that_nobody_has_are_counted(two: Two, tmp_path: Path) -> None:
    two.keep(tmp_path, 0)
    keeper = Keeper(tmp_path, two.heads[1])
    for number, data in enumerate(two.frames(1)):
        if number not in (2, 3):
            keeper.frame(data)
    keeper.record(two.records[1].text())
    gathered, record = kept(tmp_path)
    assert "(2 missing)" in gathered.said()
    assert record.workers[1].frames_missing == 2
    assert record.requests.right == 200, "its own record has it"
    assert sum(record.series.right) < 200


def test_a_part_of_which_nothing_is_there_is_said(two: Two, tmp_path: Path) -> None:
    two.keep(tmp_path, 1)
    gathered, record = kept(tmp_path)
    assert gathered.said().startswith("1 of 2 parts ")
    assert record.verdict.shortfalls[0] == "Nothing is there of 1 of 2 parts of the run."


def damaged(two: Two, folder: Path) -> None:
    two.keep(folder, 0)
    (folder / "part-000.0.frames").write_bytes(b"no frame at all, and long enough")


def of_two_runs(two: Two, folder: Path) -> None:
    two.keep(folder, 0)
    Keeper(folder, replace(two.heads[1], run="other"))


def in_folders(two: Two, folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        two.keep(folder / name, 0)


def with_a_bad_note(two: Two, folder: Path) -> None:
    two.keep(folder, 0)
    (folder / "run.json").write_text(json.dumps({"format": "c1m-run-of-parts/1", "of": "two"}))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda two, folder: None, "has no frames of a run by several workers"),
        (damaged, "part-000.0.frames: no frame begins at byte 0."),
        (of_two_runs, "has parts of several runs: abcd, other."),
        (in_folders, "has 2 runs; the newest are "),
        (with_a_bad_note, "run.json is damaged: of is 'two', not an integer."),
    ],
)  # fmt: skip
def test_what_is_no_run_is_refused_in_a_sentence(
    two: Two, tmp_path: Path, make: object, said: str
) -> None:
    make(two, tmp_path)  # type: ignore[operator]
    with pytest.raises(UsageError) as refused:
        Gathered.kept(tmp_path)
    assert said in str(refused.value)


def test_the_command(two: Two, tmp_path: Path) -> None:
    (tmp_path / "abcd").mkdir()
    for part in range(2):
        two.keep(tmp_path / "abcd", part)
    path = tmp_path / "run.json"
    done = CliRunner().invoke(report, ["--from", str(tmp_path), "--json", str(path)])
    assert done.exit_code == 0, done.output
    assert "2 of 2 parts of run abcd" in done.output and "40 of 40 connections" in done.output
    assert RunRecord.read(path).requests.right == 200
    both = CliRunner().invoke(report, [str(path), "--from", str(tmp_path)])
    assert both.exit_code and "A record and --from were given" in str(both.exception)
    none = CliRunner().invoke(report, ["--from", str(tmp_path / "nothing")])
    assert "is no directory" in str(none.exception)


def test_a_disk_that_is_full_ends_nothing_and_is_said(two: Two, tmp_path: Path) -> None:
    gathered = Gathered(tmp_path, two.asked)
    gathered.head(two.heads[0].text())
    (tmp_path / "heard-000.0.frames").unlink()
    (tmp_path / "heard-000.0.frames").symlink_to("/dev/full")
    for data in two.frames(0):
        gathered.frame(data)
    gathered.record(0, 0, two.records[0].text())
    record = gathered.result()
    assert record.requests.right == 100
    assert "heard-000.0.frames cannot be written: No space left on device." in record.notes[0]


def test_only_the_newest_runs_are_kept(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("C1M_STATE_DIR", str(tmp_path))
    other = tmp_path / "runs" / "notes"
    other.mkdir(parents=True)
    for number in range(RUNS_KEPT + 5):
        two.keep(folder_of(f"run{number}", None), 0, frames=1, record=False)
    left = {one.name for one in (tmp_path / "runs").iterdir()}
    assert len(left) == RUNS_KEPT + 2 and "notes" in left, "and the one that was begun"
    mine = folder_of("mine", str(tmp_path / "own"))
    assert mine == tmp_path / "own" / "mine" and mine.is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made"):
        folder_of("x", str(tmp_path / "file"))
