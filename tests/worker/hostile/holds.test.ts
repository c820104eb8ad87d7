// Holds of nothing cost nothing, so nothing but a cap bounds how many there are: of a user as well as of the tenant.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { expectProblem, expectStatus, newTenant, usdQuota, usdReserve, type Tenant } from "../../support/http.ts";
import { startWorker, type TestWorker } from "../../support/worker.ts";

const NOON = "2026-11-24T12:00:00Z";
const MIB = 1024 * 1024;

let worker: TestWorker;

before(async () => {
  worker = await startWorker({ testClock: true });
});
after(() => worker?.stop());

/** Reserves many in batches. */
async function hold(tenant: Tenant, count: number, one: (n: number) => Record<string, unknown>, status = 201): Promise<void> {
  for (let first = 0; first < count; first += 500) {
    const commands = Array.from({ length: Math.min(500, count - first) }, (_, n) => ({ op: "reserve", ...one(first + n) }));
    const { body } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }, { now: NOON }), 200);
    for (const result of body.results) assert.equal(result.status, status, JSON.stringify(result));
  }
}

describe("holds of one user", () => {
  it("of nothing, for a day, leave the tenant's other users alone", { timeout: 300_000 }, async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") }, { now: NOON });
    const free = (user: string, id: string) => usdReserve(id, "0", { userId: user, ttlSeconds: 86_400 });
    await hold(tenant, 1_000, (n) => free("u-7", `a-${n}`));
    await hold(tenant, 9_000, (n) => free("u-7", `b-${n}`), 429);
    const refused = expectProblem(await tenant.app.post(`${tenant.path}/reservations`, free("u-7", "c"), { now: "2026-11-24T13:00:00Z" }), 429, "too_many_holds");
    assert.deepEqual(refused.body.holds, { scope: "user", scopeId: "u-7", open: 1000, limit: 1000, freesAt: "2026-11-25T12:00:00.000Z", retryAfterSeconds: 82_800 });
    assert.equal(refused.headers["retry-after"], "82800");
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, free("u-8", "d"), { now: NOON }), 201);
    await worker.restart();
    expectProblem(await tenant.app.post(`${tenant.path}/reservations`, free("u-7", "c"), { now: NOON }), 429, "too_many_holds");

    // The administrator ends them; the user goes on.
    const release = (json: unknown) => tenant.admin.post(`${tenant.path}/reservations/release`, json, { now: NOON });
    for (const [released, remaining] of [[500, 500], [500, 0], [0, 0]]) {
      assert.deepEqual(expectStatus(await release({ userId: "u-7" }), 200).body, { released, remaining });
    }
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, free("u-7", "c"), { now: NOON }), 201);
    const left = expectStatus(await tenant.read.get(`${tenant.path}/reservations`, { now: NOON }), 200).body;
    assert.deepEqual(left.reservations.map(({ id }: { id: string }) => id), ["c", "d"]);
    const audit = expectStatus(await tenant.admin.get(`${tenant.path}/audit`), 200).body;
    assert.equal(audit.clean, true, JSON.stringify(audit.differences));
    expectProblem(await release({}), 400, "invalid_request");
    for (const caller of [tenant.app, tenant.read]) expectProblem(await caller.post(`${tenant.path}/reservations/release`, { all: true }), 403, "forbidden");
  });

  it("one whose id is `release` is one like any other", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") }, { now: NOON });
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("release", "1"), { now: NOON }), 201);
    assert.equal(expectStatus(await tenant.read.get(`${tenant.path}/reservations/release`, { now: NOON }), 200).body.id, "release");
    expectStatus(await tenant.app.post(`${tenant.path}/reservations/release/release`, {}, { now: NOON }), 200);
    expectProblem(await tenant.app.delete(`${tenant.path}/reservations/release`), 405, "method_not_allowed");
  });
});

describe("a list of open holds", () => {
  it("goes through all of them, however large they are, while others come and go", { timeout: 300_000 }, async () => {
    const tenant = await newTenant(worker, {}, { now: NOON });
    const tags = Object.fromEntries(Array.from({ length: 4 }, (_, n) => [`t${n}`, "é".repeat(120)]));
    const large = (n: number) => usdReserve(`h-${String(n).padStart(4, "0")}`, "0", { ttlSeconds: 600 + n, attribution: { touchpoint: n % 2 === 0 ? "chat & more" : "agent", tags } });
    await hold(tenant, 2_000, large);
    const found: string[] = [];
    let after: string | null = "";
    for (let pages = 0; after !== null; pages++) {
      const query = new URLSearchParams({ state: "held", touchpoint: "chat & more", limit: "1000", ...(after !== "" && { after }) });
      const page = expectStatus(await tenant.read.get(`${tenant.path}/reservations?${query}`, { now: NOON }), 200);
      assert.ok(Buffer.byteLength(page.text) <= MIB);
      found.push(...page.body.reservations.map(({ id }: { id: string }) => id));
      after = page.body.next;
      assert.ok(pages < 10, "it ends");
      // The last one that was listed goes, and one that was not comes behind all others.
      expectStatus(await tenant.app.post(`${tenant.path}/reservations/${found.at(-1)}/release`, {}, { now: NOON }), 200);
      if (pages === 0) expectStatus(await tenant.app.post(`${tenant.path}/reservations`, { ...large(4_000), id: "late" }, { now: NOON }), 201);
    }
    assert.deepEqual(found, [...Array.from({ length: 1_000 }, (_, n) => `h-${String(2 * n).padStart(4, "0")}`), "late"]);
  });
});
