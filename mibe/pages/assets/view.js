// All runs, looked at again every two seconds; those that go on show how far they are.
"use strict";

(() => {
  const EVERY = 2000;
  const byId = (id) => document.getElementById(id);
  const [place, status] = [byId("runs"), byId("state")];
  const seen = new Map(); // key of a run → [time, samples] when it was seen first, for its pace

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    made.className = className;
    made.append(...children);
    return made;
  }
  const isolated = (text) => element("bdi", "", text);
  const count = (number) => number.toLocaleString("en");

  function link(text, href) {
    const made = element("a", "", text);
    made.href = href;
    return made;
  }

  function line(task) {
    const row = element("tr", "");
    const name = element("th", "", isolated(task.name));
    name.scope = "row";
    let shown = "waits";
    if (task.value !== null) shown = `${task.metric} ${task.value.toFixed(3)}`;
    else if (task.of !== null) {
      shown = element("progress", "");
      shown.max = task.of;
      shown.value = task.done;
      shown.setAttribute("aria-label", `${task.name}: samples done`);
    }
    const far = task.of === null ? "" : task.done === task.of ? count(task.of) : `${count(task.done)} of ${count(task.of)}`;
    row.append(name, element("td", "", shown), element("td", "number", far));
    return row;
  }

  // Samples a minute since the page was opened.
  function pace(run) {
    const done = run.tasks.reduce((sum, task) => sum + task.done, 0);
    const now = performance.now();
    if (!seen.has(run.key)) seen.set(run.key, [now, done]);
    const [then, before] = seen.get(run.key);
    return run.status === "running" && done > before ? ` · ${count(Math.round((60000 * (done - before)) / (now - then)))} samples a minute` : "";
  }

  function card(run) {
    const name = isolated(run.model);
    name.title = run.model;
    const made = element("section", "run", element("h2", "", name, element("span", `status ${run.status === "running" ? "running" : ""}`, run.status)));
    made.append(element("p", "", isolated(run.folder), run.started && ` · ${run.started} UTC`, pace(run)));
    if (run.problem) made.append(element("p", "", run.problem));
    const body = element("tbody", "", ...run.tasks.map(line));
    made.append(element("table", "", body));
    if (run.is_scored) {
      const report = link("Report", `/report/${run.key}/`);
      report.setAttribute("aria-label", `Report of ${run.model}, ${run.folder}`);
      made.append(element("p", "", report));
    }
    return made;
  }

  // The two runs to show side by side; what was chosen stays chosen when the list changes.
  function choices(runs) {
    const scored = runs.filter((run) => run.is_scored);
    byId("beside").hidden = scored.length < 2;
    for (const [position, id] of ["first", "second"].entries()) {
      const select = byId(id);
      const before = select.value;
      const options = scored.map((run) => new Option(`${run.model} (${run.folder})`, run.key));
      if (options.length === select.length && options.every((option, k) => option.value === select.options[k].value)) continue;
      select.replaceChildren(...options);
      select.value = scored.some((run) => run.key === before) ? before : scored[Math.min(position, scored.length - 1)]?.key ?? "";
    }
    byId("compare").href = `/beside/${byId("first").value}/${byId("second").value}/`;
  }

  let shown = "";
  function show(runs) {
    const running = runs.filter((run) => run.status === "running").length;
    status.textContent = `${runs.length} run${runs.length === 1 ? "" : "s"}${running ? `, ${running} running` : ""}`;
    const now = JSON.stringify(runs);
    if (now === shown) return;
    shown = now;
    place.replaceChildren(...runs.map(card));
    choices(runs);
  }

  async function look() {
    try {
      const answer = await fetch("/runs");
      if (!answer.ok) throw new Error();
      show(await answer.json());
    } catch {
      status.textContent = "mibe view does not answer: it was stopped";
    }
    setTimeout(look, EVERY);
  }

  byId("beside").addEventListener("input", () => {
    byId("compare").href = `/beside/${byId("first").value}/${byId("second").value}/`;
  });
  show(JSON.parse(byId("data").textContent));
  setTimeout(look, EVERY);
})();
