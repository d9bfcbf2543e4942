"""`c1m report`: show the record of a run again, and write it in other forms."""

from __future__ import annotations

import click

from c1m.errors import UsageError


@click.command(name="report")
@click.argument("record", metavar="RECORD.json", required=False)
@click.option(
    "--html", metavar="FILE", help="Also write one HTML file with plots; needs no network."
)
@click.option(
    "--hgrm",
    metavar="FILE",
    help="Also write the latencies as HdrHistogram's percentile text, in milliseconds; those from "
    "the actual send time go into NAME-uncorrected beside it.",
)
@click.option("--csv", metavar="FILE", help="Also write the series as CSV, a row an interval.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of records, and nothing else.")
@click.option("--quiet", is_flag=True, help="Print no summary.")
def report(
    record: str | None,
    html: str | None,
    hgrm: str | None,
    csv: str | None,
    schema: bool,
    quiet: bool,
) -> None:
    """Show what `c1m load --json RECORD.json` measured."""
    from c1m.report import exports, text
    from c1m.report import html as html_report
    from c1m.report.files import check_writable
    from c1m.report.record import RunRecord
    from c1m.report.schema import schema_text

    if schema:
        click.echo(schema_text(), nl=False)
        return
    if record is None:
        raise UsageError(
            "RECORD.json, the record to show, is missing.",
            "Give a file that `c1m load --json FILE` wrote.",
        )
    if html is not None:
        html_report.check_available()
    for path in (html, hgrm, csv):
        if path is not None:
            check_writable(path)
    run = RunRecord.read(record)
    if not quiet:
        click.echo(text.summary(run))
    written = [] if hgrm is None else exports.write_hgrm(run, hgrm)
    written += [] if csv is None else exports.write_csv(run, csv)
    if not quiet and (written or html is not None):
        click.echo()
    for path in written:
        click.echo(f"written: {path}")
    if html is not None:
        html_report.write_html(run, html)
        click.echo(f"Report: {html}")
