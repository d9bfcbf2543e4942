"""Do a load run, in this process or on a cluster: `c1m.load`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from c1m import arguments
from c1m.engine.ragged import Buffer
from c1m.errors import UsageError
from c1m.loadgen import run as alone
from c1m.loadgen.outline import Outline
from c1m.loadgen.plan import LoadPlan
from c1m.results.options import OF_CLUSTERS, LoadOptions, checked, flags_given
from c1m.results.record import RunRecord
from c1m.results.snapshot import Snapshot
from c1m.scenarios.loader import AnyScenario

Duration = str | float
Rate = str | float


# fmt: off
def load(
    target: str | Sequence[str],
    *,
    connections: int | str | None = None,
    scenario: AnyScenario = "",
    hold: Duration = 0,
    rate: Rate | None = None,
    arrivals: str = "constant",
    spread: str = "uniform",
    think: Duration | None = None,
    churn: Rate | None = None,
    stages: str | Sequence[str] | None = None,
    connect_rate: Rate | None = None,
    message: str | Buffer | None = None,
    expect: str | Buffer | None = None,
    pipeline: int = 1,
    publishers: int | None = None,
    require: str | Sequence[str] | None = None,
    publish_to: str | None = None,
    headers: str | Sequence[str] | None = None,
    method: str | None = None, body: str | Buffer | None = None, url_file: str | None = None,
    expect_status: str = "", expect_headers: str | Sequence[str] | None = None,
    expect_contains: str | Sequence[str] | None = None,
    expect_json: str | Sequence[str] | None = None,
    binary: bool = False,
    topic: str | None = None, qos: int = 0, retain: bool = False, client_id: str | None = None,
    mqtt_version: str = "3.1.1", keep_alive: Duration = "60s", will: str | None = None,
    sources: str | Sequence[str] | None = None,
    engine: str = "auto",
    timeout: Duration = "30s",
    ramp_timeout: Duration | None = None,
    connect_window: int | None = None,
    server_pid: int | None = None,
    cluster: str | None = None, on_worker_loss: str = "degrade", cluster_dir: str | None = None,
    ready_timeout: Duration = "60s",
    seed: int = 0,
    ca: str | None = None, insecure: bool = False, server_name: str | None = None,
    cert: str | None = None, key: str | None = None,
    tls_min: str = "1.2", tls_resume: bool = False, tls_handoff: bool = False,
    proxy_header: str | None = None,
    spin: bool = False,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_signals: bool = False,
    on_end: Callable[[RunRecord], None] | None = None,
) -> RunRecord:
    """Open `connections` to `target`, have them say what the scenario says, check what comes back.

    Durations are "30s" or seconds, rates "50k/s" or per second. With nothing but a target ten
    connections ask for ten seconds, each again as soon as it has its reply; to tcp:// with
    `connections`, and without `rate`, `think`, `churn` and `stages`, every connection asks once
    when it is open and, after the hold, once more, all at the same moment. `stages` are as in
    loadgen/stages.py and replace `hold`. `scenario` is a name, FILE.py:NAME, or a Scenario or
    Conversation of your own. `require` are thresholds such as "p99 < 50ms"; whether they hold is in
    the record's `thresholds`. `connect_window`: at most so many connects under way (None: as many
    as the server's accept queue takes). `on_end` gets the record, to write it, while a first signal
    still ends nothing (with `on_signals`).

    Raises UsageError, with nothing opened, for what cannot be done as asked. What goes wrong on the
    way is in the record, never an exception.
    """
    given = locals()
    for name in ("on_progress", "on_end"):
        arguments.function(name, given[name])
    arguments.flag("on_signals", on_signals)
    return run(checked(given), on_progress=on_progress, on_signals=on_signals, on_end=on_end)
# fmt: on


def run(
    options: LoadOptions,
    *,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_signals: bool = False,
    on_end: Callable[[RunRecord], None] | None = None,
    on_plan: Callable[[LoadPlan | Outline], None] | None = None,
) -> RunRecord:
    """As `load`, with options that are checked one by one. `on_plan` is told when all is."""
    if options.cluster is None:
        for _, flag in flags_given(options, OF_CLUSTERS):
            raise UsageError(
                f"{flag} is for a run by several workers, and there is no --cluster.",
                "Add --cluster local:4, or leave it out.",
            )
        return alone.run(
            options, on_progress=on_progress, on_signals=on_signals, on_end=on_end, on_plan=on_plan
        )
    try:
        from c1m.cluster.controller import run as together
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--cluster needs Dask, and there is no module {error.name!r} here.",
            "Install it: pip install 'c1m[cluster]'.",
        ) from error
    return together(
        options, on_progress=on_progress, on_signals=on_signals, on_end=on_end, on_plan=on_plan
    )
