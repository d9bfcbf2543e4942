"""`c1m report`: show the record of a run again, and write it in other forms."""

from __future__ import annotations

import click

from c1m.errors import UsageError

_OPTIONS = [
    click.Argument(["record"], metavar="RECORD.json", required=False),
    click.Option(["--html"], metavar="FILE",
                 help="Also write one HTML file with plots; needs no network."),
    click.Option(["--hgrm"], metavar="FILE",
                 help="Also write the latencies as HdrHistogram's percentile text, in "
                 "milliseconds; those from the actual send time go into NAME-uncorrected beside "
                 "it."),
    click.Option(["--csv"], metavar="FILE",
                 help="Also write the series as CSV, a row an interval."),
    click.Option(["--schema"], is_flag=True,
                 help="Print the JSON schema of records, and nothing else."),
    click.Option(["--quiet"], is_flag=True, help="Print no summary."),
]  # fmt: skip


@click.command(name="report", params=_OPTIONS)
def report(record: str | None, schema: bool, quiet: bool, **paths: str | None) -> None:
    """Show what `c1m load --json RECORD.json` measured. RECORD.json may be - (standard input)."""
    from c1m import files
    from c1m.cli.outputs import Outputs, summary
    from c1m.results.record import RunRecord
    from c1m.results.schema import schema_text

    if schema:
        files.write_text(files.STANDARD, schema_text())
        return
    if record is None:
        raise UsageError(
            "RECORD.json, the record to show, is missing.",
            "Give a file that `c1m load --json FILE` wrote.",
        )
    outputs = Outputs({name: paths[name] for name in ("hgrm", "csv", "html")})
    run = RunRecord.read(record)
    outputs.write_record(run)
    if not quiet:
        click.echo(summary(run), file=outputs.stream)
        if outputs.written:
            click.echo(file=outputs.stream)
    for path, what in outputs.written.items():
        click.echo(f"{'Report' if what == 'report' else 'written'}: {path}", file=outputs.stream)
    outputs.end()
