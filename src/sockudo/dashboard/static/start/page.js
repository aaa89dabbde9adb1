// The page at `/` of a development server. Everything that arrives is put in place as text.

import { Client } from "./client.js";
import { channelAuth, signedUrl } from "./signing.js";

const MOST_EVENTS = 100;
const BADGES = { connected: "good", connecting: "warn", waiting: "warn", closed: "bad" };

const byId = (id) => document.getElementById(id);
const root = byId("start");
if (root) begin();

function begin() {
  const subscribing = byId("start-subscribe");
  const publishing = byId("start-publish");
  const { appId: id, key, version } = root.dataset;
  const app = () => {
    const secret = root.dataset.secret || publishing.elements.secret.value.trim();
    if (!secret) throw new Error("This takes the secret of the app: fill it in under 2.");
    return { id, key, secret };
  };
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const query = `protocol=7&client=start-page&version=${encodeURIComponent(version)}`;
  const url = `${scheme}://${location.host}/app/${encodeURIComponent(key)}?${query}`;
  const me = { user_id: `visitor-${Math.random().toString(36).slice(2, 8)}`, user_info: { name: "A visitor of this page" } };
  const authorize = async (socketId, channel) => channelAuth(app(), socketId, channel, me);
  const problem = (text) => (byId("start-problem").textContent = text);
  const client = new Client(url, authorize, { state: showState, channels: showChannels, event: showEvent, problem });

  function showChannels(channels) {
    byId("start-channels").replaceChildren(...[...channels].map(([channel, joined]) => row(channel, joined)));
  }

  function row(channel, joined) {
    const leave = element("button", "button quiet small", "✕");
    leave.type = "button";
    leave.setAttribute("aria-label", `Unsubscribe from ${channel}`);
    leave.addEventListener("click", () => {
      client.unsubscribe(channel);
      subscribing.elements.channel.focus();
    });
    const made = element("li");
    made.append(element("span", joined ? "badge good" : "badge", joined ? "subscribed" : "waiting"), element("code", "", channel), leave);
    return made;
  }

  byId("start-connect").addEventListener("click", () => (client.wanted ? client.disconnect() : client.connect()));
  byId("start-clear").addEventListener("click", () => {
    byId("start-events").replaceChildren();
    byId("start-empty").hidden = false;
  });
  subscribing.addEventListener("submit", (event) => {
    event.preventDefault();
    problem("");
    if (!client.wanted) client.connect();
    client.subscribe(subscribing.elements.channel.value.trim());
  });
  publishing.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { channel, event: name, data } = publishing.elements;
    const said = byId("start-published");
    said.className = "small";
    said.textContent = "Publishing…";
    try {
      await publish(app(), { name: name.value.trim(), channel: channel.value.trim(), data: data.value });
      said.textContent = `Published to ${channel.value.trim()}.`;
    } catch (refusal) {
      said.className = "problem-text";
      said.textContent = refusal.message;
    }
  });
  subscribing.elements.channel.addEventListener("change", () => {
    publishing.elements.channel.value = subscribing.elements.channel.value;
  });

  client.subscribe(subscribing.elements.channel.value);
  client.connect();
}

async function publish(app, event) {
  const body = JSON.stringify(event);
  const url = await signedUrl(app, `/apps/${encodeURIComponent(app.id)}/events`, body);
  let answer;
  try {
    answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  } catch {
    throw new Error("The server cannot be reached.");
  }
  if (!answer.ok) throw new Error(`${answer.status}: ${await refusal(answer)}`);
}

async function refusal(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return text.slice(0, 200) || "the server refused this";
  }
}

function showState(state, detail = "") {
  const badge = byId("start-state");
  badge.className = `badge ${BADGES[state]}`;
  badge.textContent = { closed: "not connected", waiting: "connecting again" }[state] ?? state;
  byId("start-about").textContent = state === "connected" ? `socket ${detail}` : detail;
  byId("start-connect").textContent = state === "closed" ? "Connect" : "Disconnect";
}

function showEvent(channel, name, data) {
  const list = byId("start-events");
  const made = element("li");
  const head = element("p", "start-event");
  head.append(
    element("span", "inspector-time", new Date().toLocaleTimeString()),
    element("strong", "", name),
    element("span", "muted", `on ${channel}`),
  );
  made.append(head, element("pre", "inspector-data", readable(data)));
  list.prepend(made);
  while (list.children.length > MOST_EVENTS) list.lastElementChild.remove();
  byId("start-empty").hidden = true;
}

function readable(data) {
  const text = typeof data === "string" ? data : JSON.stringify(data);
  try {
    return JSON.stringify(JSON.parse(text), null, 1).replace(/\n\s*/g, " ");
  } catch {
    return text ?? "";
  }
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
