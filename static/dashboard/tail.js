// Requests as they end, at the top of the list. Rows come in at once only where nobody reads further down, has a row in
// hand or has paused; else a bar says how many wait. Text of clients is only ever set as text.
"use strict";
(() => {
  const SHOWN_MAX = 200, WAITING_MAX = 200;
  const { filters, isJudged, isFirst } = JSON.parse(document.getElementById("tail").textContent);
  const table = document.getElementById("rows"), template = document.getElementById("row"), news = document.getElementById("news"), pause = document.getElementById("pause");
  let waiting = [], unseen = 0, isPaused = false;

  const judges = {
    domain: (row, value) => row.domain === value,
    key: (row, value) => row.key_id === value || row.key === value,
    credential: (row, value) => row.credential_id === value || row.credential === value,
    model: (row, value) => row.model === value || row.model === value.replace(/-\d{8}$/, ""),
    status: (row, value) => value.endsWith("xx") ? String(row.status)[0] === value[0] && row.status !== null : String(row.status) === value,
    outcome: (row, value) => row.outcome === value,
    kind: (row, value) => row.kind === value,
    session: (row, value) => row.session_id === value,
  };

  function isWanted(row) {
    return Object.entries(filters).every(([name, value]) => judges[name](row, value));
  }

  function isReading() {
    return scrollY > 120 || table?.contains(document.activeElement) || !getSelection().isCollapsed || document.querySelector("dialog[open]");
  }

  function compact(value) {
    for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "K"]]) if (value >= size) return `${Number((value / size).toPrecision(3))}${letter}`;
    return String(value);
  }

  function took(value) {
    if (value === null) return "—";
    return value >= 1000 ? `${Number((value / 1000).toPrecision(3))} s` : `${value} ms`;
  }

  function usd(value) {
    if (value === null) return "unpriced";
    return `$${value.toFixed(value === 0 || value >= 1 ? 2 : value >= 0.0001 ? 4 : 6)}`;
  }

  function made(row) {
    const line = template.content.cloneNode(true).firstElementChild;
    const set = (name, text) => { line.querySelector(`.col-${name}`).textContent = text ?? "—"; };
    line.dataset.id = row.id;
    const link = line.querySelector("a"), chip = line.querySelector(".chip");
    link.href = `/dashboard/requests/${encodeURIComponent(row.id)}`;
    link.textContent = row.at.slice(11, 19);
    chip.textContent = row.status ?? "none";
    chip.classList.add(!row.status ? "off" : row.status < 400 ? "ok" : row.status < 500 ? "warn" : "bad");
    set("domain", row.domain);
    set("key", row.key);
    set("credential", row.credential);
    set("model", (row.model || "—") + (row.is_stream ? " ≈" : ""));
    set("in", compact(row.tokens_in));
    set("out", compact(row.tokens_out));
    set("cost", usd(row.cost));
    set("first", took(row.first_byte_ms));
    set("took", took(row.duration_ms));
    set("end", row.error_type ? `${row.outcome} ${row.error_type}` : row.outcome);
    set("session", row.session_id.slice(0, 12) || "—");
    line.classList.add("fresh");
    return line;
  }

  function show() {
    const body = table.tBodies[0], known = new Set([...body.rows].map((line) => line.dataset.id));
    for (const row of waiting) if (!known.has(row.id)) body.prepend(made(row));
    while (body.rows.length > SHOWN_MAX) body.lastElementChild.remove();
    waiting = [];
    unseen = 0;
    tell();
  }

  function tell() {
    news.textContent = "";
    if (!unseen) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "bar-of-news";
    button.textContent = `${unseen} new request${unseen === 1 ? "" : "s"}`;
    button.addEventListener("click", () => {
      if (!table || !isJudged || unseen > waiting.length) location.reload();
      else { show(); scrollTo({ top: 0 }); }
    });
    news.append(button);
  }

  document.addEventListener("nexus:tick", ({ detail }) => {
    if (!isFirst) return;
    const rows = detail.rows.filter(isWanted);
    const untold = Object.keys(filters).length ? 0 : Math.max(0, detail.sums.requests - detail.rows.length);
    if (!rows.length && !untold) return;
    waiting = [...waiting, ...rows].slice(-WAITING_MAX);
    unseen += rows.length + untold;
    if (table && isJudged && !isPaused && !isReading()) show();
    else tell();
  });

  function toggle() {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", isPaused);
    pause.textContent = isPaused ? "Go on" : "Pause";
    if (!isPaused && table && isJudged) show();
  }
  pause.addEventListener("click", toggle);
  document.addEventListener("nexus:pause", toggle);

  // Which columns are shown is for this browser to remember.
  const columns = document.getElementById("columns");
  function remembered() {
    try { return JSON.parse(localStorage.getItem("columns")) || {}; } catch { return {}; }
  }
  function showColumns() {
    const chosen = remembered();
    for (const box of columns.querySelectorAll("input")) {
      box.checked = chosen[box.value] ?? box.dataset.default === "1";
      document.body.classList.toggle(`hide-${box.value}`, !box.checked);
    }
  }
  columns.addEventListener("change", (event) => {
    try { localStorage.setItem("columns", JSON.stringify({ ...remembered(), [event.target.value]: event.target.checked })); } catch { /* for this page */ }
    document.body.classList.toggle(`hide-${event.target.value}`, !event.target.checked);
  });
  showColumns();
})();
