// The page at `/` of a development server. Everything that arrives is put in place as text.

import Sockudo from "/client/sockudo.mjs";
import { channelAuth, signedUrl } from "./signing.js";

const MOST_EVENTS = 100;
const STATES = {
  connected: ["good", "connected"],
  connecting: ["warn", "connecting"],
  unavailable: ["warn", "connecting again"],
  disconnected: ["bad", "not connected"],
  failed: ["bad", "not connected"],
};

const byId = (id) => document.getElementById(id);
const root = byId("start");
if (root) begin();

function begin() {
  const subscribing = byId("start-subscribe");
  const publishing = byId("start-publish");
  const { appId: id, key } = root.dataset;
  const app = () => {
    const secret = root.dataset.secret || publishing.elements.secret.value.trim();
    if (!secret) throw new Error("This takes the secret of the app: fill it in under 2.");
    return { id, key, secret };
  };
  const me = { user_id: `visitor-${Math.random().toString(36).slice(2, 8)}`, user_info: { name: "A visitor of this page" } };
  const authorize = async ({ socketId, channelName }) => channelAuth(app(), socketId, channelName, me);
  const customHandler = (request, done) => void authorize(request).then((signed) => done(null, signed), (error) => done(error, null));
  const problem = (text) => (byId("start-problem").textContent = text);
  const client = new Sockudo(key, { url: location.origin, manual: true, channelAuthorization: { customHandler } });
  const { connection } = client;
  const isWanted = () => ["connecting", "connected", "unavailable"].includes(connection.state);

  function showChannels() {
    byId("start-channels").replaceChildren(...client.allChannels().map(row));
  }

  function row(channel) {
    const joined = channel.state === "subscribed";
    const leave = element("button", "button quiet small", "✕");
    leave.type = "button";
    leave.setAttribute("aria-label", `Unsubscribe from ${channel.name}`);
    leave.addEventListener("click", () => {
      client.unsubscribe(channel.name);
      showChannels();
      subscribing.elements.channel.focus();
    });
    const made = element("li");
    made.append(
      element("span", joined ? "badge good" : "badge", joined ? "subscribed" : "waiting"),
      element("code", "", channel.name),
      leave,
    );
    return made;
  }

  function subscribe(name) {
    if (!client.channel(name)) {
      client.subscribe(name).bind_global((event, data) => {
        if (event === "pusher:subscription_error") {
          client.unsubscribe(name);
          problem(data.status >= 4000 ? `${data.status} ${data.error}` : data.error);
        }
        if (event.startsWith("pusher:")) showChannels();
        else showEvent(name, event, data);
      });
    }
    showChannels();
  }

  connection.bind("state_change", ({ current, error }) => {
    showState(current, current === "connected" ? `socket ${connection.socket_id}` : (error && [error.code, error.message].join(" ")));
    showChannels();
  });
  byId("start-connect").addEventListener("click", () => (isWanted() ? client.disconnect() : client.connect()));
  byId("start-clear").addEventListener("click", () => {
    byId("start-events").replaceChildren();
    byId("start-empty").hidden = false;
  });
  subscribing.addEventListener("submit", (event) => {
    event.preventDefault();
    problem("");
    if (!isWanted()) client.connect();
    subscribe(subscribing.elements.channel.value.trim());
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

  subscribe(subscribing.elements.channel.value);
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

function showState(state, about = "") {
  const badge = byId("start-state");
  const [colour, text] = STATES[state];
  badge.className = `badge ${colour}`;
  badge.textContent = text;
  byId("start-about").textContent = about;
  byId("start-connect").textContent = colour === "bad" ? "Connect" : "Disconnect";
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
