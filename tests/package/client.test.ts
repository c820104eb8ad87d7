// The client against a server that misbehaves: what it sends again, what it gives up, and what it tells the caller.
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import {
  createClient,
  createLocal,
  IdempotencyConflictError,
  InvalidRequestError,
  NotFoundError,
  QuotaExceededError,
  ReservationClosedError,
  TollgateError,
  TooManyHoldsError,
  UnauthorizedError,
  UnavailableError,
  UnpricedError,
  type ClientOptions,
  type ReserveRequest,
  type Tollgate,
  type Warning,
} from "tollgate";
import { problem, UnrulyServer, type Result } from "../support/unruly-server.ts";

let server: UnrulyServer;
let warnings: Warning[];

beforeEach(async () => {
  server = await UnrulyServer.start();
  warnings = [];
});
afterEach(() => server.stop());

function client(options: Partial<ClientOptions> = {}): Tollgate {
  return createClient({
    url: server.url,
    token: "token-1",
    tenant: "acme",
    onUnavailable: "deny",
    onWarning: (warning) => warnings.push(warning),
    ...options,
  });
}

const dollar = (id: string): ReserveRequest => ({ id, resource: "llm", estimate: { usd: "1" } });
const ids = (index: number) => server.seen[index]?.commands.map((command) => command.id);

describe("what goes together", () => {
  it("sends what is asked in one tick as one batch, in order, and gives each its own answer", async () => {
    const tollgate = client();
    const reservations = await Promise.all(Array.from({ length: 100 }, (_, i) => tollgate.reserve(dollar(`r-${i}`))));
    assert.equal(server.seen.length, 1);
    assert.deepEqual(ids(0), Array.from({ length: 100 }, (_, i) => `r-${i}`));
    assert.deepEqual(
      reservations.map((reservation) => reservation.id),
      Array.from({ length: 100 }, (_, i) => `r-${i}`),
    );
    const [request] = server.seen;
    assert.equal(request?.method, "POST");
    assert.equal(request?.path, "/v1/tenants/acme/batch");
    assert.equal(request?.headers.authorization, "Bearer token-1");
  });

  it("makes ids that begin with the time: UUIDs of version 7", async () => {
    const tollgate = client();
    const before = Date.now();
    const made = await Promise.all(Array.from({ length: 50 }, () => tollgate.reserve({ resource: "llm", estimate: { usd: "1" } })));
    const found = made.map(({ id }) => /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.exec(id) ?? assert.fail(id));
    for (const [, high = "", low = ""] of found) {
      const time = Number.parseInt(high + low, 16);
      assert.ok(before <= time && time <= Date.now(), `${time}`);
    }
    assert.equal(new Set(found.map(([id]) => id)).size, 50);
  });

  it("gathers what is asked while batches are under way, and never has more under way than it may", async () => {
    const tollgate = client({ maxInFlight: 2 });
    server.next({ kind: "slow", ms: 300 }, { kind: "slow", ms: 300 });
    const asked: Promise<unknown>[] = [];
    for (let i = 0; i < 20; i++) {
      asked.push(tollgate.reserve(dollar(`r-${i}`)));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await Promise.all(asked);
    assert.equal(server.mostOpen, 2);
    assert.deepEqual(ids(0), ["r-0"]);
    assert.deepEqual(ids(1), ["r-1"]);
    // The rest went when the first two came back: in one batch, or in two when a late one missed it.
    assert.ok(server.seen.length <= 4, `${server.seen.length} requests`);
    assert.deepEqual(
      server.seen.flatMap((request) => request.commands.map((command) => command.id)),
      Array.from({ length: 20 }, (_, i) => `r-${i}`),
    );
  });

  it("puts at most 500 commands into a batch", async () => {
    const tollgate = client();
    await Promise.all(Array.from({ length: 1201 }, (_, i) => tollgate.reserve(dollar(`r-${i}`))));
    assert.deepEqual(
      server.seen.map((request) => request.commands.length).sort((a, b) => b - a),
      [500, 500, 201],
    );
  });

  it("keeps every body under 1 MiB", async () => {
    const tollgate = client();
    const payload = { format: "openai.chat" as const, body: { text: "é".repeat(150_000) } };
    await Promise.all(Array.from({ length: 7 }, (_, i) => tollgate.settle(`r-${i}`, { payload })));
    assert.deepEqual(
      server.seen.map((request) => request.commands.length).sort(),
      [1, 3, 3],
    );
    for (const { text } of server.seen) assert.ok(Buffer.byteLength(text) <= 1_048_576);
  });

  it("sends a request as it was when it was asked", async () => {
    const tollgate = client();
    server.next({ kind: "drop" });
    const request = { ...dollar("r-1"), attribution: { touchpoint: "main-chat" } };
    const asked = tollgate.reserve(request);
    request.attribution.touchpoint = "changed";
    await asked;
    assert.equal(server.seen.length, 2);
    assert.equal(server.seen[1]?.text, server.seen[0]?.text);
    assert.match(server.seen[1]?.text ?? "", /main-chat/);
  });

  it("makes up an id where none was given, the same for every attempt", async () => {
    const tollgate = client();
    server.next({ kind: "drop-after-commit" });
    const reservation = await tollgate.reserve({ resource: "llm", estimate: { usd: "1" } });
    assert.match(reservation.id, /^[0-9a-f-]{36}$/);
    assert.deepEqual(ids(0), [reservation.id]);
    assert.deepEqual(ids(1), [reservation.id]);
  });
});

describe("what is tried again", () => {
  it("a batch whose connection broke after the commit: same ids, one effect", async () => {
    const tollgate = client();
    server.next({ kind: "drop-after-commit" }, { kind: "drop-after-commit" });
    const [first, second] = await Promise.all([tollgate.reserve(dollar("a")), tollgate.reserve(dollar("b"))]);
    assert.deepEqual([first.id, second.id], ["a", "b"]);
    assert.equal(first.replayed, true);
    assert.equal(server.seen.length, 3);
    assert.equal(new Set(server.seen.map((request) => request.text)).size, 1);
    assert.deepEqual(
      server.committed.map((command) => command.id),
      ["a", "b"],
    );
  });

  it("a batch without an answer in time", async () => {
    const tollgate = client({ timeoutMs: 150 });
    server.next({ kind: "hang" });
    const reservation = await tollgate.reserve(dollar("a"));
    assert.equal(reservation.state, "held");
    assert.equal(server.seen.length, 2);
  });

  it("an extension, with the extension's own id", async () => {
    const tollgate = client();
    server.next({ kind: "drop-after-commit" });
    await tollgate.extend("a", { ttlSeconds: 60 });
    const sent = server.seen.map((request) => request.commands[0]?.["extend"]);
    assert.equal(sent.length, 2);
    assert.deepEqual(sent[0], sent[1]);
    assert.match(String((sent[0] as { id: string }).id), /^[0-9a-f-]{36}$/);
  });

  it("503, not before its Retry-After", async () => {
    const tollgate = client();
    server.next({ kind: "answer", status: 503, body: problem(503, "unavailable"), headers: { "Retry-After": "1" } });
    await tollgate.reserve(dollar("a"));
    const [first, second] = server.seen;
    assert.ok(first && second && second.at - first.at >= 990, "it came back too early");
  });

  it("503 with a date in its Retry-After", async () => {
    const tollgate = client();
    const date = new Date(Date.now() + 2000).toUTCString();
    server.next({ kind: "answer", status: 503, body: problem(503, "unavailable"), headers: { "Retry-After": date } });
    const asked = Date.now();
    await tollgate.reserve(dollar("a"));
    // The date has no milliseconds.
    assert.ok(Date.now() >= Date.parse(date) - 50 && Date.now() - asked > 900, "it came back too early");
  });

  it("not 503 with a Retry-After longer than anybody waits: that fails at once and says how long", async () => {
    const tollgate = client();
    server.next({ kind: "answer", status: 503, body: problem(503, "unavailable"), headers: { "Retry-After": "120" } });
    await assert.rejects(tollgate.reserve(dollar("a")), (error) => {
      assert.ok(error instanceof UnavailableError);
      assert.equal(error.retryAfterSeconds, 120);
      return true;
    });
    assert.equal(server.seen.length, 1);
  });

  it("500, 502 from a proxy, a page instead of JSON, an answer with too few results", async () => {
    const tollgate = client({ retries: 4 });
    server.next(
      { kind: "answer", status: 500, body: problem(500, "internal") },
      { kind: "answer", status: 502, body: "<h1>Bad gateway</h1>" },
      { kind: "answer", status: 200, body: "<h1>Hello</h1>" },
      { kind: "answer", status: 200, body: { results: [] } },
    );
    await tollgate.reserve(dollar("a"));
    assert.equal(server.seen.length, 5);
  });

  it("only the commands that failed, when the others have their answers", async () => {
    const tollgate = client();
    const busy: Result = { status: 503, body: problem(503, "unavailable") };
    const denied: Result = { status: 429, body: problem(429, "quota_exceeded", { denial: { quota: null } }) };
    server.next({ kind: "results", results: { b: busy, c: denied, d: { status: 500, body: problem(500, "internal") } } });
    const outcomes = await Promise.allSettled(["a", "b", "c", "d"].map((id) => tollgate.reserve(dollar(id))));
    assert.deepEqual(
      outcomes.map((outcome) => outcome.status),
      ["fulfilled", "fulfilled", "rejected", "fulfilled"],
    );
    assert.deepEqual(ids(0), ["a", "b", "c", "d"]);
    assert.deepEqual(ids(1), ["b", "d"]);
  });

  it("reads, too", async () => {
    const tollgate = client();
    server.next({ kind: "drop" }, { kind: "answer", status: 200, body: { quotas: [] } });
    assert.deepEqual(await tollgate.quotas(), []);
    assert.equal(server.seen.length, 2);
  });

  it("a failed batch does not hold up what is asked meanwhile", async () => {
    const tollgate = client({ maxInFlight: 1 });
    server.next({ kind: "answer", status: 503, body: problem(503, "unavailable"), headers: { "Retry-After": "1" } });
    const order: string[] = [];
    const slow = tollgate.reserve(dollar("slow")).then(() => order.push("slow"));
    await new Promise((resolve) => setTimeout(resolve, 100));
    await tollgate.reserve(dollar("quick")).then(() => order.push("quick"));
    await slow;
    assert.deepEqual(order, ["quick", "slow"]);
  });
});

describe("a batch's answer", () => {
  const state = (id: string, spent: string) => ({ id, limit: "10", spent, held: "0", warned: [], periodStart: "2026-11-01T00:00:00.000Z" });
  const recorded = (id: string, quotas: unknown[], more: Record<string, unknown> = {}) => ({
    status: 201,
    body: { id, state: "recorded", charge: { usd: "1", lines: [], flags: [] }, quotas, ...more },
  });
  const record = (tollgate: Tollgate, id: string) => tollgate.record({ id, resource: "llm", usd: "1" });

  it("says once how quotas stand, and whoever asked sees them in every answer", async () => {
    const tollgate = client();
    const old = { ...state("q", "9"), periodStart: "2026-10-01T00:00:00.000Z" };
    const denial = { quota: "q", quotas: [{ id: "q", resetsAt: null }] };
    const results = [
      recorded("a", ["p", "q"]),
      recorded("b", [old, "q"]),
      recorded("c", ["p", "not-said"], { moreQuotas: 7 }),
      { status: 429, body: problem(429, "quota_exceeded", { denial }) },
      { status: 200, body: { allowed: true, estimate: { usd: "1" }, quotas: [{ id: "q", fits: false, resetsAt: null }] } },
    ];
    server.next({ kind: "answer", status: 200, body: { results, quotas: [state("p", "1"), { ...state("q", "2"), warned: ["0.8"] }] } });
    const [a, b, c, denied, explained] = await Promise.allSettled([
      record(tollgate, "a"),
      record(tollgate, "b"),
      record(tollgate, "c"),
      record(tollgate, "d"),
      tollgate.explain(dollar("e")),
    ]);
    const value = <T>(settled: PromiseSettledResult<T>): T => (settled.status === "fulfilled" ? settled.value : assert.fail(String(settled.reason)));
    const q = { ...state("q", "2"), warned: ["0.8"] };
    assert.deepEqual(value(a).quotas, [state("p", "1"), q]);
    assert.deepEqual(value(b).quotas, [old, q]);
    assert.deepEqual([value(c).quotas, value(c).moreQuotas], [[state("p", "1")], 8]);
    assert.deepEqual(value(explained).quotas, [{ ...q, fits: false, resetsAt: null }]);
    assert.ok(denied.status === "rejected" && denied.reason instanceof QuotaExceededError);
    assert.deepEqual(denied.reason.denial.quotas, [{ ...q, resetsAt: null }]);
    // Nobody shares what they were given.
    assert.notEqual(value(a).quotas[1], value(b).quotas[1]);
    assert.deepEqual(warnings.map((warning) => warning.type === "quota_threshold" && warning.threshold), ["0.8"]);
  });

  it("leaves out what is too much at once: that goes first next time, and has had no attempt", async () => {
    const tollgate = client({ retries: 0, maxInFlight: 1 });
    const busy: Result = { status: 503, body: problem(503, "unavailable") };
    const part = (done: string[], left: string[]) =>
      ({ kind: "answer", status: 200, body: { results: [...done.map((id) => recorded(id, [])), ...left.map(() => busy)], quotas: [], leftOut: left.length } }) as const;
    server.next(part(["a"], ["b", "c", "d"]), part(["b"], ["c", "d"]), part(["c"], ["d"]));
    await Promise.all(["a", "b", "c", "d"].map((id) => record(tollgate, id)));
    assert.deepEqual([ids(0), ids(1), ids(2), ids(3)], [["a", "b", "c", "d"], ["b", "c", "d"], ["c", "d"], ["d"]]);
  });

  it("that does nothing at all is a failure like any other", async () => {
    const tollgate = client({ retries: 0 });
    const busy: Result = { status: 503, body: problem(503, "unavailable") };
    server.next({ kind: "answer", status: 200, body: { results: [busy], quotas: [], leftOut: 1 } });
    await assert.rejects(record(tollgate, "a"), UnavailableError);
    assert.equal(server.seen.length, 1);
  });
});

describe("what is not tried again", () => {
  it("a batch that is refused as a whole: every caller gets the right error", async () => {
    const tollgate = client();
    server.next({ kind: "answer", status: 401, body: problem(401, "unauthorized") });
    const outcomes = await Promise.allSettled([tollgate.reserve(dollar("a")), tollgate.release("b")]);
    assert.equal(server.seen.length, 1);
    const errors = outcomes.map((outcome) => (outcome.status === "rejected" ? outcome.reason : undefined));
    for (const error of errors) {
      assert.ok(error instanceof UnauthorizedError);
      assert.equal(error.code, "unauthorized");
      assert.equal(error.status, 401);
    }
    assert.notEqual(errors[0], errors[1]);
  });

  it("a refusal that does not come from Tollgate", async () => {
    const tollgate = client({ onUnavailable: "allow" });
    server.next({ kind: "answer", status: 404, body: "<h1>Not found</h1>" });
    await assert.rejects(tollgate.reserve(dollar("a")), (error) => {
      assert.ok(error instanceof TollgateError && !(error instanceof UnavailableError));
      assert.equal(error.code, "unexpected_answer");
      return true;
    });
    assert.equal(server.seen.length, 1);
  });

  const cases: [number, string, new (...args: never[]) => TollgateError][] = [
    [400, "invalid_request", InvalidRequestError],
    [404, "tenant_not_found", NotFoundError],
    [404, "reservation_not_found", NotFoundError],
    [409, "idempotency_conflict", IdempotencyConflictError],
    [409, "already_settled", ReservationClosedError],
    [409, "already_released", ReservationClosedError],
    [409, "already_expired", ReservationClosedError],
    [413, "body_too_large", InvalidRequestError],
    [422, "unpriced", UnpricedError],
    [422, "invalid_payload", InvalidRequestError],
    [429, "too_many_holds", TooManyHoldsError],
  ];
  for (const [status, code, type] of cases) {
    it(`a command answered ${status} ${code}: ${type.name}`, async () => {
      server.next({ kind: "results", results: { a: { status, body: problem(status, code, { field: "f" }) } } });
      await assert.rejects(client().settle("a", { usd: "1" }), (error) => {
        assert.ok(error instanceof type && error instanceof TollgateError && error instanceof Error);
        assert.equal(error.name, type.name);
        assert.equal(error.code, code);
        assert.equal(error.status, status);
        assert.equal(error.field, "f");
        assert.equal(error.detail, `made up: ${code}`);
        return true;
      });
      assert.equal(server.seen.length, 1);
    });
  }

  it("a denial: QuotaExceededError, ready to be answered", async () => {
    const denial = {
      quota: "tenant-llm-month",
      limit: "50",
      spent: "45",
      held: "0",
      remaining: "5.0000019",
      requested: "45",
      periodEnd: "2026-12-01T00:00:00.000Z",
      retryAfterSeconds: 543210,
      affordable: { usd: "5", maxOutputTokens: 312 },
      quotas: [
        { id: "tenant-llm-month", unit: "usd", limit: "50", remaining: "5.0000019", periodStart: "2026-11-01T00:00:00.000Z", periodEnd: "2026-12-01T00:00:00.000Z" },
        { id: "u-7-hour", unit: "tokens", limit: "5000", remaining: "12", periodStart: "2026-11-24T17:00:00.000Z", periodEnd: "2026-11-24T18:00:00.000Z" },
        { id: "u-7-life", unit: "usd", limit: "1000000000", remaining: "0", periodStart: null, periodEnd: null },
      ],
    };
    const body = problem(429, "quota_exceeded", { denial });
    server.next({ kind: "results", results: { a: { status: 429, body } } });
    const error = await client()
      .reserve(dollar("a"))
      .then(
        () => assert.fail("it was not denied"),
        (reason: unknown) => reason,
      );
    assert.ok(error instanceof QuotaExceededError);
    assert.deepEqual(error.denial, denial);
    assert.equal(error.retryAfterSeconds, 543210);
    const response = error.toResponse();
    assert.equal(response.status, 429);
    assert.equal(response.headers.get("content-type"), "application/problem+json");
    assert.equal(response.headers.get("retry-after"), "543210");
    assert.equal(response.headers.get("ratelimit-policy"), '"tenant-llm-month";q=50000000;qu="micro-usd";w=2592000, "u-7-hour";q=5000;qu="tokens";w=3600, "u-7-life";q=999999999999999;qu="micro-usd"');
    assert.equal(response.headers.get("ratelimit"), '"tenant-llm-month";r=5000001;t=543210, "u-7-hour";r=12;t=3210, "u-7-life";r=0');
    assert.deepEqual(await response.json(), body);
  });

  it("a denial that waiting does not help: no Retry-After", async () => {
    const denial = { quota: "life", limit: "1", remaining: "1", requested: "2", periodEnd: null, retryAfterSeconds: null };
    const quotas = [{ id: "life", unit: "usd", limit: "1", remaining: "1", periodStart: null, periodEnd: null }];
    server.next({ kind: "results", results: { a: { status: 429, body: problem(429, "quota_exceeded", { denial: { ...denial, quotas } }) } } });
    await assert.rejects(client().reserve(dollar("a")), (error) => {
      assert.ok(error instanceof QuotaExceededError);
      assert.equal(error.retryAfterSeconds, undefined);
      const { headers } = error.toResponse();
      assert.deepEqual([headers.get("retry-after"), headers.get("ratelimit")], [null, '"life";r=1000000']);
      return true;
    });
  });

  it("a reserve whose id was used for a hold that has ended: the call must not be made", async () => {
    const ended = { status: 201, body: { id: "a", state: "settled", replayed: true, quotas: [] } };
    server.next({ kind: "results", results: { a: ended } });
    await assert.rejects(client().reserve(dollar("a")), (error) => {
      assert.ok(error instanceof ReservationClosedError);
      assert.equal(error.code, "already_settled");
      return true;
    });
  });
});

describe("when Tollgate is gone", () => {
  const outage = { kind: "answer", status: 503, body: problem(503, "unavailable") } as const;
  const missing = (id: string) => ({ kind: "results" as const, results: { [id]: { status: 404, body: problem(404, "reservation_not_found") } } });
  const chat: ReserveRequest = {
    id: "a",
    userId: "u-7",
    resource: "llm",
    provider: "openai",
    model: "gpt-4o",
    estimate: { inputTokens: 10, maxOutputTokens: 20 },
    attribution: { touchpoint: "main-chat" },
  };

  it("deny: UnavailableError after the retries, each with the same id", async () => {
    server.next(outage, outage, outage);
    await assert.rejects(client({ retries: 2 }).reserve(dollar("a")), (error) => {
      assert.ok(error instanceof UnavailableError);
      assert.equal(error.code, "unavailable");
      return true;
    });
    assert.equal(server.seen.length, 3);
    assert.deepEqual(warnings, []);
  });

  it("deny: a server that is not there at all says why", async () => {
    const tollgate = client({ retries: 0 });
    await server.stop();
    await assert.rejects(tollgate.reserve(dollar("a")), (error) => {
      assert.ok(error instanceof UnavailableError);
      assert.match(error.message, /no connection/);
      assert.ok(error.cause instanceof Error);
      return true;
    });
    server = await UnrulyServer.start();
  });

  it("allow: the reserve passes unverified, and says so", async () => {
    server.next(outage);
    const reservation = await client({ retries: 0, onUnavailable: "allow" }).reserve(chat);
    assert.equal(reservation.unverified, true);
    assert.equal(reservation.state, "held");
    assert.deepEqual(reservation.held, { usd: "0" });
    assert.deepEqual(
      warnings.map((warning) => [warning.type, "id" in warning && warning.id]),
      [["unverified", "a"]],
    );
  });

  it("allow: a denial still denies", async () => {
    const denied = { status: 429, body: problem(429, "quota_exceeded", { denial: { quota: null } }) };
    server.next({ kind: "results", results: { a: denied } });
    await assert.rejects(client({ onUnavailable: "allow" }).reserve(chat), QuotaExceededError);
  });

  it("allow: settling first takes the hold for granted", async () => {
    server.next(outage);
    const reservation = await client({ retries: 0, onUnavailable: "allow" }).reserve(chat);
    const settlement = await reservation.settle({ usage: { input: 10, output: 5 } });
    assert.equal(settlement.state, "settled");
    assert.deepEqual(server.committed, [{ op: "settle", id: "a", usage: { input: 10, output: 5 } }]);
  });

  it("allow: and when there is none, records the actual under the same id with the request's attribution", async () => {
    server.next(outage, missing("a"));
    const reservation = await client({ retries: 0, onUnavailable: "allow" }).reserve(chat);
    const settlement = await reservation.settle({ usage: { input: 10, output: 5 } });
    assert.equal(settlement.state, "recorded");
    assert.equal(settlement.charge.usd, "1");
    assert.deepEqual(server.committed, [
      {
        op: "record",
        id: "a",
        mode: "always",
        userId: "u-7",
        resource: "llm",
        provider: "openai",
        model: "gpt-4o",
        attribution: { touchpoint: "main-chat" },
        usage: { input: 10, output: 5 },
      },
    ]);
  });

  it("allow: a sandbox is recorded with the size that was to be reserved", async () => {
    server.next(outage, missing("s"));
    const reservation = await client({ retries: 0, onUnavailable: "allow" }).reserve({
      id: "s",
      resource: "e2b",
      estimate: { sandbox: { tier: "standard", vcpus: 2, memoryGib: "0.5", seconds: 300 } },
    });
    await reservation.settle({ sandbox: { seconds: 141.2 } });
    assert.deepEqual(server.committed, [
      { op: "record", id: "s", mode: "always", resource: "e2b", sandbox: { tier: "standard", vcpus: 2, memoryGib: "0.5", seconds: 141.2 } },
    ]);
  });

  it("allow: processing mode and region go with the record", async () => {
    server.next(outage, missing("a"));
    const reservation = await client({ retries: 0, onUnavailable: "allow" }).reserve({ ...chat, mode: "batch", region: "us" });
    await reservation.settle({ usage: { input: 10 } });
    const [command] = server.committed;
    assert.ok(command);
    const { op, mode, processing, region } = command as Record<string, unknown>;
    assert.deepEqual({ op, mode, processing, region }, { op: "record", mode: "always", processing: "batch", region: "us" });
  });

  it("allow: releasing what was never held is fine", async () => {
    server.next(outage, missing("a"));
    const reservation = await client({ retries: 0, onUnavailable: "allow" }).reserve(chat);
    assert.equal((await reservation.release()).state, "released");
  });

  it("allow: extending what was never held reserves it", async () => {
    server.next(outage, missing("a"));
    const reservation = await client({ retries: 0, onUnavailable: "allow" }).reserve(chat);
    const extension = await reservation.extend({ ttlSeconds: 900 });
    assert.equal(extension.held.usd, "1");
    assert.deepEqual(server.committed, [{ ...chat, op: "reserve", ttlSeconds: 900 }]);
  });

  it("allow: withReservation charges the estimate of an unverified hold, and never nothing", async () => {
    server.next(outage, { kind: "slow", ms: 0 }, missing("a"));
    const result = await client({ retries: 0, onUnavailable: "allow" }).withReservation(chat, () => "done");
    assert.equal(result, "done");
    assert.deepEqual(
      server.committed.map((command) => [command.op, command["usd"]]),
      [
        ["explain", undefined],
        ["record", "1"],
      ],
    );
  });

  it("allow: withReservation hands over the result when its close cannot be delivered, and warns", async () => {
    server.next(outage, outage);
    const tollgate = client({ retries: 0, onUnavailable: "allow" });
    const result = await tollgate.withReservation(dollar("a"), () => "done");
    assert.equal(result, "done");
    assert.deepEqual(
      warnings.map((warning) => warning.type),
      ["unverified", "not_closed"],
    );
  });

  it("deny: withReservation throws when its close cannot be delivered", async () => {
    server.next({ kind: "slow", ms: 0 }, outage);
    await assert.rejects(client({ retries: 0 }).withReservation(dollar("a"), () => "done"), UnavailableError);
  });
});

describe("warnings", () => {
  const crossed = (id: string, warned: string[], periodStart = "2026-11-01T00:00:00.000Z") => ({
    status: 201,
    body: {
      id,
      state: "recorded",
      charge: { usd: "1", lines: [], flags: [] },
      quotas: [{ id: "q", limit: "10", spent: "9", held: "0", warned, periodStart }],
    },
  });
  const record = (tollgate: Tollgate, id: string) => tollgate.record({ id, resource: "llm", usd: "1" });

  it("tells of each threshold once in a period", async () => {
    const tollgate = client();
    const results = [crossed("1", []), crossed("2", ["0.8"]), crossed("3", ["0.8"]), crossed("4", ["0.8", "1"]), crossed("5", ["0.8"], "2026-12-01T00:00:00.000Z")];
    for (const result of results) {
      server.next({ kind: "results", results: { [result.body.id]: result } });
      await record(tollgate, result.body.id);
    }
    assert.deepEqual(
      warnings.map((warning) => warning.type === "quota_threshold" && [warning.threshold, warning.quota.periodStart]),
      [
        ["0.8", "2026-11-01T00:00:00.000Z"],
        ["1", "2026-11-01T00:00:00.000Z"],
        ["0.8", "2026-12-01T00:00:00.000Z"],
      ],
    );
  });

  it("a handler that throws breaks nothing", async (context) => {
    const logged = context.mock.method(console, "error", () => undefined);
    const tollgate = client({
      onWarning: () => {
        throw new Error("the handler's");
      },
    });
    server.next({ kind: "results", results: { "1": crossed("1", ["0.8"]) } });
    assert.equal((await record(tollgate, "1")).state, "recorded");
    assert.equal(logged.mock.callCount(), 1);
  });
});

describe("options", () => {
  const good = { url: "https://tollgate.example.com", token: "t", tenant: "acme", onUnavailable: "deny" } as const;
  const bad: [string, Record<string, unknown>][] = [
    ["url", { url: "tollgate.example.com" }],
    ["url", { url: "file:///etc/hosts" }],
    ["url", { url: "https://tollgate.example.com/?tenant=acme" }],
    ["token", { token: "" }],
    ["token", { token: undefined }],
    ["tenant", { tenant: "" }],
    ["onUnavailable", { onUnavailable: undefined }],
    ["onUnavailable", { onUnavailable: "maybe" }],
    ["timeoutMs", { timeoutMs: 0 }],
    ["timeoutMs", { timeoutMs: 1.5 }],
    ["retries", { retries: -1 }],
    ["maxInFlight", { maxInFlight: 0 }],
  ];
  for (const [field, wrong] of bad) {
    it(`${JSON.stringify(wrong)} is refused at the first call, which names ${field}`, async () => {
      const tollgate = createClient({ ...good, ...wrong } as ClientOptions);
      for (const call of [() => tollgate.reserve(dollar("a")), () => tollgate.quotas(), () => tollgate.settle("a", { usd: "1" })]) {
        await assert.rejects(call, (error) => error instanceof InvalidRequestError && error.field === field);
      }
    });
  }

  it("a path in the URL is kept, a tenant's name is escaped", async () => {
    await client({ url: `${server.url}/billing/`, tenant: "a b" }).reserve(dollar("a"));
    assert.equal(server.seen[0]?.path, "/billing/v1/tenants/a%20b/batch");
  });

  it("reads go where the wire says", async () => {
    const tollgate = client();
    const answer = { kind: "answer", status: 200, body: { quotas: [] } } as const;
    server.next(answer, answer, answer, answer);
    await tollgate.quotas();
    await tollgate.reservation("r 1");
    await tollgate.usage({ groupBy: ["model", "touchpoint"], from: new Date("2026-11-01T00:00:00Z"), to: "2026-12-01T00:00:00Z" });
    await tollgate.usage();
    assert.deepEqual(
      server.seen.map((request) => `${request.method} ${request.path}`),
      [
        "GET /v1/tenants/acme/quotas",
        "GET /v1/tenants/acme/reservations/r%201",
        "GET /v1/tenants/acme/usage?groupBy=model%2Ctouchpoint&from=2026-11-01T00%3A00%3A00.000Z&to=2026-12-01T00%3A00%3A00Z",
        "GET /v1/tenants/acme/usage",
      ],
    );
  });

  it("quotas come page by page, and one by itself", async () => {
    const tollgate = client();
    const page = (quotas: string[], next: string | null) => ({ kind: "answer", status: 200, body: { quotas: quotas.map((id) => ({ id })), next } }) as const;
    server.next(page(["a", "b 1"], "b 1"), page(["c"], null), { kind: "answer", status: 200, body: { id: "c 1" } });
    assert.deepEqual((await tollgate.quotas()).map(({ id }) => id), ["a", "b 1", "c"]);
    assert.equal((await tollgate.quota("c 1")).id, "c 1");
    assert.deepEqual(
      server.seen.map((request) => `${request.method} ${request.path}`),
      ["GET /v1/tenants/acme/quotas", "GET /v1/tenants/acme/quotas?after=b%201&limit=1000", "GET /v1/tenants/acme/quotas/c%201"],
    );
  });

  it("so do those of an in-process ledger, where they are too much for one answer", async () => {
    const name = (index: number) => `${String(index).padStart(4, "0")}-${"n".repeat(123)}`;
    const quota = (index: number) =>
      ({ scope: "user", scopeId: name(index), resource: "all", unit: "usd", limit: "1", period: "month", filter: { provider: '"'.repeat(128), model: '"'.repeat(128), touchpoint: '"'.repeat(128) } }) as const;
    const local = createLocal({ quotas: Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [name(index), quota(index)])) });
    const quotas = await local.quotas();
    assert.deepEqual(quotas.map(({ id }) => id), Array.from({ length: 1000 }, (_, index) => name(index)));
    assert.ok(Buffer.byteLength(JSON.stringify(quotas)) > 1 << 20);
    assert.deepEqual(await local.quota(name(7)), quotas[7]);
    await assert.rejects(local.quota("nothing"), NotFoundError);
  });

  it("uses the fetch that it is given", async () => {
    const called: string[] = [];
    const tollgate = client({
      fetch: (input, init) => {
        called.push(String(input));
        return fetch(input, init);
      },
    });
    await tollgate.release("a");
    assert.deepEqual(called, [`${server.url}/v1/tenants/acme/batch`]);
  });
});
