"""`c1m`: the entry point, which imports nothing that may not be installed.

Exit status: 0 all as asked, 1 something was short, 2 bad usage.
"""

from __future__ import annotations

import errno
import importlib.util
import sys

from c1m.cli.streams import guard
from c1m.kernel.refusals import UNLIMITED, address_space, refusal


def _refused(error: BaseException) -> str | None:
    """What this process lacks, in a sentence; None for an error of another kind.

    Facts. When the address space is used up, an import fails with any of: MemoryError, ImportError
    (a library cannot be mapped), SyntaxError or SystemError (a file cannot be compiled).
    """
    code = getattr(error, "errno", None)
    if isinstance(error, OSError) and code in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return " ".join(refusal("more of what c1m needs", error))
    may_be = ImportError | SyntaxError | SystemError
    if isinstance(error, MemoryError) or (
        isinstance(error, may_be) and address_space() < UNLIMITED
    ):
        return " ".join(refusal("more memory", MemoryError()))
    return None


def main() -> None:
    """Run the command line; never returns."""
    guard()
    if importlib.util.find_spec("click") is None:
        sys.stderr.write(
            "c1m: The commands need click, which is not installed. "
            "Install it with: pip install 'c1m[cli]'\n"
        )
        sys.exit(2)
    try:
        from c1m.cli.commands import run

        run()
    except (OSError, MemoryError, ImportError, SyntaxError, SystemError) as error:
        said = _refused(error)
        if said is None:
            raise
        sys.stderr.write(f"c1m: {said}\n")
        sys.exit(2)
    except KeyboardInterrupt:  # before the command began, or while it was being refused
        sys.stderr.write("c1m: interrupted.\n")
        sys.exit(1)
