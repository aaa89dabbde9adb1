// The overview: plots of the last hour that go on as samples come. Without this script the page shows the same numbers
// as they were when it was opened.
"use strict";

(() => {
  const API = "/dashboard/api/v1/overview";
  const HEIGHT = 150;
  const STALE_AFTER = 7000;
  const PART_EVERY = 5; // samples between two looks at health and errors
  const TENS = [1, 10, 100, 1000, 1e4, 1e5, 1e6, 1e7, 1e8].flatMap((power) => [power, 2 * power, 5 * power]);
  const TWOS = Array.from({ length: 50 }, (_, power) => 2 ** power);
  const STEPS = { count: TENS, bytes: TWOS, "byte rate": TWOS }; // between marks of an axis
  const SHORTEST = 60000; // milliseconds shown at least: a young server fills its plots
  const DASHES = [[], [6, 3]]; // lines differ in more than their colour

  const root = document.getElementById("overview");
  const freshness = document.getElementById("freshness");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const dark = matchMedia("(prefers-color-scheme: dark)");

  let minutes = Number(root.dataset.minutes);
  let interval = 2000;
  let capacity = 1800;
  let at = [];
  let series = {};
  let heardAt = 0;
  let heard = 0;
  let plots = [];

  // ---- numbers as people read them: the same as the server writes ----

  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const short = (value) => (value >= 100 || Number.isInteger(value) ? whole : tenths).format(value);

  function shown(value, unit) {
    if (value === null || value === undefined) return "–";
    if (unit === "count") return whole.format(value);
    if (unit === "ms") return `${short(value)} ms`;
    if (unit === "rate") return `${short(value)}/s`;
    let power = 0;
    for (; value >= 1024 && power < 3; power += 1) value /= 1024;
    return `${short(value)} ${["", "Ki", "Mi", "Gi"][power]}B${unit === "byte rate" ? "/s" : ""}`;
  }

  const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { timeStyle: "medium" });
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  // ---- what is known ----

  // Takes over rows, {at: [...], series: {name: [...]}}, as far as they are news, and forgets the oldest.
  function take(rows) {
    const last = at.length ? at[at.length - 1] : -1;
    const first = rows.at.findIndex((moment) => moment > last);
    if (first < 0) return;
    at = at.concat(rows.at.slice(first)).slice(-capacity);
    for (const [name, column] of Object.entries(rows.series)) {
      series[name] = (series[name] ?? []).concat(column.slice(first)).slice(-capacity);
    }
  }

  // The rows of the time shown as uPlot wants them; a null where samples are missing breaks the line.
  function columns(names) {
    const start = at.findIndex((moment) => moment > at[at.length - 1] - minutes * 60000);
    const data = [[], ...names.map(() => [])];
    for (let row = Math.max(0, start); row < at.length; row += 1) {
      if (data[0].length && at[row] - at[row - 1] > 3 * interval) {
        data[0].push((at[row - 1] + interval) / 1000);
        names.forEach((_, line) => data[line + 1].push(null));
      }
      data[0].push(at[row] / 1000);
      names.forEach((name, line) => data[line + 1].push(series[name][row]));
    }
    return data;
  }

  // ---- plots ----

  function options(figure, lines, unit, width) {
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    return {
      width,
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: "overview" }, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { range: () => [Math.max(at[at.length - 1] - minutes * 60000, Math.min(at[0], at[at.length - 1] - SHORTEST)) / 1000, at[at.length - 1] / 1000] },
        y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] },
      },
      axes: [
        { ...axis, size: 28, space: 84, values: (_, marks) => marks.map((mark) => new Date(mark * 1000).toLocaleTimeString([], { timeStyle: mark % 60 ? "medium" : "short" })) },
        { ...axis, size: 56, space: 36, ...(STEPS[unit] ? { incrs: STEPS[unit] } : {}), values: (_, marks) => marks.map((mark) => shown(mark, unit)) },
      ],
      series: [{}, ...lines.map((line, number) => ({ label: line.label, stroke: colour(`--line-${number + 1}`), width: 1.75, fill: number === 0 ? `${colour(`--line-${number + 1}`)}22` : undefined, dash: DASHES[number], points: { show: false } }))],
      hooks: { setCursor: [(plot) => read(figure, lines, unit, plot)] },
    };
  }

  // What the pointer is at, beside the title of the plot.
  function read(figure, lines, unit, plot) {
    const { idx } = plot.cursor;
    const values = idx === null || idx === undefined ? null : lines.map((_, line) => shown(plot.data[line + 1][idx], unit));
    figure.querySelector(".reading").textContent = values ? `${clock(plot.data[0][idx])} · ${values.join(" · ")}` : "";
  }

  function build(figure) {
    const box = figure.querySelector(".plot");
    const { unit } = figure.dataset;
    const lines = [...figure.querySelectorAll("tr[data-series]")].map((row) => ({ row, name: row.dataset.series, label: row.querySelector("th").textContent.trim() }));
    const names = lines.map((line) => line.name);
    const made = new uPlot(options(figure, lines, unit, box.clientWidth), columns(names), box);
    return {
      box,
      draw() {
        const data = columns(names);
        made.setData(data);
        const words = lines.map((line, number) => {
          const known = data[number + 1].filter((value) => value !== null);
          const newest = data[number + 1][data[number + 1].length - 1];
          const values = [newest, ...(known.length ? [Math.min(...known), Math.max(...known)] : [null, null])].map((value) => shown(value, unit));
          line.row.querySelectorAll("td").forEach((cell, place) => { cell.textContent = values[place]; });
          return `${line.label}: now ${values[0]}, lowest ${values[1]}, highest ${values[2]}`;
        });
        const title = figure.querySelector("h3").textContent;
        box.setAttribute("aria-label", `${title} over the last ${minutes} minutes. ${words.join(". ")}.`);
      },
      resize() {
        if (box.clientWidth && box.clientWidth !== made.width) made.setSize({ width: box.clientWidth, height: HEIGHT });
      },
      destroy: () => made.destroy(),
    };
  }

  function rebuild() {
    for (const plot of plots) plot.destroy();
    plots = at.length ? [...root.querySelectorAll("figure")].map(build) : [];
    draw();
  }

  function draw() {
    if (at.length && !plots.length) {
      rebuild();
      return;
    }
    for (const plot of plots) plot.draw();
  }

  // ---- news ----

  function heardOf(rows) {
    take(rows);
    heardAt = Date.now();
    heard += 1;
    for (const cell of document.querySelectorAll("[data-now]")) {
      const column = series[cell.dataset.now] ?? [];
      cell.textContent = shown(column[column.length - 1], cell.dataset.unit);
    }
    // Who wants no motion sees the lines move in steps of ten seconds.
    if (!calm.matches || !plots.length || heard % PART_EVERY === 1) draw();
    if (heard % PART_EVERY === 0) {
      for (const part of ["state", "errors"]) htmx.trigger(document.getElementById(part), "refresh");
    }
    told();
  }

  function told() {
    if (!at.length) return;
    const fresh = Date.now() - heardAt < STALE_AFTER;
    const text = fresh ? "Live, a sample every two seconds." : `No news since ${clock(at[at.length - 1] / 1000)}. Trying to reach the server…`;
    if (freshness.textContent !== text) freshness.textContent = text;
    document.body.classList.toggle("stale", !fresh);
  }

  function choose(link) {
    minutes = Number(link.dataset.minutes);
    for (const each of root.querySelectorAll("a[data-minutes]")) each.toggleAttribute("aria-current", false);
    link.setAttribute("aria-current", "true");
    history.replaceState(null, "", link.href);
    const errors = document.getElementById("errors");
    errors.setAttribute("hx-get", `/dashboard/overview/errors?minutes=${minutes}`);
    htmx.process(errors);
    htmx.trigger(errors, "refresh");
    draw();
  }

  async function start() {
    const all = await dashboard.call("GET", API);
    interval = all.interval_ms;
    capacity = all.capacity;
    heardOf(all);
    dashboard.stream(`${API}/stream?since=${at.length ? at[at.length - 1] : 0}`, {
      series: heardOf,
      sample: ({ at: moment, error_counts: _, ...values }) =>
        heardOf({ at: [moment], series: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, [value]])) }),
    });
  }

  root.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-minutes]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    choose(link);
  });
  dark.addEventListener("change", rebuild);
  new ResizeObserver(() => plots.forEach((plot) => plot.resize())).observe(root);
  setInterval(told, 1000);
  start().catch((problem) => dashboard.toast(problem.message, "bad"));
})();
