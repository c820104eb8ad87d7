// A Lua script over `ioredis` that checks, adds and records; with `appendfsync always` Redis answers when it is on disk.

import { Redis } from "ioredis";

const CHARGE = `
  local spent = tonumber(redis.call('HGET', KEYS[1], 'spent'))
  if spent + tonumber(ARGV[1]) > tonumber(redis.call('HGET', KEYS[1], 'limit')) then return 0 end
  redis.call('HINCRBY', KEYS[1], 'spent', ARGV[1])
  redis.call('XADD', KEYS[2], '*', 'usd', ARGV[1], 'model', 'gpt-4o')
  return 1
`;

let opened = 0;

export class RedisScript {
  constructor(connection) {
    this.connection = connection;
  }

  async start() {
    this.redis = new Redis(this.connection);
    this.redis.defineCommand("charge", { numberOfKeys: 2, lua: CHARGE });
  }

  async stop() {
    await this.redis.quit();
  }

  async version() {
    const setting = (await this.redis.config("GET", "appendfsync"))[1];
    return `${/redis_version:(\S+)/.exec(await this.redis.info("server"))[1]}, appendfsync ${setting}`;
  }

  async open(tenants, dollars) {
    const run = opened++;
    const names = Array.from({ length: tenants }, (_, number) => `redis-${process.pid}-${run}-${number}`);
    // Whole microdollars: a double in Lua holds them exactly up to nine billion dollars.
    for (const name of names) await this.redis.hset(`{${name}}quota`, { limit: dollars * 1e6, spent: 0 });
    return names;
  }

  async close() {}

  operation(tenant) {
    return this.charge(tenant, 6500);
  }

  dollar(tenant) {
    return this.charge(tenant, 1_000_000);
  }

  async charge(tenant, micros) {
    return (await this.redis.charge(`{${tenant}}quota`, `{${tenant}}cost`, micros)) === 1;
  }

  async spent(tenant) {
    return Number(await this.redis.hget(`{${tenant}}quota`, "spent")) / 1e6;
  }
}
