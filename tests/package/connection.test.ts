// How the client's batches travel: over a WebSocket while there are many, by HTTP otherwise, and by HTTP whenever a WebSocket fails. Against the real Worker.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createClient, InvalidRequestError, type ClientOptions, type Tollgate } from "tollgate";
import { assertPartial } from "../support/partial.ts";
import { expectStatus, newTenant, quotaOf, usdQuota, type Tenant } from "../support/http.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

const { fetch: plainFetch, WebSocket: PlainWebSocket } = globalThis;

let worker: TestWorker;
let tenant: Tenant;
/** Batches that went by HTTP. */
let posts = 0;
/** Tickets that were asked for. */
let tickets = 0;

before(async () => {
  worker = await startWorker();
  globalThis.fetch = (input, init) => {
    if (String(input).endsWith("/batch")) posts++;
    if (String(input).endsWith("/ticket")) tickets++;
    return plainFetch(input, init);
  };
});
after(async () => {
  globalThis.fetch = plainFetch;
  await worker?.stop();
});
beforeEach(async () => {
  tenant = await newTenant(worker, { q: usdQuota("1000") });
  posts = tickets = 0;
  Watched.opened = [];
  Watched.protocols = [];
  Watched.sent = 0;
});
afterEach(() => {
  globalThis.WebSocket = PlainWebSocket;
});

/** A WebSocket that is counted. */
class Watched extends PlainWebSocket {
  static opened: Watched[] = [];
  static protocols: unknown[] = [];
  static sent = 0;

  constructor(url: string | URL, protocols?: string | string[]) {
    super(url, protocols);
    Watched.opened.push(this);
    Watched.protocols.push(protocols);
  }

  override send(data: string): void {
    Watched.sent++;
    super.send(data);
  }
}

function client(options: Partial<ClientOptions> = {}): Tollgate {
  return createClient({ url: worker.url, token: tenant.app.token ?? "", tenant: tenant.id, onUnavailable: "deny", ...options });
}

/** So many lifecycles of $0.5, one after another. */
async function spend(tollgate: Tollgate, lifecycles: number): Promise<void> {
  for (let i = 0; i < lifecycles; i++) {
    const reservation = await tollgate.reserve({ resource: "llm", estimate: { usd: "1" } });
    assert.equal(reservation.replayed, undefined);
    assert.equal((await reservation.settle({ usd: "0.5" })).charge.usd, "0.5");
  }
}

async function expectSpent(usd: string): Promise<void> {
  assertPartial(await quotaOf(tenant, "q"), { spent: usd, held: "0" });
  assert.equal(expectStatus(await tenant.admin.get(`${tenant.path}/audit`), 200).body.clean, true);
}

describe("batches", () => {
  it("go over one WebSocket while there are many, which is closed when there are no more", async () => {
    globalThis.WebSocket = Watched as typeof WebSocket;
    await spend(client(), 50);
    assert.equal(Watched.opened.length, 1);
    assert.ok(Watched.sent > 70, `${Watched.sent} of 100 went over it`);
    assert.equal(posts + Watched.sent, 100);
    await expectSpent("25");
    const [socket] = Watched.opened;
    assert.equal(socket?.protocol, "tollgate.v1");
    // What is seen in a trace of the handshake is of no use to anybody.
    assert.deepEqual([tickets, Watched.protocols.length], [1, 1]);
    assert.match(String(Watched.protocols[0]), /^tollgate\.v1,tollgate\.ticket\.[\w.-]+$/);
    assert.ok(!String(Watched.protocols[0]).includes(tenant.app.token ?? ""));
    if (socket?.readyState !== PlainWebSocket.CLOSED) await once(socket as WebSocket, "close");
  });

  it("go over another WebSocket before the Worker ends the first", async (context) => {
    globalThis.WebSocket = Watched as typeof WebSocket;
    const tollgate = client();
    await spend(tollgate, 20);
    assert.equal(Watched.opened.length, 1);
    // The client's own clock alone: for the Worker, no time has passed.
    context.mock.timers.enable({ apis: ["Date"], now: Date.now() + 46_000 });
    await spend(tollgate, 20);
    assert.equal(Watched.opened.length, 2);
    const [first, second] = Watched.opened;
    assert.ok(first !== undefined && first.readyState >= PlainWebSocket.CLOSING, "the first was let go of");
    assert.equal(second?.readyState, PlainWebSocket.OPEN);
    assert.equal(posts + Watched.sent, 80);
    await expectSpent("20");
  });

  it("go by HTTP while there are few", async () => {
    globalThis.WebSocket = Watched as typeof WebSocket;
    await spend(client(), 2);
    await pause(1100);
    await spend(client(), 1);
    assert.deepEqual([Watched.opened.length, posts], [0, 6]);
  });

  it("go by HTTP where that is asked for, where fetch is given, and where there is no WebSocket", async () => {
    globalThis.WebSocket = Watched as typeof WebSocket;
    await spend(client({ transport: "http" }), 10);
    await spend(client({ fetch: (input, init) => globalThis.fetch(input, init) }), 10);
    Reflect.deleteProperty(globalThis, "WebSocket");
    await spend(client(), 10);
    assert.deepEqual([Watched.opened.length, posts], [0, 60]);
    await expectSpent("15");
    await assert.rejects(
      client({ transport: "websocket" as "auto" }).quotas(),
      (error) => error instanceof InvalidRequestError && error.field === "transport",
    );
  });

  it("do not keep a process alive that has nothing else to do", async () => {
    const script = `
      import { createClient } from "tollgate";
      const tollgate = createClient({ url: ${JSON.stringify(worker.url)}, token: ${JSON.stringify(tenant.app.token)}, tenant: ${JSON.stringify(tenant.id)}, onUnavailable: "deny" });
      for (let i = 0; i < 20; i++) await (await tollgate.reserve({ resource: "llm", estimate: { usd: "1" } })).release();
      console.log("done");
    `;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], { cwd: import.meta.dirname, stdio: ["ignore", "pipe", "inherit"] });
    const [done] = await once(child.stdout, "data");
    assert.equal(String(done).trim(), "done");
    assert.deepEqual(await once(child, "exit"), [0, null]);
  });
});

describe("a WebSocket that fails costs nothing but time", () => {
  /** What can go wrong at a message. */
  const faults: Record<string, (socket: Watched, data: string, pass: (data: string) => void) => void> = {
    "its message is lost with it": (socket) => socket.close(),
    "its answer is lost with it": (socket, data, pass) => {
      pass(data);
      setTimeout(() => socket.close(), 30);
    },
    "it throws": () => {
      throw new DOMException("the socket is not open", "InvalidStateError");
    },
    "something else answers": (socket) => socket.dispatchEvent(new MessageEvent("message", { data: "<html>" })),
  };
  for (const [name, fault] of Object.entries(faults)) {
    it(name, async () => {
      let messages = 0;
      globalThis.WebSocket = class extends Watched {
        override send(data: string): void {
          if (++messages % 5 === 0) fault(this, data, (text) => super.send(text));
          else super.send(data);
        }
      } as typeof WebSocket;
      const tollgate = client();
      await Promise.all(Array.from({ length: 4 }, () => spendAnyhow(tollgate, 25)));
      assert.ok(messages >= 5, `only ${messages} messages`);
      assert.ok(Watched.opened.length > 1, "another one was opened after it");
      await expectSpent("50");
    });
  }

  it("it goes silent: the attempt ends in time, and the next goes by HTTP", async () => {
    globalThis.WebSocket = class extends Watched {
      override send(): void {
        Watched.sent++;
      }
    } as typeof WebSocket;
    await spendAnyhow(client({ timeoutMs: 300 }), 20);
    assert.equal(Watched.sent, 1);
    assert.equal(Watched.opened.length, 1, "what was of no use is not tried again at once");
    await expectSpent("10");
  });

  it("it is refused", async () => {
    globalThis.WebSocket = class extends Watched {
      constructor(_: string | URL, protocols?: string | string[]) {
        super(`${worker.url.replace("http", "ws")}/nothing`, protocols);
      }
    } as typeof WebSocket;
    await spend(client(), 20);
    assert.deepEqual([Watched.opened.length, Watched.sent, posts], [1, 0, 40]);
  });

  it("there is no ticket to be had", async () => {
    globalThis.WebSocket = Watched as typeof WebSocket;
    const counting = globalThis.fetch;
    for (const answer of [() => new Response("{}", { status: 503 }), () => Response.json(null, { status: 201 }), () => Promise.reject(new TypeError("no"))]) {
      globalThis.fetch = (input, init) => (String(input).endsWith("/ticket") ? (tickets++, Promise.resolve(answer())) : counting(input, init));
      try {
        await spend(client(), 10);
      } finally {
        globalThis.fetch = counting;
      }
    }
    assert.deepEqual([Watched.opened.length, posts, tickets], [0, 60, 3]);
  });

  it("there may be none", async () => {
    globalThis.WebSocket = class {
      constructor() {
        throw new DOMException("forbidden", "SecurityError");
      }
    } as unknown as typeof WebSocket;
    await spend(client(), 20);
    assert.equal(posts, 40);
  });

  /** As `spend`, where an answer may be the second one. */
  async function spendAnyhow(tollgate: Tollgate, lifecycles: number): Promise<void> {
    for (let i = 0; i < lifecycles; i++) {
      const reservation = await tollgate.reserve({ resource: "llm", estimate: { usd: "1" } });
      assert.equal((await reservation.settle({ usd: "0.5" })).charge.usd, "0.5");
    }
  }
});
