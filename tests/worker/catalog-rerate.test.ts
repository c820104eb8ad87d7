// Re-rating: a dry run says what would change, a post makes up the difference, once.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Api, expectProblem, expectStatus, newTenant, quotaOf, usdQuota, type Body, type Tenant } from "../support/http.ts";
import { assertPartial } from "../support/partial.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;
let admin: Api;

before(async () => {
  worker = await startWorker({ testClock: true });
  admin = new Api(worker.url, worker.adminToken);
});
after(() => worker?.stop());

const PERIOD = { from: "2026-11-01T00:00:00Z", to: "2026-12-01T00:00:00Z" };
const HALF = { overrides: { markups: [{ id: "half", factor: "0.5" }] } };

/** Three records by usage, one by amount, a day apart from 30 November on. */
async function charged(): Promise<Tenant> {
  const tenant = await newTenant(worker, { q: usdQuota("10", { period: "lifetime" }) });
  const record = (id: string, day: number, actual: object) =>
    tenant.app.post(`${tenant.path}/records`, { id, resource: "llm", provider: "openai", model: "gpt-4o", ...actual }, { now: `2026-12-0${day}T00:00:00Z` });
  const now = "2026-11-30T00:00:00Z";
  const reserve = { id: "a", resource: "llm", provider: "openai", model: "gpt-4o", estimate: { inputTokens: 2000, maxOutputTokens: 10 } };
  expectStatus(await tenant.app.post(`${tenant.path}/reservations`, reserve, { now }), 201);
  expectStatus(await tenant.app.post(`${tenant.path}/reservations/a/settle`, { usage: { input: 1000 } }, { now }), 200);
  expectStatus(await record("b", 1, { usage: { input: 2000 } }), 201);
  expectStatus(await record("c", 2, { usd: "1" }), 201);
  expectStatus(await record("d", 3, { usage: { input: 4000 } }), 201);
  return tenant;
}

/** Every page, with the lines of all. */
async function rerate(tenant: Tenant, request: object, limit = 1000): Promise<{ lines: Body[]; totals: Body; posted: number; pages: number }> {
  const all = { lines: [] as Body[], totals: undefined as Body, posted: 0, pages: 0 };
  for (let after: number | null = 0; after !== null; ) {
    const asked = { ...PERIOD, ...request, after, limit, ...(all.totals && { totals: all.totals }) };
    const { body } = expectStatus(await admin.post(`${tenant.path}/rerate`, asked, { now: "2026-12-05T00:00:00Z" }), 200);
    all.lines.push(...body.lines);
    all.totals = body.totals;
    all.posted += body.posted;
    all.pages += 1;
    after = body.next;
  }
  return all;
}

describe("POST /v1/tenants/{tenant}/rerate", () => {
  it("a dry run shows every difference and changes nothing", async () => {
    const tenant = await charged();
    const before = await tenant.admin.get(`${tenant.path}/audit`);
    const found = await rerate(tenant, { ...HALF, to: "2026-12-03T00:00:00Z" });
    assertPartial(found.lines, [
      { id: "a", model: "openai/gpt-4o", reservedAt: "2026-11-30T00:00:00.000Z", old: "0.0025", new: "0.00125", difference: "-0.00125", why: "input 0.0000025 → 0.00000125 USD" },
      { id: "b", old: "0.005", new: "0.0025", difference: "-0.0025" },
      { id: "c", old: "1", new: "1", difference: "0", why: "charged by an amount" },
    ]);
    assert.deepEqual(found.totals, { charges: 3, changed: 2, old: "1.0075", new: "1.00375", difference: "-0.00375" });
    // By what applied then, and today's price list: the same.
    assertPartial(await rerate(tenant, {}), { totals: { charges: 1, changed: 0, difference: "0" }, posted: 0 });
    const after = await tenant.admin.get(`${tenant.path}/audit`);
    assert.deepEqual(after.body, before.body);
  });

  it("pages give the same as one answer", async () => {
    const tenant = await charged();
    const whole = await rerate(tenant, { ...HALF, to: "2026-12-04T00:00:00Z" });
    const paged = await rerate(tenant, { ...HALF, to: "2026-12-04T00:00:00Z" }, 2);
    assert.ok(paged.pages > 2);
    assert.deepEqual({ ...paged, pages: 1 }, whole);
  });

  it("posting makes up the difference once, in counters, usage, entries and audit", async () => {
    const tenant = await charged();
    expectStatus(await admin.put(`${tenant.path}/overrides`, HALF.overrides), 200);
    const request = { to: "2026-12-04T00:00:00Z", overrides: "current", post: "fix-1" };
    const first = await rerate(tenant, request);
    assert.deepEqual([first.posted, first.totals.difference], [3, "-0.00875"]);
    const again = await rerate(tenant, request);
    assert.deepEqual([again.posted, again.totals.difference, again.totals.old], [0, "0", first.totals.new]);
    const other = await rerate(tenant, { ...request, overrides: { markups: [{ id: "m", factor: "9" }] } });
    assert.deepEqual([other.posted, other.lines.filter((line) => line.why === "adjusted before under this id").length], [0, 3]);
    assert.equal((await quotaOf(tenant, "q")).spent, "1.00875");
    const usage = expectStatus(await tenant.read.get(`${tenant.path}/usage`), 200).body;
    assertPartial(usage, { total: { usd: "1.00875", calls: 4, inputTokens: 7000 } });
    assertPartial(expectStatus(await tenant.read.get(`${tenant.path}/reservations/a`), 200).body, { state: "settled", charge: { usd: "0.00125" } });
    const csv = await tenant.read.get(`${tenant.path}/entries?limit=1000`, { headers: { accept: "text/csv" } });
    const adjusted = csv.text.split("\r\n").filter((line) => line.includes(",adjusted,"));
    assert.deepEqual(
      adjusted.map((line) => [line.split(",")[3], line.split(",")[10]]),
      [
        ["a", "-0.00125"],
        ["b", "-0.0025"],
        ["d", "-0.005"],
      ],
    );
    assert.equal(expectStatus(await admin.get(`${tenant.path}/audit`), 200).body.clean, true);
    await worker.restart();
    assert.equal(expectStatus(await admin.get(`${tenant.path}/audit`), 200).body.clean, true);
    assert.equal((await quotaOf(tenant, "q")).spent, "1.00875");
    assert.equal((await rerate(tenant, request)).posted, 0);
  });

  it("bad requests name their field", async () => {
    const tenant = await newTenant(worker);
    for (const [request, field] of [
      [{ from: PERIOD.to, to: PERIOD.from }, "to"],
      [{ ...PERIOD, limit: 5000 }, "limit"],
      [{ ...PERIOD, post: "" }, "post"],
      [{ ...PERIOD, overrides: "then" }, "overrides"],
      [{ ...PERIOD, overrides: { markups: [{ id: "m", factor: "-1" }] } }, "overrides.markups[0].factor"],
    ] as const) {
      expectProblem(await admin.post(`${tenant.path}/rerate`, request), 400, "invalid_request", field);
    }
    expectProblem(await admin.post("/v1/tenants/nobody/rerate", PERIOD), 404, "tenant_not_found");
  });
});
