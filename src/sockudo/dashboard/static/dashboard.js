// What all pages share: messages, times in the reader's zone, questions before something is done, copying.
// Scripts of areas find it as `window.dashboard`. Texts are only ever put in with textContent.
"use strict";

(() => {
  const SHOWN_FOR = 8000;
  const LARGEST_FILE = 65536;

  function toast(text, kind) {
    const box = document.getElementById("toasts");
    const line = document.createElement("p");
    line.className = kind === "bad" ? "toast bad" : "toast";
    const words = document.createElement("span");
    words.append(...prose(text));
    line.append(words);
    box.append(line);
    settle(line);
  }

  // A message that tells of a failure stays until it is closed.
  function settle(line) {
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "✕";
    close.setAttribute("aria-label", "Close this message");
    close.addEventListener("click", () => line.remove());
    line.append(close);
    if (!line.classList.contains("bad")) setTimeout(() => line.remove(), SHOWN_FOR);
  }

  const csrfToken = () => document.querySelector('meta[name="csrf-token"]')?.content ?? "";

  // A call of the API with the session of this page: the decoded answer, or an Error with the text of the refusal.
  async function call(method, path, body) {
    const answer = await fetch(path, {
      method,
      headers: { "X-CSRF-Token": csrfToken(), ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (answer.status === 401) toLogin();
    const text = await answer.text();
    if (!answer.ok) throw new Error(refusal(text, answer.status));
    return text ? JSON.parse(text) : null;
  }

  function refusal(text, status) {
    try {
      return JSON.parse(text).error;
    } catch {
      return `The server answered ${status}.`;
    }
  }

  function toLogin() {
    location.assign(`/dashboard/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }

  // An event stream: handlers by event name get the decoded data. `state` is told "open", "waiting" or "closed".
  // The browser connects again by itself; where it gives up, the session has ended or too many streams are open.
  function stream(path, handlers, state = () => {}) {
    let source = null;
    let timer = 0;
    const open = () => {
      source = new EventSource(path);
      source.addEventListener("open", () => state("open"));
      source.addEventListener("error", () => {
        const gaveUp = source.readyState === EventSource.CLOSED;
        state("waiting");
        if (gaveUp) again();
      });
      for (const [name, handler] of Object.entries(handlers)) {
        source.addEventListener(name, (event) => handler(event.data === "" ? null : JSON.parse(event.data)));
      }
    };
    const again = async () => {
      try {
        const answer = await fetch("/dashboard/api/v1/session");
        if (answer.status === 401) {
          toLogin();
          return;
        }
      } catch {
        // The server is away: it is asked again below.
      }
      clearTimeout(timer);
      timer = setTimeout(open, 3000);
    };
    open();
    return {
      close() {
        clearTimeout(timer);
        source.close();
        state("closed");
      },
    };
  }

  function localTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.getTime())) continue;
      time.title = `${moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" })}, ${time.textContent}`;
      time.dataset.local = "";
      time.textContent = distance(moment);
    }
  }

  // How long ago something was, or when it will be; what is further away than a week, as a date.
  const STEPS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [7 * 86400, 86400, "d"]];
  function distance(moment) {
    const seconds = (Date.now() - moment.getTime()) / 1000;
    const away = Math.round(Math.abs(seconds));
    const [, size, unit] = STEPS.find(([below]) => away < below) ?? [];
    if (!unit) return moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
    if (away < 2) return "just now";
    const words = `${Math.floor(away / size)} ${unit}`;
    return seconds >= 0 ? `${words} ago` : `in ${words}`;
  }

  setInterval(() => {
    for (const time of document.querySelectorAll("time[data-local]")) {
      const words = distance(new Date(time.dateTime));
      if (time.textContent !== words) time.textContent = words;
    }
  }, 5000);

  // Words of the server's own: what stands between two backticks is code.
  function prose(text) {
    const parts = text.split("`");
    if (parts.length % 2 === 0) return [text];
    return parts.map((part, number) => {
      if (number % 2 === 0) return part;
      const code = document.createElement("code");
      code.textContent = part;
      return code;
    });
  }

  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
    if (question && !window.confirm(question)) event.preventDefault();
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copy)?.textContent.trim() ?? "";
    try {
      await navigator.clipboard.writeText(text);
      toast("Copied.");
    } catch {
      // Browsers offer the clipboard over https and on this machine only.
      const range = document.createRange();
      range.selectNodeContents(document.getElementById(button.dataset.copy));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      toast("Selected: copy it with the keyboard.");
    }
  });

  // What is in a chosen file goes into the field that is sent, as text or in base64.
  document.addEventListener("change", async (event) => {
    const chooser = event.target.closest("input[type=file][data-fills]");
    const file = chooser?.files[0];
    if (!file) return;
    const field = chooser.form.elements[chooser.dataset.fills];
    if (file.size > LARGEST_FILE) {
      chooser.value = "";
      toast("The file is too large to be one of these.", "bad");
      return;
    }
    const bytes = new Uint8Array(await file.arrayBuffer());
    const base64 = chooser.dataset.encoding === "base64";
    field.value = base64 ? btoa(String.fromCharCode(...bytes)) : new TextDecoder().decode(bytes);
  });

  // A form that was refused comes back as 422 with what is wrong in it, and takes the place of the one that was sent.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    if (xhr.status === 422 && xhr.getResponseHeader("Content-Type")?.startsWith("text/html")) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
  });
  document.addEventListener("htmx:responseError", (event) => {
    const { xhr } = event.detail;
    if (xhr.status !== 401) toast(refusal(xhr.responseText, xhr.status), "bad");
  });
  document.addEventListener("htmx:sendError", () => toast("The server cannot be reached.", "bad"));
  // An answer may carry HX-Trigger: {"toast": "text"}.
  document.addEventListener("toast", (event) => toast(event.detail.value));
  document.addEventListener("htmx:load", (event) => localTimes(event.target));

  document.addEventListener("DOMContentLoaded", () => {
    localTimes(document);
    for (const chooser of document.querySelectorAll("input[type=file][data-fills]")) chooser.closest("label").hidden = false;
    // On a narrow screen the menu scrolls: the place where one is should be in sight.
    const here = document.querySelector(".menu [aria-current]");
    if (here) here.closest("ul").scrollLeft = here.offsetLeft - here.closest("ul").offsetLeft - 16;
    for (const line of document.querySelectorAll("#toasts .toast")) settle(line);
  });

  window.dashboard = { toast, call, stream, csrfToken, localTimes, prose };
})();
