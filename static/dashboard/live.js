// What happens, as it happens: one socket a page, polling where sockets are blocked, nothing while nobody looks.
// Figures with data-live grow with each tick; the part of the page with data-refresh is asked for anew once in a while,
// and not while somebody has a selection or a field in it.
"use strict";
(() => {
  const REFRESH_SECONDS = 120, SOON_SECONDS = 12, POLL_SECONDS = 15, TRIES_BEFORE_POLLING = 3, SIGNED_OUT = 4401;
  const dot = document.getElementById("connection");
  if (!dot) return;
  const words = { live: "live", waiting: "connecting", polling: "polling", paused: "paused", lost: "signed out" };
  let socket = null, tries = 0, timer = 0, polling = 0, isFresh = true, shownAt = Date.now();

  function say(state) {
    dot.dataset.state = state;
    dot.querySelector(".word").textContent = words[state];
  }

  function connect() {
    clearTimeout(timer);
    if (document.hidden || socket) return;
    say(tries < TRIES_BEFORE_POLLING ? "waiting" : "polling");
    const asked = new URLSearchParams(), domain = new URLSearchParams(location.search).get("domain");
    if (domain) asked.set("domain", domain);
    if (document.getElementById("tail")) asked.set("rows", "1");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    try {
      socket = new WebSocket(`${scheme}//${location.host}/dashboard/live?${asked}`);
    } catch {
      again();
      return;
    }
    socket.onmessage = (event) => {
      const told = JSON.parse(event.data);
      if (told.type === "connected") {
        tries = 0;
        stopPolling();
        say("live");
        if (!isFresh) refresh();
      } else if (told.type === "tick") show(told);
    };
    socket.onclose = (event) => {
      socket = null;
      if (event.code === SIGNED_OUT) return signedOut();
      if (!document.hidden) again();
    };
  }

  function again() {
    socket = null;
    isFresh = false;
    tries += 1;
    if (tries >= TRIES_BEFORE_POLLING) poll();
    timer = setTimeout(connect, Math.min(30, 2 ** tries) * 1000 * (0.5 + Math.random()));
    say(tries >= TRIES_BEFORE_POLLING ? "polling" : "waiting");
  }

  function signedOut() {
    say("waiting");
    isFresh = false;
    if (tries++ < 1) timer = setTimeout(connect, 1000);  // perhaps only what may be seen has changed
    else say("lost");
  }

  function poll() {
    if (!polling) polling = setInterval(() => { if (!document.hidden) refresh(); }, POLL_SECONDS * 1000);
  }

  function stopPolling() {
    clearInterval(polling);
    polling = 0;
  }

  function show(tick) {
    isFresh = false;
    tick.sums.tokens = tick.sums.tokens_in + tick.sums.tokens_out;
    for (const element of document.querySelectorAll("[data-live]")) {
      const more = tick.sums[element.dataset.live];
      if (!more || element.dataset.value === "") continue;
      const value = Number(element.dataset.value) + more;
      element.dataset.value = value;
      element.textContent = element.dataset.live === "cost" ? usd(value) : compact(value);
      element.classList.remove("bumped");
      void element.offsetWidth;
      element.classList.add("bumped");
    }
    asOf();
    document.dispatchEvent(new CustomEvent("nexus:tick", { detail: tick }));
  }

  function compact(value) {
    for (const [size, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "K"]]) {
      if (value >= size) return `${value / size < 999.5 ? Number((value / size).toPrecision(3)) : Math.round(value / size)}${letter}`;
    }
    return Math.round(value).toLocaleString("en");
  }

  function usd(value) {
    const places = value === 0 || value >= 1 ? 2 : value >= 0.0001 ? 4 : 6;
    return `$${value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places })}`;
  }

  function asOf() {
    const time = document.getElementById("as-of"), now = new Date();
    time.dateTime = now.toISOString();
    time.textContent = now.toISOString().slice(11, 19);
  }

  function isBusy(part) {
    const selection = getSelection();
    return (selection && !selection.isCollapsed && part.contains(selection.anchorNode)) || part.contains(document.activeElement?.closest("input, select, textarea"));
  }

  function refresh() {
    const part = document.querySelector("[data-refresh]");
    if (!part || !window.htmx || isBusy(part)) return;
    isFresh = true;
    shownAt = Date.now();
    htmx.ajax("GET", location.pathname + location.search, { target: part, swap: "morph:innerHTML" }).then(asOf, () => {});
  }

  setInterval(() => {
    if (document.hidden || isFresh) return;
    const seconds = (Date.now() - shownAt) / 1000;
    if (seconds > REFRESH_SECONDS * jitter) refresh();
  }, 1000);
  const jitter = 0.8 + Math.random() * 0.4;

  // The first figures of a new page need not wait a minute.
  setTimeout(() => { if (!isFresh && !document.hidden) refresh(); }, SOON_SECONDS * 1000);

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      socket?.close();
      socket = null;
      say("paused");
    } else {
      isFresh = false;
      tries = 0;
      connect();
    }
  });
  addEventListener("pagehide", () => socket?.close());
  connect();
})();
