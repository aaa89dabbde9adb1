"use strict";
/* The live inspector. Everything that comes from the server is put in place as text. */
(() => {
  const MAX_ROWS = 500;
  const SUMMARY_MS = 10000;
  const LONGEST_PAUSE_MS = 15000;

  const byId = (id) => document.getElementById(id);
  const form = byId("inspector-form");
  const section = byId("inspector");
  if (!form || !section) {
    return;
  }
  const list = byId("inspector-entries");
  const state = byId("inspector-state");
  const summary = byId("inspector-summary");
  const empty = byId("inspector-empty");
  const search = byId("inspector-search");
  const pauseButton = byId("inspector-pause");
  const boxes = [...form.querySelectorAll("input[data-kind]")];
  section.hidden = false;

  // ---- what is watched ----

  const chosenKinds = () => {
    const kinds = boxes.filter((box) => box.checked).map((box) => box.dataset.kind);
    return kinds.length === boxes.length || kinds.length === 0 ? "" : kinds.join(",");
  };

  const selection = () => {
    form.elements.kinds.value = chosenKinds();
    const chosen = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (value.trim()) {
        chosen.set(name, value.trim());
      }
    }
    return chosen.toString();
  };

  // ---- rows ----

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) {
      made.className = className;
    }
    if (text !== undefined) {
      made.textContent = text;
    }
    return made;
  };

  const clock = (ms) => {
    const at = new Date(ms);
    const two = (number) => String(number).padStart(2, "0");
    const parts = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
    return `${parts}.${String(at.getMilliseconds()).padStart(3, "0")}`;
  };

  const filled = (template, app, name) =>
    template.replace("{app}", encodeURIComponent(app)).replace("{name}", encodeURIComponent(name));

  const link = (href, text) => {
    const made = element("a", "", text);
    made.href = href;
    return made;
  };

  const watchUrl = (values) => `/dashboard/inspector?${new URLSearchParams(values)}`;

  const linksOf = (entry) => {
    const found = [];
    if (entry.error) {
      found.push(link(filled(section.dataset.errorUrl, "", entry.error), "What this error means"));
    }
    if (entry.app_id && entry.channel) {
      found.push(link(filled(section.dataset.channelUrl, entry.app_id, entry.channel), "The channel"));
      found.push(link(watchUrl({ app_id: entry.app_id, channel: entry.channel }), "Watch the channel"));
    }
    if (entry.app_id && entry.socket_id) {
      found.push(link(filled(section.dataset.socketUrl, entry.app_id, entry.socket_id), "The connection"));
      found.push(link(watchUrl({ app_id: entry.app_id, socket_id: entry.socket_id }), "Watch the connection"));
    }
    if (entry.app_id && entry.user_id) {
      found.push(link(watchUrl({ app_id: entry.app_id, user_id: entry.user_id }), "Watch the user"));
    }
    return found;
  };

  // JSON in lines; what is none, or was cut off, as it is.
  const pretty = (text) => {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  };

  const showDetails = (row, entry) => {
    const values = element("dl", "inspector-values");
    for (const [name, value] of Object.entries(entry)) {
      if (name !== "line" && value !== null) {
        values.append(element("dt", "", name));
        const shown = name === "at" ? new Date(value).toISOString() : name === "data" ? pretty(value) : String(value);
        values.append(element("dd", "", shown));
      }
    }
    row.append(values);
    const links = linksOf(entry);
    if (links.length) {
      const bar = element("p", "inspector-links");
      bar.append(...links);
      row.append(bar);
    }
  };

  const rowOf = (entry) => {
    const { line } = entry;
    const item = element("li", `inspector-entry tone-${line.tone}`);
    const row = element("details");
    const head = element("summary");
    const time = element("time", "inspector-time", clock(entry.at));
    time.dateTime = new Date(entry.at).toISOString();
    const cell = (name, ...parts) => {
      const made = element("span", `inspector-cell cell-${name}`);
      for (const part of parts) {
        made.append(part, " ");
      }
      head.append(made, " ");
    };
    const subjects = (...names) =>
      line.subject
        .filter(([name]) => names.includes(name))
        .map(([name, value]) => {
          const made = element("span", `inspector-subject subject-${name}`);
          // The head of the column says it where there is one.
          made.append(...(name === "channel" ? [value] : [element("span", "inspector-name", `${name} `), value]));
          return made;
        });
    const to = line.marks.filter((mark) => mark.startsWith("to "));
    const marks = line.marks.filter((mark) => !mark.startsWith("to "));
    const text = entry.kind === "message" && entry.event && line.text.startsWith(entry.event)
      ? [element("strong", "inspector-event", entry.event), element("span", "inspector-data", line.text.slice(entry.event.length))]
      : [element("span", "inspector-text", line.text)];
    const hint = element("span", "inspector-hint");
    hint.append(...dashboard.prose(line.hint));
    cell("time", time);
    cell("kind", element("span", "inspector-label", line.label));
    cell("app", ...subjects("app"));
    cell("channel", ...subjects("channel", "endpoint"));
    cell("what", ...text, hint, element("span", "inspector-marks", marks.join(" · ")));
    cell("to", ...to.map((mark) => element("span", "inspector-marks", mark)), ...subjects("socket", "user", "from"));
    row.append(head);
    row.addEventListener("toggle", () => showDetails(row, entry), { once: true });
    item.append(row);
    return item;
  };

  const gapOf = (count) => {
    const text = `${count.toLocaleString()} ${count === 1 ? "entry was" : "entries were"} skipped: more happens than can be shown`;
    return element("li", "inspector-gap", text);
  };

  const fits = (item) => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = item.textContent.toLowerCase();
    return words.every((word) => text.includes(word));
  };

  // The row that goes first: what went wrong stays as long as there is anything else.
  const oldest = () => {
    let row = list.lastElementChild;
    while (row && row.classList.contains("tone-bad")) {
      row = row.previousElementSibling;
    }
    return row || list.lastElementChild;
  };

  const place = (items) => {
    for (const item of items) {
      item.hidden = !fits(item);
    }
    list.prepend(...items.reverse());
    while (list.childElementCount > MAX_ROWS) {
      oldest().remove();
    }
    empty.hidden = list.childElementCount > 0;
  };

  // ---- pausing ----

  let paused = false;
  let held = [];
  let lost = 0;

  const showState = (text) => {
    const waiting = held.length + lost;
    state.textContent = paused ? `${text} · paused, ${waiting.toLocaleString()} new` : text;
  };
  let stateText = "Connecting…";
  const say = (text) => {
    stateText = text;
    showState(text);
  };

  const hold = (values) => {
    held.push(...values);
    let over = held.length - MAX_ROWS;
    const drop = (value) => {
      over -= 1;
      lost += value.skipped || 1;
      return false;
    };
    held = held.filter((value) => over <= 0 || value.line?.tone === "bad" || drop(value));
    while (over > 0) {
      drop(held.shift());
    }
  };

  const take = (values) => {
    if (paused) {
      hold(values);
      showState(stateText);
      return;
    }
    place(values.map((value) => (value.skipped ? gapOf(value.skipped) : rowOf(value))));
  };

  pauseButton.addEventListener("click", () => {
    paused = !paused;
    pauseButton.setAttribute("aria-pressed", String(paused));
    pauseButton.textContent = paused ? "Resume" : "Pause";
    if (!paused) {
      const values = lost ? [{ skipped: lost }, ...held] : held;
      held = [];
      lost = 0;
      take(values);
    }
    showState(stateText);
  });

  byId("inspector-clear").addEventListener("click", () => {
    list.replaceChildren();
    held = [];
    lost = 0;
    empty.hidden = false;
    showState(stateText);
  });

  search.addEventListener("input", () => {
    for (const item of list.children) {
      item.hidden = !fits(item);
    }
  });

  // ---- what is said to those who do not see the rows ----

  let told = { entries: 0, problems: 0, skipped: 0 };
  setInterval(() => {
    if (!told.entries && !told.skipped) {
      return;
    }
    const parts = [`${told.entries} new entries`];
    if (told.problems) {
      parts.push(`${told.problems} of them refusals or failures`);
    }
    if (told.skipped) {
      parts.push(`${told.skipped} skipped`);
    }
    summary.textContent = `${parts.join(", ")}.`;
    told = { entries: 0, problems: 0, skipped: 0 };
  }, SUMMARY_MS);

  // ---- the stream ----

  // The entries stay to be read, so nobody is sent away.
  const askForLogin = () => {
    const again = byId("inspector-login");
    again.href = `/dashboard/login?next=${encodeURIComponent(location.pathname + location.search)}`;
    again.hidden = false;
    summary.textContent = state.textContent;
  };

  const understand = (event, data) => {
    if (event === "hello") {
      say("Live");
      return true;
    }
    if (event === "entries") {
      told.entries += data.entries.length;
      told.problems += data.entries.filter((entry) => entry.line.tone === "bad").length;
      told.skipped += data.skipped;
      take(data.skipped ? [...data.entries, { skipped: data.skipped }] : data.entries);
    }
    if (event === "end") {
      say(data.text);
      if (data.error === "login_required") {
        askForLogin();
        return false;
      }
    }
    return true;
  };

  const read = async (response, isCurrent) => {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done || !isCurrent()) {
        return true;
      }
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const text of events) {
        const field = (name) => text.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        const data = field("data");
        if (data !== undefined && !understand(field("event"), JSON.parse(data))) {
          return false;
        }
      }
    }
  };

  let current = null;

  const follow = async () => {
    current?.abort();
    const mine = new AbortController();
    current = mine;
    const url = `${section.dataset.stream}?${selection()}`;
    let pause = 1000;
    while (current === mine) {
      try {
        const response = await fetch(url, { signal: mine.signal, headers: { Accept: "text/event-stream" } });
        if (response.ok) {
          pause = 1000;
          if (!(await read(response, () => current === mine))) {
            return;
          }
        } else {
          const refusal = await response.json().catch(() => ({}));
          say(refusal.error || `The server answered ${response.status}`);
          if (response.status === 401) {
            askForLogin();
          }
          if (response.status < 500 && response.status !== 429) {
            return;
          }
        }
      } catch {
        // The connection broke, or another selection was chosen meanwhile.
      }
      if (current !== mine) {
        return;
      }
      if (state.textContent === "Live") {
        say("The connection was lost");
      }
      showState(`${stateText}. Connecting again…`);
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  };

  const restart = () => {
    list.replaceChildren();
    held = [];
    lost = 0;
    empty.hidden = false;
    say("Connecting…");
    follow();
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = selection();
    history.replaceState(null, "", chosen ? `?${chosen}` : location.pathname);
    restart();
  });
  const check = (isChosen) => () => {
    for (const box of boxes) {
      box.checked = isChosen(box.dataset.kind);
    }
  };
  byId("inspector-kinds-all").addEventListener("click", check(() => true));
  byId("inspector-kinds-problems").addEventListener(
    "click",
    check((kind) => kind === "closed" || /_(refused|failed|dead)$/.test(kind)),
  );
  window.addEventListener("pagehide", () => current?.abort());
  window.addEventListener("pageshow", (event) => {
    // Brought back by the browser's back button, with its stream cut.
    if (event.persisted) {
      restart();
    }
  });
  follow();
})();
