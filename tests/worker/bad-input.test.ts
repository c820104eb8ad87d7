// Bad input of every kind: refused with the field that is wrong, and nothing has changed.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Api, expectProblem, expectStatus, newTenant, usdQuota, usdReserve, type Answer, type Tenant } from "../support/http.ts";
import { chat, EXTEND_CASES, long, QUOTA_CASES, RECORD_CASES, RESERVE_CASES, sandbox, SETTLE_CASES } from "../support/bad-cases.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;
let tenant: Tenant;
let untouched: unknown;

before(async () => {
  worker = await startWorker();
  tenant = await newTenant(worker, { q: usdQuota("100") });
  expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("open", "1")), 201);
  const box = { tier: "standard", seconds: 300, vcpus: 2, memoryGib: "0.5" };
  expectStatus(await tenant.app.post(`${tenant.path}/reservations`, { id: "box", resource: "e2b", estimate: { sandbox: box } }), 201);
  expectStatus(await tenant.app.post(`${tenant.path}/reservations`, chat({ id: "chat" })), 201);
  untouched = await look();
});
after(() => worker?.stop());

async function look(): Promise<unknown> {
  const answers = await Promise.all(["/quotas", "/entries?limit=1000", "/usage"].map((path) => tenant.admin.get(tenant.path + path)));
  return answers.map((answer) => expectStatus(answer, 200).body);
}

/** Refused, named, and nothing has changed. Without a field some field must be named; with null, what is wrong has none. */
async function refused(answer: Answer, field: string | undefined | null, status = 400, code = "invalid_request"): Promise<void> {
  expectProblem(answer, status, code);
  if (field !== null) assertNamed(answer.body.field, field, answer.text);
  assert.deepEqual(await look(), untouched);
}

function assertNamed(actual: unknown, field: string | undefined, context: string): void {
  if (field === undefined) assert.equal(typeof actual, "string", context);
  else assert.equal(actual, field, context);
}

describe("reserve", () => {
  for (const [name, body, field] of RESERVE_CASES) {
    it(name, async () => refused(await tenant.app.post(`${tenant.path}/reservations`, body), field));
  }

  it("a sandbox tier that nobody knows", async () => {
    await refused(await tenant.app.post(`${tenant.path}/reservations`, sandbox({ tier: "quantum" })), undefined, 422, "unpriced");
  });

  it("the same in a batch: 400 in its place, with the field", async () => {
    const commands = RESERVE_CASES.map(([, body]) => ({ op: "reserve", ...(body as object) }));
    const { body } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200);
    RESERVE_CASES.forEach(([name, , field], index) => {
      const result = body.results[index];
      const context = `${name}: ${JSON.stringify(result)}`;
      assert.deepEqual([result.status, result.body.code], [400, "invalid_request"], context);
      assertNamed(result.body.field, field, context);
    });
    assert.deepEqual(await look(), untouched);
  });

  it("the same in explain, but that the id may be left out", async () => {
    for (const [name, body, field] of RESERVE_CASES) {
      if (field === "id") continue;
      const answer = await tenant.app.post(`${tenant.path}/explain`, body);
      assert.deepEqual([answer.status, answer.body?.code], [400, "invalid_request"], `${name}: ${answer.text}`);
      assertNamed(answer.body.field, field, `${name}: ${answer.text}`);
    }
    assert.deepEqual(await look(), untouched);
  });
});

describe("settle", () => {
  for (const [name, body, field] of SETTLE_CASES) {
    it(name, async () => refused(await tenant.app.post(`${tenant.path}/reservations/chat/settle`, body), field));
  }

  it("a sandbox for a chat", async () => {
    await refused(await tenant.app.post(`${tenant.path}/reservations/chat/settle`, { sandbox: { seconds: 1 } }), "sandbox");
  });

  for (const [name, body, field] of [
    ["negative seconds", { sandbox: { seconds: -1 } }, "sandbox.seconds"],
    ["seconds in words", { sandbox: { seconds: "ten" } }, "sandbox.seconds"],
    ["another size", { sandbox: { seconds: 1, vcpus: 4 } }, "sandbox.vcpus"],
  ] as const) {
    it(`a sandbox with ${name}`, async () => refused(await tenant.app.post(`${tenant.path}/reservations/box/settle`, body), field));
  }

  for (const [name, body] of [
    ["an error", { error: { message: "overloaded", type: "server_error" } }],
    ["no usage", { object: "chat.completion", choices: [] }],
    ["negative tokens", { object: "chat.completion", choices: [], usage: { prompt_tokens: -1, completion_tokens: 1, total_tokens: 0 } }],
    ["more cached than there were", { object: "chat.completion", choices: [], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2, prompt_tokens_details: { cached_tokens: 5 } } }],
    ["a number", 7],
    ["null", null],
  ] as const) {
    it(`a provider's answer with ${name}`, async () => {
      const answer = await tenant.app.post(`${tenant.path}/reservations/chat/settle`, { payload: { format: "openai.chat", body } });
      await refused(answer, undefined, 422, "invalid_payload");
      assert.match(String(answer.body.field), /^payload\.body/, answer.text);
    });
  }
});

describe("release and extend", () => {
  const open = () => `${tenant.path}/reservations/open`;
  it("release with something unknown", async () => refused(await tenant.app.post(`${open()}/release`, { usd: "1" }), "usd"));

  for (const [name, body, field] of EXTEND_CASES) {
    it(`extend with ${name}`, async () => refused(await tenant.app.post(`${open()}/extend`, body), field));
  }
  it("extend with nothing to extend", async () => refused(await tenant.app.post(`${open()}/extend`, { id: "e" }), undefined));
});

describe("record", () => {
  for (const [name, body, field] of RECORD_CASES) {
    it(name, async () => refused(await tenant.app.post(`${tenant.path}/records`, body), field));
  }
  it("nothing that was used", async () => refused(await tenant.app.post(`${tenant.path}/records`, { id: "new", resource: "llm" }), undefined));
});

describe("quotas", () => {
  for (const [name, body, field] of QUOTA_CASES) {
    it(name, async () => refused(await tenant.admin.put(`${tenant.path}/quotas/new`, body), field));
  }
  for (const [name, id] of [["too long", long(129)], ["with a percent sign", "a%25b"], ["with a quote", "a%22b"], ["with a space", "a%20b"], ["beyond ASCII", "%C3%A9"]] as const) {
    it(`an id that is ${name}`, async () => refused(await tenant.admin.put(`${tenant.path}/quotas/${id}`, usdQuota("1")), "quota"));
  }
});

describe("tenants, tokens, policy", () => {
  it("a tenant's name that is bad", async () => {
    for (const name of [long(129), "a%20b", "%C3%A9", "a%3Cb", "a%25b"]) {
      expectProblem(await tenant.admin.put(`/v1/tenants/${name}`, {}), 400, "invalid_request", "tenant");
    }
  });

  it("an unknown field", async () => {
    expectProblem(await tenant.admin.put("/v1/tenants/new", { plans: "pro" }), 400, "invalid_request", "plans");
    expectProblem(await tenant.admin.get("/v1/tenants/new"), 404, "tenant_not_found");
  });

  for (const [name, body, field] of [
    ["an unknown role", { role: "owner" }, "role"],
    ["no role", {}, "role"],
    ["a role for the other kind", { role: "service" }, "role"],
    ["the admin's role", { role: "admin" }, "role"],
    ["no time", { role: "app", expiresInSeconds: 0 }, "expiresInSeconds"],
    ["more than a year", { role: "app", expiresInSeconds: 31_536_001 }, "expiresInSeconds"],
    ["an unknown field", { role: "app", expires: 1 }, "expires"],
  ] as const) {
    it(`a token with ${name}`, async () => {
      expectProblem(await tenant.admin.post(`${tenant.path}/tokens`, body), 400, "invalid_request", field);
    });
  }

  for (const [name, body, field] of [
    ["no plans", { defaultPlan: "p" }, "plans"],
    ["a default plan that is not there", { defaultPlan: "q", plans: { p: { quotas: {} } } }, "defaultPlan"],
    ["a quota of a user", { defaultPlan: "p", plans: { p: { quotas: { q: usdQuota("1", { limit: 1 }) } } } }, "plans.p.quotas.q.limit"],
    ["an unknown rule", { defaultPlan: "p", plans: { p: { quotas: {}, withoutQuotas: "deny" } } }, "plans.p.withoutQuotas"],
    ["a rule that is not one", { defaultPlan: "p", plans: { p: { quotas: {}, withoutQuota: "maybe" } } }, "plans.p.withoutQuota"],
    ["a fallback that is free", { defaultPlan: "p", plans: { p: { quotas: {}, unknownModel: { fallback: { perMillion: { input: "10" } } } } } }, undefined],
  ] as const) {
    it(`a policy with ${name}`, async () => {
      expectProblem(await tenant.admin.put("/v1/policy", body), 400, "invalid_request", field);
    });
  }
});

describe("batch", () => {
  it("501 commands: none is carried out", async () => {
    const commands = Array.from({ length: 501 }, (_, i) => ({ op: "reserve", ...usdReserve(`b-${i}`, "0.01") }));
    await refused(await tenant.app.post(`${tenant.path}/batch`, { commands }), "commands");
  });
  it("no commands", async () => refused(await tenant.app.post(`${tenant.path}/batch`, {}), "commands"));
  it("commands that are not a list", async () => refused(await tenant.app.post(`${tenant.path}/batch`, { commands: {} }), "commands"));
  it("an unknown field beside the commands", async () => refused(await tenant.app.post(`${tenant.path}/batch`, { commands: [], atomic: true }), "atomic"));
  it("commands that are none, each in its place", async () => {
    const commands = [{ op: "drop" }, { id: "a" }, 7, null, "reserve", { op: "putQuota", id: "q", quota: usdQuota("1") }];
    const { body } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200);
    for (const result of body.results) assert.deepEqual([result.status, result.body.code], [400, "invalid_request"], JSON.stringify(result));
    assert.equal(body.results[0].body.field, "op");
    assert.equal(body.results[1].body.field, "op");
    assert.equal(body.results[5].body.field, "op");
    assert.deepEqual(await look(), untouched);
  });
});

describe("bodies", () => {
  const target = () => `${tenant.path}/reservations`;
  for (const [name, raw] of [
    ["nothing", ""],
    ["not JSON", "id=a&resource=llm"],
    ["cut short", '{ "id": "a", "resource": "llm"'],
    ["two documents", '{ "id": "a" } { "id": "b" }'],
    ["a list", "[]"],
    ["null", "null"],
    ["a string", '"reserve"'],
    ["broken UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
    ["a thousand brackets", "[".repeat(100_000)],
    ["a key twice", '{ "id": "new", "id": "new2", "resource": "llm", "estimate": { "usd": "1" } }'],
  ] as [string, string | Buffer][]) {
    it(name, async () => refused(await tenant.app.send("POST", target(), { raw }), null));
  }

  it("over 1 MiB: 413, and just under it is read", async () => {
    const padding = (size: number) => JSON.stringify(usdReserve("new", "1", { pad: "x".repeat(size) }));
    await refused(await tenant.app.send("POST", target(), { raw: padding(1_048_576) }), null, 413, "body_too_large");
    await refused(await tenant.app.send("POST", target(), { raw: padding(1_048_000) }), "pad");
  });
});

describe("paths", () => {
  it("bad percent-encoding", async () => {
    for (const path of ["/v1/tenants/%", "/v1/tenants/%zz", `${tenant.path}/reservations/%E0%A4%A`]) {
      const answer = await tenant.admin.get(path);
      expectProblem(answer, 400, "invalid_request", "path");
    }
    assert.deepEqual(await look(), untouched);
  });

  it("an id that was never allowed", async () => {
    for (const id of [long(129), "a%20b", "%C3%A9", "%ff", "a%22b"]) {
      const answer = await tenant.app.get(`${tenant.path}/reservations/${id}`);
      expectProblem(answer, 400, "invalid_request", "id");
    }
  });

  it("an id with percent-encoded characters that need none is the same id", async () => {
    const { body } = expectStatus(await tenant.app.get(`${tenant.path}/reservations/%6fpen`), 200);
    assert.equal(body.id, "open");
  });

  it("ids of every allowed character work", async () => {
    const owner = await newTenant(worker, {});
    const id = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i))
      .filter((character) => !'/?#%"\\<>'.includes(character))
      .join("");
    expectStatus(await owner.app.post(`${owner.path}/reservations`, usdReserve(id, "1")), 201);
    const { body } = expectStatus(await owner.app.get(`${owner.path}/reservations/${encodeURIComponent(id)}`), 200);
    assert.equal(body.id, id);
    expectStatus(await owner.app.post(`${owner.path}/reservations/${encodeURIComponent(id)}/settle`, { usd: "1" }), 200);
  });
});

describe("at the end", () => {
  it("the Worker is well", async () => {
    expectStatus(await new Api(worker.url, undefined).get("/healthz"), 200);
    assert.deepEqual(await look(), untouched);
  });
});
