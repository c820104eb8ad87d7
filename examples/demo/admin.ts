/** What an operator does before an app may spend: tenants, quotas, a token. */
import type { QuotaDefinition, QuotaState } from "tollgate";

export class Admin {
  readonly #url: string;
  readonly #token: string;

  constructor(url: string, token: string) {
    this.#url = url.replace(/\/+$/, "");
    this.#token = token;
  }

  /** The version of the Worker and of its price list. */
  async health(): Promise<{ status: string; version: string; catalog: string }> {
    return await this.#call("GET", "/healthz");
  }

  /** Onboards a tenant under the default plan. */
  async onboard(tenant: string): Promise<void> {
    await this.#call("PUT", `/v1/tenants/${encodeURIComponent(tenant)}`, {});
  }

  async setQuota(tenant: string, quota: string, definition: QuotaDefinition): Promise<QuotaState> {
    return await this.#call("PUT", `/v1/tenants/${encodeURIComponent(tenant)}/quotas/${encodeURIComponent(quota)}`, definition);
  }

  /** A token that spends for every tenant and administers nothing: what an app's server holds. */
  async serviceToken(): Promise<string> {
    const { token } = await this.#call<{ token: string }>("POST", "/v1/tokens", { role: "service", expiresInSeconds: 3600 });
    return token;
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await fetch(this.#url + path, {
      method,
      headers: { Authorization: `Bearer ${this.#token}`, "Content-Type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(10_000),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    // The Worker's documented answers; the demo's checks look at what is in them.
    return JSON.parse(text) as T;
  }
}
