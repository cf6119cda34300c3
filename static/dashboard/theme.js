// Before the first paint: the theme that was chosen, else the system's.
"use strict";
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  function stored() {
    try { return localStorage.getItem("theme"); } catch { return null; }
  }
  function show() {
    document.documentElement.dataset.theme = stored() || (system.matches ? "dark" : "light");
    document.dispatchEvent(new CustomEvent("nexus:theme"));
  }
  system.addEventListener("change", show);
  window.nexusTheme = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", next); } catch { /* it lasts as long as the page */ }
    document.documentElement.dataset.theme = next;
    document.dispatchEvent(new CustomEvent("nexus:theme"));
  };
  show();
})();
