// The audit's races, from several connections and from two processes at once.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Agent } from "node:http";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { expectStatus, newTenant, quotaOf, usdQuota, usdReserve, type Answer, type Tenant } from "../support/http.ts";
import { assertPartial } from "../support/partial.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;
before(async () => {
  worker = await startWorker();
});
after(() => worker?.stop());

const count = (answers: { status: number }[], status: number) => answers.filter((answer) => answer.status === status).length;

/** All at once, each on a connection of its own. */
async function atOnce(calls: number, call: (index: number, agent: Agent) => Promise<Answer>): Promise<Answer[]> {
  const agents = Array.from({ length: calls }, () => new Agent({ keepAlive: false }));
  try {
    return await Promise.all(agents.map((agent, index) => call(index, agent)));
  } finally {
    for (const agent of agents) agent.destroy();
  }
}

async function settleAll(tenant: Tenant, answers: Answer[], usd: string): Promise<void> {
  for (const { status, body } of answers) {
    if (status === 201) expectStatus(await tenant.app.post(`${tenant.path}/reservations/${body.id}/settle`, { usd }), 200);
  }
}

describe("check and charge at the same time", () => {
  it("two at $45 of $50: one passes", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("50") });
    const answers = await atOnce(2, (index, agent) => tenant.app.post(`${tenant.path}/reservations`, usdReserve(`r-${index}`, "45"), { agent }));
    assert.deepEqual([count(answers, 201), count(answers, 429)], [1, 1]);
    await settleAll(tenant, answers, "45");
    assertPartial(await quotaOf(tenant, "q"), { spent: "45", held: "0", remaining: "5" });
  });

  it("50 × $1 on $10, each on its own connection: exactly 10 pass, exactly $10 is spent", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const answers = await atOnce(50, (index, agent) => tenant.app.post(`${tenant.path}/reservations`, usdReserve(`r-${index}`, "1"), { agent }));
    assert.deepEqual([count(answers, 201), count(answers, 429)], [10, 40]);
    assertPartial(await quotaOf(tenant, "q"), { spent: "0", held: "10", remaining: "0" });
    await settleAll(tenant, answers, "1");
    assertPartial(await quotaOf(tenant, "q"), { spent: "10", held: "0", remaining: "0", utilization: "1" });
  });

  it("the same from two processes at once", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const racers = ["left", "right"].map((name) => racer(tenant, name, 25));
    // Both are connected and ready before either starts.
    await Promise.all(racers.map((each) => each.ready));
    for (const each of racers) each.go();
    const statuses = (await Promise.all(racers.map((each) => each.statuses))).flat();
    const answers = statuses.map((status) => ({ status }));
    assert.equal(statuses.length, 50);
    assert.deepEqual([count(answers, 201), count(answers, 429)], [10, 40]);
    assertPartial(await quotaOf(tenant, "q"), { spent: "10", held: "0", remaining: "0" });
  });

  it("within_limit records race as reservations do", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const record = (index: number) => ({ id: `r-${index}`, mode: "within_limit", resource: "llm", usd: "1" });
    const answers = await atOnce(50, (index, agent) => tenant.app.post(`${tenant.path}/records`, record(index), { agent }));
    assert.deepEqual([count(answers, 201), count(answers, 429)], [10, 40]);
    assertPartial(await quotaOf(tenant, "q"), { spent: "10", held: "0" });
  });

  it("mixed with settles above their holds: spent is the sum of the charges, to the last decimal", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("1000000") });
    const actual = (index: number) => `${index}.000000000001`;
    await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve(`r-${index}`, "0.1")), 201);
        expectStatus(await tenant.app.post(`${tenant.path}/reservations/r-${index}/settle`, { usd: actual(index) }), 200);
      }),
    );
    // 0 + 1 + … + 39 and 40 times the last decimal
    assertPartial(await quotaOf(tenant, "q"), { spent: "780.00000000004", held: "0" });
  });

  it("one reservation settled and released at once: one of them counts", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    for (let round = 0; round < 10; round++) {
      const path = `${tenant.path}/reservations/r-${round}`;
      expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve(`r-${round}`, "1")), 201);
      const answers = await atOnce(8, (index, agent) =>
        index % 2 === 0 ? tenant.app.post(`${path}/settle`, { usd: "0.5" }, { agent }) : tenant.app.post(`${path}/release`, {}, { agent }),
      );
      const { body } = expectStatus(await tenant.app.get(path), 200);
      assert.ok(body.state === "settled" || body.state === "released");
      const winners = answers.filter((_, index) => (index % 2 === 0) === (body.state === "settled"));
      for (const answer of answers) assert.equal(answer.status, winners.includes(answer) ? 200 : 409, answer.text);
      assert.equal(winners.filter((answer) => answer.body.replayed !== true).length, 1);
      assert.equal((await quotaOf(tenant, "q")).held, "0");
    }
  });
});

/** A process of its own that reserves and settles as soon as it is told to. */
function racer(tenant: Tenant, name: string, calls: number) {
  const program = fileURLToPath(new URL("../support/racer.ts", import.meta.url));
  const child = spawn(process.execPath, [program], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, RACER_URL: worker.url, RACER_TOKEN: tenant.app.token, RACER_TENANT: tenant.id, RACER_NAME: name, RACER_CALLS: String(calls) },
  });
  child.stdout.setEncoding("utf8");
  let output = "";
  child.stdout.on("data", (text: string) => (output += text));
  const ready = once(child.stdout, "data");
  const statuses = once(child, "exit").then(([code]): number[] => {
    assert.equal(code, 0, `racer ${name} ended with ${code}`);
    return JSON.parse(output.slice(output.indexOf("\n") + 1));
  });
  return { ready, statuses, go: () => child.stdin.end("go\n") };
}
