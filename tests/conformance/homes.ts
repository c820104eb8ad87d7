// The two products that the vectors are replayed through; the native core has a runner of its own, in Rust.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { initSync, Ledger, price } from "../../pkg/wasm/tollgate.js";
import { resultsOf } from "../../pkg/src/batch-answer.ts";
import { Api, expectStatus, type Answer, type Body } from "../support/http.ts";
import { startWorker } from "../support/worker.ts";

export interface Result {
  status: number;
  body: Body;
}

/** A batch command of docs/http-api.md, or one of those that only the owner of a ledger has: `putQuota`, `entries`, … */
export interface Command {
  op: string;
  id?: string;
  quota?: unknown;
  groupBy?: string[];
  [field: string]: unknown;
}

/** A place where ledgers live. */
export interface Home {
  price(request: unknown): Promise<Result>;
  /** A ledger of its own under this plan. */
  open(plan: unknown, now: string): Promise<OpenLedger>;
  close(): Promise<void>;
}

export interface OpenLedger {
  execute(command: Command, now: string): Promise<Result>;
}

export async function wasmHome(): Promise<Home> {
  // The very module that is shipped.
  const bytes = await readFile(new URL("../../pkg/dist/tollgate.wasm", import.meta.url));
  initSync({ module: await WebAssembly.compile(bytes) });
  return {
    price: async (request) => resultOf(price(JSON.stringify(request))),
    open: async (plan, now) => {
      const ledger = new Ledger(JSON.stringify({ tenant: "vector", plan }), Date.parse(now));
      return { execute: async (command, at) => resultOf(ledger.execute(JSON.stringify(command), Date.parse(at))) };
    },
    close: async () => undefined,
  };
}

/** Three digits of status, and the body behind them. */
function resultOf(answer: string): Result {
  return { status: Number(answer.slice(0, 3)), body: answer.length === 3 ? null : JSON.parse(answer.slice(3)) };
}

export async function workerHome(): Promise<Home> {
  const worker = await startWorker({ testClock: true });
  const admin = new Api(worker.url, worker.adminToken);
  let opened = 0;
  return {
    price: async (request) => admin.post("/v1/price", request),
    open: async (plan, now) => {
      // The tenant keeps the plan as it is at its onboarding.
      expectStatus(await admin.put("/v1/policy", { defaultPlan: "vector", plans: { vector: plan } }, { now }), 200);
      const path = `/v1/tenants/vector-${++opened}`;
      expectStatus(await admin.put(path, {}, { now }), 200);
      return { execute: (command, at) => overHttp(admin, path, command, at) };
    },
    close: () => worker.stop(),
  };
}

/** The route that does what a command says. */
async function overHttp(admin: Api, path: string, command: Command, now: string): Promise<Result> {
  const quota = `${path}/quotas/${command.id}`;
  switch (command.op) {
    case "getReservation":
      return admin.get(`${path}/reservations/${command.id}`, { now });
    case "listReservations": {
      const { op, ...fields } = command;
      const query = new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, String(value)]));
      return admin.get(`${path}/reservations?${query}`, { now });
    }
    case "releaseReservations": {
      const { op, ...which } = command;
      return admin.post(`${path}/reservations/release`, which, { now });
    }
    case "getOverrides":
      return admin.get(`${path}/overrides`, { now });
    case "putOverrides":
      return admin.put(`${path}/overrides`, command["overrides"], { now });
    case "price": {
      const { op, ...request } = command;
      return admin.post(`${path}/price`, request, { now });
    }
    case "listQuotas": {
      const { op, ...fields } = command;
      const query = new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, String(value)]));
      return admin.get(`${path}/quotas?${query}`, { now });
    }
    case "getQuota":
      return admin.get(quota, { now });
    case "putQuota":
      return admin.put(quota, command.quota, { now });
    case "deleteQuota":
      return withNull(await admin.delete(quota, { now, json: command["forfeit"] === undefined ? undefined : { forfeit: command["forfeit"] } }));
    case "resetQuota":
      return admin.send("POST", `${quota}/reset`, { now });
    case "addCredit":
      return admin.send("POST", `${quota}/credits`, { now, json: command.credit });
    case "revokeCredit":
      return admin.send("DELETE", `${quota}/credits/${command.creditId}`, { now });
    case "increaseLimit":
      return admin.send("POST", `${quota}/increases`, { now, json: command.increase });
    case "endIncrease":
      return admin.send("DELETE", `${quota}/increases/${command.increaseId}`, { now });
    case "refund":
      return admin.post(`${path}/reservations/${command.id}/refund`, command["refund"], { now });
    case "usage":
    case "entries": {
      const { op, ...fields } = command;
      const query = new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, String(value)]));
      return admin.get(`${path}/${op}?${query}`, { now });
    }
    default: {
      const { body } = expectStatus(await admin.post(`${path}/batch`, { commands: [command] }, { now }), 200);
      // As the package gives it to whoever asked.
      const [result] = resultsOf(body, 1) ?? [];
      assert.ok(result, JSON.stringify(body));
      return result as Result;
    }
  }
}

/** What has no content is null in a batch. */
function withNull({ status, body = null }: Answer): Result {
  return { status, body };
}
