// What the first user's audit proposes: one transaction that locks the quota's row, checks, adds and records, over `pg`.

import pg from "pg";

const SCHEMA = `
  create table if not exists quota (tenant text primary key, limit_usd numeric(12,6) not null, spent_usd numeric(12,6) not null);
  create table if not exists cost (id bigserial primary key, tenant text not null, usd numeric(12,6) not null, model text not null, at timestamptz not null default now());
`;

/** The most connections: what PostgreSQL takes by default, less those that it keeps for itself. */
const MOST_CONNECTIONS = 96;

let opened = 0;

export class SqlTransaction {
  constructor(connection) {
    this.connection = connection;
  }

  async start() {
    await this.once((client) => client.query(SCHEMA));
  }

  async stop() {}

  version() {
    return this.once(async (client) => (await client.query("show server_version")).rows[0].server_version);
  }

  async open(tenants, dollars, callers) {
    const run = `${this.constructor.name}-${process.pid}-${opened++}`;
    const names = Array.from({ length: tenants }, (_, number) => `${run}-${number}`);
    // numeric(12,6) holds less than a million dollars.
    const limit = Math.min(dollars, 999_999);
    await this.once((client) => client.query("insert into quota select unnest($1::text[]), $2, 0", [names, limit]));
    this.pool = new pg.Pool({ ...this.connection, max: Math.min(callers, MOST_CONNECTIONS) });
    return names;
  }

  close() {
    return this.pool.end();
  }

  operation(tenant) {
    return this.charge(tenant, "0.0065");
  }

  dollar(tenant) {
    return this.charge(tenant, "1");
  }

  async charge(tenant, usd) {
    const client = await this.pool.connect();
    try {
      await client.query("begin");
      const { rows } = await client.query({ name: "lock", text: "select spent_usd + $2::numeric <= limit_usd as fits from quota where tenant = $1 for update", values: [tenant, usd] });
      if (!rows[0].fits) {
        await client.query("rollback");
        return false;
      }
      await client.query({ name: "add", text: "update quota set spent_usd = spent_usd + $2::numeric where tenant = $1", values: [tenant, usd] });
      await client.query({ name: "record", text: "insert into cost (tenant, usd, model) values ($1, $2, 'gpt-4o')", values: [tenant, usd] });
      await client.query("commit");
      return true;
    } finally {
      client.release();
    }
  }

  spent(tenant) {
    return this.once(async (client) => Number((await client.query("select spent_usd from quota where tenant = $1", [tenant])).rows[0].spent_usd));
  }

  async once(work) {
    const client = new pg.Client(this.connection);
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }
}
