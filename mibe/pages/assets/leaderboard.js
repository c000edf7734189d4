// The charts of the leaderboard, from the data that stands in the page.
"use strict";

(() => {
  // A name with right-to-left marks is isolated, so that it does not turn round what stands beside it.
  const NAMES = new Set(["name", "model", "backbone"]);
  const RIGHT_TO_LEFT = /[\u0590-\u08ff\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc]/;
  const isolated = (key, value) =>
    NAMES.has(key) && typeof value === "string" && RIGHT_TO_LEFT.test(value) ? `\u2068${value}\u2069` : value;

  const data = JSON.parse(document.getElementById("data").textContent, isolated);
  const SHAPES = ["diamond", "triangle", "rect", "pin", "roundRect", "arrow"];
  const OUTCOMES = ["unparsed", "truncated", "refused", "error"];
  const { scale, names, number, percent, interval, legend, legendHeight, choice } = charts;

  // Own runs have a colour and a shape each, as many as the eye tells apart: `lit` holds the names of these, and the others
  // share one, as the paper's models share two. A tooltip names every mark.
  const ownModels = (board) => board.models.filter((model) => model.own).map((model) => model.name);
  const best = (board) => ownModels(board).slice(0, data.colours);
  function style(model, lit) {
    if (!model.own) return { colour: theme.colour(model.family), shape: "circle", size: model.family === "mellama" ? 10 : 8 };
    const index = lit.indexOf(model.name);
    if (index < 0) return { colour: theme.colour("own-more"), shape: "circle", size: 8 };
    return { colour: theme.colour(`own-${index}`), shape: SHAPES[index], size: 14 };
  }
  const FAMILY_NAMES = { more: "other own runs", mellama: "Me-LLaMA (paper)", other: "other models (paper)" };
  const familyOf = (model, lit) => (!model.own ? model.family : lit.includes(model.name) ? "own" : "more");
  const familyName = (model, lit) => FAMILY_NAMES[familyOf(model, lit)] ?? model.name;
  const families = (board, lit) => [
    ...lit,
    ...Object.keys(FAMILY_NAMES).filter((family) => board.models.some((model) => familyOf(model, lit) === family)).map((family) => FAMILY_NAMES[family]),
  ];

  const span = (cell) => (cell.low === null ? "" : `${number(cell.low)} – ${number(cell.high)}`);
  const tooltip = (model, column, cell) =>
    `${model.name}\n${column.title}, ${column.metricTitle}: ${number(cell.value)}` +
    (cell.low === null ? "" : `\n95 % interval ${span(cell)}`) +
    (cell.marked ? `\n${cell.marked}` : "");

  // The end of an axis that begins at 0: the next tenth beyond all figures and intervals.
  const upTo = (cells) => Math.min(1, Math.ceil(10 * Math.max(0.05, ...cells.map((cell) => (cell ? cell.high ?? cell.value : 0)))) / 10);

  // Whose marks have colours: the best, or the one that the reader chooses.
  function lighting(board) {
    const chosen = { lit: best(board) };
    chosen.prepare = (figure, redraw) => {
      const all = ownModels(board);
      if (all.length <= data.colours) return;
      choice(figure, "Colours for", [`the best ${data.colours}`, ...all], 0, (index) => {
        chosen.lit = index === 0 ? best(board) : [all[index - 1]];
        redraw();
      });
    };
    return chosen;
  }

  function overview(board) {
    const chosen = lighting(board);
    const view = (width) => {
      const { lit } = chosen;
      const lines = [];
      for (const [index, column] of board.columns.entries()) {
        if (!column.headline) continue;
        if (column.category !== lines.findLast((line) => line.category)?.category) lines.push({ category: column.category });
        lines.push({ index, column });
      }
      const at = new Map(lines.flatMap((line, y) => (line.column ? [[line.index, y]] : [])));
      const groups = new Map();
      for (const model of [...board.models].reverse()) {
        const name = familyName(model, lit);
        const group = groups.get(name) ?? groups.set(name, { ...style(model, lit), lit: lit.includes(model.name), dots: [], spans: [] }).get(name);
        board.columns.forEach((column, index) => {
          const cell = model.cells[index];
          if (!cell || !at.has(index)) return;
          group.dots.push({ value: [cell.value, at.get(index)], model, column, cell });
          if (cell.low !== null && group.lit) group.spans.push([[cell.low, at.get(index)], [cell.high, at.get(index)]]);
        });
      }
      const shown = families(board, lit);
      const top = legendHeight(shown, width);
      const narrow = width < 480;
      return {
        height: top + 30 + lines.length * 26,
        option: {
          grid: { left: 8, right: 14, top, bottom: 4, containLabel: true },
          legend: legend(shown),
          xAxis: scale({ min: 0, max: upTo(board.models.flatMap((m) => m.cells)), splitNumber: narrow ? 3 : 5 }),
          yAxis: names(lines.map((line, y) => String(y)), {
            axisLabel: {
              interval: 0,
              formatter: (y) => {
                const line = lines[Number(y)];
                return line.category ? `{head|${line.category}}` : `{name|${line.column.title}}` + (narrow ? "" : `  {unit|${line.column.metricTitle}}`);
              },
              rich: {
                head: { color: theme.colour("muted"), fontSize: 11.5, fontWeight: "bold" },
                name: { color: theme.colour("ink"), fontSize: 13 },
                unit: { color: theme.colour("muted"), fontSize: 11.5 },
              },
            },
          }),
          series: [...groups].flatMap(([name, group]) => [
            {
              name,
              type: "scatter",
              symbol: group.shape,
              symbolSize: group.size,
              z: group.lit ? 5 : 2,
              itemStyle: { color: group.colour, opacity: group.lit ? 1 : 0.75, borderColor: theme.colour("surface"), borderWidth: 1 },
              data: group.dots,
              tooltip: { formatter: ({ data: dot }) => tooltip(dot.model, dot.column, dot.cell) },
            },
            { ...interval(group.colour, group.spans), name },
          ]),
        },
        table: figures(board, board.columns.map((_, index) => index).filter((index) => at.has(index))),
      };
    };
    return { prepare: chosen.prepare, view };
  }

  function figures(board, indices) {
    const rows = board.models.flatMap((model) =>
      indices.flatMap((index) => {
        const cell = model.cells[index];
        const column = board.columns[index];
        return cell ? [[model.name, column.title, column.metricTitle, number(cell.value) + cell.marks, span(cell)]] : [];
      }),
    );
    return { header: ["Model", "Data set", "Figure", "Value", "95 % interval"], rows };
  }

  function task(board) {
    const usable = board.columns.map((_, index) => index).filter((index) => board.models.some((m) => m.cells[index]));
    const first = usable.findIndex((index) => board.models.some((model) => model.own && model.cells[index]));
    let chosen = usable[Math.max(0, first)];
    return {
      prepare: (figure, redraw) =>
        choice(
          figure,
          "Data set",
          usable.map((index) => `${board.columns[index].title}: ${board.columns[index].metricTitle}`),
          usable.indexOf(chosen),
          (position) => { chosen = usable[position]; redraw(); },
        ),
      view: (width) => {
        const column = board.columns[chosen];
        const models = board.models.filter((m) => m.cells[chosen]).sort((a, b) => b.cells[chosen].value - a.cells[chosen].value);
        const step = models.length > 24 ? 14 : 32;
        const lit = best(board);
        const spans = models.flatMap((model, y) => {
          const cell = model.cells[chosen];
          return cell.low === null ? [] : [[[cell.low, y], [cell.high, y]]];
        });
        return {
          height: 36 + models.length * step,
          option: {
            grid: { left: 8, right: 44, top: 6, bottom: 4, containLabel: true },
            xAxis: scale({ min: 0, max: upTo(models.map((m) => m.cells[chosen])), splitNumber: width < 480 ? 3 : 5 }),
            yAxis: names(models.map((model) => model.name), {
              axisLabel: { color: theme.colour("ink"), fontSize: Math.min(12.5, step - 4), width: 150, overflow: "truncate", interval: 0 },
              tooltip: { show: true },
            }),
            series: [
              {
                type: "bar",
                barMaxWidth: Math.min(18, step - 5),
                data: models.map((model) => ({
                  value: model.cells[chosen].value,
                  itemStyle: { color: style(model, lit).colour, borderRadius: [0, 3, 3, 0] },
                  label: {
                    show: true,
                    // Beside the interval where there is one, so that it is not struck through.
                    position: "right",
                    distance: model.cells[chosen].high === null ? 6 : 6 + 8,
                    formatter: model.cells[chosen].high === null ? number(model.cells[chosen].value) : "",
                    color: theme.colour("ink"),
                    fontSize: 12,
                  },
                  model,
                })),
                tooltip: { formatter: ({ data: bar }) => tooltip(bar.model, column, bar.model.cells[chosen]) },
              },
              { ...interval(theme.colour("ink"), spans), lineStyle: { color: theme.colour("ink"), width: 2, opacity: 0.8 } },
              {
                type: "scatter",
                silent: true,
                symbolSize: 1,
                itemStyle: { color: "transparent" },
                data: models.flatMap((model, y) => {
                  const cell = model.cells[chosen];
                  return cell.high === null ? [] : [{ value: [cell.high, y], label: { formatter: number(cell.value) + cell.marks } }];
                }),
                label: { show: true, position: "right", distance: 6, color: theme.colour("ink"), fontSize: 12, fontWeight: "bold" },
              },
            ],
          },
          table: figures({ ...board, models }, [chosen]),
        };
      },
    };
  }

  function outcomes(board) {
    let chosen = 0;
    return {
      prepare: (figure, redraw) => {
        if (board.outcomes.length > 1) {
          choice(figure, "Model", board.outcomes.map((entry) => entry.model), 0, (index) => { chosen = index; redraw(); });
        }
      },
      view: (width) => {
        const { model, tasks } = board.outcomes[chosen];
        const top = legendHeight(OUTCOMES, width);
        return {
          height: top + 30 + tasks.length * 32,
          option: {
            grid: { left: 8, right: 48, top, bottom: 4, containLabel: true },
            legend: legend(OUTCOMES),
            xAxis: scale({ min: 0, max: 1, splitNumber: width < 480 ? 2 : 5, axisLabel: { color: theme.colour("muted"), fontSize: 12, formatter: (x) => `${Math.round(100 * x)} %` } }),
            yAxis: names(tasks.map((entry) => entry.title)),
            series: OUTCOMES.map((outcome, position) => ({
              name: outcome,
              type: "bar",
              stack: "all",
              barMaxWidth: 18,
              itemStyle: { color: theme.colour(outcome), borderColor: theme.colour("surface"), borderWidth: 1 },
              data: tasks.map((entry) => ({ value: entry.rates[outcome], entry })),
              label: {
                show: position === OUTCOMES.length - 1,
                position: "right",
                color: theme.colour("ink"),
                fontSize: 12,
                formatter: ({ data: bar }) => percent(OUTCOMES.reduce((sum, name) => sum + bar.entry.rates[name], 0)),
              },
              tooltip: {
                formatter: ({ data: bar }) =>
                  `${model}\n${bar.entry.title}, ${bar.entry.samples} outputs\n` + OUTCOMES.map((name) => `${name} ${percent(bar.entry.rates[name])}`).join("\n"),
              },
            })),
          },
          table: {
            header: ["Model", "Data set", "Outputs", ...OUTCOMES],
            rows: board.outcomes.flatMap((entry) =>
              entry.tasks.map((t) => [entry.model, t.title, String(t.samples), ...OUTCOMES.map((name) => percent(t.rates[name]))]),
            ),
          },
        };
      },
    };
  }

  // Heights in order, each at least `gap` above the one before.
  const apart = (values, gap) => values.reduce((placed, value) => [...placed, Math.max(value, placed.length ? placed.at(-1) + gap : -Infinity)], []);

  // Curves bear their names at their ends; those without a colour have them in their tooltips.
  function topk(board) {
    const curves = board.topk.map((curve) => ({ ...curve, name: `${curve.model}, ${curve.title}` }));
    const last = (curve) => curve.points.at(-1).value;
    const coloured = [...curves].sort((a, b) => last(b) - last(a)).slice(0, data.colours);
    return (width) => {
      const depth = Math.max(...curves.map((curve) => curve.points.length));
      const room = Math.round(Math.min(190, 0.34 * width));
      const one = new Set(curves.map((curve) => curve.title)).size === 1;
      const upwards = [...coloured].reverse();
      const heights = apart(upwards.map(last), 0.06);
      // What went above the top comes down with all below it.
      const down = Math.max(0, heights.at(-1) - 1);
      return {
        height: 330,
        option: {
          grid: { left: 34, right: room + 14, top: 14, bottom: 40 },
          xAxis: scale({ min: 1, max: depth, interval: 1, name: "k", nameLocation: "middle", nameGap: 26, splitLine: { show: false } }),
          yAxis: scale({ min: 0, max: 1 }),
          series: curves.flatMap((curve) => {
            const index = coloured.indexOf(curve);
            const lit = index >= 0;
            const colour = theme.colour(lit ? `own-${index}` : "own-more");
            return [
              {
                type: "line",
                symbol: lit ? SHAPES[index] : "circle",
                symbolSize: lit ? 11 : 5,
                z: lit ? 5 : 2,
                itemStyle: { color: colour },
                lineStyle: { color: colour, width: lit ? 2 : 1, opacity: lit ? 1 : 0.6 },
                data: curve.points.map((point, k) => [k + 1, point.value]),
                tooltip: { formatter: ({ dataIndex: k }) => `${curve.name}\ntop ${k + 1}: ${number(curve.points[k].value)} (${span(curve.points[k])})\n${curve.documents} cases` },
              },
              ...(lit ? [interval(colour, curve.points.map((point, k) => [[k + 1, point.low], [k + 1, point.high]]))] : []),
            ];
          }).concat({
            type: "scatter",
            silent: true,
            symbolSize: 10,
            symbolOffset: [18, 0],
            data: upwards.map((curve, place) => ({
              value: [depth, heights[place] - down],
              symbol: SHAPES[coloured.indexOf(curve)],
              itemStyle: { color: theme.colour(`own-${coloured.indexOf(curve)}`) },
              label: { show: true, position: "right", formatter: one ? curve.model : curve.name, color: theme.colour("ink"), fontSize: 12, width: room - 24, overflow: "truncate" },
            })),
          }),
        },
        table: {
          header: ["Model", "Data set", "k", "Accuracy", "95 % interval", "Cases"],
          rows: curves.flatMap((curve) => curve.points.map((point, k) => [curve.model, curve.title, String(k + 1), number(point.value), span(point), curve.documents])),
        },
      };
    };
  }

  function forgetting() {
    const points = data.forgetting;
    const lit = points.filter((point) => point.own).map((point) => point.name).slice(0, data.colours);
    const byName = new Map(points.map((point) => [point.name, point]));
    const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
    const change = (point) => {
      const from = byName.get(point.backbone);
      return from ? [signed(point.mmlu - from.mmlu), signed(point.medqa - from.medqa)] : ["", ""];
    };
    // Where an arrow arrives, the name stands beyond its head; where arrows leave, below.
    const side = (point) => {
      const from = byName.get(point.backbone);
      return !from ? "bottom" : point.mmlu < from.mmlu ? "left" : "right";
    };
    return (width) => {
      const bounds = (key) => {
        const values = points.map((point) => point[key]);
        return [Math.max(0, Math.floor(20 * Math.min(...values) - 1) / 20), Math.min(1, Math.ceil(20 * Math.max(...values) + 1) / 20)];
      };
      const [left, right] = bounds("mmlu");
      const [low, high] = bounds("medqa");
      const axis = (name, from, to) => scale({ min: from, max: to, name, nameLocation: "middle", nameGap: 32, nameTextStyle: { color: theme.colour("muted"), fontSize: 12.5 } });
      return {
        height: 340,
        option: {
          grid: { left: 56, right: 24, top: 16, bottom: 48 },
          xAxis: axis("MMLU accuracy", left, right),
          yAxis: { ...axis("MedQA accuracy", low, high), nameGap: 42 },
          series: [
            {
              type: "scatter",
              data: points.map((point) => ({ value: [point.mmlu, point.medqa], symbol: style(point, lit).shape, symbolSize: style(point, lit).size + 2, itemStyle: { color: style(point, lit).colour }, label: { show: !point.own || lit.includes(point.name), position: side(point) }, point })),
              label: { distance: 8, color: theme.colour("ink"), fontSize: 12, width: 170, overflow: "truncate", formatter: ({ data: dot }) => dot.point.name + (dot.point.partial ? "*" : "") },
              labelLayout: { moveOverlap: "shiftY", hideOverlap: true },
              tooltip: {
                formatter: ({ data: { point } }) => {
                  const [general, medical] = change(point);
                  return `${point.name}\nMMLU ${number(point.mmlu)} ${general}\nMedQA ${number(point.medqa)} ${medical}` + (point.backbone ? `\nfrom ${point.backbone}` : "") + (point.partial ? "\n* of a part of the documents" : "");
                },
              },
              markLine: {
                silent: true,
                symbol: ["none", "arrow"],
                symbolSize: 9,
                label: { show: false },
                data: points.flatMap((point) => {
                  const from = byName.get(point.backbone);
                  return from ? [[{ coord: [from.mmlu, from.medqa], lineStyle: { color: style(point, lit).colour, type: "solid", width: 2, opacity: 0.8 } }, { coord: [point.mmlu, point.medqa] }]] : [];
                }),
              },
            },
          ],
        },
        table: {
          header: ["Model", "Backbone", "MMLU", "change", "MedQA", "change"],
          rows: points.map((point) => {
            const [general, medical] = change(point);
            return [point.name, point.backbone ?? "", number(point.mmlu), general, number(point.medqa), medical];
          }),
        },
      };
    };
  }

  const cost = (board) => costs.plot(board, style, best);
  const KINDS = { overview, task, outcomes, topk, forgetting, cost };
  for (const figure of document.querySelectorAll("[data-chart]")) {
    const made = KINDS[figure.dataset.chart](data.boards[Number(figure.dataset.board)]);
    let redraw = () => {};
    made.prepare?.(figure, () => redraw());
    redraw = charts.draw(figure, made.view ?? made);
  }
})();
