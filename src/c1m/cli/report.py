"""`c1m report`: show the record of a run again, as text and as an HTML file with plots."""

from __future__ import annotations

import click

from c1m.report import html as html_report
from c1m.report import text
from c1m.report.record import RunRecord


@click.command(name="report")
@click.argument("record", metavar="RECORD.json")
@click.option(
    "--html", metavar="FILE", help="Also write one HTML file with plots; needs no network."
)
@click.option("--quiet", is_flag=True, help="Print no summary.")
def report(record: str, html: str | None, quiet: bool) -> None:
    """Show what `c1m load --json RECORD.json` measured."""
    if html is not None:
        html_report.check_available()
        html_report.check_writable(html)
    run = RunRecord.read(record)
    if not quiet:
        click.echo(text.summary(run))
    if html is not None:
        html_report.write_html(run, html)
        click.echo(f"{'' if quiet else chr(10)}Report: {html}")
