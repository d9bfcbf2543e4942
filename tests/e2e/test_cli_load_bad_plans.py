"""`c1m load` refuses what cannot be done in one sentence, with nothing opened to the target."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.test_cli_bad_input import refused


@pytest.fixture
def target() -> Iterator[str]:
    """A listening socket, which must not have been connected to in the end."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(BlockingIOError):
            listener.accept()


TEN = ("--connections", "10")
HOLD = (*TEN, "--hold", "5s")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((*TEN, "--require", "q98 < 5ms"), "q98"),
        ((*TEN, "--require", "speed > 5"), "speed"),
        ((*TEN, "--require", "p99 <"), "p99 <"),
        ((*TEN, "--require", "p99 < 5 apples"), "apples"),
        (("--stage", "ramp 10", "--stage", "ramp 5"), "goes backwards"),
        (("--stage", "ramp 10", "--stage", "steps 5..20 by 5 every 1s"), "goes backwards"),
        (("--stage", "ramp 10", "--stage", "hold for 0s"), "takes no time"),
        (("--stage", "ramp 10", "--stage", "dance"), "'dance' is not a stage"),
        (("--stage", "ramp 10", "--stage", "hold for 5s at 1G/s"), "carry at most 1,000,000/s"),
        (("--stage", "ramp 10", "--stage", "hold for 5s at 5/s think 1s"), "rate and a think time"),
        (("--stage", "ramp 0"), "opens no connection"),
        (("--stage", "hold for 5s"), "opens no connection"),
        (("--stage", "drain to 5"), "goes backwards"),
        (("--stage", "ramp " + "9" * 25), "too large"),
        (("--stage", "ramp 10", *HOLD), "--hold does not go with stages"),
        (("--stage", "ramp 20", *TEN), "--connections says 10"),
        ((*HOLD, "--rate", "2M/s"), "its 10 connections can carry at most"),
        ((*HOLD, "--rate", "5/s", "--think", "1s"), "rate and a think time"),
        ((*HOLD, "--rate", "0/s"), "not above zero"),
        ((*HOLD, "--rate", "-5/s"), "not a rate"),
        ((*HOLD, "--think", "soon"), "not a duration"),
        ((*HOLD, "--churn", "0"), "not above zero"),
        ((*HOLD, "--spread", "normal"), "no spread 'normal'"),
        ((*HOLD, "--spread", "zipf:0"), "no spread"),
        ((*HOLD, "--arrivals", "late"), "late"),
        ((*HOLD, "--pipeline", "0"), "0 is too small for --pipeline"),
        ((*HOLD, "--pipeline", "2000"), "2000 is too large for --pipeline. Give 1 to 1,024"),
        (("--connections", "1M", "--pipeline", "1000"), "1,000,000,000 requests in flight"),
        (("--connections", "9" * 20), "too large|can hold about"),
        (("--connections", "9" * 18), "too large|can hold about"),
        ((*HOLD, "--scenario", "hold", "--rate", "5/s"), "says nothing"),
        ((*TEN, "--scenario", "dance"), "dance"),
        ((*TEN, "--scenario", "missing.py:Mine"), "missing.py"),
        ((*TEN, "--message", "@missing.bin"), "missing.bin cannot be read: no such file"),
        ((*TEN, "--message", "@."), "cannot be read: is a directory"),
        ((*TEN, "--expect", "@missing.bin"), "missing.bin cannot be read"),
        ((*TEN, "--hgrm", "no/such/run.hgrm"), "no directory no/such"),
        ((*TEN, "--csv", "no/such/run.csv"), "no directory no/such"),
        ((*TEN, "--metrics", "here"), "here"),
        ((*TEN, "--metrics", ":99999"), "99999"),
        ((*TEN, "--metrics", "127.0.0.1:0", "--stage", "dance"), "not a stage"),
        ((*TEN, "--plan", "missing.toml"), "missing.toml cannot be read"),
        ((*TEN, "--seed", "x"), "not a count"),
    ],
)  # fmt: skip
def test_it_is_refused(tmp_path: Path, target: str, options: tuple[str, ...], said: str) -> None:
    assert re.search(said, refused(tmp_path, "load", target, *options))


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ("conections = 10", "'conections'.* Is 'connections' meant"),
        ("wings = 2", "'wings', which `c1m load` does not know"),
        ("help = true", "'help'"),
        ("plan = 'other.toml'", "'plan'"),
        ("connections = ", "is not TOML"),
        ("connections = 10\nconnections = 20", "is not TOML"),
        ("connections = [10, 20]", "'connections' is"),
        ("connections = true", "connections"),
        ("connections = 'many'", "not a count"),
        ("connections = 10\nhold = {for = 5}", "'hold' is"),
        ("connections = 10\nhold = 2020-01-01", "'hold' is"),
        ("stages = [['ramp 10']]", "'stages' is"),
        ("stages = 'ramp 10'\nhold = '5s'", "does not go with stages"),
        ("stages = ['ramp 10', 'ramp 5']", "goes backwards"),
        ("connections = 10\nrequire = ['q98 < 5ms']", "q98"),
        ("connections = 10\nquiet = 'perhaps'", "perhaps"),
        ("connections = 10\narrivals = 'late'", "late"),
        ("connections = 10\nserver-pid = 'me'", "me"),
        ("[load]\nconnections = 10", "'load'"),
    ],
)
def test_a_bad_plan_file_is_refused(tmp_path: Path, target: str, plan: str, said: str) -> None:
    (tmp_path / "plan.toml").write_text(plan)
    assert re.search(said, refused(tmp_path, "load", target, "--plan", "plan.toml"))


def test_a_plan_file_that_is_no_text(tmp_path: Path, target: str) -> None:
    (tmp_path / "plan.toml").write_bytes(b"\xff\xfe")
    assert "is not text" in refused(tmp_path, "load", target, "--plan", "plan.toml")


def test_no_target_in_the_plan_or_beside_it(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("connections = 10")
    assert "TARGET" in refused(tmp_path, "load", "--plan", "plan.toml")
    assert "--plan" in refused(tmp_path, "load", "--plan")


def test_a_metrics_port_in_use(tmp_path: Path, target: str) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        at = f"127.0.0.1:{held.getsockname()[1]}"
        assert "in use" in refused(tmp_path, "load", target, *TEN, "--metrics", at)


SCENARIOS = {
    "syntax.py": ("def", "syntax.py"),
    "raises.py": ("raise RuntimeError('no luck')", "no luck"),
    "begins.py": (
        "import c1m\nclass Mine(c1m.Scenario):\n    def begin(self, connections, seed):\n"
        "        raise RuntimeError('no luck')",
        "no luck",
    ),
    "requests.py": (
        "import c1m\nclass Mine(c1m.Scenario):\n    def requests(self, numbers, seqs):\n"
        "        raise RuntimeError('no luck')",
        "no luck",
    ),
    "other.py": ("class Other: pass", "Mine"),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_file_that_raises(tmp_path: Path, target: str, name: str) -> None:
    text, said = SCENARIOS[name]
    (tmp_path / name).write_text(text)
    sentence = refused(tmp_path, "load", target, *TEN, "--scenario", f"{name}:Mine")
    assert said in sentence and name in sentence
