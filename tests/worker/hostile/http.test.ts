// What nobody sends who means well: over raw sockets where clients would mend it. The Worker answers clearly, holds nothing, and goes on.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { Connection } from "../../support/connection.ts";
import { Api, expectProblem, expectStatus, newTenant, quotaOf, usdQuota, usdReserve, type Answer, type Body, type Tenant } from "../../support/http.ts";
import { dial, exchange, receive, request, type RawAnswer } from "../../support/raw.ts";
import { startWorker, type TestWorker } from "../../support/worker.ts";

let worker: TestWorker;
let tenant: Tenant;

before(async () => {
  worker = await startWorker();
  tenant = await newTenant(worker, { q: usdQuota("100") });
});
after(() => worker?.stop());

const token = () => ({ Authorization: `Bearer ${tenant.app.token}` });
const reserves = () => `${tenant.path}/reservations`;

async function send(bytes: string, patienceMs?: number): Promise<RawAnswer> {
  const [answer] = await exchange(worker.url, bytes, 1, patienceMs);
  return answer ?? assert.fail("it was closed without an answer");
}

function expectRefusal(answer: RawAnswer | undefined, status: number, code: string, field?: string): void {
  assert.deepEqual([answer?.status, answer?.body?.code, answer?.body?.field], [status, code, field], answer?.text);
}

/** As long as the Worker waits for a body, and a good while more: what is tested is that it ends. */
const BODY_PATIENCE_MS = 40_000;

describe("a body", () => {
  const json = () => JSON.stringify(usdReserve(crypto.randomUUID(), "1"));
  const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
  const chunked = () => request("POST", reserves(), { ...token(), "Transfer-Encoding": "chunked" });

  it("that is not sent to its end is waited for, and not for ever", async () => {
    const before = await quotaOf(tenant, "q");
    const ways = {
      "less than it says": request("POST", reserves(), { ...token(), "Content-Length": "1000" }) + json(),
      nothing: request("POST", reserves(), { ...token(), "Content-Length": "10" }),
      "no last chunk": chunked() + chunk(json()),
      "less of a chunk than it says": `${chunked()}ff\r\n{"id"`,
    };
    const answered = Object.entries(ways).map(async ([name, bytes]) => {
      const answer = await send(bytes, BODY_PATIENCE_MS);
      assert.deepEqual([answer.status, answer.body?.code, answer.headers["connection"]], [408, "request_timeout", "close"], name);
    });
    await Promise.all(answered);
    assert.deepEqual(await quotaOf(tenant, "q"), before);
  });

  it("that two hundred have begun keeps nobody else waiting, and all of them end", async () => {
    const sockets = await Promise.all(Array.from({ length: 200 }, () => dial(worker.url)));
    try {
      for (const socket of sockets) socket.write(request("POST", reserves(), { ...token(), "Content-Length": "1000000" }) + "x".repeat(50_000));
      const waiting = Promise.all(sockets.map((socket) => receive(socket, 1, BODY_PATIENCE_MS)));
      for (let i = 0; i < 20; i++) expectStatus(await tenant.app.post(reserves(), usdReserve(`beside-${i}`, "0.01")), 201);
      for (const [answer] of await waiting) expectRefusal(answer, 408, "request_timeout");
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });

  it("that says it is too large is refused before it comes", async () => {
    for (const length of ["1048577", "4294967296", "9007199254740993", "18446744073709551615"]) {
      const answer = await send(request("POST", reserves(), { ...token(), "Content-Length": length }));
      // What no counter holds is no length, for the runtime.
      if (answer.body === undefined) assert.equal(answer.headers["connection"], "close", length);
      else expectRefusal(answer, 413, "body_too_large");
    }
  });

  it("that turns out to be too large is refused", async () => {
    const piece = chunk(" ".repeat(65_536));
    expectRefusal(await send(chunked() + piece.repeat(17)), 413, "body_too_large");
  });

  it("that has more than it says is two requests, the second of which is none", async () => {
    const text = json();
    const answers = await exchange(worker.url, request("POST", reserves(), { ...token(), "Content-Length": String(text.length - 1) }) + text, 2);
    assert.deepEqual(answers.map(({ status }) => status), [400, 400]);
  });

  it("with two lengths, or one that is none, is refused", async () => {
    const text = json();
    for (const length of ["-1", "+5", "1e3", "0x10", "5, 6", "", "5\r\nContent-Length: 6"]) {
      const answer = await send(request("POST", reserves(), { ...token(), "Content-Length": length }) + text);
      assert.deepEqual([answer.status, answer.headers["connection"]], [400, "close"], length);
    }
  });

  it("with a length and chunks is what its chunks say, and nothing after it is taken for a request", async () => {
    const smuggled = request("PUT", `/v1/tenants/${tenant.id}/quotas/smuggled`, { Authorization: `Bearer ${worker.adminToken}` }, JSON.stringify(usdQuota("1")));
    const bytes = request("POST", reserves(), { ...token(), "Content-Length": "4", "Transfer-Encoding": "chunked" }) + `${chunk(json())}0\r\n\r\n${smuggled}`;
    const answers = await exchange(worker.url, bytes, 2);
    assert.deepEqual(answers.map(({ status }) => status), [201]);
    const { quotas } = expectStatus(await tenant.admin.get(`${tenant.path}/quotas`), 200).body;
    assert.ok(!quotas.some((quota: Body) => quota.id === "smuggled"));
  });

  it("that is compressed is refused, and not decompressed", async () => {
    const packed = gzipSync(json());
    for (const encoding of ["gzip", "GZIP", "br", "deflate", "zstd", "identity, gzip", "compress"]) {
      expectProblem(await tenant.app.send("POST", reserves(), { raw: packed, headers: { "content-encoding": encoding } }), 415, "unsupported_encoding");
    }
    expectStatus(await tenant.app.send("POST", reserves(), { raw: json(), headers: { "content-encoding": "identity" } }), 201);
  });

  it("that waits to be asked for is asked for", async () => {
    const answers = await exchange(worker.url, request("POST", reserves(), { ...token(), Expect: "100-continue" }, json()), 2);
    assert.deepEqual(answers.map(({ status }) => status), [100, 201]);
  });
});

describe("a method", () => {
  it("HEAD is GET without what it says", async () => {
    for (const target of [`${tenant.path}/quotas`, "/healthz", `${tenant.path}/entries?limit=1`]) {
      const answer = await send(request("HEAD", target, token()));
      assert.deepEqual([answer.status, answer.text], [200, ""], target);
    }
    assert.equal((await send(request("HEAD", `${tenant.path}/records`, token()))).status, 405);
  });

  it("that no route has is 405 and says which it has; one that nobody knows is refused by the runtime", async () => {
    for (const method of ["OPTIONS", "TRACE", "PATCH", "PROPFIND", "PURGE", "SUBSCRIBE", "MKCOL"]) {
      const answer = await send(request(method, `${tenant.path}/quotas`, token()));
      expectRefusal(answer, 405, "method_not_allowed");
      assert.equal(answer.headers["allow"], "GET, HEAD");
    }
    for (const method of ["FOO", "get", "Get", "POST2"]) assert.equal((await send(request(method, `${tenant.path}/quotas`, token()))).status, 501, method);
    expectRefusal(await send(request("OPTIONS", "*", token())), 404, "not_found");
  });

  it("in a header does not count", async () => {
    for (const name of ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]) {
      expectProblem(await tenant.admin.send("POST", `${tenant.path}/quotas/q`, { json: {}, headers: { [name]: "DELETE" } }), 405, "method_not_allowed");
    }
    await quotaOf(tenant, "q");
  });
});

describe("headers", () => {
  it("in floods are read or refused, and the Worker goes on", async () => {
    const many = (count: number, length: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`X-${i}`, "y".repeat(length)]));
    for (const headers of [many(1000, 1), many(1, 60_000), many(20_000, 10), many(1, 10_000_000), many(200, 100_000)]) {
      const [answer] = await exchange(worker.url, request("GET", `${tenant.path}/quotas`, { ...token(), ...headers }));
      assert.ok(answer === undefined || [200, 400, 431].includes(answer.status), `${answer?.status}`);
    }
    expectRefusal(await send(request("GET", `${tenant.path}/quotas`, { Authorization: `Bearer ${"y".repeat(60_000)}` })), 401, "unauthorized");
    expectStatus(await tenant.read.get(`${tenant.path}/quotas`), 200);
  });

  it("a target that is too long is refused", async () => {
    for (const target of [`${tenant.path}/entries?after=${"0".repeat(9000)}`, `/${"a".repeat(9000)}`, `${tenant.path}/quotas?${"a=b&".repeat(3000)}`]) {
      expectRefusal(await send(request("GET", target, token())), 400, "invalid_request", "path");
    }
  });

  it("what is no HTTP is refused, and the Worker goes on", async () => {
    for (const bytes of ["\x00\x01\x02\r\n\r\n", "GET /healthz\r\n\r\n", "GET /healthz HTTP/1.1\r\n\r\n", request("GET", "/healthz", { "X-A": "a\x00b" }), "\r\n\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01"]) {
      const socket = await dial(worker.url);
      socket.end(Buffer.from(bytes, "latin1"));
      const answers = await receive(socket);
      for (const answer of answers) assert.equal(answer.status, 400, answer.text);
    }
    expectStatus(await tenant.read.get(`${tenant.path}/quotas`), 200);
  });
});

describe("an answer", () => {
  it("is kept by nobody, is of no other type, and is another one for another caller", async () => {
    const id = crypto.randomUUID();
    const answers: Record<string, Answer> = {
      health: await new Api(worker.url, undefined).get("/healthz"),
      reserve: await tenant.app.post(reserves(), usdReserve(id, "1")),
      denial: await tenant.app.post(reserves(), usdReserve("much", "1000")),
      settle: await tenant.app.post(`${reserves()}/${id}/settle`, { usd: "1" }),
      reservation: await tenant.read.get(`${reserves()}/${id}`),
      batch: await tenant.app.post(`${tenant.path}/batch`, { commands: [] }),
      quotas: await tenant.read.get(`${tenant.path}/quotas`),
      "nothing to say": await tenant.admin.delete(`${tenant.path}/quotas/none`),
      usage: await tenant.read.get(`${tenant.path}/usage`),
      entries: await tenant.read.get(`${tenant.path}/entries`),
      csv: await tenant.read.get(`${tenant.path}/entries`, { headers: { accept: "text/csv" } }),
      price: await tenant.read.post("/v1/price", { provider: "openai", model: "gpt-4o", usage: { input: 1 } }),
      catalog: await tenant.read.get("/v1/catalog"),
      policy: await tenant.admin.get("/v1/policy"),
      overrides: await tenant.admin.get("/v1/catalog/overrides"),
      token: await tenant.admin.post("/v1/tokens", { role: "service" }),
      ticket: await tenant.app.post(`${tenant.path}/connect/ticket`, {}),
      audit: await tenant.admin.get(`${tenant.path}/audit`),
      "no token": await tenant.app.as(undefined).get(`${tenant.path}/quotas`),
      forbidden: await tenant.read.post(reserves(), usdReserve("b", "1")),
      "no route": await tenant.read.get("/nothing"),
      "another method": await tenant.read.delete("/healthz"),
      "bad input": await tenant.app.post(reserves(), {}),
    };
    for (const [name, { headers }] of Object.entries(answers)) {
      assert.deepEqual([headers["cache-control"], headers["x-content-type-options"], headers["vary"]], ["no-store", "nosniff", "Authorization, Accept"], name);
    }
  });
});

describe("CSV", () => {
  it("has no cell that a spreadsheet takes for a formula, and numbers below zero stay numbers", async () => {
    const own = await newTenant(worker, { "=q": usdQuota("100"), "-q": usdQuota("100") });
    for (const [id, userId, touchpoint] of [
      ["=1+1", "@sum", '=HYPERLINK("http://x","y")'],
      ["+1", "-2+3", "@SUM(A1:A9)"],
      ["-1", "=cmd|'c'!A1", "+1+1"],
      ["plain", "u-7", "-1+1|cmd"],
    ] as const) {
      const call = { resource: "llm", provider: "=openai", model: "+gpt", attribution: { touchpoint } };
      expectStatus(await own.app.post(`${own.path}/records`, { id, userId, ...call, usd: "1" }), 201);
    }
    expectStatus(await own.app.post(`${own.path}/reservations`, usdReserve("late", "1", { ttlSeconds: 1 })), 201);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expectStatus(await own.app.post(`${own.path}/reservations/late/settle`, { usd: "0.25" }), 200);
    const { text } = expectStatus(await own.read.get(`${own.path}/entries?limit=1000`, { headers: { accept: "text/csv" } }), 200);
    const rows = text.trimEnd().split("\r\n").map(cellsOf);
    for (const row of rows) for (const cell of row) assert.match(cell, /^(?![=+@\t\r])(?!-(?!\d+(\.\d+)?$))/, cell);
    const column = (name: string) => rows[0]?.indexOf(name) ?? -1;
    const recorded = rows.find((row) => row[column("id")] === "'=1+1") ?? assert.fail(text);
    assert.deepEqual(["user", "provider", "model", "touchpoint"].map((name) => recorded[column(name)]), ["'@sum", "'=openai", "'+gpt", `'=HYPERLINK("http://x","y")`]);
    const corrected = rows.find((row) => row[column("type")] === "settled_late") ?? assert.fail(text);
    assert.equal(corrected[column("usd")], "-0.75");
  });

  it("leads from page to page, to the end", async () => {
    const own = await newTenant(worker, {});
    for (let i = 0; i < 10; i++) expectStatus(await own.app.post(`${own.path}/records`, { id: `r-${i}`, resource: "llm", usd: "1" }), 201);
    const whole = expectStatus(await own.read.get(`${own.path}/entries?limit=1000`, { headers: { accept: "text/csv" } }), 200);
    assert.equal(whole.headers["link"], undefined);
    let path = `${own.path}/entries?limit=3`;
    let text = "";
    for (let pages = 1; ; pages++) {
      const page = expectStatus(await own.read.get(path, { headers: { accept: "text/csv" } }), 200);
      text += text === "" ? page.text : page.text.slice(page.text.indexOf("\n") + 1);
      const [, next] = /^<([^>]+)>; rel="next"$/.exec(String(page.headers["link"] ?? "")) ?? [];
      if (next === undefined) break;
      assert.ok(pages < 20, "it does not end");
      const url = new URL(next, worker.url + path);
      path = url.pathname + url.search;
    }
    assert.equal(text, whole.text);
  });
});

/** The cells of a line (RFC 4180). */
function cellsOf(line: string): string[] {
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? "");
}

describe("a message on a connection", () => {
  it("over 1 MiB is refused before it is parsed, and the connection goes on", async () => {
    const connection = await Connection.open(worker, tenant.path, tenant.app.token ?? "");
    // Were it parsed, it would be refused as no JSON.
    for (const filling of ["[".repeat(1_048_577), "é".repeat(600_000), "x".repeat(20_000_000)]) {
      const answer = await connection.send(filling);
      assert.deepEqual([answer.status, answer.body.code], [413, "body_too_large"]);
    }
    assert.equal((await connection.ask([])).status, 200);
    connection.socket.close();
  });

  it("over what the runtime takes ends the connection, and nothing else", async () => {
    const connection = await Connection.open(worker, tenant.path, tenant.app.token ?? "");
    const unanswered = assert.rejects(connection.send("x".repeat(40_000_000)));
    await connection.closed;
    await unanswered;
    expectStatus(await tenant.read.get(`${tenant.path}/quotas`), 200);
  });

  it("over 1 MiB without a number, or in bytes, closes it", async () => {
    for (const message of ["x".repeat(2_000_000), new Uint8Array(2_000_000)]) {
      const connection = await Connection.open(worker, tenant.path, tenant.app.token ?? "");
      connection.socket.send(message);
      assert.equal(await connection.closed, 4002);
    }
  });
});
