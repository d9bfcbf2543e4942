"""The HTML report in a real browser: it draws, complains of nothing, loads nothing, can be zoomed.

Needs Chromium, which `make test` installs where it runs as root on Debian.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from c1m.report import html, plots
from c1m.results.record import RunRecord
from e2e.devtools import Browser, Page
from report_records import complete_record, short_record
from report_request_records import hour_record, publish_record, request_record

RECORDS = {
    "requests": request_record,
    "publish": publish_record,
    "plain": complete_record,
    "short": short_record,
    "hour": hour_record,
    "empty": RunRecord,
}
STROKE = 'getComputedStyle(document.querySelector("#plot-requests path.js-line")).stroke'
PHONE = {"width": 390, "height": 844, "touch": True}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pages")
    for name, make in RECORDS.items():
        page = html.render(make(), html.plotly_javascript())
        (directory / f"{name}.html").write_text(page)
    return directory


def opened(browser: Browser, path: Path, **device: Any) -> Page:
    """A report with all its plots drawn."""
    page = browser.open(path, **device)
    page.wait_for('document.documentElement.dataset.plots === "drawn"')
    return page


@pytest.fixture(scope="module")
def shown(browser: Browser, pages: Path) -> Iterator[Page]:
    """The run with requests; tests leave it as they found it."""
    with opened(browser, pages / "requests.html") as page:
        yield page


def drawn(page: Page) -> list[str]:
    """The plots that have lines in sight, by their figures' names."""
    found = page.value(
        """[...document.querySelectorAll(".plot")].filter((plot) => {
             const svg = plot.querySelector("svg.main-svg");
             return svg && svg.getBoundingClientRect().height > 150 &&
                    plot.querySelectorAll("path.js-line").length > 0;
           }).map((plot) => plot.id.replace("plot-", ""))"""
    )
    return sorted(found)


def box(page: Page, name: str) -> dict[str, float]:
    """Where the lines of a plot are in the window, which is scrolled there."""
    made: dict[str, float] = page.value(
        f"""(() => {{
             const plot = document.getElementById("plot-{name}");
             plot.scrollIntoView({{ block: "center" }});
             const {{ x, y, width, height }} =
               plot.querySelector(".nsewdrag").getBoundingClientRect();
             return {{ x, y, width, height }};
           }})()"""
    )
    return made


def shown_range(page: Page, name: str) -> list[float]:
    made: list[float] = page.value(
        f'document.getElementById("plot-{name}")._fullLayout.xaxis.range.map(Number)'
    )
    return made


DEVICES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in RECORDS),
    ("requests", {"dark": True}),
    ("requests", PHONE),
    ("short", PHONE),
]


@pytest.mark.parametrize(
    ("name", "device"), DEVICES, ids=[f"{name} {' '.join(given)}" for name, given in DEVICES]
)
def test_every_plot_is_drawn_and_nothing_is_loaded(
    browser: Browser, pages: Path, name: str, device: dict[str, Any]
) -> None:
    with opened(browser, pages / f"{name}.html", **device) as page:
        assert drawn(page) == sorted(plot["id"] for plot in plots.plots(RECORDS[name]()))
        assert page.requested() == [(pages / f"{name}.html").as_uri()]
        assert page.complaints() == []
        # nothing but tables, which scroll by themselves, is wider than the window
        assert page.value("document.documentElement.scrollWidth") <= device.get("width", 1200)


def test_zooming_a_plot_over_time_zooms_all_of_them(shown: Page) -> None:
    page = shown
    whole = shown_range(page, "requests")
    assert whole[0] <= 1 and whole[1] >= 99
    spectrum = shown_range(page, "spectrum")
    at = box(page, "requests")
    middle = at["y"] + at["height"] / 2
    page.drag((at["x"] + at["width"] * 0.4, middle), (at["x"] + at["width"] * 0.6, middle))
    page.wait_for('document.getElementById("plot-cpu")._fullLayout.xaxis.range[0] > 20')
    zoomed = shown_range(page, "requests")
    assert zoomed == pytest.approx([40, 60], abs=2)
    for name in ("connections", "latency-time", "lag", "cpu"):
        assert shown_range(page, name) == pytest.approx(zoomed, abs=0.01)
    assert shown_range(page, "spectrum") == spectrum

    for is_dark in (True, False):  # drawn again in other colours, it stays where it was
        stroke = page.value(STROKE)
        page.set_dark(is_dark)
        page.wait_for(f"{STROKE} !== {stroke!r}")
        assert shown_range(page, "requests") == pytest.approx(zoomed, abs=0.01)

    page.value('Plotly.relayout("plot-lag", { "xaxis.autorange": true }).then(() => true)')
    page.wait_for('document.getElementById("plot-requests")._fullLayout.xaxis.range[0] < 2')
    assert shown_range(page, "requests") == pytest.approx(whole, abs=0.01)
    assert page.complaints() == []


def test_figures_can_be_read_off(shown: Page) -> None:
    page = shown
    at = box(page, "latency-time")
    page.hover(at["x"] + at["width"] * 0.402, at["y"] + at["height"] / 2)
    said = 'document.querySelector("#plot-latency-time .hoverlayer").textContent'
    page.wait_for(f'{said}.includes("p99")')
    assert "max 1.40 s" in page.value(said)


def test_colours_follow_the_readers_system(shown: Page) -> None:
    page = shown
    line = STROKE
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.value(line), page.value(paper)
    page.set_dark(True)
    page.wait_for(f"{line} !== {light[0]!r}")
    assert (page.value(line), page.value(paper)) == ("rgb(179, 155, 234)", "rgb(20, 23, 27)")
    page.set_dark(False)
    page.wait_for(f"{line} === {light[0]!r}")
    assert light == ("rgb(122, 91, 191)", "rgb(255, 255, 255)")


def buttons(page: Page) -> list[str]:
    made: list[str] = page.value(
        """[...document.querySelectorAll("#plot-requests .modebar-btn")]
             .map((button) => button.dataset.title)"""
    )
    return made


def test_no_button_sends_anything_away(shown: Page) -> None:
    assert buttons(shown) == [
        "Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes",
    ]  # fmt: skip


def test_a_finger_on_a_plot_scrolls_the_page(browser: Browser, pages: Path) -> None:
    """On a phone the plots fill the screen's width: one that kept the finger would be a trap.

    Chromium scrolls unless somebody prevents what a touch does by default.
    """
    is_kept = """(() => {
      const target = document.querySelector("#plot-requests .nsewdrag");
      const { x, y } = target.getBoundingClientRect();
      const touch = new Touch({ identifier: 1, target, clientX: x + 50, clientY: y + 50 });
      const given = { bubbles: true, cancelable: true, changedTouches: [touch] };
      const start = new TouchEvent("touchstart", { ...given, touches: [touch] });
      target.dispatchEvent(start);
      document.dispatchEvent(new TouchEvent("touchend", given));
      return start.defaultPrevented;
    })()"""
    with opened(browser, pages / "requests.html", **PHONE) as page:
        assert page.value(is_kept) is False
        page.value('Plotly.relayout("plot-requests", { dragmode: "pan" }).then(() => true)')
        assert page.value(is_kept) is True  # who has pressed the button for it
        assert buttons(page)[1:] == ["Pan", "Zoom in", "Zoom out", "Reset axes"]


def test_a_screenshot_has_the_plots_in_colour(shown: Page, tmp_path: Path) -> None:
    """The picture is no blank sheet: a page that drew nothing is a small file."""
    shown.screenshot(tmp_path / "page.png")
    made = (tmp_path / "page.png").read_bytes()
    assert made.startswith(b"\x89PNG") and len(made) > 200_000


def test_the_browser_would_tell(browser: Browser, tmp_path: Path) -> None:
    """The other tests prove something: what they forbid is seen when it happens."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<img src="http://127.0.0.1:9/x.png"><script>console.error("e"); throw Error("t")</script>'
    )
    with browser.open(bad) as page:
        assert page.requested() == [bad.as_uri(), "http://127.0.0.1:9/x.png"]
        assert len(page.complaints()) >= 3
