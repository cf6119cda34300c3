// The keyboard: / j k Enter l Esc ?. Every key has a button or a link too; none works while somebody types.
"use strict";
(() => {
  const help = document.getElementById("help");

  function rows() {
    return [...document.querySelectorAll("#rows tbody tr")];
  }

  function move(step) {
    const all = rows();
    if (!all.length) return;
    const here = all.indexOf(document.activeElement?.closest("tr"));
    const next = all[Math.min(all.length - 1, Math.max(0, here + step))];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  const deeds = {
    "/": () => document.getElementById("search")?.focus(),
    j: () => move(1),
    k: () => move(-1),
    Enter: () => document.activeElement?.closest("tr")?.querySelector("a")?.click(),
    l: () => document.dispatchEvent(new CustomEvent("nexus:pause")),
    "?": () => help?.showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      document.activeElement?.blur();
      return;
    }
    if (event.target.closest("input, select, textarea, dialog") || !Object.hasOwn(deeds, event.key)) return;
    if (event.key === "Enter" && !event.target.matches("tr")) return;
    event.preventDefault();
    deeds[event.key]();
  });
  for (const button of document.querySelectorAll("[data-opens]")) {
    button.addEventListener("click", () => document.getElementById(button.dataset.opens).showModal());
  }
})();
