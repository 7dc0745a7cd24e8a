import { jitsuAnalytics } from "@jitsu/js";

// Its keys have two parts, of which the first counts here: a key of one part it does not take. What follows `identify`
// at once it still sends as done by the user before, so a page has to wait.
export async function connect(url, key) {
  return { client: jitsuAnalytics({ host: url, writeKey: `${key}:secret` }), identifiesLater: true };
}
