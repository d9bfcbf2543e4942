// Draws the figures that are in the page as JSON, in the colours of the page's style, and again
// when the reader's system changes between light and dark.
"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("c1m-figures").textContent);
  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  const isTouch = window.matchMedia("(pointer: coarse)").matches;
  const isNarrow = () => window.innerWidth < 832;

  const translucent = (hex) => hex + "33";

  const bands = (layout) => {
    const shapes = [];
    const annotations = [];
    (layout.c1mBands || []).forEach((band, i) => {
      if (i % 2 === 0) {
        shapes.push({
          type: "rect", xref: "x", yref: "paper", x0: band.start, x1: band.end, y0: 0, y1: 1,
          fillcolor: colour("band"), line: { width: 0 }, layer: "below",
        });
      }
      annotations.push({
        text: band.name, x: (band.start + band.end) / 2, xref: "x", y: 1, yref: "paper",
        yanchor: "bottom", showarrow: false, font: { size: 11, color: colour("dim") },
      });
    });
    return { shapes, annotations: spaced(annotations, layout) };
  };

  // Names of phases that are too short to be named would lie on top of each other.
  const spaced = (annotations, layout) => {
    const all = layout.c1mBands;
    if (!all || !all.length) return annotations;
    const whole = all[all.length - 1].end - all[0].start;
    const least = whole * (isNarrow() ? 0.12 : 0.06);
    return annotations.filter((_, i) => all[i].end - all[i].start >= least);
  };

  // Names of percentiles grow longer the rarer they are: on a phone every other one is left out.
  const sparse = (own) => {
    if (!own || !own.ticktext || own.ticktext.length < 6 || !isNarrow()) return own;
    const last = own.ticktext.length - 1;
    return { ...own, ticktext: own.ticktext.map((text, i) => ((last - i) % 2 ? "" : text)) };
  };

  const axis = (own) => ({
    gridcolor: colour("rule"), linecolor: colour("rule"), zerolinecolor: colour("rule"),
    automargin: true, ...own,
    title: { standoff: 8, ...(own || {}).title, font: { size: 12, color: colour("dim") } },
  });

  // One after the other, with a breath between: a phone shows the first while it draws the next.
  const draw = async () => {
    for (const figure of figures) {
      const traces = figure.traces.map((trace) => ({
        ...trace,
        line: { ...trace.line, color: colour(trace.c1mColour) },
        fillcolor: trace.fill ? translucent(colour(trace.c1mColour)) : undefined,
        marker: { size: 4, color: colour(trace.c1mColour) },
      }));
      const layout = {
        ...figure.layout, ...bands(figure.layout),
        xaxis: axis(sparse(figure.layout.xaxis)), yaxis: axis(figure.layout.yaxis),
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { size: 12, color: colour("ink"), family: getComputedStyle(document.body).fontFamily },
        margin: { l: 50, r: 14, t: figure.layout.c1mBands ? 48 : 34, b: traces.length > 1 ? 76 : 44 },
        showlegend: traces.length > 1,
        legend: { orientation: "h", x: 0, xanchor: "left", yref: "container", y: 0,
                  yanchor: "bottom" },
        hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("rule"),
                      font: { color: colour("ink") } },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("dim"), activecolor: colour("ink") },
        // A finger that is put on a plot scrolls the page; the buttons zoom.
        dragmode: isTouch ? false : "zoom",
        uirevision: "kept", // drawn again in other colours, it stays zoomed
      };
      // Only these: plotly's own list has one that would send the figures to its maker.
      const buttons = ["toImage", ...(isTouch ? [] : ["zoom2d"]), "pan2d", "zoomIn2d", "zoomOut2d",
                       "resetScale2d"];
      const options = {
        responsive: true, displaylogo: false, displayModeBar: isTouch ? true : "hover",
        modeBarButtons: [buttons], plotlyServerURL: "",
      };
      await Plotly.react("plot-" + figure.id, traces, layout, options);
      await new Promise((resolve) => setTimeout(resolve));
    }
    document.documentElement.dataset.plots = "drawn";
  };

  // All plots over time show the same part of the run: zooming one zooms the others.
  const timed = figures.filter((figure) => figure.layout.c1mTime);
  const link = () => {
    let isFollowing = false;
    for (const figure of timed) {
      const plot = document.getElementById("plot-" + figure.id);
      plot.on("plotly_relayout", (change) => {
        if (isFollowing) return;
        const range = change["xaxis.range"] || [change["xaxis.range[0]"], change["xaxis.range[1]"]];
        const isWhole = change["xaxis.autorange"];
        if (!isWhole && range[0] === undefined) return;
        const same = isWhole ? { "xaxis.autorange": true } : { "xaxis.range": [...range] };
        isFollowing = true;
        const others = timed.filter((other) => other !== figure);
        Promise.all(others.map((other) => Plotly.relayout("plot-" + other.id, same)))
          .finally(() => { isFollowing = false; });
      });
    }
  };

  draw().then(link);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
