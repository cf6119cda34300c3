// Draws every [data-chart] from the JSON beside it, and draws it again when a refresh or the theme has changed it.
"use strict";
(() => {
  const drawn = new Map();
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

  function tone(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  function written(value, unit) {
    if (value === null || value === undefined) return "not known";
    if (unit === "usd") return `$${value.toLocaleString("en", { maximumFractionDigits: value < 1 ? 6 : 2 })}`;
    if (unit === "ms") return value >= 1000 ? `${(value / 1000).toPrecision(3)} s` : `${Math.round(value)} ms`;
    if (unit === "percent") return `${(value * 100).toFixed(1)} %`;
    return value.toLocaleString("en");
  }

  function short(value, unit) {
    if (unit === "count") return new Intl.NumberFormat("en", { notation: "compact" }).format(value);
    return written(value, unit);
  }

  function datasets(chart) {
    return chart.lines.map((line) => {
      const color = tone(line.tone);
      const isArea = chart.kind === "areas";
      return {
        label: line.name, data: line.values, borderColor: color, backgroundColor: isArea ? `${color}55` : color,
        borderWidth: chart.kind === "bars" || chart.kind === "across" ? 0 : 2, fill: isArea, pointRadius: chart.labels.length < 3 ? 3 : 0, tension: 0.25, spanGaps: false,
      };
    });
  }

  function options(chart) {
    const isAcross = chart.kind === "across", isStacked = chart.kind === "bars" || chart.kind === "areas";
    const quiet = tone("quiet"), line = tone("line");
    const values = { stacked: isStacked, beginAtZero: true, grid: { color: line }, border: { display: false }, ticks: { color: quiet, maxTicksLimit: 6, callback: (value) => short(value, chart.unit) } };
    const names = { stacked: isStacked, grid: { display: false }, border: { color: line }, ticks: { color: quiet, maxRotation: 0, autoSkip: true, maxTicksLimit: isAcross ? 12 : 8 } };
    return {
      responsive: true, maintainAspectRatio: false, animation: still ? false : { duration: 250 }, indexAxis: isAcross ? "y" : "x",
      interaction: { mode: "index", intersect: false, axis: isAcross ? "y" : "x" },
      scales: isAcross ? { x: values, y: names } : { x: names, y: values },
      plugins: {
        legend: { display: chart.lines.length > 1, position: "bottom", labels: { color: quiet, boxWidth: 10, boxHeight: 10 } },
        tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${written(item.raw, chart.unit)}` } },
      },
    };
  }

  function draw(box) {
    const data = document.getElementById(box.dataset.chart), canvas = box.querySelector("canvas");
    if (!data || !canvas || !window.Chart) return;
    const chart = JSON.parse(data.textContent);
    const old = drawn.get(canvas);
    if (old) {
      old.data = { labels: chart.labels, datasets: datasets(chart) };
      old.options = options(chart);
      old.update("none");
      return;
    }
    const type = chart.kind === "bars" || chart.kind === "across" ? "bar" : "line";
    drawn.set(canvas, new Chart(canvas, { type, data: { labels: chart.labels, datasets: datasets(chart) }, options: options(chart) }));
  }

  function drawAll() {
    for (const [canvas, chart] of drawn) if (!canvas.isConnected) { chart.destroy(); drawn.delete(canvas); }
    for (const box of document.querySelectorAll("[data-chart]")) draw(box);
  }

  document.addEventListener("DOMContentLoaded", drawAll);
  document.addEventListener("htmx:afterSettle", drawAll);
  document.addEventListener("nexus:theme", drawAll);
})();
