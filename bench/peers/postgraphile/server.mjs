// PostGraphile on grafserv's adaptor for Node's own HTTP server.
import { createServer } from "node:http";

import { PersistedPlugin } from "@grafserv/persisted";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/node";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const instance = postgraphile({
  extends: [PostGraphileAmberPreset],
  plugins: [PersistedPlugin],
  pgServices: [
    makePgService({ connectionString: process.env.DATABASE_URL, schemas: ["public"], poolConfig: { max: 10 } }),
  ],
  schema: { defaultBehavior: "-connection +list -insert -update -delete" },
  grafserv: {
    graphiql: false,
    websockets: false,
    persistedOperationsDirectory: `${import.meta.dirname}/operations`,
  },
});

const server = createServer();
await instance.createServ(grafserv).addTo(server);
server.listen(Number(process.env.PORT), "127.0.0.1");
