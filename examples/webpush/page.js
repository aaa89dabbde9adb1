// Subscribes this browser and gives the subscription to the backend, which registers it as a device.
"use strict";

const state = document.getElementById("state");
const button = document.getElementById("subscribe");
const trial = document.getElementById("notify");

// The server's public key as the bytes that browsers want.
function bytes(base64url) {
  const text = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Example": "1" },
    body: JSON.stringify(body),
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
}

// What the backend needs to know of this browser; it holds no secret of the server.
function registration(subscription) {
  return {
    subscription: subscription.toJSON(),
    timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
    locale: navigator.language,
  };
}

async function register(subscription) {
  const known = await post("/register", registration(subscription));
  state.textContent = `Subscribed: device ${known.device}, client ${known.client}, channel ${known.channel}.`;
  trial.disabled = false;
}

// A subscription that was made for another pair of keys is of no use any more.
async function subscription(worker, key) {
  const found = await worker.pushManager.getSubscription();
  if (found) {
    const made = new Uint8Array(found.options.applicationServerKey ?? []);
    if (made.length === key.length && made.every((value, place) => value === key[place])) return found;
    await found.unsubscribe();
  }
  return worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
}

async function subscribe() {
  if (!("serviceWorker" in navigator && "PushManager" in window)) {
    throw new Error("This browser has no Web Push; on an iPhone, add the page to the home screen first.");
  }
  // Browsers ask only when somebody has clicked.
  if ((await Notification.requestPermission()) !== "granted") {
    throw new Error("Notifications are not allowed for this page.");
  }
  await navigator.serviceWorker.register("/worker.js");
  const worker = await navigator.serviceWorker.ready;
  const { publicKey } = await (await fetch("/key")).json();
  await register(await subscription(worker, bytes(publicKey)));
}

function told(work) {
  return async () => {
    try {
      await work();
    } catch (problem) {
      state.textContent = problem.message;
    }
  };
}

async function notify() {
  const { publishId } = await post("/notify", {});
  state.textContent = `Published: sockudo push status ${publishId}`;
}

button.addEventListener("click", told(subscribe));
trial.addEventListener("click", told(notify));

navigator.serviceWorker?.addEventListener("message", (event) => {
  const line = document.createElement("li");
  line.textContent = `${event.data.notification?.title ?? ""}: ${event.data.notification?.body ?? ""}`;
  document.getElementById("arrived").append(line);
});
