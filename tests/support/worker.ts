// Starts the built Worker in a real workerd, with its state in a temporary folder.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { listening, required } from "./process.ts";

/** How long workerd may take to answer `/healthz`; a loaded machine takes seconds. */
const START_DEADLINE_MS = 60_000;

/** How long it may take to stop when it is asked to. */
const STOP_DEADLINE_MS = 10_000;

export interface WorkerOptions {
  /** The Worker takes its time from the `Tollgate-Now` header where a request has one. */
  testClock?: boolean;
  /** What `ADOPT_TENANTS` says: `off`, which it is when left out, since the state is fresh; undefined says nothing. */
  adoptTenants?: "on" | "off" | undefined;
}

/** Starts a Worker with fresh state. Whoever starts it calls `stop`. */
export async function startWorker(options: WorkerOptions = {}): Promise<TestWorker> {
  const state = await mkdtemp(join(tmpdir(), "tollgate-test-"));
  const worker = new TestWorker(state, options);
  try {
    await worker.start();
  } catch (error) {
    await worker.stop();
    throw error;
  }
  return worker;
}

export class TestWorker {
  readonly adminToken = `admin-${crypto.randomUUID()}`;
  readonly #state: string;
  readonly #options: WorkerOptions;
  #port = 0;
  #process: ChildProcess | undefined;
  #output = "";

  constructor(state: string, options: WorkerOptions) {
    this.#state = state;
    this.#options = options;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts workerd on this Worker's state; at the port that it had before, so that its clients find it again. */
  async start(): Promise<void> {
    const program = required("TOLLGATE_WORKERD");
    const config = required("TOLLGATE_WORKERD_CONFIG");
    const child = spawn(
      program,
      ["serve", config, "--control-fd=3", "--socket-addr", `http=127.0.0.1:${this.#port}`, "--directory-path", `state=${this.#state}`],
      { stdio: ["ignore", "pipe", "pipe", "pipe"], env: this.#environment() },
    );
    this.#process = child;
    this.#output = "";
    // Reaped even when the test file itself is killed by an exception.
    const reap = () => child.kill("SIGKILL");
    process.once("exit", reap);
    child.once("exit", () => process.off("exit", reap));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output = (this.#output + text).slice(-20_000);
      });
    }
    this.#port = await this.#orEnd(child, listening(child));
    await this.#healthy(child);
  }

  /** Ends workerd without warning, as a crash does. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Ends workerd as an operator does, and starts it again on the same state. */
  async restart(): Promise<void> {
    await this.#end("SIGTERM");
    await this.start();
  }

  /** Ends workerd, lets `work` change the databases of its tenants, and starts it again on them. */
  async offline(work: (databases: string[]) => void): Promise<void> {
    await this.#end("SIGTERM");
    work(await this.databases("TenantLedger"));
    await this.start();
  }

  /** The files in which objects of a class have their databases. */
  async databases(objects: "TenantLedger" | "PlatformPool"): Promise<string[]> {
    const files = await this.files();
    return files.filter((file) => file.includes(objects) && /[0-9a-f]{64}\.sqlite$/.test(file)).map((file) => join(this.#state, file));
  }

  /** Every file of the state. */
  async files(): Promise<string[]> {
    const found = await readdir(this.#state, { recursive: true, withFileTypes: true });
    return found.filter((file) => file.isFile()).map((file) => relative(this.#state, join(file.parentPath, file.name)));
  }

  /** How much memory workerd has, in bytes; undefined where the system does not say. */
  async memory(): Promise<number | undefined> {
    const status = await readFile(`/proc/${this.#process?.pid}/status`, "utf8").catch(() => "");
    const kilobytes = /VmRSS:\s+(\d+) kB/.exec(status)?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  }

  /** Ends workerd and removes its state. */
  async stop(): Promise<void> {
    await this.#end("SIGTERM");
    await rm(this.#state, { recursive: true, force: true });
  }

  /** What workerd printed since it was started. */
  get output(): string {
    return this.#output;
  }

  #environment(): NodeJS.ProcessEnv {
    const environment: NodeJS.ProcessEnv = { ...process.env, TOLLGATE_ADMIN_TOKEN: this.adminToken };
    delete environment["TOLLGATE_TEST_CLOCK"];
    if (this.#options.testClock === true) environment["TOLLGATE_TEST_CLOCK"] = "1";
    const { adoptTenants } = { adoptTenants: "off", ...this.#options };
    delete environment["TOLLGATE_ADOPT_TENANTS"];
    if (adoptTenants !== undefined) environment["TOLLGATE_ADOPT_TENANTS"] = adoptTenants;
    return environment;
  }

  async #healthy(child: ChildProcess): Promise<void> {
    const deadline = Date.now() + START_DEADLINE_MS;
    for (;;) {
      const attempt = fetch(`${this.url}/healthz`, { signal: AbortSignal.timeout(5_000) });
      const status = await this.#orEnd(
        child,
        attempt.then(
          async (response) => (await response.text(), response.status),
          () => 0,
        ),
      );
      if (status === 200) return;
      if (Date.now() > deadline) throw new Error(`the Worker is not healthy (last status ${status}):\n${this.#output}`);
      await pause(50);
    }
  }

  /** What is waited for, or an error with workerd's own words when it ends or hangs before that. */
  async #orEnd<T>(child: ChildProcess, awaited: Promise<T>): Promise<T> {
    const done = new AbortController();
    const ended = once(child, "exit", { signal: done.signal }).then(() => {
      throw new Error(`workerd ended while it was starting:\n${this.#output}`);
    });
    const late = pause(START_DEADLINE_MS, undefined, { signal: done.signal }).then(() => {
      throw new Error(`workerd did not start within ${START_DEADLINE_MS} ms:\n${this.#output}`);
    });
    try {
      return await Promise.race([awaited, ended, late]);
    } finally {
      done.abort();
      await Promise.allSettled([ended, late]);
    }
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    const patience = setTimeout(() => child.kill("SIGKILL"), STOP_DEADLINE_MS);
    await exited;
    clearTimeout(patience);
  }
}
