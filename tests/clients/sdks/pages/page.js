// A page with one of the clients for browsers in it: it fetches lists of calls, makes them, and says what was answered.
//
// What is answered is seen at the page's own `fetch` and `XMLHttpRequest`: no two clients tell it alike.

import { connect } from "client";

// Kept when the page is loaded anew: what was answered, and of which calls it is still to be said.
const kept = (name) => JSON.parse(sessionStorage.getItem(name) ?? "[]");
const keep = (name, values) => sessionStorage.setItem(name, JSON.stringify([...values]));
const answered = new Set(kept("answered"));
let open = 0;

function answer(body) {
  numbers(body).forEach((n) => answered.add(n));
  keep("answered", answered);
}

function numbers(body) {
  const value = typeof body === "string" ? JSON.parse(body) : {};
  return (value.batch ?? [value]).map((event) => event.properties?.n).filter((n) => n !== undefined);
}

const plainFetch = window.fetch;
window.fetch = async (target, options) => {
  open += 1;
  try {
    const response = await plainFetch(target, options);
    if (response.status === 200 && options?.body) answer(options.body);
    return response;
  } finally {
    open -= 1;
  }
};
const plainSend = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (body) {
  open += 1;
  this.addEventListener("loadend", () => {
    open -= 1;
    if (this.status === 200 && typeof body === "string") answer(body);
  });
  return plainSend.call(this, body);
};

const ODD = {
  nan: NaN, infinite: -Infinity, huge: 2 ** 70, exact: Number.MAX_SAFE_INTEGER, large: 1e22, nul: "a\0b",
  half: "\ud800", price: 19.9, at: new Date(Date.UTC(2026, 2, 4, 5, 6, 7)), never: new Date(NaN), kinds: new Set(["a"]),
};

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

function make(client, call) {
  const data = call.odd ? { ...ODD, ...call.data } : call.data;
  switch (call.kind) {
    case "track":
      return client.track(call.name, data);
    case "page":
      return client.page(call.name, data);
    case "identify":
      return client.identify(call.user, data);
    case "group":
      return client.group(call.group, data);
    case "alias":
      return client.alias?.(call.user, call.previous); // Jitsu has none
  }
}

// A refusal of the client's must not end the page: that its event is not there says enough.
const quiet = (promise) => Promise.resolve(promise).catch(() => {});

const settings = await (await plainFetch("/settings")).json();
const { client, identifiesLater } = await connect(settings.url, settings.key);
for (;;) {
  const calls = await (await plainFetch("/calls")).json();
  if (calls === null) break;
  const counted = calls.filter((call) => call.kind === "track" || call.kind === "page");
  const wanted = [...kept("wanted"), ...counted.map((call) => call.data.n)];
  for (const call of calls) {
    if (call.kind === "reload") {
      keep("wanted", wanted);
      location.reload();
      await sleep(3600); // another page goes on
    }
    const made = quiet(make(client, call));
    if (identifiesLater && call.kind === "identify") await made;
    if (call.wait) await sleep(call.wait);
  }
  keep("wanted", []);
  // Until all is answered, or nothing has been under way for a while.
  for (let still = 0; still < settings.patience && !wanted.every((n) => answered.has(n)); ) {
    await sleep(0.05);
    still = open > 0 ? 0 : still + 0.05;
  }
  await sleep(0.3);
  const sent = wanted.filter((n) => answered.has(n));
  await plainFetch("/answered", { method: "POST", body: JSON.stringify({ sent, failed: [] }) });
}
