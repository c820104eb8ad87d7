// A host whose clock jumps: the ledger follows, nothing is spent twice, and nothing waits for a time that never was.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { expectProblem, expectStatus, newTenant, usdQuota, usdReserve, type Body, type Tenant } from "../../support/http.ts";
import { assertPartial } from "../../support/partial.ts";
import { startWorker, type TestWorker } from "../../support/worker.ts";

let worker: TestWorker;
before(async () => {
  worker = await startWorker({ testClock: true });
});
after(() => worker?.stop());

// Tokens are judged by the same clock, and end before 2030: the admin token does not.
const NOVEMBER = "2026-11-24T12:00:00.000Z";
const LATER = "2026-11-24T12:01:00.000Z";
const WRONG = "2030-05-10T08:00:00.000Z";

const quota = async (tenant: Tenant, now: string): Promise<Body> => {
  const { body } = expectStatus(await tenant.admin.get(`${tenant.path}/quotas`, { now }), 200);
  return body.quotas[0];
};
const record = async (tenant: Tenant, id: string, usd: string, now: string) =>
  expectStatus(await tenant.admin.post(`${tenant.path}/records`, { id, resource: "llm", usd }, { now }), 201);
const entries = async (tenant: Tenant, now: string): Promise<Body[]> =>
  expectStatus(await tenant.admin.get(`${tenant.path}/entries?limit=1000`, { now }), 200).body.entries;
const audit = async (tenant: Tenant, now: string) => {
  const { body } = expectStatus(await tenant.admin.get(`${tenant.path}/audit`, { now }), 200);
  assert.deepEqual([body.clean, body.differences], [true, []]);
};

describe("a clock that jumps", () => {
  it("said 2030 once, and denies nothing until 2030", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100") }, { now: NOVEMBER });
    await record(tenant, "a", "60", NOVEMBER);
    await record(tenant, "b", "90", WRONG);
    assertPartial(await quota(tenant, LATER), { spent: "60", periodStart: "2026-11-01T00:00:00.000Z" });
    const denied = expectProblem(await tenant.admin.post(`${tenant.path}/reservations`, usdReserve("c", "41"), { now: LATER }), 429, "quota_exceeded");
    // Six days and twelve hours are left of November.
    assert.equal(denied.headers["retry-after"], String((6 * 24 + 12) * 3600 - 60));
    const made = expectStatus(await tenant.admin.post(`${tenant.path}/reservations`, usdReserve("c", "40"), { now: LATER }), 201);
    assert.equal(made.body.expiresAt, "2026-11-24T12:11:00.000Z");
    const told = (await entries(tenant, LATER)).slice(-3);
    assert.deepEqual(told.map((entry) => entry.type), ["clock_set_back", "counters_restored", "reserved"]);
    assertPartial(told[0], { at: LATER, from: WRONG });
    const csv = await tenant.admin.send("GET", `${tenant.path}/entries?limit=1000`, { now: LATER, headers: { accept: "text/csv" } });
    assert.match(csv.text, /clock_set_back/);
    await audit(tenant, LATER);
    await worker.restart();
    assertPartial(await quota(tenant, LATER), { spent: "60", held: "40" });
    assertPartial(await quota(tenant, WRONG), { spent: "90" });
  });

  it("jumps forth and back again and again, and what is spent is bounded by what each time let through", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") }, { now: NOVEMBER });
    for (let round = 0; round < 12; round++) {
      await record(tenant, `n-${round}`, "1", NOVEMBER);
      await record(tenant, `w-${round}`, "1", WRONG);
    }
    assertPartial(await quota(tenant, NOVEMBER), { spent: "12" });
    expectProblem(await tenant.admin.post(`${tenant.path}/reservations`, usdReserve("x", "0.01"), { now: NOVEMBER }), 429, "quota_exceeded");
    assertPartial(await quota(tenant, WRONG), { spent: "12" });
    expectProblem(await tenant.admin.post(`${tenant.path}/reservations`, usdReserve("x", "0.01"), { now: WRONG }), 429, "quota_exceeded");
    await audit(tenant, NOVEMBER);
  });

  it("was wrong while a hold was made, and the alarm ends the hold in its own time", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const wrong = new Date(Date.now() + 3 * 365 * 86_400_000).toISOString();
    expectStatus(await tenant.admin.post(`${tenant.path}/reservations`, usdReserve("a", "2", { ttlSeconds: 1 }), { now: wrong }), 201);
    // The object's own clock from here on: the step back arms its alarm.
    const { body } = expectStatus(await tenant.admin.get(`${tenant.path}/reservations/a`), 200);
    assert.ok(Date.parse(body.expiresAt) <= Date.now() + 1_500, body.expiresAt);
    const deadline = Date.now() + 30_000;
    for (;;) {
      // Entries alone carry nothing out.
      const told: Body[] = expectStatus(await tenant.admin.get(`${tenant.path}/entries?limit=1000`), 200).body.entries;
      if (told.some((entry) => entry.type === "expired")) break;
      assert.ok(Date.now() < deadline, JSON.stringify(told));
      await pause(100);
    }
  });

  it("steps back after entries were archived, and nothing counts as nothing", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100") }, { now: NOVEMBER });
    await record(tenant, "a", "60", NOVEMBER);
    await record(tenant, "b", "90", WRONG);
    const journal = expectStatus(await tenant.admin.get(`${tenant.path}/journal?after=0&limit=1000`, { now: WRONG }), 200).body;
    const { through, head } = journal.rows.at(-1);
    expectStatus(await tenant.admin.post(`${tenant.path}/archive`, { through, head }, { now: WRONG }), 200);
    assertPartial(await quota(tenant, LATER), { spent: "60" });
    await record(tenant, "c", "1", LATER);
    assertPartial(await quota(tenant, LATER), { spent: "61" });
    await audit(tenant, LATER);
  });
});

describe("repeats of what was asked long ago", () => {
  it("an extension and a reading are known again, also after a restart and after the end", async () => {
    const now = NOVEMBER;
    const tenant = await newTenant(worker, { q: usdQuota("100") }, { now });
    const extend = (id: string, usd: string) => tenant.admin.post(`${tenant.path}/reservations/a/extend`, { id, estimate: { usd } }, { now });
    const meter = (id: string, usd: string) => tenant.admin.post(`${tenant.path}/reservations/a/meter`, { id, usd }, { now });
    expectStatus(await tenant.admin.post(`${tenant.path}/reservations`, usdReserve("a", "4"), { now }), 201);
    expectStatus(await extend("first", "50"), 200);
    for (let number = 0; number < 12; number++) {
      expectStatus(await extend(`x-${number}`, "5"), 200);
      expectStatus(await meter(`m-${number}`, `1.${10 + number}`), 200);
    }
    const again = async () => {
      assertPartial(expectStatus(await extend("first", "50"), 200).body, { replayed: true, held: { usd: "5" } });
      expectProblem(await extend("first", "51"), 409, "idempotency_conflict");
      assertPartial(expectStatus(await meter("m-0", "1.10"), 200).body, { replayed: true });
      expectProblem(await meter("m-0", "4"), 409, "idempotency_conflict");
    };
    await again();
    await worker.restart();
    await again();
    expectStatus(await tenant.admin.post(`${tenant.path}/reservations/a/settle`, { usd: "2" }, { now }), 200);
    await worker.restart();
    await again();
    assertPartial(await quota(tenant, now), { spent: "2", held: "0" });
    await audit(tenant, now);
  });
});
