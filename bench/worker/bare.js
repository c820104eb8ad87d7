// The least that anything in a Durable Object has to do for the same client: read a batch, store a row of the same size, answer with as many bytes. It
// decides nothing and knows no budget, so whatever keeps a ledger on this platform is slower.

import { DurableObject } from "cloudflare:workers";

const QUOTAS = '[{"id":"budget","scope":"tenant","resource":"llm","unit":"usd","limit":"1000000000","period":"month","monthStartsOn":1,"warnAt":["0.8","1"],"enforcement":"block","source":"custom","spent":"0","held":"0.011","remaining":"999999999.989","utilization":"0","warned":[],"periodStart":"2026-11-01T00:00:00.000Z","periodEnd":"2026-12-01T00:00:00.000Z"}]';
const BASIS = '{"catalog":"2026-11-24","rateCard":"openai/gpt-4o@2024-10-01"}';
const HELD = `"state":"held","held":{"usd":"0.011","tokens":2000,"requests":1},"createdAt":"2026-11-24T12:00:00.000Z","expiresAt":"2026-11-24T12:10:00.000Z","onExpiry":"charge_input","basis":${BASIS},"quotas":${QUOTAS}`;
const SETTLED = `"state":"settled","charge":{"usd":"0.006375","lines":[{"meter":"input","quantity":1100,"unitPrice":"0.0000025","usd":"0.00275"},{"meter":"cache_read","quantity":100,"unitPrice":"0.00000125","usd":"0.000125"},{"meter":"output","quantity":350,"unitPrice":"0.00001","usd":"0.0035"}],"basis":${BASIS},"flags":[]},"released":"0.004625","overrun":"0","quotas":${QUOTAS}`;

export class Bare extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS journal (number INTEGER PRIMARY KEY, text TEXT NOT NULL)");
  }

  carryOut(batch) {
    const results = JSON.parse(batch).commands.map(({ op, id }) => (op === "reserve" ? `{"status":201,"body":{"id":"${id}",${HELD}}}` : `{"status":200,"body":{"id":"${id}",${SETTLED}}}`));
    this.ctx.storage.sql.exec("INSERT INTO journal (text) VALUES (?)", results.join());
    return `{"results":[${results.join()}]}`;
  }

  async fetch(request) {
    if (request.headers.get("upgrade") === null) return json(this.carryOut(await request.text()));
    const [client, server] = Object.values(new WebSocketPair());
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client, headers: { "sec-websocket-protocol": "tollgate.v1" } });
  }

  webSocketMessage(socket, message) {
    const end = message.indexOf("\n");
    socket.send(`${message.slice(0, end)} 200\n${this.carryOut(message.slice(end + 1))}`);
  }

  webSocketClose(socket) {
    socket.close(1000);
  }
}

export default {
  async fetch(request, env) {
    const [, , , tenant, what] = new URL(request.url).pathname.split("/");
    if (what === "batch" || what === "connect") return env.OBJECT.get(env.OBJECT.idFromName(tenant)).fetch(request);
    // Its health, and quotas, which it does not have.
    await request.arrayBuffer();
    return json("{}");
  },
};

function json(text) {
  return new Response(text, { headers: { "content-type": "application/json" } });
}
