// The samples of a task: filtered in memory, listed a screen at a time, their texts loaded from files as they are needed.
"use strict";

const samples = (() => {
  const ROW = 58;
  const BEYOND = 6;
  const MARKS = { 1: ["✓", "right"], 0: ["✗", "wrong"] };
  // `runs` are the names of two that stand side by side, empty in the report of one; `kinds` are their ways to differ.
  const { outcomes, runs, kinds } = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const [list, view, status, form] = [byId("list"), byId("sample"), byId("found"), byId("filters")];
  const spacer = list.firstElementChild;

  // --- files of data -------------------------------------------------------------------------------------------------

  // A page from disk may run scripts and read nothing, so each file of data is a script that calls this.
  const waiting = new Map();
  const files = new Map();
  globalThis.mibeData = (name, content) => waiting.get(name)(content);

  function load(name) {
    if (!files.has(name)) {
      files.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        waiting.set(name, resolve);
        script.addEventListener("error", () => reject(new Error(`data/${name}.js cannot be loaded: the report is not whole`)));
        script.addEventListener("load", () => script.remove());
        script.src = `data/${name}.js`;
        document.head.append(script);
      }));
    }
    return files.get(name);
  }

  // All files of a kind, each told to `each` with its number as it comes.
  async function loadAll(task, kind, each) {
    const count = task[kind] ? Math.ceil(task.ids.length / task[kind]) : 0;
    for (let k = 0; k < count; k += 1) each(await load(`${task.number}/${kind}-${k}`), k);
  }

  // --- state ---------------------------------------------------------------------------------------------------------

  let task = null; // the index of the task, with `texts` and `lower`: outputs in pieces, and what is searched
  let found = []; // numbers of the samples that the filters leave
  let at = 0; // position in `found`
  let asked = 0; // of questions that may be overtaken by a later one

  // The columns of each run: those of a second one stand under `other`.
  const sides = (of) => (of.other ? [of, of.other] : [of]);

  // Show the task of this number and name: the sample of an id, or what filters (by the ids of their fields) and an order
  // (a value of the field "sort") leave and put first.
  async function open(number, name, { id, filters = {}, sort = "" } = {}) {
    const turn = (asked += 1);
    view.replaceChildren();
    let index;
    try {
      index = await load(`${number}/index`);
    } catch (error) {
      status.textContent = error.message;
      return;
    }
    if (turn !== asked) return;
    task = Object.assign(index, { number, name });
    task.texts ??= new Array(task.ids.length);
    task.searched ??= { outputs: task.ids.map((each) => each.toLowerCase()), prompts: null };
    labels("filter-gold", task.gold);
    labels("filter-read", sides(task).flatMap((side) => side.read));
    draws(task.draws);
    between(task.between);
    versions.offer(task, byId("filter-version"), byId("filter-changing"));
    orders();
    byId("filter-right").parentElement.hidden = runs.length > 0 || task.right.every((right) => right === null);
    byId("find-in").parentElement.hidden = task.outputs === 0;
    clear();
    for (const [field, value] of Object.entries(filters)) byId(field).value = value;
    byId("sort").value = sort;
    task.outputsReady ??= readOutputs(task);
    filter(id === undefined ? undefined : task.ids.indexOf(id));
  }

  function labels(id, column) {
    const used = new Set(column.flat());
    const select = byId(id);
    select.replaceChildren(new Option("any", ""));
    task.labels.forEach((label, number) => used.has(number) && select.add(new Option(label, number)));
    if (column.some((each) => each.length === 0)) select.add(new Option("none", "none"));
    select.parentElement.hidden = used.size === 0;
  }

  function draws(column) {
    const used = [...new Set(column)].filter((draw) => draw !== null).sort((a, b) => a - b);
    const select = byId("filter-draw");
    select.replaceChildren(new Option("any", ""));
    used.forEach((draw) => select.add(new Option(draw, draw)));
    select.parentElement.hidden = used.length === 0;
  }

  function between(column) {
    const select = byId("filter-between");
    select.replaceChildren(new Option("all that differ", ""));
    kinds.forEach((kind, number) => column.includes(number) && select.add(new Option(kind, number)));
    select.parentElement.hidden = kinds.length === 0;
  }

  // What samples can be sorted by: the numbers that this task has.
  function orders() {
    const offered = [["", "id"]];
    for (const [column, down, up] of [["score", "score, highest first", "score, lowest first"], ["tokens", "longest output", "shortest output"], ["seconds", "slowest", "fastest"]]) {
      if (task[column].some((value) => value !== null)) offered.push([`${column} up`, up], [`${column} down`, down]);
    }
    byId("sort").replaceChildren(...offered.map(([value, name]) => new Option(name, value)));
  }

  // What is missing comes last in either direction.
  function sorted(numbers, order) {
    if (order === "") return numbers;
    const [column, direction] = order.split(" ");
    const values = task[column];
    const sign = direction === "up" ? 1 : -1;
    return numbers.sort((a, b) => (values[a] === null) - (values[b] === null) || sign * (values[a] - values[b]) || a - b);
  }

  // Outputs come in the background, so that the page opens before they are here.
  async function readOutputs(of) {
    const searched = of.searched.outputs;
    await loadAll(of, "outputs", (chunk, k) => {
      chunk.forEach((output, offset) => {
        const number = k * of.outputs + offset;
        const texts = of.other ? output : [output];
        of.texts[number] = texts[0];
        for (const pieces of texts) searched[number] += `\n${pieces.join("").toLowerCase()}`;
      });
      if (of === task) draw();
    });
  }

  async function readPrompts(of) {
    await of.outputsReady;
    const searched = [...of.searched.outputs];
    await loadAll(of, "details", (chunk, k) => chunk.forEach((detail, offset) => {
      searched[k * of.details + offset] += `\n${(detail.prompt ?? "").toLowerCase()}`;
    }));
    of.searched.prompts = searched;
  }

  // --- filters -------------------------------------------------------------------------------------------------------

  const FILTERS = ["filter-outcome", "filter-right", "filter-gold", "filter-read", "filter-draw", "filter-between", "filter-version", "filter-changing"];
  const chosen = (id) => byId(id).value;
  const clear = () => [...FILTERS, "find"].forEach((id) => { byId(id).value = ""; });
  const labelled = (wanted, of) => wanted === "" || (wanted === "none" ? of.length === 0 : of.includes(Number(wanted)));

  const looked = (where) => (task.outputs === 0 ? "ids" : where === "prompts" ? "ids, outputs and prompts" : "ids and outputs");

  // Show what the filters leave; `wanted` is the number of the sample to stand at, if it is among these.
  async function filter(wanted) {
    const turn = (asked += 1);
    const needle = chosen("find").trim().toLowerCase();
    const where = chosen("find-in");
    if (needle !== "") {
      const ready = where === "prompts" ? (task.promptsReady ??= readPrompts(task)) : task.outputsReady;
      const slow = setTimeout(() => { status.textContent = "reading…"; }, 150);
      try {
        await ready;
      } catch (error) {
        status.textContent = error.message;
        return;
      } finally {
        clearTimeout(slow);
      }
      if (turn !== asked) return;
    }
    const [outcome, right, gold, read, drawn, how, version, stability] = FILTERS.map(chosen);
    const searched = needle === "" ? null : task.searched[where];
    found = [];
    for (let number = 0; number < task.ids.length; number += 1) {
      if (outcome !== "" && !sides(task).some((side) => side.outcomes[number] === Number(outcome))) continue;
      if (right !== "" && task.right[number] !== Number(right)) continue;
      if (drawn !== "" && task.draws[number] !== Number(drawn)) continue;
      if (how !== "" && task.between[number] !== Number(how)) continue;
      if (!versions.isWanted(task, number, version, stability)) continue;
      if (!labelled(gold, task.gold[number]) || !sides(task).some((side) => labelled(read, side.read[number]))) continue;
      if (searched !== null && !searched[number].includes(needle)) continue;
      found.push(number);
    }
    found = sorted(found, chosen("sort"));
    status.textContent = `${found.length.toLocaleString("en")} of ${task.ids.length.toLocaleString("en")} samples${needle === "" ? "" : `, looked for in ${looked(where)}`}`;
    spacer.style.height = `${found.length * ROW}px`;
    list.scrollTop = 0;
    const place = wanted === undefined ? 0 : found.indexOf(wanted);
    if (found.length > 0) choose(Math.max(0, place), { remember: wanted !== undefined });
    else {
      list.removeAttribute("aria-activedescendant");
      const more = needle !== "" && where === "outputs" && task.outputs > 0 ? " Prompts were not looked through." : "";
      view.replaceChildren(`No sample is left by these filters${needle === "" ? "" : `: the text was looked for in ${looked(where)}`}.${more}`);
    }
    draw();
  }

  // --- list ----------------------------------------------------------------------------------------------------------

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    made.className = className;
    made.append(...children);
    return made;
  }

  const isolated = (string) => element("bdi", "", text.line(string, 300));
  const names = (numbers) => (numbers.length === 0 ? "none" : numbers.map((number) => task.labels[number]).join("; "));

  function mark(right, of = "") {
    const [sign, name] = MARKS[right] ?? ["·", "graded"];
    const made = element("span", `mark ${name}`, sign);
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", `${of}${name}`);
    return made;
  }
  const LETTERS = ["A", "B"];
  const marks = (number) => sides(task).map((side, k) => mark(side.right[number], task.other ? `${LETTERS[k]} ` : ""));

  function readAs(number) {
    return sides(task).map((side) => (side.read[number].length || outcomes[side.outcomes[number]] === "parsed" ? names(side.read[number]) : "–")).join(" | ");
  }

  function row(position) {
    const number = found[position];
    const made = element("div", "row");
    made.id = `sample-${position}`;
    made.setAttribute("role", "option");
    made.setAttribute("aria-posinset", position + 1);
    made.setAttribute("aria-setsize", found.length);
    made.setAttribute("aria-selected", position === at);
    made.style.top = `${position * ROW}px`;
    const head = element("div", "head", ...marks(number), isolated(task.ids[number]));
    if (task.labels.length) head.append(element("span", "labels", `${names(task.gold[number])} → ${readAs(number)}`));
    const outcome = outcomes[task.outcomes[number]];
    if (outcome !== "parsed") head.append(element("span", `outcome ${outcome}`, outcome));
    const pieces = task.texts[number];
    made.append(head, element("div", "snippet", pieces ? isolated(snippet(pieces)) : ""));
    made.addEventListener("click", () => choose(position));
    return made;
  }

  // The first words of an output; where its answer stands far behind them, the words around that.
  const snippet = (pieces) => {
    if (pieces.length === 1 || pieces[0].length < 60) return pieces.map((piece) => piece.slice(0, 200)).join("");
    return `… ${pieces[0].slice(-30)}${pieces[1].slice(0, 200)}${pieces[2].slice(0, 100)}`;
  };

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - BEYOND);
    const last = Math.min(found.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + BEYOND);
    const rows = [];
    for (let position = first; position < last; position += 1) rows.push(row(position));
    spacer.replaceChildren(...rows);
  }

  let pending = false;
  list.addEventListener("scroll", () => {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      draw();
    });
  });
  new ResizeObserver(draw).observe(list);

  // --- one sample ----------------------------------------------------------------------------------------------------

  function choose(position, { remember = true } = {}) {
    at = position;
    const [top, bottom] = [position * ROW, (position + 1) * ROW];
    if (top < list.scrollTop) list.scrollTop = top;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
    draw();
    list.setAttribute("aria-activedescendant", `sample-${position}`);
    show(found[position]);
    if (remember) history.replaceState(null, "", `#sample/${encodeURIComponent(task.name)}/${encodeURIComponent(task.ids[found[position]])}`);
  }

  async function show(number) {
    const of = task;
    const isCurrent = () => task === of && found[at] === number;
    try {
      const output = of.outputs ? (await load(`${of.number}/outputs-${Math.floor(number / of.outputs)}`))[number % of.outputs] : null;
      const detail = (await load(`${of.number}/details-${Math.floor(number / of.details)}`))[number % of.details];
      if (isCurrent()) view.replaceChildren(...contents(number, of.other ? output : [output], detail));
    } catch (error) {
      if (isCurrent()) view.replaceChildren(error.message);
    }
  }

  const said = (value) => (value === null || value === undefined ? "–" : typeof value === "string" ? value : Array.isArray(value) && value.every((each) => typeof each === "string") ? value.join("; ") || "none" : JSON.stringify(value));

  function facts(number, side, detail) {
    const made = element("dl", "facts");
    const add = (name, value) => {
      const shown = element("dd", "");
      const isolate = element("bdi", "");
      text.append(isolate, value);
      shown.append(isolate);
      made.append(element("div", "", element("dt", "", name), shown));
    };
    add("Outcome", outcomes[side.outcomes[number]]);
    if (task.outputs) {
      add("Answer read", said(detail.prediction));
      add("True answer", said(detail.target));
    }
    for (const [name, value] of Object.entries(detail.scores)) add(name, Number(value).toFixed(3));
    for (const [name, value] of Object.entries(detail.metadata ?? {})) add(name, value);
    if (detail.finish_reason) add("Ended by", detail.finish_reason);
    if (detail.new_tokens !== undefined) add("Tokens", `${detail.prompt_tokens ?? "–"} read, ${detail.new_tokens} written`);
    if (detail.cached) add("Time", "from the cache");
    else if (detail.seconds !== undefined) add("Time", `${detail.seconds.toFixed(3)} s`);
    if (detail.cost !== undefined) add("Cost", `${detail.cost} USD`);
    if (detail.loglikelihoods) add("Log-likelihoods", detail.loglikelihoods.map((value) => value.toFixed(2)).join(", "));
    if (detail.verdicts) add("Verdicts", said(detail.verdicts));
    if (detail.error) add("Error", detail.error);
    return made;
  }

  function passage(title, fill) {
    const made = element("pre", "passage");
    made.dir = "auto";
    made.tabIndex = 0;
    made.setAttribute("role", "region");
    made.setAttribute("aria-label", title);
    fill(made);
    return [element("h4", "", title), made];
  }

  function contents(number, texts, detail) {
    const step = (name, by) => {
      const made = element("button", "quiet", name);
      made.type = "button";
      made.disabled = !(at + by in found);
      made.addEventListener("click", () => choose(at + by));
      return made;
    };
    const title = element("h3", "", ...marks(number), " ", isolated(task.ids[number]));
    const place = element("p", "place", `${(at + 1).toLocaleString("en")} of ${found.length.toLocaleString("en")} `, step("Previous", -1), step("Next", 1));
    const details = task.other ? [detail, detail.other] : [detail];
    const shown = sides(task).map((side, k) => [
      ...(task.other ? [element("h4", "", `${LETTERS[k]}: `, isolated(runs[k]))] : []),
      facts(number, side, details[k]),
      ...(task.outputs ? answered(texts[k], task.other ? `Output of ${LETTERS[k]}` : "Output") : []),
    ]);
    const made = [element("div", "title", title, place)];
    if (task.other) made.push(element("div", "sides", ...shown.map((side) => element("div", "", ...side))));
    else made.push(...shown[0]);
    made.push(...versions.beside(task, number, { element, marks, readAs }));
    if (!task.outputs) return [...made, element("p", "remark", "This task is credentialed: its texts stay out of the report.")];
    details.forEach((each, k) => made.push(...prompted(each, k === 0 ? "Prompt" : `Prompt of ${LETTERS[k]}, which differs`)));
    return made;
  }

  function answered(pieces, title) {
    const made = passage(title, (pre) => {
      if (pieces.join("") === "") pre.append(element("em", "", "(empty)"));
      pieces.forEach((piece, part) => {
        if (pieces.length === 3 && part === 1) {
          const read = element("mark", "");
          text.append(read, piece);
          pre.append(read);
        } else text.append(pre, piece);
      });
    });
    if (pieces.length === 3) made.push(element("p", "hint", "Marked: from this part alone the same answer is read."));
    return made;
  }

  // The prompt, or why it is not here; nothing where neither is there, since another side shows the same one.
  function prompted(detail, title) {
    if (detail.prompt !== null) return passage(title, (pre) => text.append(pre, detail.prompt));
    return detail.problem === "" ? [] : [element("h4", "", title), element("p", "hint", detail.problem)];
  }

  // --- keys ----------------------------------------------------------------------------------------------------------

  const STEPS = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || task === null) return;
    const typing = event.target.closest?.("input, select, textarea");
    if (event.key === "Escape" && (typing || view.contains(event.target))) list.focus();
    else if (typing) return;
    else if (event.key === "/") {
      byId("find").focus();
      byId("find").select();
    } else if (event.key === "Enter" && event.target === list) view.focus();
    else if (event.key in STEPS && found.length > 0 && (event.key.length === 1 || event.target === list)) {
      choose(Math.min(found.length - 1, Math.max(0, at + STEPS[event.key])));
    } else return;
    event.preventDefault();
  });

  form.addEventListener("input", () => filter());
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", () => {
    clear();
    filter();
  });

  // Show the samples with this true label and this label read ("none" for no answer).
  function narrow(gold, read) {
    clear();
    byId("filter-version").value = versions.ITSELF;
    byId("filter-gold").value = gold;
    byId("filter-read").value = read;
    filter();
    byId("samples").scrollIntoView();
  }

  return { open, narrow };
})();
