// Two runs side by side: the choice of the task whose differing samples are shown.
"use strict";

(() => {
  const { tasks } = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  function open(chosen, how) {
    byId("task-choice").value = chosen;
    samples.open(chosen, tasks[chosen].name, how);
  }

  // The address names a sample (#sample/<task>/<id>), a way to differ (#differ/<task>/<kind>) or to vary
  // (#versions/<task>/<way>).
  function follow() {
    const [what, name, ...rest] = location.hash.slice(1).split("/").map(decodeURIComponent);
    const linked = tasks.findIndex((each) => each.name === name);
    if (linked < 0) return false;
    if (what === "sample") open(linked, { id: rest.join("/") });
    else if (what === "versions") open(linked, versions.linked(rest));
    else if (what === "differ") open(linked, { filters: { "filter-between": rest[0], "filter-version": versions.ITSELF } });
    else return false;
    byId("samples").scrollIntoView();
    return true;
  }

  byId("samples").hidden = byId("chooser").hidden = false;
  byId("task-choice").addEventListener("change", (event) => open(Number(event.target.value)));
  addEventListener("hashchange", follow);
  if (!follow()) open(0);
})();
