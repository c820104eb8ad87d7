// Plain HTTP to a Worker, by one token.

export class Api {
  constructor(url, token) {
    this.url = url;
    this.token = token;
  }

  /** The status of an answer that nobody reads. 0 where there was none. */
  async status(method, path, body) {
    try {
      const response = await this.send(method, path, body);
      await response.arrayBuffer();
      return response.status;
    } catch {
      return 0;
    }
  }

  /** The answer to what must succeed. */
  async answer(method, path, body) {
    const response = await this.send(method, path, body);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 500)}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  /** A tenant with these quotas and no others. */
  async onboard(tenant, quotas) {
    await this.answer("PUT", `/v1/tenants/${tenant}`, {});
    const { quotas: found } = await this.answer("GET", `/v1/tenants/${tenant}/quotas`);
    for (const { id } of found) await this.answer("DELETE", `/v1/tenants/${tenant}/quotas/${id}`);
    for (const [id, quota] of Object.entries(quotas)) await this.answer("PUT", `/v1/tenants/${tenant}/quotas/${id}`, quota);
  }

  send(method, path, body) {
    const headers = { authorization: `Bearer ${this.token}`, "content-type": "application/json" };
    const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    return fetch(this.url + path, { method, headers, body: text, signal: AbortSignal.timeout(30_000) });
  }
}
