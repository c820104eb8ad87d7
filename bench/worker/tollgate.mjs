// Tollgate itself, in its two ways: through the package's client, which gathers by itself what is asked at the same time, and by plain HTTP requests.

import { createClient } from "../../pkg/dist/index.js";

const CALL = { resource: "llm", provider: "openai", model: "gpt-4o", attribution: { touchpoint: "main-chat" } };
const ESTIMATE = { inputTokens: 1200, maxOutputTokens: 800 };
const USAGE = { input: 1100, cache_read: 100, output: 350 };

let opened = 0;

/** What both ways have in common: tenants with one quota each. */
class Tollgate {
  constructor({ url, token }) {
    this.url = url;
    this.token = token;
  }

  async start() {}
  async stop() {}

  async open(tenants, dollars) {
    const run = opened++;
    this.names = Array.from({ length: tenants }, (_, number) => `bench-${process.pid}-${run}-${number}`);
    const quota = { scope: "tenant", resource: "llm", unit: "usd", limit: String(dollars), period: "month" };
    await Promise.all(this.names.map(async (name) => {
      await this.put(`/v1/tenants/${name}`, {});
      for (const id of ["tenant-llm-month", "tenant-e2b-month"]) await this.request("DELETE", `/v1/tenants/${name}/quotas/${id}`);
      await this.put(`/v1/tenants/${name}/quotas/budget`, quota);
    }));
    this.holds = new Map();
    return this.names;
  }

  async close() {}

  /** A caller reserves and settles in turn, on the same tenant. */
  async operation(tenant, caller) {
    const held = this.holds.get(caller);
    if (held === undefined) {
      const id = await this.reserve(tenant, ESTIMATE);
      this.holds.set(caller, { tenant, id });
      return id !== undefined;
    }
    this.holds.delete(caller);
    await this.settle(held.tenant, held.id);
    return true;
  }

  async dollar(tenant) {
    return (await this.reserve(tenant, { usd: "1" })) !== undefined;
  }

  async spent(tenant) {
    const { quotas } = await (await this.request("GET", `/v1/tenants/${tenant}/quotas`)).json();
    return Number(quotas[0].spent) + Number(quotas[0].held);
  }

  async put(path, body) {
    const answer = await this.request("PUT", path, body);
    if (!answer.ok) throw new Error(`PUT ${path}: ${await answer.text()}`);
    await answer.arrayBuffer();
  }

  request(method, path, body) {
    const headers = { authorization: `Bearer ${this.token}`, "content-type": "application/json" };
    return fetch(this.url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  }
}

/** The package's client. */
export class Batching extends Tollgate {
  async open(tenants, dollars) {
    const names = await super.open(tenants, dollars);
    this.clients = new Map(names.map((tenant) => [tenant, createClient({ url: this.url, token: this.token, tenant, onUnavailable: "deny", timeoutMs: 30_000 })]));
    return names;
  }

  async reserve(tenant, estimate) {
    try {
      return (await this.clients.get(tenant).reserve({ ...CALL, estimate })).id;
    } catch (error) {
      if (error.code === "quota_exceeded") return undefined;
      throw error;
    }
  }

  async settle(tenant, id) {
    await this.clients.get(tenant).settle(id, { usage: USAGE });
  }
}

/** One HTTP request for each command. */
export class Single extends Tollgate {
  #count = 0;

  async reserve(tenant, estimate) {
    // As ids of an app that makes them in the order of time.
    const id = `call-${String(this.#count++).padStart(9, "0")}`;
    const answer = await this.request("POST", `/v1/tenants/${tenant}/reservations`, { id, ...CALL, estimate });
    const text = await answer.text();
    if (answer.status !== 201 && answer.status !== 429) throw new Error(text);
    return answer.status === 201 ? id : undefined;
  }

  async settle(tenant, id) {
    const answer = await this.request("POST", `/v1/tenants/${tenant}/reservations/${id}/settle`, { usage: USAGE });
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
  }
}
