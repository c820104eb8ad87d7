// Bad input in process: refused with the same field as by the Worker, and nothing has changed.
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createLocal, InvalidRequestError, type ExtendRequest, type LocalTollgate, type QuotaDefinition, type RecordRequest, type ReserveRequest } from "tollgate";
import { chat, EXTEND_CASES, QUOTA_CASES, RECORD_CASES, RESERVE_CASES, SETTLE_CASES, type Case } from "../support/bad-cases.ts";

const quota: QuotaDefinition = { scope: "tenant", resource: "all", unit: "usd", limit: "100", period: "month" };

/** What the package itself fills in, and so cannot be missing. */
const MADE_UP = ["an id that is missing", "an id that is null", "no id"];

async function look(local: LocalTollgate): Promise<unknown> {
  return [await local.quotas(), await local.entries({ limit: 1000 }), await local.usage()];
}

const calls: Record<string, { cases: Case[]; call: (local: LocalTollgate, body: never) => Promise<unknown> }> = {
  reserve: { cases: RESERVE_CASES, call: (local, body: ReserveRequest) => local.reserve(body) },
  explain: { cases: RESERVE_CASES.filter(([, , field]) => field !== "id"), call: (local, body: ReserveRequest) => local.explain(body) },
  settle: { cases: SETTLE_CASES, call: (local, body) => local.settle("chat", body) },
  extend: { cases: EXTEND_CASES, call: (local, body: ExtendRequest) => local.extend("open", body) },
  record: { cases: RECORD_CASES, call: (local, body: RecordRequest) => local.record(body) },
  setQuota: { cases: QUOTA_CASES, call: (local, body: QuotaDefinition) => local.setQuota("new", body) },
};

for (const [name, { cases, call }] of Object.entries(calls)) {
  describe(name, () => {
    for (const [what, body, field] of cases) {
      if (MADE_UP.includes(what)) continue;
      it(what, async () => {
        const local = createLocal({ quotas: { q: quota } });
        await local.reserve({ id: "open", resource: "llm", estimate: { usd: "1" } });
        await local.reserve(chat({ id: "chat" }) as unknown as ReserveRequest);
        const untouched = await look(local);
        await assert.rejects(call(local, body as never), (error) => {
          assert.ok(error instanceof InvalidRequestError, String(error));
          assert.equal(error.code, "invalid_request");
          if (field === undefined) assert.equal(typeof error.field, "string", error.detail);
          else assert.equal(error.field, field, error.detail);
          return true;
        });
        assert.deepEqual(await look(local), untouched);
      });
    }
  });
}
