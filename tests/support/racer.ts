// One process of a race: says `ready`, waits for a line, then reserves and settles $1 as often as it was told, all at
// once on connections of their own, and prints the statuses of its reserves.
import { once } from "node:events";
import { Agent } from "node:http";
import { Api, expectStatus, usdReserve } from "./http.ts";

const { RACER_URL = "", RACER_TOKEN, RACER_TENANT = "", RACER_NAME = "", RACER_CALLS = "" } = process.env;
const calls = Number(RACER_CALLS);
const api = new Api(RACER_URL, RACER_TOKEN, new Agent({ keepAlive: true, maxSockets: calls }));
const path = `/v1/tenants/${RACER_TENANT}/reservations`;

// Connections are made before the start, so that the processes do meet.
await Promise.all(Array.from({ length: calls }, () => api.get("/healthz")));
process.stdout.write("ready\n");
await once(process.stdin, "data");

const statuses = await Promise.all(
  Array.from({ length: calls }, async (_, index) => {
    const id = `${RACER_NAME}-${index}`;
    const { status } = await api.post(path, usdReserve(id, "1"));
    if (status === 201) expectStatus(await api.post(`${path}/${id}/settle`, { usd: "1" }), 200);
    return status;
  }),
);
process.stdout.write(`${JSON.stringify(statuses)}\n`);
process.exit(0);
