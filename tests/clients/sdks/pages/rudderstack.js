import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";

export async function connect(url, key) {
  const analytics = new RudderAnalytics();
  analytics.load(key, url, { configUrl: url });
  await new Promise((resolve) => analytics.ready(resolve));
  return { client: analytics };
}
