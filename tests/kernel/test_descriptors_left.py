"""How many descriptors are left, by the kernel's count and by a list."""

from __future__ import annotations

import contextlib
import os
import resource

import pytest

from c1m.kernel.limits import descriptors_left


@pytest.mark.parametrize("is_counted", [True, False], ids=["counted", "listed"])
def test_each_open_descriptor_is_one_less(
    is_counted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_counted:  # as before Linux 6.2

        def no_size(fd: int) -> os.stat_result:
            return os.stat_result((0,) * 10)

        monkeypatch.setattr(os, "fstat", no_size)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    before = descriptors_left()
    assert before == soft - (len(os.listdir("/proc/self/fd")) - 1)
    with contextlib.ExitStack() as opened:
        for _ in range(10):
            opened.callback(os.close, os.open("/", os.O_PATH))
        assert descriptors_left() == before - 10
    assert descriptors_left() == before
