// Audit and repair against the real thing: what was changed in the file behind the ledger's back.
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";
import { expectProblem, expectStatus, newTenant, quotaOf, usdQuota, usdReserve, type Api, type Body, type Tenant } from "../support/http.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;
before(async () => {
  worker = await startWorker();
});
after(() => worker?.stop());

async function livedIn(): Promise<Tenant> {
  const tenant = await newTenant(worker, { month: usdQuota("100000") });
  const ids = Array.from({ length: 500 }, (_, index) => `r-${index}`);
  for (const round of ["a", "b", "c"]) {
    const commands = ids.map((id) => ({ op: "record", id: `${round}-${id}`, resource: "llm", usd: "0.01" }));
    expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200);
  }
  expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("open", "5")), 201);
  return tenant;
}

/** Changes the one database that has a journal of this tenant. */
async function tamper(tenant: Tenant, sql: string): Promise<void> {
  await worker.offline((databases) => {
    const changed = databases.filter((file) => {
      const database = new DatabaseSync(file);
      try {
        const found = database.prepare("SELECT 1 FROM journal WHERE instr(entries, ?) LIMIT 1").get(`"${tenant.id}"`);
        if (found === undefined) return false;
        assert.ok(Number(database.prepare(sql).run().changes) > 0, sql);
        return true;
      } finally {
        database.close();
      }
    });
    assert.equal(changed.length, 1);
  });
}

const audit = async (tenant: Tenant) => expectStatus(await tenant.admin.get(`${tenant.path}/audit`), 200).body;

describe("repair", () => {
  for (const [name, sql, place] of [
    ["a counter", `UPDATE snapshot SET state = replace(state, '"spent":"', '"spent":"1')`, "quotas.month.counters[0].spent"],
    ["the roll-up", "UPDATE usage SET usd_whole = usd_whole + 1", "usage "],
    ["an ended reservation", "DELETE FROM closed WHERE id = 'a-r-7'", "closed.a-r-7"],
  ] as const) {
    it(`sets ${name} right, and an entry says so`, async () => {
      const tenant = await livedIn();
      await tamper(tenant, sql);
      const found = await audit(tenant);
      assert.equal(found.clean, false);
      assert.ok(found.differences[0].place.startsWith(place), JSON.stringify(found.differences));
      const done = expectStatus(await tenant.admin.post(`${tenant.path}/audit/repair`, { by: "ops@example.com" }), 200).body;
      assert.deepEqual(done.repaired, found.differences);
      assert.deepEqual((await audit(tenant)).differences, []);
      const entry = async (api: Api) => expectStatus(await api.get(`${tenant.path}/entries?after=${done.entry - 1}`), 200).body.entries[0];
      const { type, by, differences } = await entry(tenant.admin);
      const parsed = differences.map(({ place, kept, refolded }: Body) => ({ place, kept: JSON.parse(kept), refolded: JSON.parse(refolded) }));
      assert.deepEqual([type, by, parsed], ["repaired", "ops@example.com", found.differences]);
      // What was kept may be a part of any document: a tenant is told where.
      const { seq, at, ...seen } = await entry(tenant.read);
      assert.deepEqual(seen, { type: "repaired", differences: differences.map(({ place }: Body) => ({ place })) });
      assert.equal((await quotaOf(tenant, "month")).spent, "15");
      assert.equal(expectStatus(await tenant.read.get(`${tenant.path}/usage`), 200).body.total.usd, "15");
      assert.equal(expectStatus(await tenant.app.post(`${tenant.path}/records`, { id: "a-r-7", resource: "llm", usd: "0.01" }), 201).body.replayed, true);
      assert.deepEqual(expectStatus(await tenant.admin.post(`${tenant.path}/audit/repair`, { by: "ops" }), 200).body, { repaired: [] });
    });
  }

  it("does not repair a broken journal away", async () => {
    const tenant = await livedIn();
    await tamper(tenant, `UPDATE journal SET entries = replace(entries, '"0.01"', '"0.02"') WHERE last_entry = (SELECT MIN(last_entry) FROM journal WHERE instr(entries, 'a-r-7'))`);
    const found = await audit(tenant);
    assert.equal(found.damaged, true);
    expectProblem(await tenant.admin.post(`${tenant.path}/audit/repair`, { by: "ops" }), 409, "ledger_damaged");
    assert.deepEqual(await audit(tenant), found);
  });

  it("says who asked, and only the administrator may", async () => {
    const tenant = await newTenant(worker);
    expectProblem(await tenant.admin.post(`${tenant.path}/audit/repair`, {}), 400, "invalid_request", "by");
    expectProblem(await tenant.admin.post(`${tenant.path}/audit/repair`, { by: "" }), 400, "invalid_request", "by");
    for (const caller of [tenant.app, tenant.read]) expectProblem(await caller.post(`${tenant.path}/audit/repair`, { by: "me" }), 403, "forbidden");
    expectProblem(await tenant.admin.post("/v1/tenants/nobody/audit/repair", { by: "ops" }), 404, "tenant_not_found");
  });
});
