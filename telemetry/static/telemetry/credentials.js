// Shows the parts of a credential's form that belong to the chosen kind. What has an error is shown whatever the kind.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const kind = document.getElementById("id_kind");
  if (!kind) return;
  const parts = document.querySelectorAll("fieldset.kind-only");
  function show() {
    for (const part of parts) {
      part.hidden = !part.classList.contains(`kind-${kind.value}`) && !part.querySelector(".errorlist");
    }
  }
  kind.addEventListener("change", show);
  show();
});
