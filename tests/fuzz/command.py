"""Random command lines, each in a process of its own, which is forked off: nothing but a status.

Options of all commands with values that they may have, or not. The status is 0, 1 or 2, nothing is
a traceback; who is refused (2) is told so in one line, and has written and opened nothing. Servers
stop as soon as they run; who still runs after a while is asked to stop, and does.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import click

import c1m.cli.compare
import c1m.cli.doctor
import c1m.cli.load
import c1m.cli.report
import c1m.cli.serve  # noqa: F401 -- before the fork, once for all
from c1m.cli.commands import COMMANDS
from report_records import complete_record, short_record

ASK_TO_STOP_S, KILL_S = 3.0, 60.0
NEVER = {"--yes", "--revert", "--user", "--fix"}  # they change the machine
ODD = (
    "", " ", "-", "--", "0", "-1", "1", "00", "1.5", "nan", "inf", "-inf", "1e9", "1e999", "9" * 30,
    "1k", "1M", "5%", "10s", "0s", "1ms", "-1s", "1h30m", "5/s", "10k/s", "0/s", "1G", "64K", "é☃",
    "\udcff", "\x1b[31m", "a=b", "{}", "[1]", "a:b", ":", "x" * 5000, "10.0.0.0/8", "::/0", "%s",
    "*", "{x}", "..", "/", ".", "/dev/null", "/dev/full", "here", "there/x", "record.json",
    "damaged.json", "plan.toml", "damaged.toml", "users.csv",
)  # fmt: skip
ENDPOINTS = (
    "tcp://127.0.0.1:0", "http://127.0.0.1:0", "unix://sock", "unix:///", "tcp://127.0.0.1:1",
    "127.0.0.1:0", ":0", "tcp://[::1]:0", "tls://127.0.0.1:0", "tcp+proxy://127.0.0.1:0", "udp://x",
    "redis://u:p@127.0.0.1:1/3", "ws://127.0.0.1:1/a?b", "sse://127.0.0.1:1", "mqtt://127.0.0.1:1",
    "tcp://127.0.0.1:70000", "tcp://127.0.0.1:9-8", "tcp://nobody.invalid:1", "wss://127.0.0.1:1",
)  # fmt: skip
BY_METAVAR = {
    "TIME": ("0s", "1ms", "50ms", "1s", "10s", "9h"),
    "COUNT": ("0", "1", "2", "20", "1k"),
    "RATE": ("1/s", "50/s", "1k/s", "5/m"),
    "SIZE": ("0", "1", "1K", "64K", "1M", "1G"),
    "URL": ENDPOINTS,
    "FILE": ("out.json", "record.json", "users.csv", "plan.toml", "here", "there/x", "-"),
    "DIR": ("here", "new", "record.json"),
    "STAGE": ("ramp 10", "ramp 0..20 in 1s", "hold for 1s at 5/s", "drain to 5", "storm", "spike"),
    "ADDRESS[/BITS]": ("127.0.0.1", "10.0.0.0/8", "::1", "::/0", "1.2.3.4/33"),
}
APPS = ("echo", "kv", "push", "asyncio:Protocol", "json:loads", "nothing:Nothing", "c1m:App")
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "serve": APPS, "load": ENDPOINTS, "report": ("record.json", "damaged.json", "here"),
    "compare": ("record.json", "short.json", "damaged.json", "here"), "doctor": (), "demo": (),
}  # fmt: skip
WAYS = ("serve",) * 8 + ("load",) * 8 + ("report", "compare", "doctor", "x", "--help", "")


def run(random: Random) -> int:
    """One execution; the length of its command line."""
    words = _words(random)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        for name, text in _files().items():
            (path / name).write_text(text)
        (path / "here").mkdir()
        before = _inventory(path)
        status, said, errors = _forked(words, path)
        after = _inventory(path)
    assert status in (0, 1, 2), (words, status, said, errors)
    assert "Traceback" not in errors and "Traceback" not in said, (words, errors)
    if status == 2 and words:
        assert errors.startswith("c1m: ") and errors.count("\n") == 1, (words, errors)
        assert after == before, (words, after, errors)
        assert "listening" not in said, (words, said)
    return sum(map(len, words))


def _inventory(path: Path) -> list[tuple[str, int]]:
    return sorted((str(each), each.lstat().st_size) for each in path.rglob("*") if each.is_file())


_kept: dict[str, str] = {}


def _files() -> dict[str, str]:
    if not _kept:
        record = complete_record(50).text()
        _kept.update({
            "record.json": record, "damaged.json": record[: len(record) // 2],
            "short.json": short_record().text(), "users.csv": "name,age\na,1\n",
            "plan.toml": "connections = 5\nhold = '1s'\nquiet = true\n", "damaged.toml": "a = [",
        })  # fmt: skip
    return _kept


def _words(random: Random) -> list[str]:
    name = random.choice(WAYS)
    words = [name] if name or random.random() < 0.5 else []
    if name not in COMMANDS:
        return words + random.choices(ODD, k=random.randrange(3))
    command: click.Command = getattr(importlib.import_module(f"c1m.cli.{name}"), name)
    few = ARGUMENTS[name]
    arguments = [
        random.choice(few if random.random() < 0.9 and few else ODD)
        for _ in range(random.choice((1, 1, 1, 1, 0, 2)) if few else random.randrange(20) // 19)
    ]
    options = [each for each in command.params if isinstance(each, click.Option)]
    if name == "serve" and random.random() < 0.8:
        arguments += ["--listen", "tcp://127.0.0.1:0"]
    if name == "load" and random.random() < 0.8:
        arguments += ["--hold", "1s", "--timeout", "1s"]
    for option in random.choices(options, k=random.choice((0, 1, 1, 2, 3, 5))):
        flag = random.choice(option.opts)
        if flag in NEVER:
            continue
        arguments += [flag] if option.is_flag else [flag, _value(random, option)]
    if random.random() < 0.05:
        random.shuffle(arguments)
    return [*words, *(word.replace("\0", "") for word in arguments)]


def _value(random: Random, option: click.Option) -> str:
    if random.random() < 0.3:
        return random.choice(ODD)
    if isinstance(option.type, click.Choice):
        return str(random.choice(option.type.choices))
    known = option.metavar or option.type.name.upper()
    return random.choice(BY_METAVAR.get(known, ODD))


def _forked(words: list[str], directory: Path) -> tuple[int, str, str]:
    """The status of the command in that directory, and what it said."""

    output, errors = (directory.parent / f"{directory.name}.{n}" for n in ("out", "err"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads beside this one, which need nothing of ours
        pid = os.fork()
    if pid == 0:
        _child(words, directory, output, errors)
    fd = os.pidfd_open(pid)
    try:
        for patience_s, number in ((ASK_TO_STOP_S, signal.SIGINT), (KILL_S, signal.SIGKILL)):
            if select.select([fd], [], [], patience_s)[0]:
                break
            os.kill(pid, number)
        _, status = os.waitpid(pid, 0)
        return (
            os.waitstatus_to_exitcode(status),
            output.read_text(errors="replace"),
            errors.read_text(errors="replace"),
        )
    finally:
        os.close(fd)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # what it may have left behind
        output.unlink(missing_ok=True)
        errors.unlink(missing_ok=True)


def _child(words: list[str], directory: Path, output: Path, errors: Path) -> None:
    """Never returns."""
    status = 99
    try:
        os.setsid()
        os.chdir(directory)
        for path, number in (("/dev/null", 0), (output, 1), (errors, 2)):
            fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            os.dup2(fd, number)
            os.close(fd)
        sys.stdout = open(1, "w", errors="surrogateescape", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
        sys.argv = ["c1m", *words]
        warnings.simplefilter("ignore")
        _stop_at_once()
        from c1m.cli.main import main

        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 98
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _stop_at_once() -> None:
    """Servers that run have been told to stop."""
    from c1m.aio.serving import ProtocolServer
    from c1m.server.server import Server

    for made in (Server, ProtocolServer):
        made.run = _stopped(made.run)  # type: ignore[method-assign]


def _stopped(run: Callable[..., Any]) -> Callable[..., Any]:
    def stopped(self: Any, *given: Any, **named: Any) -> Any:
        self.stop()
        return run(self, *given, **named)

    return stopped
