import { AnalyticsBrowser } from "@segment/analytics-next";

export async function connect(url, key) {
  const analytics = AnalyticsBrowser.load({ writeKey: key, cdnURL: url });
  await analytics.ready();
  return { client: analytics }; // not by itself: it is a promise of something else
}
