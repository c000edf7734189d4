// The charts of a run's report, and the choice of the task that they and the samples are about.
"use strict";

(() => {
  const { tasks, outcomes } = JSON.parse(document.getElementById("data").textContent);
  const { scale, names, number, percent, interval, legend, legendHeight, choice } = charts;
  const OUTCOMES = outcomes.filter((outcome) => outcome !== "parsed");
  const span = (figure) => `${number(figure.low)} – ${number(figure.high)}`;
  const cut = (name, most = 34) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);
  const byId = (id) => document.getElementById(id);
  let task = tasks[0];

  // --- all tasks -----------------------------------------------------------------------------------------------------

  // Figures with their intervals, one a line.
  function dots(entries, about, width) {
    const ends = entries.map((entry) => entry.high);
    return {
      height: 34 + entries.length * (entries.length > 20 ? 21 : 30),
      option: {
        grid: { left: 8, right: 20, top: 6, bottom: 4, containLabel: true },
        xAxis: scale({ min: 0, max: Math.min(1, Math.ceil(10 * Math.max(0.05, ...ends)) / 10), splitNumber: width < 480 ? 3 : 5 }),
        yAxis: names(entries.map((entry) => entry.name), { axisLabel: { color: theme.colour("ink"), fontSize: 12.5, interval: 0, width: width < 480 ? 120 : 230, overflow: "truncate" } }),
        series: [
          interval(theme.colour("mellama"), entries.map((entry, y) => [[entry.low, y], [entry.high, y]])),
          {
            type: "scatter",
            symbolSize: 11,
            z: 5,
            itemStyle: { color: theme.colour("mellama"), borderColor: theme.colour("surface"), borderWidth: 1 },
            data: entries.map((entry, y) => ({ value: [entry.value, y], entry })),
            tooltip: { formatter: ({ data: { entry } }) => `${entry.name}\n${entry.figure}: ${number(entry.value)}\n95 % interval ${span(entry)}\n${entry.n} samples` },
          },
        ],
      },
      table: {
        header: [about, "Figure", "Value", "95 % interval", "Samples"],
        rows: entries.map((entry) => [entry.name, entry.figure, number(entry.value), span(entry), String(entry.n)]),
      },
    };
  }

  const overview = (width) => dots(tasks.map((each) => ({ ...each.score, name: each.short, figure: each.headline })), "Task", width);

  function kept(width) {
    const top = legendHeight(OUTCOMES, width);
    const all = (each) => OUTCOMES.reduce((sum, name) => sum + each.rates[name], 0);
    return {
      height: top + 34 + tasks.length * 30,
      option: {
        grid: { left: 8, right: 52, top, bottom: 4, containLabel: true },
        legend: legend(OUTCOMES),
        xAxis: scale({ min: 0, max: 1, splitNumber: width < 480 ? 2 : 5, axisLabel: { color: theme.colour("muted"), fontSize: 12, formatter: percent } }),
        yAxis: names(tasks.map((each) => each.short), { axisLabel: { color: theme.colour("ink"), fontSize: 12.5, interval: 0, width: width < 480 ? 120 : 230, overflow: "truncate" } }),
        series: OUTCOMES.map((outcome, position) => ({
          name: outcome,
          type: "bar",
          stack: "all",
          barMaxWidth: 16,
          itemStyle: { color: theme.colour(outcome), borderColor: theme.colour("surface"), borderWidth: 1 },
          data: tasks.map((each) => ({ value: each.rates[outcome], each })),
          label: { show: position === OUTCOMES.length - 1, position: "right", color: theme.colour("ink"), fontSize: 12, formatter: ({ data: bar }) => percent(all(bar.each)) },
          tooltip: { formatter: ({ data: { each } }) => `${each.short}, ${each.samples} outputs\n${OUTCOMES.map((name) => `${name} ${percent(each.rates[name])}`).join("\n")}` },
        })),
      },
      table: {
        header: ["Task", "Outputs", ...OUTCOMES],
        rows: tasks.map((each) => [each.short, String(each.samples), ...OUTCOMES.map((name) => percent(each.rates[name]))]),
      },
    };
  }

  // --- one task ------------------------------------------------------------------------------------------------------

  // A colour of the theme, let through by so much; the opacity of a mark would also fade what is written on it.
  const shade = (name, share) => theme.colour(name) + Math.round(255 * share).toString(16).padStart(2, "0");

  // Black or white, whichever is read better on a colour that is let through by so much: 4.58 to 1 at the least.
  function inkOn(name, share) {
    const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    const [colour, below] = [channels(theme.colour(name)), channels(theme.colour("surface"))];
    const linear = colour.map((value, k) => {
      const mixed = (share * value + (1 - share) * below[k]) / 255;
      return mixed <= 0.04045 ? mixed / 12.92 : ((mixed + 0.055) / 1.055) ** 2.4;
    });
    const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    return luminance > 0.179 ? "#000000" : "#ffffff";
  }

  // Each field is a rectangle as dark as its share of the row, so that a rare label is seen as well as a common one.
  function confusion(width) {
    const { labels, counts } = task.confusion;
    const columns = [...labels, "no answer"];
    const longest = Math.max(...columns.map((name) => cut(name).length));
    const left = Math.min(width * 0.38, 24 + 7 * longest);
    const cell = Math.max(9, Math.min(110, (width - left - 16) / columns.length));
    const tall = Math.max(14, Math.min(40, cell));
    const turned = cell < 7.2 * longest;
    const bottom = 34 + (turned ? Math.min(150, 7 * longest) : 14);
    const upright = cell >= 30;
    const fields = counts.flatMap((line, y) => {
      const sum = line.reduce((a, b) => a + b, 0);
      return line.map((count, x) => {
        const share = sum ? count / sum : 0;
        const colour = x === y ? "right" : x === labels.length ? "unparsed" : "wrong";
        return { x, y, count, share, sum, colour, depth: count ? 0.16 + 0.84 * share : 0.05 };
      });
    });
    return {
      height: 12 + labels.length * tall + bottom,
      option: {
        grid: { left, width: cell * columns.length, top: 8, height: labels.length * tall },
        xAxis: { ...names(columns), inverse: false, position: "bottom", name: "label read", nameLocation: "middle", nameGap: bottom - 16, nameTextStyle: { color: theme.colour("muted"), fontSize: 12 }, axisLabel: { color: theme.colour("ink"), fontSize: 12, interval: 0, rotate: turned ? 60 : 0, width: 150, overflow: "truncate" } },
        yAxis: names(labels, { axisLabel: { color: theme.colour("ink"), fontSize: 12, interval: 0, width: left - 14, overflow: "truncate" } }),
        series: [{
          type: "scatter",
          symbol: "rect",
          symbolSize: [cell - 2, tall - 2],
          cursor: task.private ? "default" : "pointer",
          data: fields.map((field) => ({
            value: [field.x, field.y],
            field,
            itemStyle: { color: shade(field.colour, field.depth) },
            label: { show: upright && field.count > 0, formatter: String(field.count), color: inkOn(field.colour, field.depth), fontSize: 12 },
          })),
          tooltip: { formatter: ({ data: { field } }) => `true: ${labels[field.y]}\nread: ${columns[field.x]}\n${field.count} of ${field.sum} (${percent(field.share)})` },
        }],
      },
      table: { header: ["True label", ...columns], rows: counts.map((line, y) => [labels[y], ...line.map(String)]) },
    };
  }

  let field = "";
  const groups = () => task.breakdowns[field] ?? Object.values(task.breakdowns)[0];
  const breakdown = (width) => dots(
    [...groups()].sort((a, b) => b.value - a.value).map((each) => ({ ...each, name: each.name.replaceAll("_", " "), figure: task.headline })),
    "Group",
    width,
  );

  // Where answers are as often right as they are probable, all points lie on the diagonal; a point is as large as its bin.
  function reliability() {
    const bins = task.reliability;
    const most = Math.max(...bins.map((bin) => bin.accuracy.n));
    const range = (bin) => `${bin.low.toFixed(1)} to ${bin.high.toFixed(1)}`;
    const axis = (name, nameGap) => scale({ min: 0, max: 1, splitNumber: 5, name, nameLocation: "middle", nameGap, nameTextStyle: { color: theme.colour("muted"), fontSize: 12 } });
    return {
      height: 320,
      option: {
        grid: { left: 52, right: 20, top: 12, bottom: 44 },
        xAxis: axis("probability of the answer", 28),
        yAxis: axis("accuracy", 34),
        series: [
          { type: "line", silent: true, symbol: "none", data: [[0, 0], [1, 1]], lineStyle: { color: theme.colour("muted"), type: "dashed", width: 1.5 } },
          interval(theme.colour("mellama"), bins.map((bin) => [[bin.confidence, bin.accuracy.low], [bin.confidence, bin.accuracy.high]])),
          {
            type: "scatter",
            z: 5,
            itemStyle: { color: theme.colour("mellama"), borderColor: theme.colour("surface"), borderWidth: 1 },
            data: bins.map((bin) => ({ value: [bin.confidence, bin.accuracy.value], bin, symbolSize: 7 + 13 * Math.sqrt(bin.accuracy.n / most) })),
            tooltip: { formatter: ({ data: { bin } }) => `probability ${range(bin)}, mean ${number(bin.confidence)}\naccuracy ${number(bin.accuracy.value)} (${span(bin.accuracy)})\n${bin.accuracy.n} of ${task.samples} samples` },
          },
        ],
      },
      table: {
        header: ["Probability of the answer", "Its mean", "Accuracy", "95 % interval", "Samples"],
        rows: bins.map((bin) => [range(bin), number(bin.confidence), number(bin.accuracy.value), span(bin.accuracy), String(bin.accuracy.n)]),
      },
    };
  }

  const short = (value) => (value >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(2))));

  function bars(histogram, unit, width) {
    const { step, counts, median, p95, n } = histogram;
    const from = (k) => short(k * step);
    const last = (k) => k === counts.length - 1;
    const labels = counts.map((_, k) => from(k) + (last(k) ? "+" : ""));
    const roomOfLabel = 14 + 7 * Math.max(4, ...labels.map((label) => label.length));
    const range = (k) => (last(k) ? `${from(k)} ${unit} and above` : step === 1 ? `${from(k)} ${unit}` : `${from(k)} to ${short((k + 1) * step)} ${unit}`);
    return {
      height: 240,
      option: {
        grid: { left: 48, right: 12, top: 30, bottom: 40 },
        title: { text: `median ${short(median)}, 95 % below ${short(p95)} ${unit}`, left: 0, top: 0, textStyle: { color: theme.colour("muted"), fontSize: 12.5, fontWeight: "normal" } },
        xAxis: { ...names(labels), inverse: false, name: unit, nameLocation: "middle", nameGap: 26, nameTextStyle: { color: theme.colour("muted"), fontSize: 12 }, axisLabel: { color: theme.colour("muted"), fontSize: 11.5, interval: Math.max(0, Math.ceil((counts.length * roomOfLabel) / width) - 1) } },
        yAxis: scale({ min: 0, minInterval: 1, splitNumber: 4 }),
        series: [{
          type: "bar",
          barCategoryGap: "8%",
          itemStyle: { color: theme.colour("mellama"), borderRadius: [2, 2, 0, 0] },
          data: counts,
          tooltip: { formatter: ({ dataIndex: k, value }) => `${range(k)}\n${value} of ${n} samples` },
        }],
      },
      table: { header: [unit, "Samples"], rows: counts.map((count, k) => [range(k), String(count)]) },
    };
  }

  let read = "new_tokens";
  const seconds = (width) => bars(task.histograms.seconds, "seconds", width);
  const tokens = (width) => bars(task.histograms[read] ?? task.histograms.prompt_tokens, "tokens", width);

  // --- putting it together -------------------------------------------------------------------------------------------

  const KINDS = {
    confusion: { view: confusion, has: () => task.confusion !== null },
    breakdown: { view: breakdown, has: () => Object.values(task.breakdowns).some((entries) => entries.length > 1) },
    reliability: { view: reliability, has: () => task.reliability !== null },
    seconds: { view: seconds, has: () => task.histograms.seconds !== null },
    tokens: { view: tokens, has: () => (task.histograms[read] ?? task.histograms.prompt_tokens) !== null },
  };

  function clicked({ data }) {
    if (task.private || !data?.field) return;
    samples.narrow(String(data.field.y), data.field.x === task.confusion.labels.length ? "none" : String(data.field.x));
  }

  if (tasks.length > 1) {
    charts.draw(byId("overview"), overview);
    charts.draw(byId("outcomes"), kept);
  }
  choice(byId("tokens"), "Tokens", ["written", "read"], 0, (chosen) => {
    read = ["new_tokens", "prompt_tokens"][chosen];
    KINDS.tokens.redraw();
  });
  for (const kind of ["confusion", "breakdown", "reliability", "seconds", "tokens"]) {
    KINDS[kind].redraw = charts.draw(byId(kind), KINDS[kind].view, { clicked: kind === "confusion" ? clicked : undefined });
  }

  function fields() {
    byId("breakdown").querySelector(".choice")?.remove();
    const known = Object.keys(task.breakdowns);
    field = known[0] ?? "";
    if (known.length > 1) {
      choice(byId("breakdown"), "Group", known, 0, (chosen) => {
        field = known[chosen];
        KINDS.breakdown.redraw();
      });
      byId("breakdown").querySelector(".plot").before(byId("breakdown").querySelector(".choice"));
    }
  }

  function open(chosen, how) {
    task = tasks[chosen];
    byId("task-choice").value = chosen;
    byId("task-line").textContent = `${task.headline} ${number(task.score.value)} (${span(task.score)}) · ${task.samples.toLocaleString("en")} samples`;
    fields();
    for (const [id, kind] of Object.entries(KINDS)) {
      byId(id).hidden = !kind.has();
      if (kind.has()) kind.redraw();
    }
    samples.open(chosen, task.name, how);
  }

  byId("task").hidden = byId("samples").hidden = false;
  byId("task-choice").addEventListener("change", (event) => open(Number(event.target.value)));

  // The address names the sample that was open (#sample/<task>/<id>), or asks for a task's wrong or lowest ones, or for
  // those of a way to vary its documents (#versions/<task>/<way>/<which>).
  const alone = { "filter-version": versions.ITSELF };
  const WAYS = { wrong: { filters: { "filter-right": "0", ...alone } }, lowest: { sort: "score up", filters: alone } };
  function follow() {
    const [what, name, ...rest] = location.hash.slice(1).split("/").map(decodeURIComponent);
    const linked = tasks.findIndex((each) => each.name === name);
    const how = what === "sample" ? { id: rest.join("/") } : what === "versions" ? versions.linked(rest) : WAYS[what];
    if (linked < 0 || how === undefined) return false;
    open(linked, how);
    byId("samples").scrollIntoView();
    return true;
  }

  document.querySelectorAll("#scores a[hidden]").forEach((link) => { link.hidden = false; });
  addEventListener("hashchange", follow);
  if (!follow()) open(0);
})();
