"""Runs command lines one after the other, each in a fork of a process that has everything imported.

    python odd_values.py < command lines, a JSON list each > outcomes, a JSON object each

A command works in the directory that this process has, with what is in there. One that does not end
by itself gets a SIGINT, which ends a server and a run in good order.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

INTERRUPT_S = 1.0
GIVE_UP_S = 60.0
MEMORY_BYTES = 6 << 30  # whoever reads without end meets this instead of the machine's


def main() -> None:
    """Answer each line."""
    import c1m.cli.commands
    import c1m.loading
    import c1m.report.html
    import c1m.server.server

    assert c1m.cli.commands
    for line in sys.stdin:
        print(json.dumps(outcome(json.loads(line))), flush=True)


def outcome(arguments: list[str]) -> dict[str, object]:
    """How a command ended: `status` (None: it had to be killed), `out`, `err`."""
    pid = os.fork()
    if pid == 0:
        become(arguments)
    status = wait(pid)
    out, err = (Path(name).read_text(errors="replace") for name in ("out.txt", "err.txt"))
    return {"status": status, "out": out, "err": err}


def become(arguments: list[str]) -> None:
    """Be `c1m`, in this process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for descriptor, name in ((1, "out.txt"), (2, "err.txt")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["c1m", *arguments]
    status = 99
    try:
        from c1m.cli.main import main as c1m

        c1m()
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
        os._exit(status)


def waited_s(pid: int) -> float:
    """How long it was ready to run and others ran: time that it did not have."""
    with contextlib.suppress(OSError):  # a kernel that does not count it
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def wait(pid: int) -> int | None:
    """Its exit status: interrupted after a moment of its own, killed after a long one."""
    begun, is_interrupted = time.monotonic(), False
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        passed = time.monotonic() - begun
        if passed > INTERRUPT_S + waited_s(pid) and not is_interrupted:
            os.kill(pid, signal.SIGINT)
            is_interrupted = True
        if passed > GIVE_UP_S + waited_s(pid):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(0.005)


if __name__ == "__main__":
    main()
