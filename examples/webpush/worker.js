// Runs in the background, also when no page is open: shows what arrives.
"use strict";

// Sockudo sends {"headers": …, "notification": {"title", "body", "image"}, "data": templateData}.
self.addEventListener("push", (event) => {
  let said = {};
  try {
    said = event.data?.json() ?? {};
  } catch {
    // Not JSON: a notification must be shown all the same, or the browser shows one of its own.
  }
  const { title, body, image } = said.notification ?? {};
  const options = { body: body ?? "", data: said.data ?? {}, tag: said.headers?.topic ?? undefined };
  if (image) options.icon = image;
  event.waitUntil(Promise.all([self.registration.showNotification(title ?? "Something is new", options), tell(said)]));
});

async function tell(said) {
  for (const page of await self.clients.matchAll({ type: "window", includeUncontrolled: true })) page.postMessage(said);
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const url = new URL(event.notification.data?.url ?? "/", self.location.origin);
  // What comes over the network may lead nowhere else.
  const target = url.origin === self.location.origin ? url.href : "/";
  event.waitUntil(self.clients.openWindow(target));
});

// A new worker takes over at once.
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
