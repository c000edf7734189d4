// Tables that are whole without this script; with it, a header sorts and the controls above filter rows and columns.
"use strict";

(() => {
  // Several numbers are compared one after the other: "12 0.552" stands above "1 0.9".
  const key = (cell) => (cell.dataset.sort === undefined ? null : cell.dataset.sort.split(" ").map(Number));

  function compare(a, b, column, direction) {
    const [cellA, cellB] = [a.cells[column], b.cells[column]];
    if (!cellA.classList.contains("number")) {
      return direction * cellA.textContent.localeCompare(cellB.textContent, undefined, { numeric: true });
    }
    const [x, y] = [key(cellA), key(cellB)];
    // What is missing comes last in either direction.
    if (x === null || y === null) return (x === null) - (y === null);
    return direction * (x.map((number, place) => number - y[place]).find((difference) => difference !== 0) ?? 0);
  }

  function sortable(table) {
    const headers = [...table.tHead.rows[0].cells];
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        // Numbers start with the largest, names with A.
        const first = header.classList.contains("number") ? "descending" : "ascending";
        const other = first === "ascending" ? "descending" : "ascending";
        const order = header.getAttribute("aria-sort") === first ? other : first;
        headers.forEach((each) => each.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", order);
        const direction = order === "ascending" ? 1 : -1;
        const body = table.tBodies[0];
        body.append(...[...body.rows].sort((a, b) => compare(a, b, column, direction)));
      });
    });
  }

  function filterable(controls) {
    const table = document.getElementById(controls.dataset.for);
    const field = (name) => controls.querySelector(`[data-filter=${name}]`);
    const apply = () => {
      const text = field("text").value.trim().toLowerCase();
      const kind = field("kind").value;
      const group = field("group").value;
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) {
        row.hidden = !row.cells[0].textContent.toLowerCase().includes(text) || (kind !== "" && row.dataset.kind !== kind);
      }
      for (const cell of table.querySelectorAll("[data-group]")) {
        cell.hidden = group !== "" && cell.dataset.group !== group;
      }
      const shown = rows.filter((row) => !row.hidden).length;
      controls.querySelector("[role=status]").textContent = `${shown} of ${rows.length} models`;
    };
    controls.hidden = false;
    controls.addEventListener("input", apply);
    apply();
  }

  // An arrow at the right edge of a table that goes on beyond it.
  function cued(frame) {
    const scroll = frame.querySelector(".scroll");
    const cue = document.createElement("span");
    cue.className = "cue";
    cue.setAttribute("aria-hidden", "true");
    cue.textContent = "›";
    frame.append(cue);
    const look = () => { cue.hidden = scroll.scrollLeft + scroll.clientWidth >= scroll.scrollWidth - 4; };
    scroll.addEventListener("scroll", look, { passive: true });
    new ResizeObserver(look).observe(scroll);
    scroll.closest("section").addEventListener("input", () => requestAnimationFrame(look));
  }

  document.querySelectorAll(".frame").forEach(cued);
  document.querySelectorAll("table.sortable").forEach(sortable);
  document.querySelectorAll(".controls[data-for]").forEach(filterable);
})();
