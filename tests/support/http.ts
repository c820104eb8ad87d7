// Plain HTTP for the tests: nothing is retried, normalised or hidden.
import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import type { TestWorker } from "./worker.ts";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A parsed body. Tests look into it freely, and assert what they find. */
// `any` on purpose: a typed body would hide what the Worker really answers.
export type Body = any;

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
  body: Body;
}

export interface Call {
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is. */
  raw?: string | Buffer;
  headers?: Record<string, string>;
  /** Moves the Worker's clock, where it was started with `testClock`. */
  now?: string;
  agent?: Agent;
}

/** Calls one Worker as one caller. */
export class Api {
  readonly url: string;
  readonly token: string | undefined;
  readonly #agent: Agent;

  constructor(url: string, token: string | undefined, agent = new Agent({ keepAlive: true, maxSockets: 64 })) {
    this.url = url;
    this.token = token;
    this.#agent = agent;
  }

  /** The same Worker with another token, or with none. */
  as(token: string | undefined): Api {
    return new Api(this.url, token, this.#agent);
  }

  get(path: string, call: Call = {}): Promise<Answer> {
    return this.send("GET", path, call);
  }

  post(path: string, json: unknown, call: Call = {}): Promise<Answer> {
    return this.send("POST", path, { json, ...call });
  }

  put(path: string, json: unknown, call: Call = {}): Promise<Answer> {
    return this.send("PUT", path, { json, ...call });
  }

  delete(path: string, call: Call = {}): Promise<Answer> {
    return this.send("DELETE", path, call);
  }

  send(method: string, path: string, call: Call = {}): Promise<Answer> {
    const payload = call.raw ?? (call.json === undefined ? undefined : JSON.stringify(call.json));
    const headers: Record<string, string> = { ...call.headers };
    if (this.token !== undefined) headers["authorization"] ??= `Bearer ${this.token}`;
    if (payload !== undefined) {
      headers["content-type"] ??= "application/json";
      headers["content-length"] = String(Buffer.byteLength(payload));
    }
    if (call.now !== undefined) headers["tollgate-now"] = call.now;
    return new Promise((resolve, reject) => {
      // `path` goes out as written: URL parsers would mend some of what the tests send broken.
      const { hostname, port } = new URL(this.url);
      const outgoing = request({ method, hostname, port, path, headers, agent: call.agent ?? this.#agent }, (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          const type = String(incoming.headers["content-type"] ?? "");
          const body: unknown = text !== "" && /json/.test(type) ? JSON.parse(text) : undefined;
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, body });
        });
      });
      outgoing.on("error", reject);
      outgoing.end(payload);
    });
  }
}

/** One tenant and callers for each of its tokens. */
export interface Tenant {
  id: string;
  /** `/v1/tenants/{id}` */
  path: string;
  admin: Api;
  app: Api;
  read: Api;
}

/** Onboards a tenant of its own for a test. Without quotas given it has those of the default plan. With a test clock, `call` can say when. */
export async function newTenant(worker: TestWorker, quotas?: Record<string, unknown>, call: Call = {}): Promise<Tenant> {
  const admin = new Api(worker.url, worker.adminToken);
  const id = `t-${crypto.randomUUID()}`;
  const path = `/v1/tenants/${id}`;
  const onboarded = expectStatus(await admin.put(path, {}, call), 200);
  if (quotas !== undefined) {
    for (const { id: planned } of onboarded.body.quotas) expectStatus(await admin.delete(`${path}/quotas/${planned}`, call), 204);
    for (const [quota, definition] of Object.entries(quotas)) expectStatus(await admin.put(`${path}/quotas/${quota}`, definition, call), 200);
  }
  const token = async (role: string) => {
    const made = expectStatus(await admin.post(`${path}/tokens`, { role }), 201);
    return admin.as(made.body.token);
  };
  return { id, path, admin, app: await token("app"), read: await token("read") };
}

/** A quota in USD on everything that the tenant spends, for a month. */
export function usdQuota(limit: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { scope: "tenant", resource: "all", unit: "usd", limit, period: "month", ...more };
}

/** A reserve of a plain amount. */
export function usdReserve(id: string, usd: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { id, resource: "llm", estimate: { usd }, ...more };
}

export function expectStatus(answer: Answer, status: number): Answer {
  assert.equal(answer.status, status, `expected ${status}, got ${answer.status}: ${answer.text}`);
  return answer;
}

/** Checks that an answer is the problem document with this status and code. */
export function expectProblem(answer: Answer, status: number, code: string, field?: string): Answer {
  const context = `expected ${status} ${code}, got ${answer.status}: ${answer.text}`;
  assert.equal(answer.status, status, context);
  assert.match(String(answer.headers["content-type"]), /^application\/problem\+json\b/, context);
  assert.equal(answer.body.code, code, context);
  assert.equal(answer.body.status, status, context);
  assert.equal(answer.body.type, `urn:tollgate:problem:${code}`, context);
  assert.equal(typeof answer.body.title, "string", context);
  assert.ok(typeof answer.body.detail === "string" && answer.body.detail !== "", context);
  if (field !== undefined) assert.equal(answer.body.field, field, context);
  return answer;
}

/** A quota's state by its id. */
export async function quotaOf(tenant: Tenant, id: string): Promise<Body> {
  const { body } = expectStatus(await tenant.admin.get(`${tenant.path}/quotas`), 200);
  const quota = body.quotas.find((candidate: Body) => candidate.id === id);
  assert.ok(quota, `no quota ${id} in ${JSON.stringify(body)}`);
  return quota;
}
