// The charts of what the versions of documents tell.
"use strict";

(() => {
  const { tasks } = JSON.parse(document.getElementById("data").textContent);
  const { scale, names, number, interval } = charts;
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);

  // Figures with intervals, one a line: `rows` are { name, figure, colour }, the colour one of the theme. With `signs`
  // they are differences, around a line at 0.
  function lines(about, rows, width, { signs = false } = {}) {
    const far = Math.max(0.05, ...rows.map(({ figure }) => Math.max(Math.abs(figure.low), Math.abs(figure.high))));
    const most = Math.min(1, Math.ceil(10 * far) / 10);
    const told = signs ? signed : number;
    const range = ({ low, high }) => `${told(low)} ${signs ? "to" : "–"} ${told(high)}`;
    const colours = [...new Set(rows.map((row) => row.colour))];
    const of = (colour) => rows.map((row, y) => ({ ...row, y })).filter((row) => row.colour === colour);
    const zero = { type: "line", silent: true, symbol: "none", data: rows.map((_, y) => [0, y]), lineStyle: { color: theme.colour("muted"), type: "dashed", width: 1.5 } };
    return {
      height: 40 + rows.length * (rows.length > 20 ? 21 : 28),
      option: {
        grid: { left: 8, right: 20, top: 6, bottom: 4, containLabel: true },
        xAxis: scale({ min: signs ? -most : 0, max: most, splitNumber: width < 480 ? 3 : 5 }),
        yAxis: names(rows.map((row) => row.name), { axisLabel: { color: theme.colour("ink"), fontSize: 12.5, interval: 0, width: width < 480 ? 130 : 250, overflow: "truncate" } }),
        series: [
          ...(signs ? [zero] : []),
          ...colours.flatMap((colour, k) => [
            interval(theme.colour(colour), of(colour).map(({ figure, y }) => [[figure.low, y], [figure.high, y]])),
            {
              type: "scatter",
              symbol: k === 0 ? "circle" : "diamond",
              symbolSize: k === 0 ? 11 : 13,
              z: 5,
              itemStyle: { color: theme.colour(colour), borderColor: theme.colour("surface"), borderWidth: 1 },
              data: of(colour).map((row) => ({ value: [row.figure.value, row.y], row })),
              tooltip: { formatter: ({ data: { row } }) => `${row.name}: ${told(row.figure.value)}\n95 % interval ${range(row.figure)}\n${row.figure.n} samples` },
            },
          ]),
        ],
      },
      table: {
        header: [about, "Value", "95 % interval", "Samples"],
        rows: rows.map(({ name, figure }) => [name, told(figure.value), range(figure), String(figure.n)]),
      },
    };
  }

  // Each with the figure beside it that it is to be read against.
  const paired = (each, first, second) => [
    { ...first, figure: each[first.of], colour: "mellama" },
    { ...second, figure: each[second.of], colour: "own-0" },
  ].filter(({ figure }) => figure !== null);

  const ROWS = {
    "by-version": (task, way) => way.by_version.map((figure) => ({ name: figure.name, figure, colour: "mellama" })),
    "by-letter": (task, way) => way.letters.places.flatMap((each) => paired(each, { of: "answered", name: `${each.letter} is answered` }, { of: "right", name: `right where ${each.letter} is` })),
    divergence: (task) => task.versions.fairness.filter((each) => each.baseline !== null).flatMap((each) => paired(each, { of: "divergence", name: each.attribute }, { of: "baseline", name: `${each.attribute}: baseline` })),
    gaps: (task) => task.versions.fairness.flatMap((each) => each.gaps.map((figure) => ({ name: `${each.attribute}: ${figure.pair}`, figure, colour: "mellama" }))),
  };

  document.querySelectorAll("#versions figure").forEach((figure) => {
    const { chart, task, way } = figure.dataset;
    const rows = ROWS[chart](tasks[task], tasks[task].versions.robustness.find((each) => each.way === way));
    charts.draw(figure, (width) => lines(figure.querySelector("h3").textContent, rows, width, { signs: chart === "gaps" }));
  });
})();
