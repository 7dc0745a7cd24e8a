// What a developer writes against the types that openapi-typescript makes of the document: reads, writes, bulk, merges.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { env: Record<string, string | undefined> };

type Profile = components["schemas"]["UnifiedProfile"];

const { PORTRAIT_URL, PORTRAIT_KEY } = process.env;
if (!PORTRAIT_URL || !PORTRAIT_KEY) throw new Error("PORTRAIT_URL and PORTRAIT_KEY say where and who");
const client = createClient<paths>({ baseUrl: PORTRAIT_URL, headers: { Authorization: `Bearer ${PORTRAIT_KEY}` } });

function same(found: unknown, wanted: unknown): void {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) {
    throw new Error(`${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`);
  }
}

function taken<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

function customer(customerId: string) {
  return { params: { path: { customerId } } };
}

// Write: what has a default may be left out.
const one = { type: "email", value: "ann@example.com" } satisfies components["schemas"]["NewIdentity"];
same(
  taken(await client.POST("/api/v1/customers/{customerId}/identities", { ...customer("ann"), body: one })),
  { recorded: 1, duplicates: 0 },
);
taken(
  await client.POST("/api/v1/customers/{customerId}/consent", {
    ...customer("ann"),
    body: [
      { kind: "consent", purpose: "ads", status: "granted" },
      { record: { kind: "preference", key: "language", value: ["fr"] }, source: "form" },
    ],
  }),
);
taken(
  await client.POST("/api/v1/customers/{customerId}/interactions", {
    ...customer("ann"),
    body: { id: "i1", interactionType: "buy", timestamp: "2026-01-02T00:00:00Z", properties: { price: 9.5 } },
  }),
);
taken(
  await client.POST("/api/v1/customers/{customerId}/reviews", {
    ...customer("ann"),
    body: { reviewId: "r1", productId: "p1", rating: 5, writtenAt: "2026-01-02T00:00:00Z" },
  }),
);

// What the document forbids does not compile.
// @ts-expect-error a consent has a purpose
const withoutPurpose: components["schemas"]["NewConsent"] = { kind: "consent", status: "granted" };
// @ts-expect-error that is no status
const ofNoStatus: components["schemas"]["NewConsent"] = { kind: "consent", purpose: "ads", status: "perhaps" };
same([withoutPurpose, ofNoStatus].length, 2);

// Bulk: records of several customers, and the end of one.
const at = "2026-01-02T00:00:00Z";
const bulk = taken(
  await client.POST("/api/v1/records", {
    body: [
      { customerId: "ann", section: "segments", record: { segmentId: "s1", segmentName: "New", memberSince: at } },
      { customerId: "ann", section: "segments", op: "delete", key: "s1" },
      { customerId: "ann-2", section: "identities", record: { type: "phone", value: "+4930123456" } },
      { identifier: { type: "email", value: "bob@example.com" }, section: "identities", record: { type: "cookie_id", value: "c" } },
      { customerId: "ann", section: "nothing", record: {} },
    ],
  }),
);
same([bulk.recorded, bulk.refused.map((refused) => [refused.index, refused.code])], [4, [[4, "unknown_section"]]]);

// Merge, after a look at what it would do.
const merge = { action: "merge", targetId: "ann", sourceId: "ann-2" } as const;
for (const body of [{ action: "preview" as const, of: merge }, merge]) {
  const effect = taken(await client.POST("/api/v1/identity", { body }));
  if (!("after" in effect)) throw new Error("a merge answers what it does");
  same(effect.after.map((profile) => profile.customerId), ["ann"]);
}

// Read: by id, by identifier, several. What an answer always has needs no check.
function identifiers(profile: Profile): [string, number][] {
  return profile.sections.flatMap((section) =>
    section.name === "identities" ? section.data.map((one): [string, number] => [one.value, one.confidence]) : [],
  );
}

const profile: Profile = taken(
  await client.GET("/api/v1/customers/{customerId}/unified-profile", {
    params: { path: { customerId: "ann" }, query: { sections: "identities,consent,interactions,reviews,segments" } },
  }),
);
same(identifiers(profile), [["ann-2", 1], ["ann@example.com", 1], ["+4930123456", 1]]);
for (const section of profile.sections) {
  if (section.name === "consent") {
    const kinds = section.data.map((held) => (held.kind === "consent" ? held.revokedAt : held.value));
    same(kinds.sort(), [["fr"], null]);
  } else if (section.name === "interactions") {
    same(section.data.map((held) => held.properties?.["price"]), [9.5]);
  } else if (section.name === "segments") {
    same(section.data.length, 0);
  } else if (section.name === "reviews") {
    same(section.data.map((held) => held.rating), [5]);
  }
}
const found = taken(await client.POST("/api/v1/unified-profile", { body: { identifier: one, sections: ["identities"] } }));
if (!("sections" in found)) throw new Error("one was asked for");
same(identifiers(found), identifiers(profile));
const several = taken(
  await client.POST("/api/v1/unified-profile", { body: [{ customerId: "ann" }, { customerId: "nobody" }] }),
);
if (!("data" in several)) throw new Error("two were asked for");
same(
  several.data.map((each) => each.profile?.customerId ?? each.problem?.code),
  ["ann", "customer_not_found"],
);
const page = taken(await client.GET("/api/v1/customers", { params: { query: { limit: 1 } } }));
const next: string | null = page.pagination.cursor;
same([page.data.length, typeof next, page.pagination.hasMore], [1, "string", true]);

// An error is typed too.
const refused = await client.GET("/api/v1/customers/{customerId}/unified-profile", customer("nobody"));
same([refused.response.status, refused.error?.code], [404, "customer_not_found"]);

console.log("typescript: done");
