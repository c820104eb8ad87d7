// Secrets that are none, tokens that somebody made up, tickets that are used twice.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Connection, PROTOCOL, refusedHandshake } from "../../support/connection.ts";
import { Api, expectProblem, expectStatus, newTenant, usdQuota, usdReserve, type Answer, type Tenant } from "../../support/http.ts";
import { startWorker, type TestWorker } from "../../support/worker.ts";

let worker: TestWorker;
let tenant: Tenant;

before(async () => {
  worker = await startWorker();
  tenant = await newTenant(worker, { q: usdQuota("10") });
});
after(() => worker?.stop());

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const decode = (part: string | undefined) => JSON.parse(Buffer.from(part ?? "", "base64url").toString("utf8"));

/** A token as anybody can make one who knows the key. */
function sign(claims: unknown, key: string | Buffer, header: Record<string, unknown> = { typ: "JWT", alg: "HS256" }): string {
  const signed = `${encode(header)}.${encode(claims)}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

/** What the Worker itself says in a token. */
function claimsOf(token: string | undefined): Record<string, unknown> {
  return decode(token?.split(".")[1]);
}

describe("secrets", () => {
  const good = "x".repeat(32);
  for (const [name, adminToken, signingKey, named, flaw] of [
    ["no signing key", `a${good}`, undefined, "TOKEN_SIGNING_KEY", "is not set"],
    ["an empty signing key", `a${good}`, "", "TOKEN_SIGNING_KEY", "is not set"],
    ["a short signing key", `a${good}`, good.slice(1), "TOKEN_SIGNING_KEY", "has fewer than 32 characters"],
    ["a signing key that is short but for a line feed", `a${good}`, `${good.slice(1)}\n`, "TOKEN_SIGNING_KEY", "has fewer than 32 characters"],
    ["no admin token", undefined, good, "ADMIN_TOKEN", "is not set"],
    ["a short admin token", "adm1n-t0ken", good, "ADMIN_TOKEN", "has fewer than 32 characters"],
    ["an admin token that no header can carry", `${good} é`, good, "ADMIN_TOKEN", "has characters that no header can carry"],
    ["one secret for both", good, good, "TOKEN_SIGNING_KEY", "is the same as ADMIN_TOKEN"],
  ] as const) {
    it(`${name}: every request is 503 and says what to do`, async () => {
      const own = await startWorker({ secrets: { adminToken, signingKey } });
      try {
        const admin = new Api(own.url, adminToken?.replace(/[^!-~]/g, ""));
        for (const answer of [
          await admin.as(undefined).get("/healthz"),
          await admin.get("/healthz"),
          await admin.put("/v1/tenants/t", {}),
          await admin.get("/nothing"),
          await admin.as(sign({ role: "service", exp: 4102444800 }, signingKey ?? "")).post("/v1/price", {}),
        ]) {
          const { detail } = expectProblem(answer, 503, "not_configured").body;
          assert.ok(detail.includes(`its secret ${named} ${flaw}`), detail);
          assert.ok(detail.includes(`openssl rand -hex 32 | npx wrangler secret put ${named}`), detail);
          for (const secret of [adminToken, signingKey]) assert.ok((secret ?? "").trim().length < 2 || !answer.text.includes(secret?.trim() ?? ""));
        }
      } finally {
        await own.stop();
      }
    });
  }

  it("a line feed at their ends is no part of them", async () => {
    const own = await startWorker({ secrets: { adminToken: `a${good}\n`, signingKey: ` ${good}\r\n` } });
    try {
      const admin = new Api(own.url, `a${good}`);
      expectStatus(await admin.get("/healthz"), 200);
      const { body } = expectStatus(await admin.post("/v1/tokens", { role: "service" }), 201);
      const [header, claims, signature] = body.token.split(".");
      assert.equal(createHmac("sha256", good).update(`${header}.${claims}`).digest("base64url"), signature);
    } finally {
      await own.stop();
    }
  });
});

describe("a token", () => {
  it("says who made it, what for, from when, until when, and has an id of its own", async () => {
    const made = await Promise.all([1, 2].map(() => tenant.admin.post(`${tenant.path}/tokens`, { role: "app", expiresInSeconds: 60 })));
    const [first, second] = made.map((answer) => expectStatus(answer, 201).body);
    assert.notEqual(first.id, second.id);
    const { iss, aud, jti, iat, nbf, exp, role, tenant: named } = claimsOf(first.token);
    assert.deepEqual({ iss, aud, jti, role, named }, { iss: "tollgate", aud: "tollgate/api", jti: first.id, role: "app", named: tenant.id });
    assert.equal(nbf, iat);
    assert.equal(Number(exp) * 1000, Date.parse(first.expiresAt));
  });

  it("of the admin token's key, as they were made before, is refused", async () => {
    const derived = createHmac("sha256", worker.adminToken).update("tollgate token signing key v1").digest();
    const { exp, iat } = claimsOf(tenant.app.token);
    const before = { role: "app", tenant: tenant.id, exp, iat };
    for (const token of [sign(before, derived), sign(before, worker.signingKey), sign(before, worker.adminToken)]) {
      expectProblem(await tenant.admin.as(token).get(`${tenant.path}/quotas`), 401, "unauthorized");
    }
  });

  it("that is signed and not quite right is refused", async () => {
    const right = claimsOf(tenant.app.token);
    const without = (name: string) => Object.fromEntries(Object.entries(right).filter(([member]) => member !== name));
    const header = { typ: "JWT", alg: "HS256" };
    const seconds = Math.floor(Date.now() / 1000);
    const ask = (token: string) => tenant.admin.as(token).get(`${tenant.path}/quotas`);
    expectStatus(await ask(sign(right, worker.signingKey)), 200);
    for (const token of [
      ...["iss", "aud", "jti", "nbf", "exp", "role", "tenant"].map((name) => sign(without(name), worker.signingKey)),
      sign({ ...right, iss: "someone" }, worker.signingKey),
      sign({ ...right, aud: "tollgate/connect" }, worker.signingKey),
      sign({ ...right, aud: ["tollgate/api"] }, worker.signingKey),
      sign({ ...right, nbf: seconds + 3600 }, worker.signingKey),
      sign({ ...right, exp: seconds - 1 }, worker.signingKey),
      sign({ ...right, role: "admin" }, worker.signingKey),
      sign(right, worker.signingKey, { ...header, crit: ["b64"], b64: false }),
      sign(right, worker.signingKey, { ...header, crit: [] }),
      sign(right, worker.signingKey, { ...header, alg: "HS512" }),
      sign(right, worker.signingKey, { ...header, alg: "none" }),
      sign(right, worker.signingKey, { typ: "JWT" }),
      sign(right, ""),
      `${encode({ ...header, alg: "none" })}.${encode(right)}.`,
    ]) {
      expectProblem(await ask(token), 401, "unauthorized");
    }
  });

  it("in the query or in a cookie is none", async () => {
    const anyone = tenant.admin.as(undefined);
    for (const [path, headers] of [
      [`${tenant.path}/quotas?access_token=${tenant.app.token}`, {}],
      [`${tenant.path}/quotas`, { cookie: `authorization=Bearer ${tenant.app.token}` }],
      [`${tenant.path}/quotas`, { "sec-websocket-protocol": `${PROTOCOL}, tollgate.ticket.${await ticket()}` }],
    ] as [string, Record<string, string>][]) {
      expectProblem(await anyone.get(path, { headers }), 401, "unauthorized");
    }
  });
});

async function ticket(api: Api = tenant.app, path = tenant.path): Promise<string> {
  return expectStatus(await api.post(`${path}/connect/ticket`, {}), 201).body.ticket;
}

/** A handshake's refusal; it throws where it is let in. */
function handshake(path: string, protocols: string, headers: Record<string, string> = {}): Promise<Answer> {
  return refusedHandshake(worker, `${path}/connect`, { "sec-websocket-protocol": protocols, ...headers });
}

const withTicket = (text: string) => `${PROTOCOL}, tollgate.ticket.${text}`;

describe("a ticket", () => {
  it("opens one connection", async () => {
    const used = await ticket();
    await assert.rejects(handshake(tenant.path, withTicket(used)), /let in/);
    for (let again = 0; again < 3; again++) expectProblem(await handshake(tenant.path, withTicket(used)), 401, "unauthorized");
  });

  it("that fifty use at once opens one connection", async () => {
    const used = await ticket();
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => handshake(tenant.path, withTicket(used))));
    assert.equal(outcomes.filter(({ status }) => status === "rejected").length, 1);
    for (const outcome of outcomes) if (outcome.status === "fulfilled") expectProblem(outcome.value, 401, "unauthorized");
  });

  it("opens none after a restart", async () => {
    const [before, used] = [await ticket(), await ticket()];
    await assert.rejects(handshake(tenant.path, withTicket(used)), /let in/);
    await worker.restart();
    for (const text of [before, used]) expectProblem(await handshake(tenant.path, withTicket(text)), 401, "unauthorized");
    await assert.rejects(handshake(tenant.path, withTicket(await ticket())), /let in/);
  });

  it("opens none when its seconds are over", async () => {
    const { body } = expectStatus(await tenant.app.post(`${tenant.path}/connect/ticket`, {}), 201);
    const left = Date.parse(body.expiresAt) - Date.now();
    assert.ok(left > 5_000 && left <= 11_000, `${left} ms`);
    await pause(left + 50);
    expectProblem(await handshake(tenant.path, withTicket(body.ticket)), 401, "unauthorized");
  });

  it("is for its tenant alone, and for connections alone", async () => {
    const other = await newTenant(worker);
    const made = await ticket();
    expectProblem(await handshake(other.path, withTicket(made)), 403, "forbidden");
    for (const path of [`${tenant.path}/quotas`, `${tenant.path}/connect`]) expectProblem(await tenant.admin.as(made).get(path), 401, "unauthorized");
    const service = tenant.admin.as(expectStatus(await tenant.admin.post("/v1/tokens", { role: "service" }), 201).body.token);
    for (const api of [service, tenant.admin]) {
      expectProblem(await handshake(other.path, withTicket(await ticket(api))), 403, "forbidden");
      await assert.rejects(handshake(other.path, withTicket(await ticket(api, other.path))), /let in/);
    }
    await assert.rejects(handshake(tenant.path, withTicket(made)), /let in/, "it was not used up by those that were refused");
  });

  it("is made for whoever may spend, and says nothing but that", async () => {
    expectProblem(await tenant.read.post(`${tenant.path}/connect/ticket`, {}), 403, "forbidden");
    expectProblem(await tenant.app.post(`${tenant.path}/connect/ticket`, { expiresInSeconds: 3600 }), 400, "invalid_request", "expiresInSeconds");
    const { body } = expectStatus(await tenant.app.post(`${tenant.path}/connect/ticket`, {}), 201);
    assert.deepEqual(Object.keys(body).sort(), ["expiresAt", "id", "ticket"]);
    assert.equal(claimsOf(body.ticket)["jti"], body.id);
    assert.equal(claimsOf(body.ticket)["aud"], "tollgate/connect");
  });

  it("that somebody has made up is none, signed or not", async () => {
    const right = claimsOf(await ticket());
    const token = tenant.app.token ?? "";
    for (const text of [token, worker.adminToken, "", "x", sign({ ...right, jti: "made-up" }, worker.signingKey), sign(right, worker.adminToken), sign({ ...right, aud: "tollgate/api" }, worker.signingKey)]) {
      expectProblem(await handshake(tenant.path, withTicket(text)), 401, "unauthorized");
    }
  });

  it("ends its connection with the token that it was asked for with", async () => {
    const made = expectStatus(await tenant.admin.post(`${tenant.path}/tokens`, { role: "app", expiresInSeconds: 1 }), 201).body;
    const connection = await Connection.open(worker, tenant.path, made.token);
    await pause(Date.parse(made.expiresAt) - Date.now() + 50);
    const unanswered = assert.rejects(connection.ask([{ op: "reserve", ...usdReserve("late", "1") }]));
    assert.equal(await connection.closed, 4001);
    await unanswered;
  });
});

describe("a token among the subprotocols", () => {
  it("is refused, and the answer says what to do", async () => {
    const bearer = `${PROTOCOL}, tollgate.bearer.${tenant.app.token}`;
    for (const [protocols, headers] of [
      [bearer, {}],
      [bearer, { authorization: `Bearer ${tenant.app.token}` }],
      [`${bearer}, tollgate.ticket.${await ticket()}`, {}],
      [`tollgate.bearer.x,${PROTOCOL}`, {}],
    ] as [string, Record<string, string>][]) {
      const { body } = expectProblem(await handshake(tenant.path, protocols, headers), 400, "invalid_request", "Sec-WebSocket-Protocol");
      assert.match(body.detail, /connect\/ticket/);
      assert.ok(!body.detail.includes(tenant.app.token));
    }
  });
});
