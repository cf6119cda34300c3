// What every page does: the theme's button, choices that submit their form, countdowns, and what a refresh must not touch.
"use strict";
document.getElementById("theme")?.addEventListener("click", () => window.nexusTheme());

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
});

// A button of the span replaces the hidden field that keeps it; empty fields stay out of the address.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "get") return;
  if (event.submitter?.name === "range") form.querySelector("[data-fallback]")?.remove();
  for (const field of form.elements) if (field.name && field.value === "" && !field.disabled) field.disabled = true;
});
addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("form[method=get] :disabled")) field.disabled = false;
});

// A morph keeps what a person or a script did to the page: charts, and which parts are open.
if (window.Idiomorph) {
  Idiomorph.defaults.callbacks.beforeNodeMorphed = (old) => old.tagName !== "CANVAS";
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) => !(name === "open" && node.tagName === "DETAILS");
}

function words(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "m"]];
  const found = units.find(([size]) => seconds >= size);
  if (!found) return `in ${Math.ceil(seconds)}s`;
  const [size, name] = found;
  const rest = size > 60 ? Math.floor((seconds % size) / (size === 86400 ? 3600 : 60)) : Math.floor(seconds % 60);
  return `in ${Math.floor(seconds / size)}${name} ${rest}${size === 86400 ? "h" : size === 3600 ? "m" : "s"}`;
}

setInterval(() => {
  if (document.hidden) return;
  for (const time of document.querySelectorAll("time[data-countdown]")) {
    const seconds = (new Date(time.dateTime) - Date.now()) / 1000;
    time.textContent = seconds > 0 ? words(seconds) : "now";
  }
}, 1000);
