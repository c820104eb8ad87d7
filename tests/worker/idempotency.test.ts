// The same id with the same content gives the same answer; with other content it is refused. Either way nothing happens twice.
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { expectProblem, expectStatus, newTenant, quotaOf, usdQuota, usdReserve, type Tenant } from "../support/http.ts";
import { assertPartial } from "../support/partial.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;
let tenant: Tenant;
let path: string;
before(async () => {
  worker = await startWorker();
});
after(() => worker?.stop());
beforeEach(async () => {
  tenant = await newTenant(worker, { q: usdQuota("10") });
  path = `${tenant.path}/reservations`;
});

/** An answer without what depends on when it was asked. */
function lasting(body: Record<string, unknown>): Record<string, unknown> {
  const { replayed: _, quotas: __, ...rest } = body;
  return rest;
}

describe("reserve", () => {
  it("again with the same content: the same reservation, held once", async () => {
    const first = expectStatus(await tenant.app.post(path, usdReserve("a", "4")), 201);
    const again = await tenant.app.post(path, usdReserve("a", "4"));
    assert.ok(again.status === 201 || again.status === 200, again.text);
    assert.equal(again.body.replayed, true);
    assert.deepEqual(lasting(again.body), lasting(first.body));
    assertPartial(await quotaOf(tenant, "q"), { held: "4" });
  });

  it("content is what it means, not how it is written", async () => {
    const plain = { id: "a", resource: "llm", estimate: { usd: "4" } };
    expectStatus(await tenant.app.post(path, plain), 201);
    const spelled = '{ "estimate": { "usd": "4.000" }, "resource": "llm", "ttlSeconds": 600, "onExpiry": "charge_hold", "id": "a" }';
    const again = await tenant.app.send("POST", path, { raw: spelled });
    assert.equal(again.body.replayed, true, again.text);
  });

  const others: [string, Record<string, unknown>][] = [
    ["another amount", { estimate: { usd: "5" } }],
    ["another resource", { resource: "e2b" }],
    ["another user", { userId: "u-8" }],
    ["another time to live", { ttlSeconds: 601 }],
    ["another expiry", { onExpiry: "release" }],
    ["another touchpoint", { attribution: { touchpoint: "other" } }],
    ["a tag more", { attribution: { touchpoint: "main-chat", tags: { a: "b" } } }],
    ["another kind of estimate", { provider: "openai", model: "gpt-4o", estimate: { inputTokens: 1, maxOutputTokens: 1 } }],
  ];
  for (const [name, other] of others) {
    it(`again with ${name}: refused, and the hold is as it was`, async () => {
      const request = usdReserve("a", "4", { userId: "u-7", attribution: { touchpoint: "main-chat" } });
      expectStatus(await tenant.app.post(path, request), 201);
      expectProblem(await tenant.app.post(path, { ...request, ...other }), 409, "idempotency_conflict");
      assertPartial(await quotaOf(tenant, "q"), { held: "4", spent: "0" });
    });
  }

  it("again after it has ended: says how it stands, holds nothing", async () => {
    for (const [id, close, state] of [["a", "settle", "settled"], ["b", "release", "released"]] as const) {
      expectStatus(await tenant.app.post(path, usdReserve(id, "4")), 201);
      expectStatus(await tenant.app.post(`${path}/${id}/${close}`, close === "settle" ? { usd: "1" } : {}), 200);
      const again = await tenant.app.post(path, usdReserve(id, "4"));
      assertPartial(again.body, { id, state, replayed: true });
    }
    assertPartial(await quotaOf(tenant, "q"), { held: "0", spent: "1" });
  });

  it("a denied id may be used again: nothing was held under it", async () => {
    expectProblem(await tenant.app.post(path, usdReserve("a", "11")), 429, "quota_exceeded");
    expectStatus(await tenant.app.post(path, usdReserve("a", "10")), 201);
  });

  it("many duplicates at once: one hold, one answer", async () => {
    const answers = await Promise.all(Array.from({ length: 30 }, () => tenant.app.post(path, usdReserve("a", "4"))));
    for (const answer of answers) assertPartial(answer.body, { id: "a", state: "held", held: { usd: "4" } });
    assert.equal(answers.filter((answer) => answer.body.replayed !== true).length, 1);
    assertPartial(await quotaOf(tenant, "q"), { held: "4" });
  });

  it("duplicates in one batch", async () => {
    const command = { op: "reserve", ...usdReserve("a", "4") };
    const { body } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands: [command, command, { ...command, estimate: { usd: "5" } }] }), 200);
    assertPartial(body.results, [{ status: 201 }, { body: { replayed: true } }, { status: 409, body: { code: "idempotency_conflict" } }]);
    assertPartial(await quotaOf(tenant, "q"), { held: "4" });
  });
});

describe("settle", () => {
  beforeEach(async () => {
    expectStatus(await tenant.app.post(path, usdReserve("a", "4")), 201);
  });
  const settle = (body: unknown) => tenant.app.post(`${path}/a/settle`, body);

  it("again with the same content: the first answer, charged once", async () => {
    const first = expectStatus(await settle({ usd: "1.5" }), 200);
    const again = expectStatus(await settle({ usd: "1.50" }), 200);
    assert.equal(first.body.replayed, undefined);
    assert.equal(again.body.replayed, true);
    assert.deepEqual(lasting(again.body), lasting(first.body));
    assertPartial(await quotaOf(tenant, "q"), { spent: "1.5", held: "0" });
  });

  it("again with other content: refused, charged as at first", async () => {
    expectStatus(await settle({ usd: "1.5" }), 200);
    const refused = await settle({ usd: "2" });
    assert.equal(refused.status, 409, refused.text);
    assert.ok(["idempotency_conflict", "already_settled"].includes(refused.body.code), refused.text);
    assertPartial(await quotaOf(tenant, "q"), { spent: "1.5", held: "0" });
  });

  it("after a release: refused", async () => {
    expectStatus(await tenant.app.post(`${path}/a/release`, {}), 200);
    expectProblem(await settle({ usd: "1" }), 409, "already_released");
    assertPartial(await quotaOf(tenant, "q"), { spent: "0", held: "0" });
  });

  it("many duplicates at once: charged once", async () => {
    const answers = await Promise.all(Array.from({ length: 30 }, () => settle({ usd: "1" })));
    for (const answer of answers) assertPartial(expectStatus(answer, 200).body, { state: "settled", charge: { usd: "1" } });
    assert.equal(answers.filter((answer) => answer.body.replayed !== true).length, 1);
    assertPartial(await quotaOf(tenant, "q"), { spent: "1" });
  });
});

describe("release, extend, record", () => {
  it("release again: the first answer; after a settle: refused", async () => {
    expectStatus(await tenant.app.post(path, usdReserve("a", "4")), 201);
    const first = expectStatus(await tenant.app.post(`${path}/a/release`, {}), 200);
    const again = expectStatus(await tenant.app.post(`${path}/a/release`, {}), 200);
    assert.equal(again.body.replayed, true);
    assert.deepEqual(lasting(again.body), lasting(first.body));
    expectStatus(await tenant.app.post(path, usdReserve("b", "4")), 201);
    expectStatus(await tenant.app.post(`${path}/b/settle`, { usd: "1" }), 200);
    expectProblem(await tenant.app.post(`${path}/b/release`, {}), 409, "already_settled");
  });

  it("extend again with its id: extended once; with other content: refused; after the end: refused", async () => {
    expectStatus(await tenant.app.post(path, usdReserve("a", "1")), 201);
    const extend = (body: unknown) => tenant.app.post(`${path}/a/extend`, body);
    const first = expectStatus(await extend({ id: "e", ttlSeconds: 1200, estimate: { usd: "2" } }), 200);
    expectStatus(await extend({ id: "f", ttlSeconds: 3000, estimate: { usd: "3" } }), 200);
    const again = expectStatus(await extend({ id: "e", ttlSeconds: 1200, estimate: { usd: "2" } }), 200);
    assert.equal(again.body.replayed, true);
    assert.equal(first.body.replayed, undefined);
    assertPartial(await quotaOf(tenant, "q"), { held: "3" });
    expectProblem(await extend({ id: "e", ttlSeconds: 1201, estimate: { usd: "2" } }), 409, "idempotency_conflict");
    expectStatus(await tenant.app.post(`${path}/a/settle`, { usd: "1" }), 200);
    expectProblem(await extend({ id: "g", ttlSeconds: 60 }), 409, "already_settled");
  });

  it("record again: recorded once; ids are one space with reservations", async () => {
    const record = (body: Record<string, unknown>) => tenant.app.post(`${tenant.path}/records`, { resource: "llm", ...body });
    const first = expectStatus(await record({ id: "a", usd: "1" }), 201);
    const again = await record({ id: "a", usd: "1.0" });
    assert.equal(again.body.replayed, true, again.text);
    assert.deepEqual(lasting(again.body), lasting(first.body));
    expectProblem(await record({ id: "a", usd: "2" }), 409, "idempotency_conflict");
    expectProblem(await tenant.app.post(path, usdReserve("a", "1")), 409, "idempotency_conflict");
    expectStatus(await tenant.app.post(path, usdReserve("b", "1")), 201);
    expectProblem(await record({ id: "b", usd: "1" }), 409, "idempotency_conflict");
    assertPartial(await quotaOf(tenant, "q"), { spent: "1", held: "1" });
  });

  it("ids of different tenants are apart", async () => {
    const other = await newTenant(worker, { q: usdQuota("10") });
    expectStatus(await tenant.app.post(path, usdReserve("a", "1")), 201);
    const made = expectStatus(await other.app.post(`${other.path}/reservations`, usdReserve("a", "2")), 201);
    assert.equal(made.body.replayed, undefined);
  });
});
