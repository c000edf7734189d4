// The accuracy–cost plot of the leaderboard: a data set and a measure of cost are chosen, and a line joins what none beats.
"use strict";

const costs = (() => {
  const { scale, interval, choice, number } = charts;

  // Costs of models lie powers of ten apart, or close together.
  const isWide = (values) => Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 20;

  // `style` is the mark of a model, and `best` names those that have a colour of their own.
  function plot(board, style, best) {
    const { measures, tasks } = board.costs;
    const lit = best(board);
    const byName = new Map(board.models.filter((model) => model.own).map((model) => [model.name, model]));
    let [task, measure] = [0, 0];
    const span = (point) => (point.low === null ? "" : `${number(point.low)} – ${number(point.high)}`);
    return {
      prepare: (figure, redraw) => {
        choice(figure, "Data set", tasks.map((each) => each.label), 0, (index) => { task = index; redraw(); });
        choice(figure, "Cost", measures.map((each) => each.title), 0, (index) => { measure = index; redraw(); });
      },
      view: (width) => {
        const { points, fronts, metricTitle } = tasks[task];
        const front = fronts[measure];
        const shown = points.map((point, index) => ({ point, index })).filter(({ point }) => point.costs[measure] !== null);
        const values = shown.map(({ point }) => point.costs[measure]);
        const ends = shown.flatMap(({ point }) => [point.low ?? point.value, point.high ?? point.value]);
        const axis = { nameLocation: "middle", nameTextStyle: { color: theme.colour("muted"), fontSize: 12.5 } };
        const [most, wide] = [Math.max(...values), isWide(values)];
        const isRight = (value) => (wide ? value > Math.sqrt(most * Math.min(...values)) : value > most / 2);
        const steps = front.map((index) => [points[index].costs[measure], points[index].value]);
        return {
          height: 340,
          option: {
            grid: { left: 56, right: 24, top: 16, bottom: 50 },
            xAxis: scale({
              ...axis,
              ...(wide ? { type: "log" } : { min: 0, max: most > 0 ? 1.15 * most : 1 }),
              name: measures[measure].title,
              nameGap: 32,
              splitNumber: width < 480 ? 3 : 5,
              axisLabel: { color: theme.colour("muted"), fontSize: 12, hideOverlap: true, formatter: (x) => String(Number(x.toPrecision(3))) },
            }),
            yAxis: scale({
              ...axis,
              min: Math.max(0, Math.floor(10 * Math.min(...ends, 1)) / 10),
              max: Math.min(1, Math.ceil(10 * Math.max(...ends, 0.1)) / 10),
              name: metricTitle,
              nameGap: 42,
            }),
            series: [
              {
                type: "line",
                silent: true,
                step: "end",
                symbol: "none",
                z: 1,
                // The best for any more than it costs is the dearest of the line, to the end of the axis.
                data: steps.length ? [...steps, [Math.max(most, steps.at(-1)[0]), steps.at(-1)[1]]] : [],
                lineStyle: { color: theme.colour("muted"), width: 2, type: "dashed" },
              },
              ...shown.flatMap(({ point }) => {
                const mark = style(byName.get(point.model), lit);
                return point.low === null ? [] : [interval(mark.colour, [[[point.costs[measure], point.low], [point.costs[measure], point.high]]])];
              }),
              {
                type: "scatter",
                z: 5,
                data: shown.map(({ point, index }) => {
                  const mark = style(byName.get(point.model), lit);
                  return {
                    value: [point.costs[measure], point.value],
                    symbol: mark.shape,
                    symbolSize: mark.size,
                    itemStyle: { color: mark.colour, borderColor: theme.colour("surface"), borderWidth: 1 },
                    // Names stand towards the middle, and above the line that leads to their marks.
                    label: { show: lit.includes(point.model) || front.includes(index), position: isRight(point.costs[measure]) ? "left" : "right", offset: [0, -9] },
                    point,
                    index,
                  };
                }),
                label: { distance: 8, color: theme.colour("ink"), fontSize: 12, width: 150, overflow: "truncate", formatter: ({ data: dot }) => dot.point.model + dot.point.marks },
                labelLayout: { moveOverlap: "shiftY", hideOverlap: true },
                tooltip: {
                  formatter: ({ data: { point, index } }) =>
                    `${point.model}\n${metricTitle}: ${number(point.value)}${point.marks} ${span(point)}\n${measures[measure].title}: ${point.texts[measure]}` +
                    (point.machine ? `\n${point.machine}` : "") + (front.includes(index) ? "\non the line" : ""),
                },
              },
            ],
          },
          table: {
            header: ["Model", measures[measure].title, metricTitle, "95 % interval", "Documents", "On the line", "Machine"],
            rows: points.map((point, index) => [
              point.model, point.costs[measure] === null ? "not measured" : point.texts[measure], number(point.value) + point.marks, span(point),
              String(point.documents), front.includes(index) ? "yes" : "", point.machine,
            ]),
          },
        };
      },
    };
  }

  return { plot };
})();
