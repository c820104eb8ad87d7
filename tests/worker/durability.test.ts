// What was acknowledged is still there: after a restart, and after kill -9 under load.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Connection } from "../support/connection.ts";
import { Api, expectStatus, newTenant, quotaOf, usdQuota, usdReserve, type Answer } from "../support/http.ts";
import { assertPartial } from "../support/partial.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;
before(async () => {
  worker = await startWorker();
});
after(() => worker?.stop());

describe("restart", () => {
  it("keeps tenants, tokens, quotas, holds, charges, ids and the policy", async () => {
    const admin = new Api(worker.url, worker.adminToken);
    const policy = { defaultPlan: "p", plans: { p: { quotas: { "plan-q": usdQuota("20") } } } };
    expectStatus(await admin.put("/v1/policy", policy), 200);
    const tenant = await newTenant(worker);
    expectStatus(await admin.put(`${tenant.path}/quotas/own`, usdQuota("30", { warnAt: ["0.1"] })), 200);
    const reservations = `${tenant.path}/reservations`;
    for (const [id, usd] of [["open", "1"], ["settled", "2"], ["released", "3"]] as const) {
      expectStatus(await tenant.app.post(reservations, usdReserve(id, usd)), 201);
    }
    expectStatus(await tenant.app.post(`${reservations}/settled/settle`, { usd: "2.5" }), 200);
    expectStatus(await tenant.app.post(`${reservations}/released/release`, {}), 200);
    expectStatus(await tenant.app.post(`${tenant.path}/records`, { id: "recorded", resource: "llm", usd: "0.25", attribution: { touchpoint: "main-chat" } }), 201);

    const look = async () => {
      const paths = [tenant.path, `${tenant.path}/quotas`, `${tenant.path}/entries?limit=1000`, `${tenant.path}/usage?groupBy=touchpoint`];
      const closed = ["open", "settled", "released"].map((id) => `${reservations}/${id}`);
      const answers = await Promise.all([...paths, ...closed, "/v1/policy"].map((path) => admin.get(path)));
      return answers.map((answer) => expectStatus(answer, 200).body);
    };
    const before = await look();
    await worker.restart();
    assert.deepEqual(await look(), before);

    // The tokens made before still work, and so does every id.
    for (const [path, body] of [
      [reservations, usdReserve("open", "1")],
      [`${reservations}/settled/settle`, { usd: "2.5" }],
      [`${reservations}/released/release`, {}],
      [`${tenant.path}/records`, { id: "recorded", resource: "llm", usd: "0.25", attribution: { touchpoint: "main-chat" } }],
    ] as const) {
      const again = await tenant.app.post(path, body);
      assert.equal(again.body.replayed, true, again.text);
    }
    assertPartial(expectStatus(await tenant.app.post(`${reservations}/open/settle`, { usd: "1" }), 200).body, { state: "settled" });
    assertPartial(await quotaOf(tenant, "own"), { spent: "3.75", held: "0" });
  });
});

/** How often workerd is killed in each of the tests below: `TOLLGATE_KILLS=50 cargo xtask test js --only durability` for a long run. */
const KILLS = Number(process.env["TOLLGATE_KILLS"] ?? 3);

type Op = "held" | "settled" | "recorded";

describe("kill -9 under load", () => {
  for (const { name, by, archiving } of [
    { name: "single requests", by: "request", archiving: false },
    { name: "batches", by: "batch", archiving: false },
    { name: "batches over connections", by: "connection", archiving: false },
    { name: "batches, while entries are archived", by: "batch", archiving: true },
  ]) {
    it(`every acknowledged answer is still there: ${name}`, { timeout: 60_000 + KILLS * 20_000 }, async (context) => {
      const tenant = await newTenant(worker, { q: usdQuota("1000000") });
      const all = new Map<string, Op>();
      let connections: Connection[] = [];
      let asked = 0;
      let archived = 0;
      for (let round = 0; round < KILLS; round++) {
        const acknowledged = new Map<string, Op>();
        if (by === "connection") connections = await Promise.all([1, 2, 3].map(() => Connection.open(worker, tenant.path, tenant.app.token ?? "")));
        const load = underLoad(async (id) => {
          for (const [op, answer] of await life(id)) {
            if (answer.status === 200 || answer.status === 201) acknowledged.set(id, op);
          }
        }, `round-${round}`);
        const archive = archiving ? whileItLasts(archiveAll) : undefined;
        // Another moment each time: in the middle of commits, snapshots, archives.
        const enough = 40 + ((round * 17) % 60);
        while (acknowledged.size < enough) await pause(1);
        await worker.kill();
        await Promise.all([load.ended(), archive]);
        await worker.start();

        for (const [id, op] of acknowledged) {
          all.set(id, op);
          await assertThere(id, op);
        }
        await countersEqualEntries();
        const audit = expectStatus(await tenant.admin.get(`${tenant.path}/audit`), 200).body;
        assert.deepEqual(audit.differences, []);
        archived = audit.archivedThrough ?? 0;
      }
      for (const [id, op] of all) await assertThere(id, op);
      assert.ok(all.size >= KILLS * 40);
      assert.equal(archived > 0, archiving);
      context.diagnostic(`${KILLS} kills, ${all.size} acknowledged, ${archived} entries archived`);

      /** Reserve, settle, record: with every answer that came. */
      async function life(id: string): Promise<[Op, Answer | { status: number }][]> {
        const answers: [Op, Answer | { status: number }][] = [];
        if (id.endsWith("0")) {
          answers.push(["recorded", await command({ op: "record", id, resource: "llm", usd: "0.5" }, `${tenant.path}/records`)]);
          return answers;
        }
        answers.push(["held", await command({ op: "reserve", ...usdReserve(id, "1") }, `${tenant.path}/reservations`)]);
        answers.push(["settled", await command({ op: "settle", id, usd: "0.5" }, `${tenant.path}/reservations/${id}/settle`)]);
        return answers;
      }

      async function command(body: { op: string; id?: unknown; [field: string]: unknown }, path: string): Promise<Answer | { status: number }> {
        if (by === "connection") {
          const connection = connections[asked++ % connections.length] ?? assert.fail("there are three");
          return (await connection.ask([body])).body.results[0];
        }
        if (by === "batch") {
          const answer = await tenant.app.post(`${tenant.path}/batch`, { commands: [body] });
          return answer.body.results[0];
        }
        const { op, id, ...rest } = body;
        return tenant.app.post(path, op === "settle" ? rest : { id, ...rest });
      }

      /** Archives whatever there is. */
      async function archiveAll(): Promise<void> {
        for (let after = 0; ; ) {
          const page = expectStatus(await tenant.admin.get(`${tenant.path}/journal?limit=1000&after=${after}`), 200).body;
          const last = page.rows.at(-1);
          if (last === undefined) return;
          const { through, head } = last;
          expectStatus(await tenant.admin.post(`${tenant.path}/archive`, { through, head }), 200);
          after = through;
        }
      }

      async function assertThere(id: string, op: Op): Promise<void> {
        const found = await tenant.read.get(`${tenant.path}/reservations/${id}`);
        if (archiving && found.status === 410) return;
        const { state } = expectStatus(found, 200).body;
        // What was not acknowledged may have been stored all the same: a held one may be settled.
        if (op === "held") assert.ok(state === "held" || state === "settled", `${id} was held and is ${state}`);
        else assert.equal(state, op, id);
      }

      /** What the quota says is what the reservations and records add up to. */
      async function countersEqualEntries(): Promise<void> {
        const { body } = expectStatus(await tenant.read.get(`${tenant.path}/usage`), 200);
        assert.equal((await quotaOf(tenant, "q")).spent, body.total.usd);
      }
    });
  }
});

/** Does something again and again until the Worker is gone. */
async function whileItLasts(work: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      await work();
    } catch (error) {
      assert.ok(error instanceof Error && "code" in error && !(error instanceof assert.AssertionError), String(error));
      return;
    }
  }
}

/** Runs lives, 16 at a time, until the Worker is gone. */
function underLoad(life: (id: string) => Promise<void>, prefix: string) {
  let next = 0;
  const lanes = Array.from({ length: 16 }, async () => {
    for (;;) {
      try {
        await life(`${prefix}-${next++}`);
      } catch (error) {
        // The connection broke: that is the kill.
        assert.ok(error instanceof Error && "code" in error, String(error));
        return;
      }
    }
  });
  return { ended: () => Promise.all(lanes) };
}
