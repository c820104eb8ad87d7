// Holds end by themselves: by the object's alarm, in real time.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { expectProblem, expectStatus, newTenant, quotaOf, usdQuota, usdReserve, type Body, type Tenant } from "../support/http.ts";
import { assertPartial } from "../support/partial.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;
before(async () => {
  worker = await startWorker();
});
after(() => worker?.stop());

/** Looks at the ledger's entries, which only record what has been carried out, until there is one of this type for this id. */
async function entryOf(tenant: Tenant, type: string, id: string): Promise<Body> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const { body } = expectStatus(await tenant.read.get(`${tenant.path}/entries?limit=1000`), 200);
    const entry = body.entries.find((candidate: Body) => candidate.type === type && JSON.stringify(candidate).includes(`"${id}"`));
    if (entry !== undefined) return entry;
    assert.ok(Date.now() < deadline, `no ${type} entry for ${id} in ${JSON.stringify(body)}`);
    await pause(100);
  }
}

const chat = (id: string, more: Record<string, unknown> = {}) => ({
  id,
  resource: "llm",
  provider: "openai",
  model: "gpt-4o",
  estimate: { inputTokens: 1200, maxOutputTokens: 800 },
  ttlSeconds: 1,
  ...more,
});

describe("expiry", () => {
  const cases: [string, Record<string, unknown>, string][] = [
    ["charge_input by default for tokens: the input part", chat("a"), "0.003"],
    ["charge_hold for tokens", chat("a", { onExpiry: "charge_hold" }), "0.011"],
    ["release", chat("a", { onExpiry: "release" }), "0"],
    ["charge_hold by default for a plain amount", usdReserve("a", "2", { ttlSeconds: 1 }), "2"],
    ["release for a plain amount", usdReserve("a", "2", { ttlSeconds: 1, onExpiry: "release" }), "0"],
  ];
  for (const [name, request, spent] of cases) {
    it(name, async () => {
      const tenant = await newTenant(worker, { q: usdQuota("10") });
      const made = expectStatus(await tenant.app.post(`${tenant.path}/reservations`, request), 201);
      const entry = await entryOf(tenant, "expired", "a");
      assert.ok(Date.parse(entry.at) >= Date.parse(made.body.expiresAt), `expired at ${entry.at}, before ${made.body.expiresAt}`);
      assertPartial(await quotaOf(tenant, "q"), { spent, held: "0" });
      const { body } = expectStatus(await tenant.read.get(`${tenant.path}/reservations/a`), 200);
      assertPartial(body, { state: "expired" });
      if (spent !== "0") assert.equal(body.charge.usd, spent);
    });
  }

  it("a late settle is accepted and corrects the ledger", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "2", { ttlSeconds: 1 })), 201);
    await entryOf(tenant, "expired", "a");
    assertPartial(await quotaOf(tenant, "q"), { spent: "2" });
    const late = expectStatus(await tenant.app.post(`${tenant.path}/reservations/a/settle`, { usd: "0.5" }), 200);
    assertPartial(late.body, { id: "a", state: "expired", late: true, charge: { usd: "0.5" } });
    assertPartial(await quotaOf(tenant, "q"), { spent: "0.5", held: "0" });
    const again = expectStatus(await tenant.app.post(`${tenant.path}/reservations/a/settle`, { usd: "0.5" }), 200);
    assert.equal(again.body.replayed, true);
    assertPartial(await quotaOf(tenant, "q"), { spent: "0.5" });
    assertPartial(expectStatus(await tenant.read.get(`${tenant.path}/reservations/a`), 200).body, { state: "expired", late: true, charge: { usd: "0.5" } });
    expectProblem(await tenant.app.post(`${tenant.path}/reservations/a/release`, {}), 409, "already_expired");
    expectProblem(await tenant.app.post(`${tenant.path}/reservations/a/extend`, { id: "e", ttlSeconds: 60 }), 409, "already_expired");
  });

  it("an extended hold does not end at its first deadline", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "2", { ttlSeconds: 1 })), 201);
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("b", "1", { ttlSeconds: 2 })), 201);
    expectStatus(await tenant.app.post(`${tenant.path}/reservations/a/extend`, { id: "e", ttlSeconds: 60 }), 200);
    await entryOf(tenant, "expired", "b");
    assertPartial(await quotaOf(tenant, "q"), { spent: "1", held: "2" });
  });

  it("holds of several deadlines each end at their own", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    for (const [id, ttlSeconds] of [["a", 3], ["b", 1], ["c", 2]] as const) {
      expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve(id, "1", { ttlSeconds })), 201);
    }
    for (const id of ["b", "c", "a"]) await entryOf(tenant, "expired", id);
    const { body } = expectStatus(await tenant.read.get(`${tenant.path}/entries?limit=1000`), 200);
    const expired = body.entries.filter((entry: Body) => entry.type === "expired");
    assert.equal(expired.length, 3);
    const order = ["b", "c", "a"];
    expired.forEach((entry: Body, index: number) => assert.ok(JSON.stringify(entry).includes(`"${order[index]}"`), JSON.stringify(expired)));
    assertPartial(await quotaOf(tenant, "q"), { spent: "3", held: "0" });
  });

  it("a deadline that passes while the Worker is down is kept when it is back", async () => {
    const own = await startWorker();
    try {
      const tenant = await newTenant(own, { q: usdQuota("10") });
      expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "2", { ttlSeconds: 1 })), 201);
      await own.kill();
      await pause(1500);
      await own.start();
      await entryOf(tenant, "expired", "a");
      assertPartial(await quotaOf(tenant, "q"), { spent: "2", held: "0" });
    } finally {
      await own.stop();
    }
  });
});
