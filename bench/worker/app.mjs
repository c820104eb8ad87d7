// What the first user's app does today: check, call the model, record. Nothing keeps two requests from passing the same check.

import { SqlTransaction } from "./sql-transaction.mjs";

export class App extends SqlTransaction {
  async charge(tenant, usd) {
    const { rows } = await this.pool.query("select spent_usd + $2::numeric <= limit_usd as fits from quota where tenant = $1", [tenant, usd]);
    if (!rows[0].fits) return false;
    await new Promise((resolve) => setTimeout(resolve, 20));
    await this.pool.query("update quota set spent_usd = spent_usd + $2::numeric where tenant = $1", [tenant, usd]);
    await this.pool.query("insert into cost (tenant, usd, model) values ($1, $2, 'gpt-4o')", [tenant, usd]);
    return true;
  }
}
