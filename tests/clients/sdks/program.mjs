// A program with one of the clients for Node in it, and only its host changed.
//
// It reads a list of calls a line, makes them, flushes, and prints what of them the client has sent. See `driver.py`.

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [maker, url, key] = process.argv.slice(2);
const ODD = {
  nan: NaN, infinite: -Infinity, huge: 2 ** 70, exact: Number.MAX_SAFE_INTEGER, large: 1e22, nul: "a\0b",
  half: "\ud800", price: 19.9, at: new Date(Date.UTC(2026, 2, 4, 5, 6, 7)), never: new Date(NaN), kinds: new Set(["a"]),
};
const clients = { segment, rudderstack };
const client = await clients[maker]();

async function segment() {
  const { Analytics } = await import("@segment/analytics-node");
  const analytics = new Analytics({ writeKey: key, host: url });
  return {
    make: (kind, message, done) => analytics[kind](message, done),
    flush: () => analytics.flush(),
    end: () => analytics.closeAndFlush(),
  };
}

async function rudderstack() {
  const { default: Analytics } = await import("@rudderstack/rudder-sdk-node");
  // Without a handler of errors the first batch that is lost ends the program.
  const analytics = new Analytics(key, { dataPlaneUrl: url, logLevel: "error", errorHandler: () => {} });
  return {
    make: (kind, message, done) => analytics[kind](message, done),
    flush: () => analytics.flush(),
    end: () => analytics.flush(),
  };
}

function message(call) {
  const who = { userId: call.user, anonymousId: call.anonymous };
  const data = call.odd ? { ...ODD, ...call.data } : call.data;
  switch (call.kind) {
    case "track":
      return { ...who, event: call.name, properties: data };
    case "page":
      return { ...who, name: call.name, properties: data };
    case "identify":
      return { ...who, traits: data };
    case "group":
      return { ...who, groupId: call.group, traits: data };
    case "alias":
      return { userId: call.user, previousId: call.previous };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const sent = [];
  const failed = new Set();
  let open = 0;
  for (const call of JSON.parse(line)) {
    open += 1;
    client.make(call.kind, message(call), (error) => {
      open -= 1;
      if (error) failed.add(String(error));
      else if (call.kind === "track" || call.kind === "page") sent.push(call.data.n);
    });
    if (call.wait) await sleep(call.wait * 1000);
  }
  while (open > 0) {
    await client.flush();
    await sleep(20);
  }
  console.log(JSON.stringify({ sent: sent.sort((a, b) => a - b), failed: [...failed].sort() }));
}
await client.end();
process.exit(0);
