"""A user's scenario, what it imports and its rows, on the workers of a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cli_helpers import Server, load

SCENARIO = """
import os
import c1m
from words import hello
USERS = c1m.feeder("users.csv", how="once")
HOME = {home!r}
class Talker(c1m.Conversation):
    def set_up(self):
        assert not os.path.abspath(__file__).startswith(HOME), __file__
    def begin(self, connections, seed):
        self.names = []
    def talk(self, n):
        self.names.append(USERS.next(n)["name"])
        text = f"{{n}} {{hello}} {{self.names[-1]}}\\n"
        yield c1m.Say(text, expect=text)
    def tear_down(self):
        with open("{home}/said." + str(self.share.index), "w") as file:
            file.write(" ".join(self.names))
"""


@pytest.mark.parametrize("name", ["load.py", "here/load.py:Talker"])
def test_a_scenario_travels(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name.partition(":")[0]
    path.parent.mkdir(exist_ok=True)
    path.write_text(SCENARIO.format(home=str(tmp_path)))
    (path.parent / "words.py").write_text("hello = 'hello'\n")
    names = [f"user{n}" for n in range(7)]
    (path.parent / "users.csv").write_text("\n".join(["name", *names]))
    given = str(path) if name == "load.py" else name  # a whole path, and one from here
    monkeypatch.chdir(tmp_path)
    with Server(tmp_path) as server:
        status, record, output = load(
            tmp_path, server.url, "--scenario", given, "--stage", "ramp 7", "--cluster", "local:3"
        )
    assert status == 0, output
    assert record.connections.ready == 7 and record.first.right == 7
    said = [(tmp_path / f"said.{part}").read_text().split() for part in range(3)]
    assert [name for part in said for name in part] == names
    assert [len(part) for part in said] == [3, 2, 2]
