// One case: every mark is saved as it is made, one after the other, and says so.
"use strict";

(() => {
  const WAIT = 15000; // ms for an answer: SQLite itself waits 5 s for another writer
  const TYPING = 400; // ms without a key before a comment is saved
  const SHORTCUTS = "mibe-rating-keys";

  const by = (id) => document.getElementById(id);
  const rating = by("rating");
  const csrf = document.querySelector("meta[name=csrf]").content;
  const boxes = [...document.querySelectorAll("input[name=match]")];
  const [unsure, comment, confirm, leave, marks] = ["unsure", "comment", "confirm", "leave", "marks"].map(by);

  const matches = () => boxes.filter((box) => box.checked).map((box) => Number(box.value));
  const note = () => ({ unsure: unsure.checked, comment: comment.value });
  const address = (what) => `/case/${rating.dataset.number}/${what}`;

  async function post(what, form, keepalive = false) {
    let answer;
    try {
      answer = await fetch(address(what), {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
        body: JSON.stringify(form),
        keepalive,
        signal: AbortSignal.timeout(WAIT),
      });
    } catch {
      throw new Error("the program does not answer. Start it again with the same command and open the address that it prints.");
    }
    if (answer.status === 403) throw new Error("the program was started again. Open the address that it printed.");
    if (!answer.ok) {
      const { error = `the program refused it (${answer.status}).` } = await answer.json().catch(() => ({}));
      throw new Error(error);
    }
    return answer.json();
  }

  // Saves go out one by one, in the order of the clicks.
  let queue = Promise.resolve();
  let underway = 0;

  function save(what, form, undo) {
    by("saved").textContent = "Saving…";
    underway += 1;
    queue = queue.then(() => post(what, form)).finally(() => { underway -= 1; }).then(
      ({ progress, next }) => {
        by("failure").textContent = "";
        by("saved").textContent = `Saved at ${new Date().toLocaleTimeString()}`;
        by("bar").value = progress.done;
        by("done").textContent = `${progress.done} of ${progress.of} rated`;
        return next;
      },
      (error) => {
        undo?.();
        tell();
        by("saved").textContent = "";
        by("failure").textContent = `Not saved: ${error.message}`;
        return null;
      },
    );
    return queue;
  }

  function tell() {
    by("state").textContent = leave.checked ? "Left out" : by("state").dataset.otherwise;
    if (!marks) return;
    marks.disabled = leave.checked;
    const ranks = matches();
    if (leave.checked) by("verdict").textContent = "Left out: this case counts for no list.";
    else by("verdict").textContent = ranks.length
      ? `Match at rank ${ranks.join(", ")}.`
      : "No match marked: confirm if none is right.";
  }

  function mark(box) {
    const match = box.checked;
    tell();
    save("mark", { rank: Number(box.value), match }, () => { box.checked = !match; });
  }

  let typing = null;
  let savedComment = comment?.value;

  function saveNote(undo) {
    clearTimeout(typing);
    typing = null;
    const form = note();
    return save("note", form, undo).then((next) => {
      if (next !== null) savedComment = form.comment;
      return next;
    });
  }

  let leaving = false;

  async function finish() {
    if (leaving) return;
    leaving = true;
    clearTimeout(typing);
    // What the rater sees at this moment is what is confirmed, whatever became of the single clicks.
    const form = { matches: matches(), ...note() };
    if (leave.checked) await save("note", note());
    const next = await (leave.checked ? save("leave-out", { left_out: true }) : save("confirm", form));
    if (next !== null) {
      savedComment = form.comment;
      location.assign(next);
    }
    leaving = next !== null;
  }

  async function go(link) {
    if (leaving) return;
    leaving = true;
    if (comment && comment.value !== savedComment) saveNote();
    // The page stays where something of it could not be saved, so that its message is read.
    leaving = underway === 0 || (await queue) !== null;
    if (leaving) location.assign(link.href);
  }

  const keys = by("keys");
  const shortcuts = by("shortcuts");
  // Storage may be forbidden: then the choice lasts as long as the page.
  try { shortcuts.checked = localStorage.getItem(SHORTCUTS) !== "off"; } catch { /* see above */ }
  shortcuts.addEventListener("change", () => {
    try { localStorage.setItem(SHORTCUTS, shortcuts.checked ? "on" : "off"); } catch { /* see above */ }
  });

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || keys.open) return;
    if (event.target === comment) {
      if (event.key === "Escape") comment.blur();
      return;
    }
    if (!shortcuts.checked && event.key !== "?") return;
    const box = /^[0-9]$/.test(event.key) ? boxes[event.key === "0" ? 9 : Number(event.key) - 1] : undefined;
    const actions = {
      ArrowLeft: () => go(by("back")),
      ArrowRight: () => go(by("forward")),
      "?": () => keys.showModal(),
      x: () => leave.click(),
      X: () => leave.click(),
    };
    if (confirm) {
      // On a link or a button, Enter is that link's or button's own.
      if (!event.target.closest("a, button")) actions.Enter = finish;
      actions.u = actions.U = () => unsure.click();
      actions.c = actions.C = () => comment.focus();
    }
    const action = box ? () => { box.click(); box.focus(); } : actions[event.key];
    if (!action) return;
    event.preventDefault();
    // A key that is held down must not run through the cases.
    if (!event.repeat) action();
  }

  document.addEventListener("keydown", press);
  by("help").hidden = false;
  by("help").addEventListener("click", () => keys.showModal());
  for (const link of [by("back"), by("forward")]) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      go(link);
    });
  }
  leave.addEventListener("change", () => {
    const left_out = leave.checked;
    tell();
    save("leave-out", { left_out }, () => { leave.checked = !left_out; });
  });
  if (confirm) {
    for (const box of boxes) box.addEventListener("change", () => mark(box));
    unsure.addEventListener("change", () => {
      const before = !unsure.checked;
      saveNote(() => { unsure.checked = before; });
    });
    comment.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(saveNote, TYPING);
    });
    confirm.addEventListener("click", finish);
    confirm.disabled = false;
    addEventListener("pagehide", () => {
      if (comment.value !== savedComment) post("note", note(), true).catch(() => {});
    });
  }
  tell();
})();
