import { HtEventsBrowser } from "@ht-sdks/events-sdk-js-browser";

export async function connect(url, key) {
  const { host, protocol } = new URL(url);
  return { client: HtEventsBrowser.load({ writeKey: key }, { apiHost: host, protocol: protocol.slice(0, -1) }) };
}
