"""Commands as an ordinary user with limits of its own: what root and a test's shell do not show.

Locked memory is counted for each user over all processes and given back a little after they have
ended, so each test takes a user id of its own. The one capability that is kept lets the child read
the interpreter and the source wherever they are.
"""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from e2e.cli_helpers import COMMAND, PATIENCE_S

KIB = 1024
_FIRST_UID = 61_000 + os.getpid() % 2_000 * 2  # so that two test runs rarely meet
_uids = itertools.count(_FIRST_UID)

Limits = dict[str, int]


def new_user() -> int:
    """A user id that nobody has used; skips the test where nobody else can be become."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root, with setpriv, can become another user")
    return next(_uids)


def _as(uid: int) -> list[str]:
    kept = "-all,+dac_read_search"
    return [
        "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", f"--inh-caps={kept}",
        f"--ambient-caps={kept}",
    ]  # fmt: skip


def _lower(limits: Limits) -> Callable[[], None]:
    def lower() -> None:
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (value, value))

    return lower


def run_as(uid: int, *arguments: object, **limits: int) -> subprocess.CompletedProcess[str]:
    """A command of c1m to its end. `limits`: soft and hard, by name (nofile, memlock, as)."""
    return subprocess.run(
        [*_as(uid), *COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        preexec_fn=_lower(limits),
    )


def start_as(uid: int, *command: str, **limits: int) -> subprocess.Popen[str]:
    """Any command in the background, its output in pipes."""
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*_as(uid), *command], preexec_fn=_lower(limits), **options)
