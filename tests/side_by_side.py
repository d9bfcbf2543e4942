"""All tests, as `make test` runs them: on two cores in half the time of one pytest.

    python tests/side_by_side.py [options of pytest]

`tests/e2e` mostly waits for processes that it starts, the others mostly compute: so two lanes of
its files run beside the others, which take what is left. A million connections come last, alone,
with what is marked `alone`. What `tests/e2e` says is shown as it comes, what the others say when
they have ended.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS = {
    "the others": ["--ignore=tests/e2e", "--ignore=tests/scale"],
    "tests/e2e": ["tests/e2e", "-m", "not alone", "-n", "2", "--dist", "loadfile"],
    "tests/scale": ["tests/scale", "tests/e2e", "-m", "scale or alone"],
}
NO_TESTS = 5  # pytest's exit status where its options leave none


def start(part: str, output: int, nice: int = 0) -> subprocess.Popen[bytes]:
    """One part's pytest."""
    cache = f"cache_dir=.pytest_cache/{part.rpartition('/')[2]}"
    command = [sys.executable, "-m", "pytest", "-o", cache, *PARTS[part], *sys.argv[1:]]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
        env=os.environ | {"COLUMNS": "100"}, preexec_fn=lambda: os.nice(nice),
    )  # fmt: skip


def follow(process: subprocess.Popen[bytes]) -> bytes:
    """Show what it says, to its end."""
    assert process.stdout is not None
    said = bytearray()
    while piece := os.read(process.stdout.fileno(), 1 << 16):
        said += piece
        show(piece)
    return bytes(said)


def show(said: bytes) -> None:
    sys.stdout.buffer.write(said)
    sys.stdout.buffer.flush()


def counts_of(said: bytes) -> Counter[str]:
    """passed, skipped, failed ... of pytest's last line."""
    last = said.decode(errors="replace").strip().rpartition("\n")[2]
    return Counter({what: int(count) for count, what in re.findall(r"(\d+) ([a-z]+)", last)})


def main() -> int:
    """0 where all passed."""
    with tempfile.TemporaryFile() as kept:
        others = start("the others", kept.fileno(), nice=15)
        with start("tests/e2e", subprocess.PIPE) as e2e:
            counts = counts_of(follow(e2e))
        others.wait()
        kept.seek(0)
        show(said := kept.read())
        counts += counts_of(said)
    with start("tests/scale", subprocess.PIPE) as scale:
        counts += counts_of(follow(scale))
    failed = [
        each.returncode for each in (others, e2e, scale) if each.returncode not in (0, NO_TESTS)
    ]
    wanted = ("passed", "failed", "error", "errors", "skipped", "xfailed")
    print("all:", ", ".join(f"{counts[what]} {what}" for what in wanted if counts[what]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
