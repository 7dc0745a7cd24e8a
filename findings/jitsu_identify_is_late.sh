#!/bin/sh
# @jitsu/js 1.11.0 sends what is called right behind identify() for the user before: whoever logs in on a shared device does
# so under somebody else's id, until the promise of identify() is awaited.
# Node 20 or later. Expected: both events behind identify("dan") carry "dan", as Segment's clients send them.
# Seen: identify dan, then track second and third with userId cara; half a second later track fourth with dan.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
printf '{"private": true, "type": "module"}\n' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts @jitsu/js@1.11.0
cat > seen.mjs <<'JS'
import assert from "node:assert/strict"
import { createServer } from "node:http"
import { setTimeout as pause } from "node:timers/promises"
import { jitsuAnalytics } from "@jitsu/js"

const seen = []
const server = createServer((request, response) => {
  let body = ""
  request.on("data", (part) => { body += part })
  request.on("end", () => {
    const event = JSON.parse(body)
    seen.push([event.type, event.event ?? null, event.userId])
    response.writeHead(200, { "content-type": "application/json" }).end("{}")
  })
})
await new Promise((listening) => server.listen(0, "127.0.0.1", listening))
const host = `http://127.0.0.1:${server.address().port}`

const analytics = jitsuAnalytics({ host, writeKey: "key:secret", fetch })
await analytics.identify("cara")
await analytics.track("first")
analytics.identify("dan")
analytics.track("second")
analytics.track("third")
await pause(1000)
await analytics.track("fourth")
await pause(500)
console.log(seen.map((event) => event.join(" ")).join("\n"))
assert.deepEqual(
  seen.toSorted((one, other) => String(one).localeCompare(String(other))),
  [
    ["identify", null, "cara"], ["identify", null, "dan"], ["track", "first", "cara"], ["track", "fourth", "dan"],
    ["track", "second", "cara"], ["track", "third", "cara"],
  ].toSorted((one, other) => String(one).localeCompare(String(other))),
)

console.log("as seen")
process.exit(0)
JS
node seen.mjs
