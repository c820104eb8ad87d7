/** Exports a tenant's ledger to a file, checks the file's chain, and archives what is old enough. See README.md. */
import { parseArgs } from "node:util";
import { appendRows, entriesOf, follow, GENESIS, readRows, type ChainEnd, type Row } from "./chain.ts";

const { values } = parseArgs({
  options: {
    tenant: { type: "string" },
    file: { type: "string" },
    "keep-days": { type: "string", default: "90" },
    "verify-only": { type: "boolean", default: false },
  },
});
const file = values.file ?? fail("--file FILE: where the ledger is exported to");
const rows = await readRows(file);
let end = follow(GENESIS, rows);
console.log(`${file}: ${rows.length} rows, entries 1 to ${end.through}, head ${end.head}`);

if (!values["verify-only"]) {
  const tenant = values.tenant ?? fail("--tenant TENANT: whose ledger");
  const url = process.env["TOLLGATE_URL"] ?? fail("TOLLGATE_URL is not set");
  const token = process.env["TOLLGATE_ADMIN_TOKEN"] ?? fail("TOLLGATE_ADMIN_TOKEN is not set");
  const ledger = `${url.replace(/\/+$/, "")}/v1/tenants/${encodeURIComponent(tenant)}`;

  for (;;) {
    const page = await call<{ base: ChainEnd; rows: Row[]; next: number | null }>("GET", `${ledger}/journal?after=${end.through}`);
    if (page.base.through > end.through) throw new Error(`entries up to ${page.base.through} are archived, and ${file} has them up to ${end.through} only`);
    end = follow(end, page.rows);
    await appendRows(file, page.rows);
    rows.push(...page.rows);
    if (page.next === null) break;
  }
  console.log(`exported: entries 1 to ${end.through}`);

  const cutoff = Date.now() - Number(values["keep-days"]) * 86_400_000;
  const old = rows.findLast((row) => entriesOf(row).every((entry) => Date.parse(entry.at) < cutoff));
  if (old === undefined) {
    console.log("nothing is old enough to be archived");
  } else {
    for (;;) {
      const step = await call<{ archivedThrough: number; complete: boolean }>("POST", `${ledger}/archive`, { through: old.through, head: old.head });
      console.log(`archived: entries 1 to ${step.archivedThrough}`);
      if (step.complete) break;
    }
  }

  async function call<T>(method: string, address: string, body?: unknown): Promise<T> {
    const answer = await fetch(address, {
      method,
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${address}: ${answer.status} ${text}`);
    return JSON.parse(text) as T;
  }
}

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}
