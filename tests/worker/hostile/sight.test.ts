// What the platform has agreed on, and what it adds to that, is its own: whoever does not administer it sees what a call costs and no more.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Connection } from "../../support/connection.ts";
import { Api, expectStatus, newTenant, usdQuota, type Answer, type Body, type Tenant } from "../../support/http.ts";
import { startWorker, type TestWorker } from "../../support/worker.ts";

/** Numbers and names that are in the platform's documents and in no price that comes of them. */
const SECRETS = ["3.33333", "13.37", "1.7", "margin", "11.1111", "hidden-model", "272001"];
const USAGE = { input: 300_000, output: 1000 };
const PLATFORM = {
  rates: [
    { provider: "openai", model: "gpt-4o", perMillion: { input: "3.33333", output: "13.37" }, tiers: [{ above: 272_001, perMillion: { input: "13.37" } }] },
    { provider: "acme", model: "hidden-model", perMillion: { input: "13.37" } },
  ],
  aliases: [
    { provider: "azure", model: "prod", is: { provider: "openai", model: "gpt-4o" } },
    { provider: "azure", model: "unused", is: { provider: "acme", model: "hidden-model" } },
  ],
  markups: [{ id: "margin", factor: "1.7" }],
};
const POLICY = { defaultPlan: "p", plans: { p: { quotas: {}, unknownModel: { fallback: { perMillion: { input: "11.1111", output: "11.1111" } } } } } };
const MODELS = [
  { provider: "openai", model: "gpt-4o" },
  { provider: "azure", model: "prod" },
  { provider: "openai", model: "gpt-4o-mini" },
  { provider: "acme", model: "unheard-of" },
];

let worker: TestWorker;
let tenant: Tenant;
let service: Api;

before(async () => {
  worker = await startWorker();
  const admin = new Api(worker.url, worker.adminToken);
  expectStatus(await admin.put("/v1/policy", POLICY), 200);
  expectStatus(await admin.put("/v1/catalog/overrides", PLATFORM), 200);
  tenant = await newTenant(worker, { q: usdQuota("10000") });
  service = admin.as(expectStatus(await admin.post("/v1/tokens", { role: "service" }), 201).body.token);
});
after(() => worker?.stop());

/** Those that stand in a text by themselves, not as a part of another number. */
function secretsIn(text: string): string[] {
  return SECRETS.filter((secret) => new RegExp(`(?<![\\w.])${secret.replaceAll(".", "\\.")}(?![\\w.])`).test(text));
}

/** Everything that a spender can ask which has a price in its answer. */
async function spend(api: Api, name: string): Promise<Answer[]> {
  const path = tenant.path;
  const answers: Answer[] = [];
  const ask = async (method: string, part: string, json?: unknown) => {
    const answer = await api.send(method, part, { json });
    assert.ok(answer.status < 300 || answer.body.code === "unpriced", `${method} ${part}: ${answer.status} ${answer.text}`);
    answers.push(answer);
  };
  for (const [number, model] of MODELS.entries()) {
    const call = { resource: "llm", ...model };
    const estimate = { inputTokens: 300_000, maxOutputTokens: 1000 };
    const id = `${name}-${number}`;
    await ask("POST", `${path}/explain`, { ...call, estimate });
    await ask("POST", `${path}/reservations`, { id, ...call, estimate });
    await ask("GET", `${path}/reservations/${id}`);
    await ask("POST", `${path}/reservations/${id}/extend`, { id: "e", ttlSeconds: 900 });
    await ask("POST", `${path}/reservations/${id}/meter`, { id: "m", usage: { input: 300_000 } });
    await ask("POST", `${path}/reservations/${id}/settle`, { usage: USAGE });
    await ask("POST", `${path}/reservations/${id}/settle`, { usage: USAGE });
    await ask("GET", `${path}/reservations/${id}`);
    await ask("POST", `${path}/records`, { id: `${id}-recorded`, ...call, usage: USAGE });
    const refunded = await tenant.admin.post(`${path}/reservations/${id}-recorded/refund`, { id: "r", usd: "0.01", reason: "a test", by: "support" });
    expectStatus(refunded, 200);
    await ask("GET", `${path}/reservations/${id}-recorded`);
    await ask("POST", `${path}/batch`, { commands: [{ op: "explain", ...call, estimate }, { op: "record", id: `${id}-batched`, ...call, usage: USAGE }] });
    await ask("POST", `${path}/price`, { ...model, usage: USAGE });
    await ask("POST", "/v1/price", { ...model, usage: USAGE });
  }
  return answers;
}

/** Everything that a reader can ask. */
async function read(api: Api): Promise<Answer[]> {
  const ids = expectStatus(await tenant.admin.get(`${tenant.path}/entries?limit=1000`), 200).body.entries.map((entry: Body) => entry.id);
  const reservations = [...new Set<string>(ids.filter((id: unknown) => typeof id === "string"))].map((id) => `${tenant.path}/reservations/${id}`);
  const parts = ["/entries?limit=1000", "/overrides", "/quotas", "/usage?groupBy=model,day"].map((part) => tenant.path + part);
  const answers = await Promise.all([...reservations, ...parts, "/v1/catalog", "/v1/catalog?provider=openai"].map((path) => api.get(path)));
  for (const answer of answers) expectStatus(answer, 200);
  answers.push(expectStatus(await api.get(`${tenant.path}/entries?limit=1000`, { headers: { accept: "text/csv" } }), 200));
  // The price list is everybody's, and may have any number.
  return answers.filter((answer) => answer.body?.models === undefined);
}

function expectNothingOfThePlatforms(answers: Answer[]): void {
  for (const answer of answers) assert.deepEqual(secretsIn(answer.text), [], answer.text);
  const told = answers.filter((answer) => answer.text.includes('"platformVersion":'));
  assert.ok(told.length > 5, "it is told that the platform's document applied, and which version");
}

describe("who does not administer the platform", () => {
  for (const [kind, api] of [
    ["app", () => tenant.app],
    ["service", () => service],
  ] as const) {
    it(`${kind} spends, and sees nothing of its documents`, async () => expectNothingOfThePlatforms(await spend(api(), kind)));
  }

  for (const [kind, api] of [
    ["read", () => tenant.read],
    ["app", () => tenant.app],
    ["service", () => service],
  ] as const) {
    it(`${kind} reads, and sees nothing of them`, async () => {
      await spend(tenant.admin, `before-${kind}`);
      expectNothingOfThePlatforms(await read(api()));
    });
  }

  it("over a connection, as over HTTP", async () => {
    for (const [token, sees] of [
      [tenant.app.token, false],
      [service.token, false],
      [worker.adminToken, true],
    ] as const) {
      const connection = await Connection.open(worker, tenant.path, token ?? "");
      const commands = MODELS.map((model) => ({ op: "record", id: crypto.randomUUID(), resource: "llm", ...model, usage: USAGE }));
      const { body } = await connection.ask(commands);
      assert.deepEqual(body.results.map((result: Body) => result.status), [201, 201, 201, 201]);
      assert.equal(secretsIn(JSON.stringify(body)).length > 0, sees);
      connection.socket.close();
    }
  });

  it("in one turn with an administrator, each sees what is theirs", async () => {
    const record = () => ({ id: crypto.randomUUID(), resource: "llm", ...MODELS[0], usage: USAGE });
    const asked = Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? tenant.admin : tenant.app).post(`${tenant.path}/records`, record()));
    for (const [i, answer] of (await Promise.all(asked)).entries()) {
      expectStatus(answer, 201);
      assert.equal(secretsIn(answer.text).length > 0, i % 2 === 0);
    }
  });

  it("may see its own agreements", async () => {
    const own = await newTenant(worker);
    const document = { rates: [{ provider: "openai", model: "gpt-4o", perMillion: { input: "2", output: "8" } }], aliases: [], markups: [{ id: "mine", factor: "1.1" }] };
    expectStatus(await own.admin.put(`${own.path}/overrides`, document), 200);
    const { body } = expectStatus(await own.read.get(`${own.path}/overrides`), 200);
    assert.deepEqual({ ...body, version: undefined, platformVersion: undefined }, { ...document, version: undefined, platformVersion: undefined });
    const charge = expectStatus(await own.read.post(`${own.path}/price`, { ...MODELS[0], usage: { input: 1000 } }), 200).body;
    assert.deepEqual([charge.usd, charge.basis.applied.markup.factor, charge.basis.applied.rates.entry.perMillion.input], ["0.0022", "1.1", "2"]);
  });
});

describe("an administrator", () => {
  it("sees all of it, and what is stored has all of it", async () => {
    const answers = [...(await spend(tenant.admin, "admin")), ...(await read(tenant.admin))];
    const seen = new Set(answers.flatMap((answer) => secretsIn(answer.text)));
    assert.deepEqual([...seen].sort(), [...SECRETS].sort());
    const journal = expectStatus(await tenant.admin.get(`${tenant.path}/journal?limit=1000`), 200);
    const stored = new Set(secretsIn(journal.body.rows.map((row: Body) => row.entries).join("\n")));
    assert.deepEqual([...stored].sort(), [...SECRETS].sort());
    assert.equal(expectStatus(await tenant.admin.get(`${tenant.path}/audit`), 200).body.clean, true);
  });
});
