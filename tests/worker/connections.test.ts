// Batches over a WebSocket, straight to the tenant's object: the same answers as over HTTP, for the same tokens, and not for longer.
import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Connection, PROTOCOL } from "../support/connection.ts";
import { Api, expectProblem, expectStatus, newTenant, quotaOf, usdQuota, usdReserve, type Answer, type Body, type Tenant } from "../support/http.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;

before(async () => {
  worker = await startWorker();
});
after(() => worker?.stop());

const connect = (tenant: Tenant) => Connection.open(worker, tenant.path, tenant.app.token ?? "");

/** A handshake's answer, where it is no connection. */
function handshake(path: string, headers: Record<string, string>): Promise<Answer> {
  const { hostname, port } = new URL(worker.url);
  const all = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", ...headers };
  return new Promise((resolve, reject) => {
    const outgoing = request({ hostname, port, path, headers: all }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, body: JSON.parse(text) });
      });
    });
    outgoing.on("upgrade", (_, socket) => {
      socket.destroy();
      reject(new Error("it was let in"));
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

describe("a connection", () => {
  it("gives a batch's answer, and what it did is there over HTTP", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const connection = await connect(tenant);
    const commands = [{ op: "reserve", ...usdReserve("a", "1") }, { op: "reserve", ...usdReserve("b", "100") }, { op: "settle", id: "a", usd: "0.5" }, { op: "hold" }];
    const { status, body } = await connection.ask(commands);
    assert.equal(status, 200);
    assert.deepEqual(
      body.results.map((result: Body) => result.status),
      [201, 429, 200, 400],
    );
    // The same again, over HTTP and over the connection, is what was answered before.
    const again = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200).body;
    assert.deepEqual(again.results[0].body.id, "a");
    assert.equal(again.results[0].body.replayed, true);
    assert.deepEqual((await connection.ask(commands)).body, again);
    assert.equal((await quotaOf(tenant, "q")).spent, "0.5");
    connection.socket.close();
    assert.equal(await connection.closed, 1000);
  });

  it("200 × $1 on $100, over five connections and HTTP: exactly 100 pass", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100") });
    const connections = await Promise.all(Array.from({ length: 5 }, () => connect(tenant)));
    const statuses = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const reserve = usdReserve(`r-${i}`, "1");
        const connection = connections[i % 8];
        if (connection === undefined) return (await tenant.app.post(`${tenant.path}/reservations`, reserve)).status;
        return (await connection.ask([{ op: "reserve", ...reserve }])).body.results[0].status;
      }),
    );
    assert.equal(statuses.filter((status) => status === 201).length, 100);
    assert.equal(statuses.filter((status) => status === 429).length, 100);
    assert.equal((await quotaOf(tenant, "q")).held, "100");
    assert.equal(expectStatus(await tenant.admin.get(`${tenant.path}/audit`), 200).body.clean, true);
    for (const { socket } of connections) socket.close();
  });

  it("is answered with problems as HTTP is, and closed on whoever says something else", async () => {
    const tenant = await newTenant(worker);
    const connection = await connect(tenant);
    for (const [text, status, code] of [
      ["{", 400, "invalid_request"],
      ['{"commands":{}}', 400, "invalid_request"],
      [`{"commands":[${" ".repeat(1 << 20)}]}`, 413, "body_too_large"],
    ] as const) {
      const answer = await connection.send(text);
      assert.deepEqual([answer.status, answer.body.code], [status, code]);
    }
    for (const other of ["", "hello", '{"commands":[]}', "x\n{}", new Uint8Array([49, 10, 123, 125])]) {
      const closing = await connect(tenant);
      closing.socket.send(other);
      assert.equal(await closing.closed, 4002, String(other));
    }
    connection.socket.close();
  });

  it("of a tenant that was never onboarded is refused", async () => {
    const admin = new Api(worker.url, worker.adminToken);
    const headers = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-protocol": PROTOCOL };
    expectProblem(await admin.get("/v1/tenants/nobody/connect", { headers }), 404, "tenant_not_found");
    expectProblem(await admin.post("/v1/tenants/nobody/batch", { commands: [{ op: "reserve", ...usdReserve("a", "1") }] }), 404, "tenant_not_found");
  });

  it("has the platform's prices", async () => {
    const tenant = await newTenant(worker);
    const admin = new Api(worker.url, worker.adminToken);
    expectStatus(await admin.put("/v1/catalog/overrides", { markups: [{ id: "margin", factor: "2" }] }), 200);
    const connection = await connect(tenant);
    const usage = { input: 1_000_000 };
    const { body } = await connection.ask([{ op: "record", id: "a", resource: "llm", provider: "openai", model: "gpt-4o", usage }]);
    assert.equal(body.results[0].body.charge.usd, "5");
    expectStatus(await admin.put("/v1/catalog/overrides", {}), 200);
    connection.socket.close();
  });

  it("outlives the object: what was answered before is answered again after a restart", async () => {
    const own = worker;
    const tenant = await newTenant(own, { q: usdQuota("10") });
    const first = await connect(tenant);
    const [{ body: held }] = (await first.ask([{ op: "reserve", ...usdReserve("a", "1") }])).body.results;
    await own.kill();
    await first.closed;
    await own.start();
    const second = await connect(tenant);
    const [{ body: again }] = (await second.ask([{ op: "reserve", ...usdReserve("a", "1") }])).body.results;
    assert.deepEqual({ ...again, replayed: undefined }, { ...held, replayed: undefined });
    second.socket.close();
  });
});

describe("who may connect", () => {
  it("whoever may spend", async () => {
    const [tenant, other] = [await newTenant(worker), await newTenant(worker)];
    const path = `${tenant.path}/connect`;
    const bearer = (token: string | undefined) => ({ "sec-websocket-protocol": `${PROTOCOL}, tollgate.bearer.${encodeURIComponent(token ?? "")}` });
    expectProblem(await handshake(path, { "sec-websocket-protocol": PROTOCOL }), 401, "unauthorized");
    expectProblem(await handshake(path, bearer("x")), 401, "unauthorized");
    expectProblem(await handshake(path, bearer(tenant.read.token)), 403, "forbidden");
    expectProblem(await handshake(path, bearer(other.app.token)), 403, "forbidden");
    // A token among the subprotocols is for connections alone.
    expectProblem(await handshake(`${tenant.path}/quotas`, bearer(tenant.app.token)), 401, "unauthorized");
    // As everywhere, the header counts where there is one.
    const header = { authorization: `Bearer ${tenant.read.token}` };
    expectProblem(await handshake(path, { ...bearer(tenant.app.token), ...header }), 403, "forbidden");
    await assert.rejects(handshake(path, { "sec-websocket-protocol": PROTOCOL, authorization: `Bearer ${tenant.app.token}` }), /let in/);
  });

  it("and speaks as the Worker does", async () => {
    const tenant = await newTenant(worker);
    const path = `${tenant.path}/connect`;
    expectProblem(await tenant.app.get(path), 426, "upgrade_required");
    const authorization = `Bearer ${tenant.app.token}`;
    expectProblem(await handshake(path, { authorization }), 400, "invalid_request");
    expectProblem(await handshake(path, { authorization, "sec-websocket-protocol": "tollgate.v2" }), 400, "invalid_request");
  });

  it("until the token ends", async () => {
    const tenant = await newTenant(worker);
    const { body } = expectStatus(await tenant.admin.post(`${tenant.path}/tokens`, { role: "app", expiresInSeconds: 1 }), 201);
    const connection = await Connection.open(worker, tenant.path, body.token);
    assert.equal((await connection.ask([{ op: "reserve", ...usdReserve("a", "1") }])).status, 200);
    await pause(new Date(body.expiresAt).getTime() - Date.now() + 20);
    const unanswered = assert.rejects(connection.ask([{ op: "reserve", ...usdReserve("b", "1") }]));
    assert.equal(await connection.closed, 4001);
    await unanswered;
    expectProblem(await tenant.app.get(`${tenant.path}/reservations/b`), 404, "reservation_not_found");
  });
});
