// Names that would escape a filter, quotas that are removed with money on them, and reports of what was spent in zones whose hours begin elsewhere: over HTTP.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Answer, expectProblem, expectStatus, newTenant, quotaOf, type Tenant, usdQuota, usdReserve } from "../../support/http.ts";
import { assertPartial } from "../../support/partial.ts";
import { startWorker, type TestWorker } from "../../support/worker.ts";

let worker: TestWorker;
before(async () => {
  worker = await startWorker({ testClock: true });
});
after(() => worker?.stop());

const START = { now: "2026-11-24T12:00:00.000Z" };

function record(tenant: Tenant, id: string, usd: string, more: Record<string, unknown> = {}, now = START): Promise<Answer> {
  // Tokens end, and some of this is days later.
  return tenant.admin.post(`${tenant.path}/records`, { id, resource: "llm", usd, ...more }, now);
}

describe("names", () => {
  it("none of a model's names escapes a filter on it", async () => {
    const filter = { provider: "openai", model: "gpt-4o" };
    const tenant = await newTenant(worker, { q: usdQuota("1", { filter }), listed: usdQuota("100", { filter: { model: ["gpt-4o-mini", "openai/gpt-4o"] } }) }, START);
    const alias = { provider: "azure", model: "chat", is: { provider: "openai", model: "gpt-4o" } };
    expectStatus(await tenant.admin.put(`${tenant.path}/overrides`, { aliases: [alias] }, START), 200);
    const names: [string | undefined, string][] = [["openai", "gpt-4o"], ["openai", "openai/gpt-4o"], ["openai", "gpt-4o-2024-11-20"], ["azure", "chat"], [undefined, "openai/gpt-4o"]];
    for (const [at, [provider, model]] of names.entries()) {
      expectStatus(await record(tenant, `within-${at}`, "0.2", { provider, model }), 201);
    }
    assertPartial(await quotaOf(tenant, "q"), { spent: "1", remaining: "0", filter });
    assertPartial(await quotaOf(tenant, "listed"), { spent: "1", filter: { model: ["gpt-4o-mini", "openai/gpt-4o"] } });
    for (const [at, [provider, model]] of names.entries()) {
      const reserve = { provider, model, ...usdReserve(`above-${at}`, "12.5") };
      expectProblem(await tenant.app.post(`${tenant.path}/reservations`, reserve, START), 429, "quota_exceeded");
      expectProblem(await record(tenant, `record-${at}`, "12.5", { provider, model, mode: "within_limit" }), 429, "quota_exceeded");
    }
    const commands = names.map(([provider, model], at) => ({ op: "reserve", provider, model, ...usdReserve(`batch-${at}`, "12.5") }));
    const { results } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }, START), 200).body;
    assert.deepEqual(results.map(({ status }: { status: number }) => status), names.map(() => 429));
    // A snapshot with rates of its own is a model of its own.
    expectStatus(await record(tenant, "snapshot", "12.5", { provider: "openai", model: "gpt-4o-2024-08-06" }), 201);
    const usage = async (by: string) => expectStatus(await tenant.read.get(`${tenant.path}/usage?groupBy=${by}`, START), 200).body.groups;
    assertPartial(await usage("model"), [{ model: "openai/gpt-4o-2024-08-06", usd: "12.5" }, { model: "openai/gpt-4o", usd: "1", calls: 5 }]);
    const called = (await usage("calledModel,model")).map((group: Record<string, string>) => [group["calledModel"], group["model"], group["usd"]]);
    assert.deepEqual(called, [
      ["openai/gpt-4o-2024-08-06", "openai/gpt-4o-2024-08-06", "12.5"],
      // By its provider and without.
      ["openai/gpt-4o", "openai/gpt-4o", "0.4"],
      ["azure/chat", "openai/gpt-4o", "0.2"],
      ["openai/gpt-4o-2024-11-20", "openai/gpt-4o", "0.2"],
      ["openai/openai/gpt-4o", "openai/gpt-4o", "0.2"],
    ]);
    const lines = expectStatus(await tenant.read.get(`${tenant.path}/entries?limit=1000`, { ...START, headers: { accept: "text/csv" } }), 200).text.split("\r\n");
    assert.match(lines[0] ?? "", /,quota,ratedAs$/);
    assert.equal(lines.filter((line) => line.includes(",recorded,") && line.endsWith(",openai/gpt-4o")).length, 4);
  });

  it("a list has 1 to 32 names", async () => {
    const tenant = await newTenant(worker, {}, START);
    const put = (model: unknown) => tenant.admin.put(`${tenant.path}/quotas/q`, usdQuota("1", { filter: { model } }), START);
    expectStatus(await put(Array.from({ length: 32 }, (_, at) => `m-${at}`)), 200);
    for (const [model, field] of [
      [[], "filter.model"],
      [Array.from({ length: 33 }, (_, at) => `m-${at}`), "filter.model[32]"],
      [["m", ""], "filter.model[1]"],
      [[["m"]], "filter.model[0]"],
      [{}, "filter.model"],
      [7, "filter.model"],
    ]) {
      const answer = expectProblem(await put(model), 400, "invalid_request");
      assert.ok(answer.body.field.startsWith(String(field).replace(/\[32\]$/, "")), `${JSON.stringify(model)}: ${answer.text}`);
    }
    assert.equal((await quotaOf(tenant, "q")).filter.model.length, 32);
  });
});

describe("quotas with money on them", () => {
  it("are removed only where the order forfeits it, in the body or the query", async () => {
    const tenant = await newTenant(worker, {}, START);
    const quota = `${tenant.path}/quotas/prepaid`;
    const make = () => tenant.admin.put(quota, { ...usdQuota("0"), period: "lifetime" }, START);
    const pay = (id: string, amount = "1000") => tenant.admin.post(`${quota}/credits`, { id, amount }, START);
    const orders: [string, unknown][] = [["", { forfeit: true }], ["?forfeit=true", undefined], ["?forfeit=true", { forfeit: true }]];
    for (const [at, [query, json]] of orders.entries()) {
      expectStatus(await make(), 200);
      assertPartial(expectStatus(await pay(`pay-${at}`), 200).body, { remaining: "1000" });
      for (const [refused, body] of [["", undefined], ["", {}], ["", { forfeit: false }], ["?forfeit=false", undefined]] as const) {
        expectProblem(await tenant.admin.delete(`${quota}${refused}`, { ...START, json: body }), 409, "credits_left");
      }
      assertPartial(await quotaOf(tenant, "prepaid"), { remaining: "1000" });
      expectStatus(await tenant.admin.delete(`${quota}${query}`, { ...START, json }), 204);
      expectProblem(await tenant.admin.delete(quota, START), 404, "quota_not_found");
    }
    const { entries } = expectStatus(await tenant.read.get(`${tenant.path}/entries?limit=1000`, START), 200).body;
    const removed = entries.filter(({ type }: { type: string }) => type === "quota_removed").slice(-3);
    assert.deepEqual(removed.map(({ forfeited }: { forfeited: string }) => forfeited), ["1000", "1000", "1000"]);
    // None of the ids pays in again, whatever becomes of the object in between.
    expectStatus(await make(), 200);
    for (const restart of [false, true]) {
      if (restart) await worker.restart();
      assertPartial(expectStatus(await pay("pay-0"), 200).body, { remaining: "0" });
      expectProblem(await pay("pay-0", "999"), 409, "idempotency_conflict");
      expectProblem(await tenant.app.post(`${tenant.path}/reservations`, usdReserve(`r-${restart}`, "1000"), START), 429, "quota_exceeded");
    }
    assertPartial(expectStatus(await pay("pay-9"), 200).body, { remaining: "1000" });
  });

  it("an order that contradicts itself, or says anything else, does nothing", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("1") }, START);
    for (const [query, json] of [["?forfeit=yes", undefined], ["?forfeit=true", { forfeit: false }], ["", { forfeit: "true" }], ["", { force: true }], ["?force=true", undefined]] as const) {
      expectProblem(await tenant.admin.delete(`${tenant.path}/quotas/q${query}`, { ...START, json }), 400, "invalid_request");
    }
    expectStatus(await tenant.admin.delete(`${tenant.path}/quotas/q`, START), 204);
  });

  it("what a hold draws on a credit is not gone, and keeps the quota", async () => {
    const tenant = await newTenant(worker, {}, START);
    const quota = `${tenant.path}/quotas/prepaid`;
    expectStatus(await tenant.admin.put(quota, { ...usdQuota("0"), period: "lifetime" }, START), 200);
    expectStatus(await tenant.admin.post(`${quota}/credits`, { id: "pay", amount: "10" }, START), 200);
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "10"), START), 201);
    expectProblem(await tenant.admin.delete(quota, START), 409, "credits_left");
    expectProblem(await tenant.admin.put(quota, { ...usdQuota("0"), period: "lifetime", resource: "llm" }, START), 400, "invalid_request", "resource");
    expectStatus(await tenant.app.post(`${tenant.path}/reservations/a/settle`, { usd: "10" }, START), 200);
    expectStatus(await tenant.admin.delete(quota, START), 204);
  });
});

describe("usage", () => {
  for (const [timeZone, start, day] of [["Asia/Kolkata", "2026-11-30T18:30:00.000Z", "2026-12-01"], ["Asia/Kathmandu", "2026-11-30T18:15:00.000Z", "2026-12-01"]] as const) {
    it(`of a month of ${timeZone} is what its quota counts`, async () => {
      const tenant = await newTenant(worker, { month: usdQuota("100", { timeZone }) }, START);
      const at = (ms: number) => ({ now: new Date(Date.parse(start) + ms).toISOString() });
      expectStatus(await record(tenant, "before", "3", {}, at(-1)), 201);
      expectStatus(await record(tenant, "first", "4", {}, at(0)), 201);
      const now = at(1);
      const usage = (query: string) => tenant.admin.get(`${tenant.path}/usage${query}`, now);
      const from = `from=${encodeURIComponent(start)}`;
      assertPartial(expectStatus(await usage(`?${from}`), 200).body, { total: { usd: "4", calls: 1 } });
      assertPartial(expectStatus(await usage(`?to=${encodeURIComponent(start)}`), 200).body, { total: { usd: "3" } });
      const { quotas } = expectStatus(await tenant.admin.get(`${tenant.path}/quotas`, now), 200).body;
      assertPartial(quotas, [{ spent: "4", periodStart: start }]);
      assertPartial(expectStatus(await usage(`?groupBy=day&timeZone=${timeZone}`), 200).body, { timeZone, groups: [{ day, usd: "4" }, { day: "2026-11-30", usd: "3" }] });
      assertPartial(expectStatus(await usage("?groupBy=day"), 200).body, { groups: [{ day: "2026-11-30", usd: "7" }] });
      // Once it is rolled up, too, and audited.
      assertPartial(expectStatus(await tenant.admin.get(`${tenant.path}/audit`, now), 200).body, { clean: true });
      for (const [query, field] of [[`?from=2026-11-30T18:20:00Z`, "from"], [`?timeZone=${timeZone}`, "timeZone"], ["?groupBy=day&timeZone=Asia/Nowhere", "timeZone"]] as const) {
        expectProblem(await usage(query), 400, "invalid_request", field);
      }
    });
  }

  it("has pages, dearest first, each of which leads to the next", async () => {
    const tenant = await newTenant(worker, {}, START);
    const users = 1_250;
    for (let from = 0; from < users; from += 250) {
      const commands = Array.from({ length: 250 }, (_, at) => ({ op: "record", id: `r-${from + at}`, resource: "llm", userId: `u-${String(from + at).padStart(5, "0")}`, usd: String(1 + ((from + at) % 7)) }));
      const { results } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }, START), 200).body;
      assert.ok(results.every(({ status }: { status: number }) => status === 201));
    }
    const seen: { user: string; usd: string }[] = [];
    let after: string | null = null;
    let pages = 0;
    do {
      const query: string = after === null ? "" : `&after=${encodeURIComponent(after)}`;
      const page: Answer = expectStatus(await tenant.read.get(`${tenant.path}/usage?groupBy=user${query}`, START), 200);
      assert.ok(page.body.groups.length <= 100 && page.text.length < 1 << 20);
      assert.equal(page.body.total.calls, users);
      seen.push(...page.body.groups);
      after = page.body.next;
      pages += 1;
    } while (after !== null);
    assert.deepEqual([seen.length, new Set(seen.map(({ user }) => user)).size, pages], [users, users, 13]);
    const sorted = [...seen].sort((a, b) => Number(b.usd) - Number(a.usd) || (a.user < b.user ? -1 : 1));
    assert.deepEqual(seen, sorted);
    assert.equal(expectStatus(await tenant.read.get(`${tenant.path}/usage?groupBy=user&limit=1000`, START), 200).body.groups.length, 1_000);
    for (const [query, field] of [["limit=0", "limit"], ["limit=1001", "limit"], ["limit=9007199254740993", "limit"], ["limit=1e2", "limit"], ["after=", "after"], ["after=zz", "after"], ["after=5b22312c5d", "after"]] as const) {
      expectProblem(await tenant.read.get(`${tenant.path}/usage?groupBy=user&${query}`, START), 400, "invalid_request", field);
    }
  });
});
