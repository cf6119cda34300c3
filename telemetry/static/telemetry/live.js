// Shows what is used now, again and again: an element with data-live="URL" gets the page's fragment every two seconds
// while somebody looks at it.
"use strict";
for (const element of document.querySelectorAll("[data-live]")) {
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(element.dataset.live, { credentials: "same-origin" });
      if (answer.ok) element.innerHTML = await answer.text();
      element.classList.toggle("stale", !answer.ok);
    } catch {
      element.classList.add("stale");
    }
  }, 2000);
}
