"""`c1m report`: show the record of a run again, and write it in other forms."""

from __future__ import annotations

import click

from c1m.errors import UsageError

_OPTIONS = [
    click.Argument(["record"], metavar="RECORD.json", required=False),
    click.Option(["--from", "directory"], metavar="DIR",
                 help="Put together a run by several workers from the files that they, or the "
                 "controller, kept of it; in the place of RECORD.json."),
    click.Option(["--json"], metavar="FILE",
                 help="Also write the record as JSON: of a run that was put together."),
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
def report(
    record: str | None, directory: str | None, schema: bool, quiet: bool, **paths: str | None
) -> None:
    """Show what `c1m load --json RECORD.json` measured. RECORD.json may be - (standard input).

    A run by several workers that lost its controller is put together with --from DIR, from the
    files of any of them in one directory; what is missing is said.
    """
    from c1m import files
    from c1m.cli.outputs import Outputs, summary
    from c1m.results.record import RunRecord
    from c1m.results.schema import schema_text

    if schema:
        files.write_text(files.STANDARD, schema_text())
        return
    if record is not None and directory is not None:
        raise UsageError(
            "A record and --from were given.", "Give the one, or the directory of the other."
        )
    if record is None and directory is None:
        raise UsageError(
            "RECORD.json, the record to show, is missing.",
            "Give a file that `c1m load --json FILE` wrote.",
        )
    outputs = Outputs({name: paths[name] for name in ("json", "hgrm", "csv", "html")})
    if directory is not None:
        from c1m.cluster.gather import Gathered

        gathered = Gathered.kept(directory)
        click.echo(f"Put together from {gathered.folder}: {gathered.said()}", file=outputs.stream)
        run = gathered.result()
    else:
        assert record is not None
        run = RunRecord.read(record)
    outputs.write_record(run)
    if not quiet:
        click.echo(summary(run), file=outputs.stream)
        if outputs.written:
            click.echo(file=outputs.stream)
    for path, what in outputs.written.items():
        click.echo(f"{'Report' if what == 'report' else 'written'}: {path}", file=outputs.stream)
    outputs.end()
