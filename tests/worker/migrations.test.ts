// A database that an older version wrote, under a real workerd: it is migrated when the tenant's object starts, and a later one is refused.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";
import { Api, expectProblem, expectStatus } from "../support/http.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

/** What each older version stored for tenant `acme`, dumped by SQLite. */
const SCHEMAS = [1];
/** What it answered about what it stored under schema 2, before corrections drew on credits. */
const SCHEMA_2 = JSON.parse(readFileSync(new URL("../fixtures/store/schema-2.json", import.meta.url), "utf8"));
const NOW = { now: "2026-11-24T15:00:00Z" };

let worker: TestWorker;
let admin: Api;

describe("migrations", () => {
  for (const version of SCHEMAS) {
    describe(`from schema ${version}`, () => {
      before(async () => {
        await startWith(version);
      });
      after(() => worker?.stop());

      it("finds everything, and goes on", async () => {
        const audit = expectStatus(await admin.get("/v1/tenants/acme/audit"), 200).body;
        assert.deepEqual([audit.clean, audit.entries, audit.differences], [true, 29, []]);
        const { quotas } = expectStatus(await admin.get("/v1/tenants/acme/quotas", NOW), 200).body;
        const month = quotas.find((quota: { id: string }) => quota.id === "month");
        assert.deepEqual([month.spent, month.held], ["8.506125", "7.011"]);
        const settle = (id: string, body: unknown) => admin.post(`/v1/tenants/acme/reservations/${id}/settle`, body, NOW);
        assert.equal(expectStatus(await settle("late", { usd: "1.25" }), 200).body.replayed, true);
        assert.equal(expectStatus(await settle("unreported", { usd: "3" }), 200).body.late, true);
        assert.equal(expectStatus(await settle("open-late", { usd: "7" }), 200).body.state, "settled");
        const { rows } = expectStatus(await admin.get("/v1/tenants/acme/journal?limit=1000"), 200).body;
        const { through, head } = rows.at(-1);
        assert.equal(expectStatus(await admin.post("/v1/tenants/acme/archive", { through, head }, NOW), 200).body.complete, true);
        assert.deepEqual(expectStatus(await admin.get("/v1/tenants/acme/audit"), 200).body.differences, []);
        await worker.restart();
        assert.deepEqual(expectStatus(await admin.get("/v1/tenants/acme/audit"), 200).body.differences, []);
      });

      it("a later schema is refused, and left alone", async () => {
        await worker.offline((databases) => change(databases[0], (database) => database.exec("UPDATE schema_version SET version = 99")));
        expectProblem(await admin.get("/v1/tenants/acme/quotas"), 500, "internal");
        assert.match(worker.output, /schema 99, and this version knows up to/);
        await worker.offline((databases) => change(databases[0], (database) => assert.equal(database.prepare("SELECT version FROM schema_version").get()?.["version"], 99)));
      });
    });
  }

  describe("from schema 2", () => {
    before(() => startWith(2));
    after(() => worker?.stop());

    it("finds everything as it was, and goes on", async () => {
      const audit = expectStatus(await admin.get("/v1/tenants/acme/audit"), 200).body;
      assert.deepEqual([audit.clean, audit.entries, audit.differences], [true, SCHEMA_2.entries, []]);
      const now = { now: SCHEMA_2.now };
      const then = SCHEMA_2.answers.find(({ command }: { command: { op: string } }) => command.op === "listQuotas").body.quotas;
      const { quotas } = expectStatus(await admin.get("/v1/tenants/acme/quotas", now), 200).body;
      const numbers = (quota: Record<string, unknown>) => ["id", "spent", "held", "remaining", "effectiveLimit", "credits"].map((name) => quota[name]);
      assert.deepEqual(quotas.map(numbers), then.map(numbers));
      const settle = (id: string, usd: string) => admin.post(`/v1/tenants/acme/reservations/${id}/settle`, { usd }, now);
      assert.equal(expectStatus(await settle("late-lower", "1"), 200).body.replayed, true);
      assert.equal(expectStatus(await settle("unreported-charged", "3"), 200).body.late, true);
      assert.equal(expectStatus(await settle("past-the-end", "7"), 200).body.state, "settled");
      assert.deepEqual(expectStatus(await admin.get("/v1/tenants/acme/audit"), 200).body.differences, []);
    });
  });
});

/** A Worker whose tenant `acme` has what a version before has stored. */
async function startWith(version: number): Promise<void> {
  worker = await startWorker({ testClock: true });
  admin = new Api(worker.url, worker.adminToken);
  // The object's file is made by the runtime; its tables are replaced by those of the older version.
  expectStatus(await admin.put("/v1/tenants/acme", {}, NOW), 200);
  await worker.offline((databases) => {
    assert.equal(databases.length, 1, databases.join());
    change(databases[0], (database) => {
      const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'").all();
      for (const { name } of tables) database.exec(`DROP TABLE ${String(name)}`);
      database.exec(readFileSync(new URL(`../fixtures/store/schema-${version}.sql`, import.meta.url), "utf8"));
    });
  });
}

function change(file: string | undefined, work: (database: DatabaseSync) => void): void {
  assert.ok(file !== undefined);
  const database = new DatabaseSync(file);
  try {
    work(database);
  } finally {
    database.close();
  }
}
