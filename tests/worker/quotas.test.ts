// Quotas of every kind over HTTP: what the conformance vectors ask step by step, here by the routes, tokens and headers that a user meets.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { expectProblem, expectStatus, newTenant, quotaOf, usdQuota, usdReserve } from "../support/http.ts";
import { assertPartial } from "../support/partial.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;
before(async () => {
  worker = await startWorker();
});
after(() => worker?.stop());

describe("rolling windows", () => {
  it("a burst is denied until enough of it has left, and the denial says when", async () => {
    const tenant = await newTenant(worker, { burst: usdQuota("3", { unit: "requests", period: { rolling: 2 } }) });
    const reserve = (id: string) => tenant.app.post(`${tenant.path}/reservations`, usdReserve(id, "1"));
    for (const id of ["a", "b", "c"]) expectStatus(await reserve(id), 201);
    const denied = await reserve("d");
    const { denial } = expectProblem(denied, 429, "quota_exceeded").body;
    assertPartial(denial, { quota: "burst", unit: "requests", period: { rolling: 2 }, remaining: "0", periodEnd: null });
    assert.match(String(denied.headers["ratelimit-policy"]), /^"burst";q=3;qu="requests";w=2$/);
    assert.match(String(denied.headers["ratelimit"]), /^"burst";r=0;t=[12]$/);
    assert.ok(Number(denied.headers["retry-after"]) <= 2);
    await pause(Date.parse(denial.resetsAt) - Date.now() + 50);
    expectStatus(await reserve("d"), 201);
  });
});

describe("time zones", () => {
  it("a day begins on the zone's clock", async () => {
    const tenant = await newTenant(worker, { day: usdQuota("10", { period: "day", timeZone: "Asia/Tokyo" }) });
    const { periodStart, periodEnd, timeZone } = await quotaOf(tenant, "day");
    assert.equal(timeZone, "Asia/Tokyo");
    assert.match(periodStart, /T15:00:00\.000Z$/);
    assert.equal(Date.parse(periodEnd) - Date.parse(periodStart), 86_400_000);
  });

  it("an unknown zone names its field and changes nothing", async () => {
    const tenant = await newTenant(worker, {});
    const answer = await tenant.admin.put(`${tenant.path}/quotas/q`, usdQuota("1", { timeZone: "Mars/Olympus" }));
    assert.equal(expectProblem(answer, 400, "invalid_request").body.field, "timeZone");
    assert.deepEqual(expectStatus(await tenant.read.get(`${tenant.path}/quotas`), 200).body.quotas, []);
  });
});

describe("meter readings", () => {
  it("are charged while the call runs, survive a restart, and the settle prices the whole", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "8")), 201);
    const meter = (id: string, usd: string) => tenant.app.post(`${tenant.path}/reservations/a/meter`, { id, usd });
    assertPartial(expectStatus(await meter("m1", "3"), 200).body, { state: "held", metered: { usd: "3" }, quotas: [{ spent: "3", held: "5" }] });
    assertPartial(expectStatus(await meter("m1", "3"), 200).body, { replayed: true });
    assertPartial(expectStatus(await tenant.read.get(`${tenant.path}/reservations/a`), 200).body, { state: "held", metered: { usd: "3" } });
    assertPartial(expectStatus(await tenant.app.post(`${tenant.path}/reservations/a/settle`, { usd: "4" }), 200).body, { charge: { usd: "4" } });
    // The ended reservation is read back from the database.
    assertPartial(expectStatus(await meter("m1", "3"), 200).body, { replayed: true, state: "settled" });
    expectProblem(await meter("m2", "5"), 409, "already_settled");
    assertPartial(await quotaOf(tenant, "q"), { spent: "4", held: "0" });
    assertPartial(expectStatus(await tenant.admin.get(`${tenant.path}/audit`), 200).body, { clean: true });
  });

  it("a reader may not meter", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    expectProblem(await tenant.read.post(`${tenant.path}/reservations/a/meter`, { id: "m", usd: "1" }), 403, "forbidden");
  });
});

describe("credits and increases", () => {
  it("a top-up is spent, lapses by itself and is the administrator's", async () => {
    const tenant = await newTenant(worker, { prepaid: usdQuota("0", { period: "lifetime" }) });
    const credits = `${tenant.path}/quotas/prepaid/credits`;
    const credit = { id: "pay-1", amount: "5", expiresAt: new Date(Date.now() + 1500).toISOString() };
    expectProblem(await tenant.app.post(credits, credit), 403, "forbidden");
    for (let times = 0; times < 2; times += 1) {
      const { body } = expectStatus(await tenant.admin.post(credits, credit), 200);
      assertPartial(body, { limit: "0", effectiveLimit: "5", remaining: "5", credits: [{ id: "pay-1", remaining: "5" }] });
    }
    expectStatus(await tenant.admin.post(credits, { id: "pay-2", amount: "1" }), 200);
    expectStatus(await tenant.app.post(`${tenant.path}/records`, { id: "r", resource: "llm", usd: "2" }), 201);
    await pause(1600);
    assertPartial(await quotaOf(tenant, "prepaid"), { spent: "2", remaining: "1", credits: [{ id: "pay-2" }] });
    expectProblem(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "1.01")), 429, "quota_exceeded");
    assertPartial(expectStatus(await tenant.admin.delete(`${credits}/pay-2`), 200).body, { remaining: "0" });
    expectProblem(await tenant.admin.delete(`${credits}/pay-3`), 404, "not_found");
    const { body } = expectStatus(await tenant.read.get(`${tenant.path}/entries?limit=1000`), 200);
    const kinds = body.entries.map((entry: { type: string }) => entry.type).filter((type: string) => type.startsWith("credit"));
    assert.deepEqual(kinds, ["credit_added", "credit_added", "credit_lapsed", "credit_revoked"]);
    const csv = await tenant.read.get(`${tenant.path}/entries?limit=1000`, { headers: { accept: "text/csv" } });
    assert.match(csv.text, /credit_lapsed/);
    assertPartial(expectStatus(await tenant.admin.get(`${tenant.path}/audit`), 200).body, { clean: true });
  });

  it("an increase ends by itself", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("1") });
    const until = new Date(Date.now() + 1000).toISOString();
    const increases = `${tenant.path}/quotas/q/increases`;
    assertPartial(expectStatus(await tenant.admin.post(increases, { id: "launch", amount: "1", until }), 200).body, { effectiveLimit: "2" });
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "1.5")), 201);
    await pause(1100);
    const quota = await quotaOf(tenant, "q");
    assertPartial(quota, { limit: "1", held: "1.5", remaining: "0" });
    assert.equal(quota.increases, undefined);
  });

  it("a batch, which spends, may do neither", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("1", { period: "lifetime" }) });
    const commands = [
      { op: "addCredit", id: "q", credit: { id: "c", amount: "1" } },
      { op: "increaseLimit", id: "q", increase: { id: "i", amount: "1", until: "2099-01-01T00:00:00Z" } },
    ];
    const { body } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200);
    assert.deepEqual(body.results.map((result: { status: number }) => result.status), [400, 400]);
    assertPartial(await quotaOf(tenant, "q"), { remaining: "1" });
  });
});
