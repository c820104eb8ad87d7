// Own rates, aliases and markups: of the platform, on their way to every tenant, and of one tenant.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Api, expectProblem, expectStatus, newTenant, usdQuota } from "../support/http.ts";
import { assertPartial } from "../support/partial.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;
let admin: Api;

before(async () => {
  worker = await startWorker();
  admin = new Api(worker.url, worker.adminToken);
});
after(() => worker?.stop());

const PLATFORM = "/v1/catalog/overrides";
const GPT_4O = { provider: "openai", model: "gpt-4o", usage: { input: 1000, output: 1000 } };

function own(input: string): Record<string, unknown> {
  return { provider: "openai", model: "gpt-4o", perMillion: { input, output: "10" } };
}

function reserve(id: string): Record<string, unknown> {
  return { id, resource: "llm", provider: "openai", model: "gpt-4o", estimate: { inputTokens: 1000, maxOutputTokens: 1000 } };
}

describe("the platform's overrides", () => {
  it("start empty, count their versions, and price what has no tenant", async () => {
    assert.deepEqual(expectStatus(await admin.get(PLATFORM), 200).body, { version: 0, rates: [], aliases: [], markups: [] });
    const document = { markups: [{ id: "margin", percent: "20" }] };
    const put = expectStatus(await admin.put(PLATFORM, document), 200).body;
    assert.deepEqual(put, { version: 1, rates: [], aliases: [], ...document });
    assert.equal(expectStatus(await admin.put(PLATFORM, document), 200).body.version, 1);
    assert.deepEqual(expectStatus(await admin.get(PLATFORM), 200).body, put);
    const charge = expectStatus(await admin.post("/v1/price", GPT_4O), 200).body;
    assert.equal(charge.usd, "0.015");
    assert.deepEqual(charge.basis.applied, { markup: { scope: "platform", version: 1, id: "margin", factor: "1.2" } });
  });

  it("reach a tenant with the next thing that it is asked, once, as an entry of its ledger", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const { version } = expectStatus(await admin.put(PLATFORM, { rates: [own("4")] }), 200).body;
    const held = expectStatus(await tenant.app.post(`${tenant.path}/reservations`, reserve("a")), 201).body;
    assertPartial(held, { held: { usd: "0.014" }, basis: { rateCard: "platform:openai/gpt-4o@1970-01-01", applied: { platformVersion: version } } });
    // Changed while the hold is open: it keeps its rates, what is new has the new ones.
    expectStatus(await admin.put(PLATFORM, { rates: [own("40")] }), 200);
    const settled = expectStatus(await tenant.app.post(`${tenant.path}/reservations/a/settle`, { usage: GPT_4O.usage }), 200).body;
    assertPartial(settled, { charge: { usd: "0.014", basis: { applied: { platformVersion: version } } }, overrun: "0" });
    assertPartial(expectStatus(await tenant.app.post(`${tenant.path}/reservations`, reserve("b")), 201).body, { held: { usd: "0.05" } });
    const { entries } = expectStatus(await tenant.read.get(`${tenant.path}/entries?limit=1000`), 200).body;
    const set = entries.filter((entry: { type: string }) => entry.type === "overrides_set");
    assert.deepEqual(
      set.map((entry: { scope: string; version: number }) => [entry.scope, entry.version]).slice(-2),
      [
        ["platform", version],
        ["platform", version + 1],
      ],
    );
    assert.equal(expectStatus(await admin.get(`${tenant.path}/audit`), 200).body.clean, true);
    const csv = await tenant.read.get(`${tenant.path}/entries?limit=1000`, { headers: { accept: "text/csv" } });
    assert.match(csv.text, /,overrides_set,/);
    expectStatus(await admin.put(PLATFORM, {}), 200);
  });

  it("many requests at once, of many tenants, all see a change that was answered", async () => {
    const tenants = await Promise.all([newTenant(worker), newTenant(worker), newTenant(worker)]);
    for (const input of ["3", "5", "7"]) {
      expectStatus(await admin.put(PLATFORM, { rates: [own(input)] }), 200);
      const asked = tenants.flatMap((tenant) => Array.from({ length: 10 }, () => tenant.app.post(`${tenant.path}/price`, GPT_4O)));
      for (const answer of await Promise.all(asked)) {
        assert.equal(expectStatus(answer, 200).body.usd, `0.0${10 + Number(input)}`);
      }
    }
    expectStatus(await admin.put(PLATFORM, {}), 200);
  });

  it("survive a restart, in the ledgers and by themselves", async () => {
    const tenant = await newTenant(worker);
    expectStatus(await admin.put(PLATFORM, { rates: [own("3")] }), 200);
    expectStatus(await admin.put(`${tenant.path}/overrides`, { markups: [{ id: "m", factor: "2" }] }), 200);
    const before = expectStatus(await tenant.read.get(`${tenant.path}/overrides`), 200).body;
    await worker.restart();
    assert.deepEqual(expectStatus(await tenant.read.get(`${tenant.path}/overrides`), 200).body, before);
    assert.equal(expectStatus(await tenant.app.post(`${tenant.path}/price`, GPT_4O), 200).body.usd, "0.026");
    assert.equal(expectStatus(await admin.post("/v1/price", GPT_4O), 200).body.usd, "0.013");
    expectStatus(await admin.put(PLATFORM, {}), 200);
  });
});

describe("a tenant's overrides", () => {
  it("come before the platform's, and are its own", async () => {
    const [tenant, other] = await Promise.all([newTenant(worker), newTenant(worker)]);
    const { version } = expectStatus(await admin.put(PLATFORM, { rates: [own("4")], markups: [{ id: "margin", factor: "2" }] }), 200).body;
    const document = { rates: [own("1")], aliases: [{ provider: "azure", model: "prod", is: { provider: "openai", model: "gpt-4o" } }] };
    const put = expectStatus(await admin.put(`${tenant.path}/overrides`, document), 200).body;
    assertPartial(put, { version: 1, platformVersion: version, ...document });
    const usd = async (api: Api, path: string, more = {}) => {
      const { body } = expectStatus(await api.post(`${path}/price`, { ...GPT_4O, ...more }), 200);
      return body.usd;
    };
    assert.equal(await usd(tenant.read, tenant.path), "0.022");
    assert.equal(await usd(tenant.app, tenant.path, { provider: "azure", model: "prod" }), "0.022");
    assert.equal(await usd(other.app, other.path), "0.028");
    expectStatus(await admin.put(PLATFORM, {}), 200);
    assert.equal(await usd(tenant.app, tenant.path), "0.011");
  });

  it("a document that is wrong names its field and changes nothing", async () => {
    const tenant = await newTenant(worker);
    for (const path of [PLATFORM, `${tenant.path}/overrides`]) {
      const { version } = expectStatus(await admin.put(path, { markups: [{ id: "m", factor: "1.5" }] }), 200).body;
      const before = expectStatus(await admin.get(path), 200).body;
      for (const [document, field] of [
        [{ rate: [] }, "rate"],
        [{ rates: [{ ...own("1"), from: "2026-12-01" }] }, "rates[0].from"],
        [{ rates: [own("-1")] }, "rates[0]"],
        [{ rates: [own("1"), own("1")] }, "rates[1].from"],
        [{ markups: [{ id: "m" }] }, "markups[0]"],
        [{ markups: [{ id: "m", factor: 1.5 }] }, "markups[0].factor"],
        [{ aliases: [{ provider: "azure", model: "x", is: { provider: "azure", model: "gpt-4oo" } }] }, "aliases[0].is.model"],
      ] as const) {
        expectProblem(await admin.put(path, document), 400, "invalid_request", field);
      }
      expectProblem(await admin.put(path, undefined, { raw: `{"rates":[${" ".repeat(300_000)}]}` }), 413, "body_too_large");
      assert.deepEqual(expectStatus(await admin.get(path), 200).body, before);
      assert.equal(expectStatus(await admin.put(path, {}), 200).body.version, version + 1);
    }
  });

  it("of a tenant that is not onboarded there are none", async () => {
    expectStatus(await admin.put(PLATFORM, { markups: [{ id: "m", factor: "1.5" }] }), 200);
    expectProblem(await admin.get("/v1/tenants/nobody/overrides"), 404, "tenant_not_found");
    expectProblem(await admin.put("/v1/tenants/nobody/overrides", {}), 404, "tenant_not_found");
    expectProblem(await admin.post("/v1/tenants/nobody/price", GPT_4O), 404, "tenant_not_found");
    expectStatus(await admin.put(PLATFORM, {}), 200);
  });

  it("nobody can send a ledger the platform's document but the Worker itself", async () => {
    for (const path of ["/platform-overrides", "/v1/tenants/t/platform-overrides"]) {
      expectProblem(await admin.put(path, { version: 9, document: {} }), 404, "not_found");
    }
    // Nor does the header of the Worker's own calls get through.
    const tenant = await newTenant(worker);
    expectStatus(await admin.get(`${tenant.path}/overrides`, { headers: { "tollgate-overrides": "99" } }), 200);
  });
});
