// The versions of a document beside each other: filtered by, linked to, and with what each was answered.
"use strict";

const versions = (() => {
  const ITSELF = "itself";

  // What can be chosen: all, the documents themselves, each way, and each version of a way.
  function offer(task, version, stability) {
    const of = task.versions;
    version.parentElement.hidden = stability.parentElement.hidden = of === null;
    version.replaceChildren(new Option("any", ""));
    if (of === null) return;
    stability.parentElement.hidden = of.changing.every((ways) => ways.length === 0);
    version.add(new Option("the documents themselves", ITSELF));
    for (const way of of.ways) {
      version.add(new Option(`${way}, all`, way));
      of.names.filter((name) => name.startsWith(`${way}:`)).forEach((name) => version.add(new Option(name.replace(":", ": "), name)));
    }
  }

  // Whether a sample is of the chosen version or way (or none is chosen), and its document's answers change there or not.
  function isWanted(task, number, version, stability) {
    const of = task.versions;
    if (of === null) return true;
    const names = of.stands[number].map((place) => of.names[place]);
    const way = version.split(":")[0];
    if (version === ITSELF) {
      if (!of.itself[number]) return false;
    } else if (version !== "" && !names.some((name) => name === version || name.startsWith(`${version}:`))) return false;
    if (stability === "") return true;
    const changing = of.changing[number].map((place) => of.ways[place]);
    const changes = of.ways.includes(way) ? changing.includes(way) : changing.length > 0;
    return names.length > 0 && changes === (stability === "changes");
  }

  // The filters that a part of the address stands for: a version or way, and which of its samples.
  function linked([version = "", which = ""]) {
    const right = which === "wrong" ? { "filter-right": "0" } : {};
    const changing = ["changes", "stays"].includes(which) ? { "filter-changing": which } : {};
    return { filters: { "filter-version": version, ...right, ...changing } };
  }

  const called = (of, number) => [of.itself[number] ? ["the document itself"] : [], of.stands[number].map((place) => of.names[place].replace(":", ": "))].flat().join(", ");

  // A table of the versions of a sample's document, each a link; nothing where it has one alone.
  function beside(task, number, { element, marks, readAs }) {
    const of = task.versions;
    if (of === null) return [];
    const all = task.ids.map((_, each) => each).filter((each) => of.documents[each] === of.documents[number]);
    if (all.length < 2) return [];
    const table = element("table", "beside");
    table.createCaption().textContent = "The versions of this document";
    const head = table.createTHead().insertRow();
    for (const name of ["Version", "Right?", "Answer read", "True answer"]) {
      const cell = element("th", "", name);
      cell.scope = "col";
      head.append(cell);
    }
    const body = table.createTBody();
    const places = (order, letters) => (order === "" ? letters : letters.replace(/^[A-J]$/, (letter) => {
      const place = letter.charCodeAt(0) - 65;
      return place < order.length ? `${letter} (option ${order[place]} of the document)` : letter;
    }));
    for (const each of all) {
      const line = body.insertRow();
      const link = element("a", "", called(of, each) || "as it is");
      link.href = `#sample/${encodeURIComponent(task.name)}/${encodeURIComponent(task.ids[each])}`;
      const name = element("th", "", each === number ? element("strong", "", called(of, each) || "as it is") : link);
      name.scope = "row";
      if (each === number) line.setAttribute("aria-current", "true");
      const gold = task.gold[each].map((label) => task.labels[label]).join("; ");
      line.append(name);
      for (const shown of [marks(each), [places(of.orders[each], readAs(each))], [places(of.orders[each], gold) || "–"]]) {
        const cell = line.insertCell();
        cell.dir = "auto";
        cell.append(...shown);
      }
    }
    const frame = element("div", "scroll", table);
    frame.tabIndex = 0;
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", "The versions of this document");
    return [frame];
  }

  return { ITSELF, offer, isWanted, linked, beside };
})();
