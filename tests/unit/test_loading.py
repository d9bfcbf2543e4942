"""`c1m.load`: what goes here, and what goes to a cluster."""

from __future__ import annotations

import pytest

import c1m
from c1m.errors import UsageError


@pytest.mark.parametrize(
    "given", [{"on_worker_loss": "abort"}, {"ready_timeout": "5s"}, {"cluster_dir": "kept"}]
)
def test_options_of_a_cluster_without_one_are_refused(given: dict[str, str]) -> None:
    (name,) = given
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} is for a run by several"):
        c1m.load("tcp://127.0.0.1:9", **given)  # type: ignore[arg-type]
