// Draws the figures that are in the page as JSON, in the colours of the page's style, and again
// when the reader's system changes between light and dark.
"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("c1m-figures").textContent);
  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

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
    const least = whole * (window.innerWidth < 832 ? 0.12 : 0.06);
    return annotations.filter((_, i) => all[i].end - all[i].start >= least);
  };

  const axis = (own) => ({
    gridcolor: colour("rule"), linecolor: colour("rule"), zerolinecolor: colour("rule"),
    automargin: true, ...own,
    title: { standoff: 8, ...(own || {}).title, font: { size: 12, color: colour("dim") } },
  });

  const draw = () => {
    for (const figure of figures) {
      const traces = figure.traces.map((trace) => ({
        ...trace,
        line: { ...trace.line, color: colour(trace.c1mColour) },
        fillcolor: trace.fill ? translucent(colour(trace.c1mColour)) : undefined,
        marker: { size: 4, color: colour(trace.c1mColour) },
      }));
      const layout = {
        ...figure.layout, ...bands(figure.layout),
        xaxis: axis(figure.layout.xaxis), yaxis: axis(figure.layout.yaxis),
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { size: 12, color: colour("ink"), family: getComputedStyle(document.body).fontFamily },
        margin: { l: 50, r: 14, t: 24, b: traces.length > 1 ? 76 : 44 },
        showlegend: traces.length > 1,
        legend: { orientation: "h", x: 0, xanchor: "left", yref: "container", y: 0,
                  yanchor: "bottom" },
        hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("rule"),
                      font: { color: colour("ink") } },
      };
      const options = { responsive: true, displaylogo: false, displayModeBar: false };
      Plotly.react("plot-" + figure.id, traces, layout, options);
    }
  };
  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
