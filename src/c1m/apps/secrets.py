"""Secrets in files: passwords, tokens, keys. Whose others may read are refused."""

from __future__ import annotations

import os
import stat

from c1m.errors import UsageError
from c1m.files import read_bytes

SECRET_BYTES_MAX = 4096


def secret_line(path: str, what: str = "password") -> str:
    """The first line of a file. Raises UsageError where others may read it.

    `what` it is, for people: "password".
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        mode = 0  # reading it says why
    if stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH):
        others = "everybody" if mode & stat.S_IROTH else "its group"
        raise UsageError(
            f"{path} has a {what} in it, and {others} may read it.",
            f"Make it yours alone: chmod 600 {path}",
        )
    lines = read_bytes(path, SECRET_BYTES_MAX).splitlines()
    secret = lines[0].decode("latin-1") if lines else ""
    if not secret:
        raise UsageError(f"{path} has no {what} in its first line.", "Write one there.")
    return secret
