// Charts on top of ECharts: drawn in the colours of the theme, with a table of the same figures and a file to take away.
"use strict";

const charts = (() => {
  const LEGEND_LETTERS = 28;
  const drawn = [];

  // The parts of an option that all charts share. Tooltips are drawn as text, never as HTML.
  function base() {
    const ink = theme.colour("ink");
    return {
      animation: false,
      backgroundColor: theme.colour("surface"),
      textStyle: { fontFamily: "system-ui, sans-serif", color: ink, fontSize: 13 },
      tooltip: {
        trigger: "item",
        renderMode: "richText",
        confine: true,
        backgroundColor: theme.colour("raised"),
        borderColor: theme.colour("line"),
        textStyle: { color: ink, fontSize: 13 },
      },
      aria: { enabled: false },
    };
  }

  // An axis of shares or scores between 0 and 1.
  const scale = (more = {}) => ({
    type: "value",
    axisLabel: { color: theme.colour("muted"), fontSize: 12 },
    axisLine: { show: false },
    axisTick: { show: false },
    splitLine: { lineStyle: { color: theme.colour("grid") } },
    ...more,
  });

  // An axis of names, from top to bottom.
  const names = (data, more = {}) => ({
    type: "category",
    inverse: true,
    data,
    axisLine: { show: false },
    axisTick: { show: false },
    axisLabel: { color: theme.colour("ink"), fontSize: 13, interval: 0 },
    ...more,
  });

  // An interval is a stretch of a line that is broken between its points.
  const interval = (colour, points) => ({
    type: "line",
    silent: true,
    symbol: "none",
    data: points.flatMap(([low, high]) => [low, high, ["-", "-"]]),
    lineStyle: { color: colour, width: 3, opacity: 0.55, cap: "round" },
    z: 3,
  });

  const LEGEND = { marker: 14, gap: 16, size: 12.5 };
  const shortened = (name) => (name.length > LEGEND_LETTERS ? `${name.slice(0, LEGEND_LETTERS - 1)}…` : name);

  // Names are cut, and whole when one points at them.
  const legend = (entries) => ({
    data: entries,
    left: 0,
    top: 0,
    itemWidth: LEGEND.marker,
    itemHeight: 10,
    itemGap: LEGEND.gap,
    formatter: shortened,
    tooltip: { show: true },
    textStyle: { color: theme.colour("muted"), fontSize: LEGEND.size },
    inactiveColor: theme.colour("line"),
  });

  const ruler = document.createElement("canvas").getContext("2d");
  // How high a legend is that wraps, by the width that its entries take.
  const legendHeight = (entries, width) => {
    ruler.font = `${LEGEND.size}px system-ui, sans-serif`;
    let [rows, used] = [1, 0];
    for (const entry of entries) {
      const wide = LEGEND.marker + 5 + ruler.measureText(shortened(entry)).width + LEGEND.gap;
      // A little room: what draws the text may measure it otherwise.
      if (used > 0 && used + wide > width - 20) [rows, used] = [rows + 1, 0];
      used += wide;
    }
    return 26 * rows + 12;
  };

  const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

  // A choice above a chart; `changed` is called with the index chosen.
  function choice(figure, label, options, chosen, changed) {
    const box = document.createElement("label");
    box.className = "choice";
    const select = document.createElement("select");
    options.forEach((text, index) => select.add(new Option(text, index, index === chosen, index === chosen)));
    select.addEventListener("change", () => changed(Number(select.value)));
    box.append(`${label} `, select);
    figure.append(box);
  }

  function save(name, url) {
    const link = document.createElement("a");
    link.download = name;
    link.href = url;
    link.click();
  }

  const svgText = (chart) => decodeURIComponent(chart.getDataURL({ type: "svg" }).split(",").slice(1).join(","));

  function saveSvg(chart, name) {
    const url = URL.createObjectURL(new Blob([svgText(chart)], { type: "image/svg+xml" }));
    save(`${name}.svg`, url);
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }

  function savePng(chart, name) {
    const picture = new Image();
    picture.addEventListener("load", () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [2 * chart.getWidth(), 2 * chart.getHeight()];
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      save(`${name}.png`, canvas.toDataURL("image/png"));
    });
    picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgText(chart))}`;
  }

  function button(text, action) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "quiet";
    made.textContent = text;
    made.addEventListener("click", action);
    return made;
  }

  function table({ header, rows }, caption) {
    const made = document.createElement("table");
    made.createCaption().textContent = caption;
    const head = made.createTHead().insertRow();
    for (const text of header) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = text;
      head.append(cell);
    }
    const body = made.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      for (const text of row) {
        const cell = line.insertCell();
        cell.dir = "auto";
        cell.textContent = text;
      }
    }
    return made;
  }

  // Draw into a figure. `view()` gives { height, option, table: { header, rows } } for the state of the moment;
  // returns a function that draws anew. A width that changes is drawn anew by itself, and a figure that is not shown
  // is drawn as soon as it is. `clicked` is called with what was clicked on.
  function draw(figure, view, { clicked } = {}) {
    const title = figure.querySelector("h3").textContent;
    const place = document.createElement("div");
    place.className = "plot";
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", `${title}. The table below has its figures.`);
    const tools = document.createElement("div");
    tools.className = "tools";
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = "Show as a table";
    const scroll = document.createElement("div");
    scroll.className = "scroll";
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", title);
    details.append(summary, scroll);
    figure.append(place, tools, details);

    let chart = null;
    const redraw = () => {
      if (place.clientWidth === 0) return;
      const { height, option, table: content } = view(place.clientWidth);
      place.style.height = `${height}px`;
      if (chart === null) {
        chart = echarts.init(place, null, { renderer: "svg" });
        if (clicked) chart.on("click", clicked);
      }
      chart.resize();
      chart.setOption({ ...base(), ...option }, { notMerge: true });
      scroll.replaceChildren(table(content, title));
    };
    tools.append(
      button("Save as SVG", () => saveSvg(chart, figure.id)),
      button("Save as PNG", () => savePng(chart, figure.id)),
    );
    let width = 0;
    new ResizeObserver(() => {
      if (place.clientWidth !== width) {
        width = place.clientWidth;
        redraw();
      }
    }).observe(place);
    drawn.push(redraw);
    return redraw;
  }

  document.addEventListener("themechange", () => drawn.forEach((redraw) => redraw()));

  const number = (value) => (value === null ? "–" : value.toFixed(3));

  return { draw, scale, names, interval, legend, legendHeight, choice, number, percent };
})();
