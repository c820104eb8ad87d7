// Rows written are money on Durable Objects: counted by SQLite itself, per reserve and settle.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { expectStatus, newTenant, usdQuota, usdReserve, type Answer, type Tenant } from "../support/http.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;
let tenant: Tenant;

before(async () => {
  // With the test clock on, answers say how many rows the object has written since it started.
  worker = await startWorker({ testClock: true });
  tenant = await newTenant(worker, { tenant: usdQuota("1000000"), llm: usdQuota("1000000", { resource: "llm" }) });
  // The first hold arms the alarm; later ones find it armed.
  await life("first");
});
after(() => worker?.stop());

async function life(id: string): Promise<void> {
  expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve(id, "1", { userId: "u-7", attribution: { touchpoint: "main-chat" } })), 201);
  expectStatus(await tenant.app.post(`${tenant.path}/reservations/${id}/settle`, { usd: "0.5" }), 200);
}

async function rows(): Promise<number> {
  const answer: Answer = expectStatus(await tenant.read.get(`${tenant.path}/quotas`), 200);
  const written = Number(answer.headers["tollgate-rows-written"]);
  assert.ok(Number.isInteger(written) && written > 0, JSON.stringify(answer.headers));
  return written;
}

describe("rows written per reserve and settle", () => {
  it("alone: at most 3", async (context) => {
    const lives = 50;
    const start = await rows();
    for (let index = 0; index < lives; index++) await life(`alone-${index}`);
    const each = ((await rows()) - start) / lives;
    context.diagnostic(`${each} rows`);
    assert.ok(each <= 3, `${each}`);
  });

  it("in batches: at most 1.5", async (context) => {
    const lives = 2000;
    const start = await rows();
    for (let from = 0; from < lives; from += 250) {
      const ids = Array.from({ length: 250 }, (_, index) => `batched-${from + index}`);
      for (const commands of [ids.map((id) => ({ op: "reserve", ...usdReserve(id, "1") })), ids.map((id) => ({ op: "settle", id, usd: "0.5" }))]) {
        const { body } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200);
        assert.ok(body.results.every((result: { status: number }) => result.status < 300));
      }
    }
    const each = ((await rows()) - start) / lives;
    context.diagnostic(`${each} rows`);
    assert.ok(each <= 1.5, `${each}`);
  });

  it("asking writes nothing", async () => {
    const start = await rows();
    for (const path of ["", "/quotas", "/usage?groupBy=model", "/entries", "/reservations/alone-0"]) expectStatus(await tenant.admin.get(tenant.path + path), 200);
    expectStatus(await tenant.read.post(`${tenant.path}/explain`, usdReserve("explained", "1")), 200);
    assert.equal((await tenant.app.post(`${tenant.path}/reservations`, usdReserve("denied", "9999999"))).status, 429);
    assert.equal(await rows(), start);
  });
});
