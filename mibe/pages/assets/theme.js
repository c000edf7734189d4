// Light or dark: what the system says, until the reader says otherwise. Loaded in the head, before anything is drawn.
"use strict";

const theme = (() => {
  const KEY = "mibe-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");

  // A page on disk may have no storage: then the choice lasts as long as the page.
  const stored = () => {
    try { return localStorage.getItem(KEY); } catch { return null; }
  };
  const store = (name) => {
    try { localStorage.setItem(KEY, name); } catch { /* no storage, see above */ }
  };

  let chosen = stored();
  const current = () => (chosen === "light" || chosen === "dark" ? chosen : system.matches ? "dark" : "light");

  function show(name = current()) {
    document.documentElement.dataset.theme = name;
    const button = document.getElementById("theme");
    if (button) button.textContent = name === "dark" ? "Light colours" : "Dark colours";
    document.dispatchEvent(new CustomEvent("themechange"));
  }

  system.addEventListener("change", () => show());
  addEventListener("beforeprint", () => show("light"));
  addEventListener("afterprint", () => show());
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    button.hidden = false;
    button.addEventListener("click", () => {
      chosen = current() === "dark" ? "light" : "dark";
      store(chosen);
      show();
    });
    show();
  });
  show();

  return {
    colour: (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(),
  };
})();
