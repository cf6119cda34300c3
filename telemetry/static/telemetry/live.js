// Shows what is used now, again and again while somebody looks. An element with data-live="URL" gets that fragment;
// those with data-live-list="URL" and data-row="ID" get theirs from one answer: {"ID": "fragment"}.
"use strict";
const SECONDS = 2;

async function show(url, elements, fill) {
  let answer = null;
  try {
    answer = await fetch(url, { credentials: "same-origin", redirect: "error" });
    if (answer.ok) await fill(answer);
  } catch {
    answer = null;
  }
  for (const element of elements) element.classList.toggle("stale", !answer?.ok);
}

function shower(element) {
  return () => show(element.dataset.live, [element], async (answer) => {
    element.innerHTML = await answer.text();
  });
}

function listShower(elements) {
  const ids = elements.map((element) => element.dataset.row).join(",");
  return () => show(`${elements[0].dataset.liveList}?ids=${ids}`, elements, async (answer) => {
    const found = await answer.json();
    for (const element of elements) {
      const fragment = found[element.dataset.row];
      if (fragment !== undefined) element.innerHTML = fragment;
    }
  });
}

async function goOn(showNow) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
    if (!document.hidden) await showNow();
  }
}

document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll("[data-live]")) goOn(shower(element));
  const listed = [...document.querySelectorAll("[data-live-list]")];
  if (listed.length) goOn(listShower(listed));
});
