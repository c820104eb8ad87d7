// Hostile tenants, each kind with what it has at hand: a token of its own, and nothing of anybody else's. Runs in a process of its own; `measure.mjs` says
// which kind attacks, and for how long.

import { connect } from "node:net";

import { Api } from "./api.mjs";

/** Callers of one kind, and how long each rests between two requests: 4 callers that are answered at once send 100 requests a second. */
const CALLERS = 4;
const REST_MS = 40;

/** Names to the largest length, tags to the largest sum. */
const LONG = "x".repeat(100);
const TAGS = Object.fromEntries(Array.from({ length: 4 }, (_, number) => [`tag-${number}`, "v".repeat(240)]));
const CALL = { resource: "llm", estimate: { usd: "0" }, attribution: { touchpoint: LONG, tags: TAGS } };

const MANY_USERS = 100_000;
const MANY_HOLDS = 5_000;
const MANY_QUOTAS = 900;
const BATCH = 500;

/** What each kind does, one request after the other; a step gets a number that counts up. */
const ATTACKS = {
  "dear queries": ({ read, tenant, url }) => {
    const api = new Api(url, read);
    const paths = [
      "usage?groupBy=user,model,touchpoint,day",
      "usage?groupBy=user&limit=1000",
      "entries?after=0&limit=1000",
      "entries?after=9007199254740993",
      "entries?after=50000&limit=1",
      "quotas?limit=1000",
      "reservations?state=held&limit=1000",
    ];
    const explain = { resource: "llm", provider: "openai", model: "gpt-4o", estimate: { inputTokens: 1, maxOutputTokens: 1 } };
    return (number) => {
      const at = number % (paths.length + 1);
      const path = `/v1/tenants/${tenant}/`;
      return at === paths.length ? api.status("POST", `${path}explain`, explain) : api.status("GET", path + paths[at]);
    };
  },
  "retry storms": ({ app, tenant, url }) => {
    const api = new Api(url, app);
    const settles = { commands: Array.from({ length: BATCH }, (_, number) => ({ op: "settle", id: `stormed-${number}`, usd: "0" })) };
    const same = { commands: Array.from({ length: BATCH }, () => ({ op: "reserve", id: "stormed-0", ...CALL })) };
    const bodies = [settles, same].map((body) => JSON.stringify(body));
    return (number) => api.status("POST", `/v1/tenants/${tenant}/batch`, bodies[number % bodies.length]);
  },
  "floods of sockets": ({ app, tenant, url }) => {
    const sockets = [];
    const oversize = `1\n${JSON.stringify({ commands: [{ op: "release", id: "x".repeat(2_000_000) }] })}`;
    const messages = ["", "no number", "1\n{", "99999999999999999999999\n{}", oversize, ...Array.from({ length: 20 }, (_, n) => `${n}\n{"commands":[]}`)];
    const api = new Api(url, app);
    return async (number) => {
      if (number % 5 === 4) return halfSent(url, app, tenant);
      const ticket = await api.answer("POST", `/v1/tenants/${tenant}/connect/ticket`, {});
      const socket = new WebSocket(`${url.replace("http", "ws")}/v1/tenants/${tenant}/connect`, ["tollgate.v1", `tollgate.ticket.${ticket.ticket}`]);
      sockets.push(socket);
      if (sockets.length > 100) sockets.shift().close();
      return new Promise((resolve) => {
        const timer = setTimeout(() => resolve("slow"), 5_000);
        const over = (what) => (clearTimeout(timer), resolve(what));
        socket.onerror = () => over("refused");
        socket.onclose = () => over("closed");
        socket.onopen = () => {
          for (const message of messages.slice(number % messages.length)) socket.send(message);
          over("open");
        };
      });
    };
  },
  ghosts: ({ service, url }) => {
    const api = new Api(url, service);
    const steps = [
      (tenant) => api.status("GET", `/v1/tenants/${tenant}/quotas`),
      (tenant) => api.status("POST", `/v1/tenants/${tenant}/reservations`, { id: "r", ...CALL }),
      (tenant) => api.status("GET", `/v1/tenants/${tenant}/usage`),
    ];
    return (number) => steps[number % steps.length](`ghost-${process.pid}-${Date.now()}-${number}`);
  },
  "oversize of everything": ({ app, tenant, url }) => {
    const api = new Api(url, app);
    const path = `/v1/tenants/${tenant}/`;
    const bodies = [
      ["reservations", `{"id":"a","${"u".repeat(1_000_000)}":1}`],
      ["reservations", `{"id":"${"i".repeat(1_000_000)}"}`],
      ["reservations", "[".repeat(1_000_000)],
      ["reservations", "x".repeat(2_000_000)],
      ["batch", JSON.stringify({ commands: Array.from({ length: BATCH }, () => ({ op: "reserve", id: "", ["f".repeat(1_000)]: 1 })) })],
      ["batch", JSON.stringify({ commands: Array.from({ length: BATCH }, (_, at) => ({ op: "explain", id: `e-${at}`, ...CALL })) })],
      ["explain", JSON.stringify({ ...CALL, attribution: { tags: Object.fromEntries(Array.from({ length: 5_000 }, (_, at) => [`t${at}`, LONG])) } })],
    ];
    return (number) => {
      const [route, body] = bodies[number % bodies.length];
      return api.status("POST", path + route, body);
    };
  },
  forgers: ({ app, tenant, url }) => {
    const [header, claims, signature] = app.split(".");
    const forged = [
      `${header}.${claims}.${signature.split("").reverse().join("")}`,
      `${Buffer.from('{"alg":"none","typ":"JWT"}').toString("base64url")}.${claims}.`,
      "x".repeat(15_000),
    ].map((token) => new Api(url, token));
    return (number) => forged[number % forged.length].status("GET", `/v1/tenants/${tenant}/quotas`);
  },
};

const ALL = "all at once";
export const KINDS = [...Object.keys(ATTACKS), ALL];

/** A tenant that has as much of everything as hostile ones like, made by the administrator; and the tokens of its own. */
export async function prepare(admin, tenant) {
  const quotas = { budget: { scope: "tenant", resource: "llm", unit: "usd", limit: "1000000", period: "month" } };
  for (let number = 0; number < MANY_QUOTAS; number++) {
    quotas[`q-${number}`] = { scope: "user", scopeId: `u-${number}`, resource: "all", unit: "requests", limit: "1000000", period: "day" };
  }
  await admin.onboard(tenant, quotas);
  const batch = (count, command) => batches(admin, tenant, count, command);
  await batch(MANY_USERS, (number) => ({ op: "record", id: `rec-${number}`, userId: `user-${number}`, resource: "llm", usd: "0.000001" }));
  await batch(MANY_HOLDS, (number) => ({ op: "reserve", id: `held-${number}`, userId: `user-${number}`, ttlSeconds: 86_400, ...CALL }));
  await batch(BATCH, (number) => ({ op: "reserve", id: `stormed-${number}`, ...CALL }));
  await batch(BATCH, (number) => ({ op: "settle", id: `stormed-${number}`, usd: "0" }));
  const token = async (role) => (await admin.answer("POST", `/v1/tenants/${tenant}/tokens`, { role, expiresInSeconds: 86_400 })).token;
  return { tenant, read: await token("read"), app: await token("app") };
}

async function batches(admin, tenant, count, command) {
  for (let from = 0; from < count; from += BATCH) {
    const commands = Array.from({ length: Math.min(BATCH, count - from) }, (_, at) => command(from + at));
    const { results } = await admin.answer("POST", `/v1/tenants/${tenant}/batch`, { commands });
    const failed = results.find(({ status }) => status >= 300);
    if (failed !== undefined) throw new Error(`preparing: ${JSON.stringify(failed)}`);
  }
}

/** A body that is announced and never sent; what becomes of the connection. */
function halfSent(url, token, tenant) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const head = `POST /v1/tenants/${tenant}/reservations HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer ${token}\r\ncontent-length: 1000\r\n\r\n{"id":`;
  socket.on("error", () => {});
  socket.write(head);
  setTimeout(() => socket.destroy(), 60_000).unref();
  return Promise.resolve("half sent");
}

/** So many callers until the time is up: how many requests there were of each outcome. */
async function attack(stage) {
  const kinds = stage.kind === ALL ? Object.keys(ATTACKS) : [stage.kind];
  const end = performance.now() + stage.milliseconds;
  const outcomes = {};
  let number = 0;
  const caller = async (step) => {
    while (performance.now() < end) {
      const outcome = await step(number++).catch(() => "failed");
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
    }
  };
  // All at once are as many callers as one kind has, or a few more.
  const callers = Math.max(1, Math.floor(CALLERS / kinds.length));
  await Promise.all(kinds.flatMap((kind) => Array.from({ length: callers }, () => caller(ATTACKS[kind](stage)))));
  return { requests: Object.values(outcomes).reduce((sum, count) => sum + count, 0), outcomes };
}

if (process.send !== undefined) {
  process.on("message", async (stage) => process.send(await attack(stage)));
}
