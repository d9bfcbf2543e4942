"""Files on their way to the workers of a cluster: what is found, what is written where."""

from __future__ import annotations

from pathlib import Path

import pytest

import c1m
from c1m.cluster import travel
from c1m.cluster.part import Luggage
from c1m.loadgen.outline import outline
from c1m.results.options import LoadOptions, checked
from c1m.scenarios import feeders

SCENARIO = """
import c1m, json
from helpers.names import shout
USERS = c1m.feeder("../data/users.csv")
OTHERS = c1m.feeder({whole!r})
class Shop(c1m.Conversation):
    def talk(self, n):
        import lazily
        yield c1m.Say(shout(USERS.next(n)["name"]) + OTHERS.next(n)["name"] + "\\n", until=b"\\n")
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a user may have it; the run is started in there."""
    home = tmp_path / "home"
    for path, text in {
        "load/shop.py": SCENARIO.format(whole=str(home / "whole.csv")),
        "load/lazily.py": "import deeper\n",
        "load/deeper.py": "",
        "load/unused.py": "",
        "load/broken.py": "def",
        "load/helpers/__init__.py": "",
        "load/helpers/names.py": "def shout(name):\n    import broken\n",
        "data/users.csv": "name\nann\n",
        "whole.csv": "name\nbob\n",
        "urls": "/a\n",
        "ca.pem": "a certificate",
    }.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)
    names = (home / "load/helpers/names.py").read_text().replace("import broken", "return name")
    (home / "load/helpers/names.py").write_text(names + "def unasked():\n    import broken\n")
    monkeypatch.chdir(home)
    monkeypatch.setattr(feeders, "_root", "")
    return home


def packed(**given: object) -> tuple[LoadOptions, Luggage]:
    options = checked({"target": "tcp://127.0.0.1:1", "cluster": "local:2"} | given)
    outline(options)
    return travel.pack(options)


def test_all_that_a_run_reads_travels(home: Path, tmp_path: Path) -> None:
    options, luggage = packed(scenario="load/shop.py:Shop", server_pid=1)
    names = ["shop", "lazily", "deeper", "broken", "helpers/__init__", "helpers/names"]
    assert set(luggage.files) == {
        *(str(home / f"load/{name}.py") for name in names),
        str(home / "data/users.csv"), str(home / "whole.csv"),
    }  # fmt: skip
    assert options.scenario == "load/shop.py:Shop" and options.server_pid is None
    root = tmp_path / "worker"
    there = Path(travel.unpack(luggage, str(root)))
    assert there == Path(f"{root}{home}")
    assert (there / "load/shop.py").read_bytes() == (home / "load/shop.py").read_bytes()


def test_it_is_found_there_and_not_where_it_was(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, luggage = packed(scenario=str(home / "load/shop.py"))
    there = travel.unpack(luggage, str(tmp_path / "worker"))
    home.rename(tmp_path / "gone")
    monkeypatch.chdir(there)
    assert options.scenario == {"load/shop.py": 1}
    scenario = outline(options).scenario
    exchange = scenario.exchange(1, 1)
    assert exchange is not None
    import numpy as np

    assert exchange.requests(np.array([0]))[0].piece(0) == b"annbob\n"


def test_files_that_options_name(home: Path) -> None:
    tls = {"target": "https://h", "ca": str(home / "ca.pem"), "url_file": "urls"}
    options, luggage = packed(**tls)
    assert luggage.files == {str(home / "urls"): b"/a\n", str(home / "ca.pem"): b"a certificate"}
    assert (options.ca, options.url_file) == ("ca.pem", "urls")
    assert packed(message="{n}\n")[1].files == {}


def test_what_cannot_travel(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(c1m.UsageError, match="that is an object cannot travel"):
        packed(scenario=c1m.Conversation())
    with pytest.raises(c1m.UsageError, match=r"missing\.pem cannot be read"):
        packed(target="https://h", ca="missing.pem")
    largest = (home / "load/shop.py").stat().st_size
    monkeypatch.setattr(travel, "BYTES_MAX", largest)
    with pytest.raises(c1m.UsageError, match=r"The files of this run have .* travel to each"):
        packed(scenario="load/shop.py:Shop")
    monkeypatch.setattr(travel, "BYTES_MAX", 1 << 20)
    monkeypatch.setattr(travel, "MODULES_MAX", 1)
    with pytest.raises(c1m.UsageError, match="has more than 1 modules"):
        packed(scenario="load/shop.py:Shop")


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    luggage = Luggage({"/../../../outside": b"x", "a/../../b": b"y"}, "/x/../..")
    assert travel.unpack(luggage, str(tmp_path / "root")) == str(tmp_path / "root")
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert found == ["root", "root/b", "root/outside"]
