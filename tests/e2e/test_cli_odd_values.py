"""Odd values for every option of every command: one sentence or a run, never a traceback.

The options are those that the click commands have, so a new one is tried without being named here.
Values go together with every option, whatever its kind: a path for a number, a number for a path.
The commands are real, in forks of one process (odd_values.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from c1m.cli.commands import COMMANDS, c1m
from e2e.cli_helpers import Server
from report_records import complete_record

TRIES = int(os.environ.get("C1M_ODD", "8"))  # for each option; 500 tries nearly all, in an hour
NEVER = {("doctor", "--yes")}  # it would change this machine

NUMBERS = [
    "", " ", "-", "0", "-0", "-1", "1", "2", "00", "1.5", "1,5", "1,000", "1_0", "0x10", "1e9",
    "1e999", "nan", "inf", "-inf", "+1", "\u0663", "\u00bd", "5%", "-5%", "1000%", "%",
    "65536", "99999", str(1 << 31), str(1 << 32), str((1 << 63) - 1), str(1 << 63), "9" * 40,
    "9" * 400, "0." + "0" * 400 + "1", "1k", "9G", "1Ki", "99999G", "-9G",
]  # fmt: skip
TIMES_AND_RATES = [
    "0s", "1ns", "0.1ns", "1h", "999999h", "1000001h", "99999999h", "1s", "1/s", "0/s", "1/0",
    "1/h", "1G/s", "999G/s", "/s", "s", "h",
]  # fmt: skip
PLACES = [
    ".", "..", "/proc", "/dev/null", "/dev/zero", "/dev/full", "missing", "no/such/file",
    "run.json", "deep.json", "odd.json", "deep.toml", "x" * 300, "x/" * 3000, "@", "@-",
    "@/dev/zero", "@missing", "@.", "@run.json", "\udcff", "\n", "a\nb", "\u00e9", "vs",
    "run.json:X", "/dev/zero.py:X", "scenario.py", "scenario.py:", "scenario.py:Nobody",
]  # fmt: skip
ADDRESSES = [
    ":0", ":99999", "127.0.0.1:0", "[::1]:0", "[::1", "tcp://127.0.0.1:0", "TCP://127.0.0.1:1",
    "tcp://127.0.0.1:1-4096", "tcp://127.0.0.1:1-9999", "tcp://[::1%lo]:1", "tcp://[]:1",
    "unix://x", "unix:///missing/x", "unix:///" + "x" * 200, "http://127.0.0.1", "127.0.0.1",
    "127.0.0.1-127.255.255.255", "127.0.0.1-::1", "::/0", "0.0.0.0/0", "::1", "127.0.0.0/8", ",",
    "127.0.0.1,", "127.0.0.2,127.0.0.2", "0.0.0.0", "224.0.0.1", "fe80::1%lo",
]  # fmt: skip
TEXTS = [
    "{", "{}", "{n}", "{n:5}", "{random:0}", "{random:99999999999}", "{any:-1}", "{seq}{seq}",
    "\\x", "\\x0", "\\u12", "\\N{x}", "%s", "zipf", "zipf:", "zipf:0", "zipf:1e9", "zipf:99999",
    "zipf:nan", "poisson", "epoll", "server", "any", "p50 < 1", "p50 < nan", "p50 < -1ms",
    "p1e9 < 1s", "p100 < 1s", "p99.99999999999999999999 < 1s", "lost == 1e999", "lost == -1",
    "lost", "== 0", "rate > 5%", "right >= 101%", "hold for 1h", "hold 1 for 999999h at 1/s",
    "ramp 2 in 1h", "ramp 0..2 in 0s", "ramp 1..99999999999", "ramp 2 at 1e9/s",
    "steps 1..9 by 0 every 1s", "steps 1..999999999 by 1 every 1s", "spike 0 for 1s",
    "storm 200%", "storm", "drain to -1", "drain in 1h", "drain", "stampede", "hold for", "dance",
]  # fmt: skip
CLUSTERS = [
    "local", "local:", "local:0", "local:65", "local:x", "local:1", "tcp://", "tcp://:8786",
    "tcp://127.0.0.1", "tcp://127.0.0.1:9", "tls://127.0.0.1:9", "udp://127.0.0.1:9", "nonsense",
]  # fmt: skip
VALUES = [*NUMBERS, *TIMES_AND_RATES, *PLACES, *ADDRESSES, *TEXTS]


def options() -> Iterator[tuple[str, str]]:
    """(command, option or the metavar of an argument) of everything there is."""
    for name in COMMANDS:
        command = c1m.get_command(click.Context(c1m), name)
        assert command is not None
        for parameter in command.params:
            option = parameter.opts[-1] if isinstance(parameter, click.Option) else "ARGUMENT"
            if (name, option) not in NEVER:
                yield name, option


def is_flag(command: str, option: str) -> bool:
    found = c1m.get_command(click.Context(c1m), command)
    assert found is not None
    return any(isinstance(p, click.Option) and p.is_flag and option in p.opts for p in found.params)


EVERY = list(options())


class Commands:
    """The process that runs them, and a server for those that need one."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.base = {
            "serve": ["serve", "echo", "--listen", "tcp://127.0.0.1:0"],
            "load": ["load", server.url, "--connections", "2"],
            "doctor": ["doctor", "--connections", "10"],
            "demo": ["demo", "--connections", "2", "--hold", "0s", "--out", "demo"],
            "report": ["report", "run.json"],
            "compare": ["compare", "run.json", "run.json"],
            "top": ["top", "--admin", "127.0.0.1:9"],  # nobody listens there
        }
        assert set(self.base) == set(COMMANDS)
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("odd_values.py")],
            cwd=directory, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "C1M_STATE_DIR": str(directory / "state")},
        )  # fmt: skip

    def with_option(self, command: str, option: str, value: str) -> list[str]:
        """The command's usual line with a value; the last one that is given counts."""
        if option == "ARGUMENT":
            first = 2 if command == "load" else len(self.base[command])
            return [command, value, *self.base[command][first:]]
        given = [option] if is_flag(command, option) else [f"{option}={value}"]
        return [*self.base[command], *given]

    def check(self, arguments: list[str]) -> None:
        """It ends, and what it says of a refusal is a sentence."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        ended = json.loads(self.process.stdout.readline())
        err, told = ended["err"], f"c1m {arguments}: {ended}"
        assert ended["status"] in (0, 1, 2), told
        assert "Traceback" not in err and "Exception ignored" not in err, told
        assert "Warning" not in err, told
        if ended["status"] == 2:
            assert err.startswith("c1m: ") and err.count("\n") == 1, told
        elif ended["status"] == 1:
            assert ended["out"] or err.strip().startswith("c1m: "), told


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    directory = tmp_path_factory.mktemp("odd")
    complete_record(1_000).write(directory / "run.json")
    (directory / "deep.json").write_text("[" * 100_000)
    (directory / "deep.toml").write_text("target = " + "[" * 100_000)
    whole = (directory / "run.json").read_text()
    (directory / "odd.json").write_text(whole.replace(": 1000", ": 1e999"))
    (directory / "scenario.py").write_text("import c1m\n")
    with Server(directory, "--quiet") as server:
        made = Commands(directory, server)
        try:
            yield made
        finally:
            assert made.process.stdin is not None and made.process.stdout is not None
            made.process.stdin.close()
            made.process.stdout.close()
            made.process.wait()


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
# A random text may be the name of a host somewhere.
FINDS_HOSTS = {"ARGUMENT", "--listen", "--source", "--metrics", "--cluster"}


@pytest.mark.parametrize(("command", "option"), EVERY)
def test_odd_values(commands: Commands, command: str, option: str) -> None:
    """Some of the values, and texts."""
    values = st.sampled_from(VALUES)

    @seed(zlib.crc32(f"{command} {option}".encode()))  # other values for each
    @settings(max_examples=1 if is_flag(command, option) else TRIES)
    @given(values if option in FINDS_HOSTS else values | TEXT)
    def ends(value: str) -> None:
        commands.check(commands.with_option(command, option, value))

    ends()


@pytest.mark.parametrize("value", CLUSTERS)
def test_odd_clusters(commands: Commands, value: str) -> None:
    """Nobody listens at any of these addresses."""
    commands.check(commands.with_option("load", "--cluster", value))
