// Money that becomes known late, comes back, or was dropped by a reset: over HTTP, against workerd, with the audit as the judge.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Api, expectProblem, expectStatus, newTenant, usdQuota, usdReserve, type Body, type Tenant } from "../../support/http.ts";
import { assertPartial } from "../../support/partial.ts";
import { startWorker, type TestWorker } from "../../support/worker.ts";

let worker: TestWorker;
let admin: Api;

before(async () => {
  worker = await startWorker({ testClock: true });
  admin = new Api(worker.url, worker.adminToken);
});
after(() => worker?.stop());

const DAY_1 = "2026-11-24T12:00:00Z";
const DAY_2 = "2026-11-25T13:00:00Z";
const PREPAID = usdQuota("0", { period: "lifetime" });
const WHY = { reason: "the answer was useless", by: "support" };

/** Calls for one tenant, at an instant. */
function at(tenant: Tenant, now: string) {
  const post = (path: string, body: unknown) => admin.post(`${tenant.path}/${path}`, body, { now });
  return {
    reserve: (id: string, usd: string, more: object = {}) => post("reservations", usdReserve(id, usd, { ttlSeconds: 60, ...more })),
    settle: (id: string, usd: string) => post(`reservations/${id}/settle`, { usd }),
    release: (id: string) => post(`reservations/${id}/release`, {}),
    meter: (id: string, reading: string, usd: string) => post(`reservations/${id}/meter`, { id: reading, usd }),
    refund: (id: string, body: object) => post(`reservations/${id}/refund`, { ...WHY, ...body }),
    record: (id: string, usd: string) => post("records", { id, resource: "llm", usd }),
    credit: (id: string, amount: string, expiresAt?: string) => post("quotas/q/credits", { id, amount, expiresAt }),
    reset: () => post("quotas/q/reset", undefined),
    quota: async () => expectStatus(await admin.get(`${tenant.path}/quotas`, { now }), 200).body.quotas[0] as Body,
    entries: async (type: string) => {
      const { entries } = expectStatus(await admin.get(`${tenant.path}/entries?limit=1000`, { now }), 200).body;
      return entries.filter((entry: Body) => entry.type === type) as Body[];
    },
    usage: async () => expectStatus(await admin.get(`${tenant.path}/usage`, { now }), 200).body.total.usd as string,
  };
}

async function isClean(tenant: Tenant): Promise<void> {
  const audit = expectStatus(await admin.get(`${tenant.path}/audit`), 200).body;
  assert.deepEqual([audit.clean, audit.differences], [true, []]);
}

const prepaid = () => newTenant(worker, { q: PREPAID }, { now: DAY_1 });

describe("what becomes known of a call after its credit has ended", () => {
  it("is drawn from that credit, and not from the next one", async () => {
    const tenant = await prepaid();
    const [first, second] = [at(tenant, DAY_1), at(tenant, DAY_2)];
    expectStatus(await first.credit("one", "50", "2026-11-25T12:00:00Z"), 200);
    expectStatus(await first.reserve("a", "10", { onExpiry: "release" }), 201);
    assertPartial(await second.quota(), { spent: "0", held: "0", remaining: "0" });
    assert.deepEqual((await second.entries("credit_lapsed")).map((entry) => entry.amount), ["50"]);
    assertPartial(expectStatus(await second.settle("a", "10"), 200).body, { late: true, quotas: [{ spent: "10", remaining: "0" }] });
    assertPartial(expectStatus(await second.credit("two", "50"), 200).body, { remaining: "50", spent: "10" });
    expectProblem(await second.reserve("b", "50.01"), 429, "quota_exceeded");
    expectStatus(await second.reserve("c", "50"), 201);
    await isClean(tenant);
  });

  it("gives back nothing that could be spent", async () => {
    const tenant = await prepaid();
    const [first, second] = [at(tenant, DAY_1), at(tenant, DAY_2)];
    expectStatus(await first.credit("one", "50", "2026-11-25T12:00:00Z"), 200);
    expectStatus(await first.reserve("a", "10", { onExpiry: "charge_hold" }), 201);
    assertPartial(await second.quota(), { spent: "10", remaining: "0" });
    assertPartial(expectStatus(await second.settle("a", "2"), 200).body.quotas[0], { spent: "2", remaining: "0" });
    expectProblem(await second.reserve("b", "0.01"), 429, "quota_exceeded");
    // Nor does a refund.
    assertPartial(expectStatus(await second.refund("a", { id: "r" }), 200).body, { left: "0", quotas: [{ spent: "0", remaining: "0" }] });
    expectProblem(await second.reserve("b", "0.01"), 429, "quota_exceeded");
    await isClean(tenant);
  });

  it("is the same after a restart, from what is stored", async () => {
    const tenant = await prepaid();
    const [first, second] = [at(tenant, DAY_1), at(tenant, DAY_2)];
    expectStatus(await first.credit("one", "50", "2026-11-25T12:00:00Z"), 200);
    expectStatus(await first.credit("ever", "5"), 200);
    for (const id of ["freed", "overrun"]) expectStatus(await first.reserve(id, "10", { onExpiry: "release", ttlSeconds: id === "freed" ? 60 : 86_400 }), 201);
    expectStatus(await first.record("recorded", "4"), 201);
    assertPartial(await at(tenant, "2026-11-24T13:00:00Z").quota(), { held: "10", spent: "4", remaining: "41" });
    await worker.restart();
    expectStatus(await second.settle("freed", "12"), 200);
    expectStatus(await second.refund("recorded", { id: "r", usd: "1" }), 200);
    await worker.restart();
    expectStatus(await second.settle("overrun", "11"), 200);
    assertPartial(await second.quota(), { spent: "26", remaining: "5", credits: [{ id: "ever", remaining: "5" }] });
    await isClean(tenant);
  });
});

describe("POST …/reservations/{id}/refund", () => {
  it("is the administrator's, for every tenant", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100") });
    const path = `${tenant.path}/reservations/a/refund`;
    expectStatus(await tenant.app.post(`${tenant.path}/records`, { id: "a", resource: "llm", usd: "1" }), 201);
    const service = admin.as(expectStatus(await admin.post("/v1/tokens", { role: "service" }), 201).body.token);
    for (const other of [tenant.app, tenant.read, service]) expectProblem(await other.post(path, { id: "r", ...WHY }), 403, "forbidden");
    expectProblem(await admin.as(undefined).post(path, { id: "r", ...WHY }), 401, "unauthorized");
    const batch = { commands: [{ op: "refund", id: "a", refund: { id: "r", ...WHY } }] };
    assertPartial(expectStatus(await tenant.app.post(`${tenant.path}/batch`, batch), 200).body, { results: [{ status: 400, body: { field: "op" } }] });
    assert.equal(expectStatus(await admin.post(path, { id: "r", ...WHY }), 200).body.left, "0");
    // Whoever may read sees it.
    const told = { charge: { usd: "1" }, left: "0", refunds: [{ id: "r", usd: "1", all: true, ...WHY }] };
    assertPartial(expectStatus(await tenant.read.get(`${tenant.path}/reservations/a`), 200).body, told);
  });

  it("takes back once, however many ask at once", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100") }, { now: DAY_1 });
    const calls = at(tenant, DAY_1);
    expectStatus(await calls.record("a", "10"), 201);
    const same = await Promise.all(Array.from({ length: 20 }, () => calls.refund("a", { id: "same", usd: "3" })));
    assert.deepEqual(same.map((answer) => answer.status), Array(20).fill(200));
    assert.equal(same.filter((answer) => answer.body.replayed === undefined).length, 1);
    const others = await Promise.all(Array.from({ length: 20 }, (_, number) => calls.refund("a", { id: `r-${number}`, usd: "1" })));
    assert.equal(others.filter((answer) => answer.status === 200).length, 7);
    for (const refused of others.filter((answer) => answer.status !== 200)) expectProblem(refused, 400, "invalid_request", "usd");
    assertPartial(await calls.quota(), { spent: "0", held: "0" });
    assert.equal(await calls.usage(), "0");
    await isClean(tenant);
  });

  it("refuses what is wrong, and changes nothing", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100") }, { now: DAY_1 });
    const calls = at(tenant, DAY_1);
    expectStatus(await calls.record("a", "10"), 201);
    expectStatus(await calls.reserve("open", "5"), 201);
    for (const [body, field] of [
      [{ id: undefined }, "id"],
      [{ id: "r", reason: undefined }, "reason"],
      [{ id: "r", reason: "" }, "reason"],
      [{ id: "r", reason: "x".repeat(513) }, "reason"],
      [{ id: "r", reason: "a\u0000b" }, "reason"],
      [{ id: "r", by: undefined }, "by"],
      [{ id: "r", usd: 1 }, "usd"],
      [{ id: "r", usd: "-1" }, "usd"],
      [{ id: "r", usd: "0" }, "usd"],
      [{ id: "r", usd: "1e3" }, "usd"],
      [{ id: "r", usd: "0.0000000000001" }, "usd"],
      [{ id: "r", usd: "10.000000000001" }, "usd"],
      [{ id: "r", amount: "1" }, "amount"],
      [{ id: "a/b" }, "id"],
    ] as const) {
      expectProblem(await calls.refund("a", body), 400, "invalid_request", field);
    }
    expectProblem(await calls.refund("nobody", { id: "r" }), 404, "reservation_not_found");
    expectProblem(await calls.refund("open", { id: "r" }), 409, "still_held");
    expectStatus(await calls.release("open"), 200);
    expectProblem(await calls.refund("open", { id: "r" }), 400, "invalid_request", "usd");
    assert.deepEqual(await calls.entries("refunded"), []);
    assertPartial(await calls.quota(), { spent: "10", held: "0" });
  });

  it("adds up in JSON, in CSV and in the report", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100") }, { now: DAY_1 });
    const calls = at(tenant, DAY_1);
    expectStatus(await calls.record("a", "10"), 201);
    expectStatus(await calls.refund("a", { id: "r", usd: "2.5" }), 200);
    const csv = await admin.get(`${tenant.path}/entries`, { headers: { accept: "text/csv" }, now: DAY_1 });
    const rows = csv.text.trim().split("\r\n").map((line) => line.split(","));
    const usd = rows[0]!.indexOf("usd");
    assert.deepEqual(rows.filter((row) => row[3] === "a").map((row) => [row[2], row[usd]]), [["recorded", "10"], ["refunded", "-2.5"]]);
    assert.equal(await calls.usage(), "7.5");
  });

  it("of what is archived is 410, and of what may still be settled it is not", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100") }, { now: DAY_1 });
    const [first, second] = [at(tenant, DAY_1), at(tenant, DAY_2)];
    expectStatus(await first.record("a", "10"), 201);
    expectStatus(await first.reserve("expired", "5", { onExpiry: "charge_hold" }), 201);
    expectStatus(await second.refund("expired", { id: "r", usd: "1" }), 200);
    const { rows } = expectStatus(await admin.get(`${tenant.path}/journal?limit=1000`), 200).body;
    const { through, head } = rows.at(-1);
    expectStatus(await admin.post(`${tenant.path}/archive`, { through, head }, { now: DAY_2 }), 200);
    expectProblem(await second.refund("a", { id: "r" }), 410, "archived");
    assertPartial(expectStatus(await second.refund("expired", { id: "r", usd: "1" }), 200).body, { replayed: true, left: "4" });
    assertPartial(expectStatus(await second.settle("expired", "3"), 200).body, { late: true, charge: { usd: "3" }, left: "2", quotas: [{ spent: "12" }] });
    await isClean(tenant);
  });
});

describe("after a reset", () => {
  it("what is reported is what the quota counts and what the reset dropped", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100"), window: usdQuota("100", { period: { rolling: 86_400 } }) }, { now: DAY_1 });
    const calls = at(tenant, DAY_1);
    expectStatus(await calls.reserve("a", "10", { ttlSeconds: 600 }), 201);
    expectStatus(await calls.meter("a", "m-1", "4"), 200);
    expectStatus(await calls.record("b", "3"), 201);
    for (const quota of ["q", "window"]) expectStatus(await admin.send("POST", `${tenant.path}/quotas/${quota}/reset`, { now: DAY_1 }), 200);
    const dropped = 7;
    const spent = async () => {
      const { quotas } = expectStatus(await admin.get(`${tenant.path}/quotas`, { now: DAY_1 }), 200).body;
      assert.equal(new Set(quotas.map((quota: Body) => quota.spent)).size, 1, JSON.stringify(quotas));
      return Number(quotas[0].spent);
    };
    expectStatus(await calls.meter("a", "m-2", "9"), 200);
    assert.equal(Number(await calls.usage()), (await spent()) + dropped);
    expectStatus(await calls.settle("a", "6"), 200);
    assert.deepEqual([await spent(), Number(await calls.usage())], [2, 2 + dropped]);
    expectStatus(await calls.refund("a", { id: "r", usd: "1" }), 200);
    assert.deepEqual([await spent(), Number(await calls.usage())], [1, 1 + dropped]);
    // What is taken back of what was dropped takes nothing from what came later.
    expectStatus(await calls.refund("b", { id: "r" }), 200);
    assert.deepEqual([await spent(), Number(await calls.usage())], [1, 1 + dropped - 3]);
    await isClean(tenant);
  });
});
