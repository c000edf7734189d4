// Charts on top of ECharts: drawn in the colours of the theme, with a table of the same figures and a file to take away.
"use strict";

const charts = (() => {
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
  // returns a function that draws anew. A width that changes is drawn anew by itself.
  function draw(figure, view) {
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
      const { height, option, table: content } = view(place.clientWidth);
      place.style.height = `${height}px`;
      chart ??= echarts.init(place, null, { renderer: "svg" });
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

  return { draw, scale, names, number: (value) => (value === null ? "–" : value.toFixed(3)) };
})();
