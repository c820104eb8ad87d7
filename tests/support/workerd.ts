// Runs modules in workerd, for tests of code that others would deploy.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listening, required } from "./process.ts";

type Module = { esModule: string } | { wasm: Uint8Array };

export interface Served {
  url: string;
  stop(): Promise<void>;
}

/** Serves a Worker made of these modules, the first one its entry, with these texts as its environment. */
export async function serveModules(modules: Record<string, Module>, environment: Record<string, string>): Promise<Served> {
  const folder = await mkdtemp(join(tmpdir(), "tollgate-workerd-"));
  const embeds: string[] = [];
  for (const [name, module] of Object.entries(modules)) {
    const [kind, content] = "esModule" in module ? (["esModule", module.esModule] as const) : (["wasm", module.wasm] as const);
    await writeFile(join(folder, name), content);
    embeds.push(`(name = ${JSON.stringify(name)}, ${kind} = embed ${JSON.stringify(name)})`);
  }
  const bindings = Object.entries(environment).map(([name, text]) => `(name = ${JSON.stringify(name)}, text = ${JSON.stringify(text)})`);
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      compatibilityDate = "2026-10-01",
      modules = [${embeds.join(", ")}],
      bindings = [${bindings.join(", ")}],
      globalOutbound = "loopback",
    )),
    (name = "loopback", network = (allow = ["local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
`;
  await writeFile(join(folder, "config.capnp"), config);
  const child = spawn(required("TOLLGATE_WORKERD"), ["serve", join(folder, "config.capnp"), "--control-fd=3"], { stdio: ["ignore", "inherit", "inherit", "pipe"] });
  const reap = () => child.kill("SIGKILL");
  process.once("exit", reap);
  const exited = once(child, "exit").then(() => process.off("exit", reap));
  const stop = async () => {
    child.kill("SIGTERM");
    await exited;
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const port = await Promise.race([
      listening(child),
      exited.then(() => {
        throw new Error("workerd ended while it was starting");
      }),
    ]);
    return { url: `http://127.0.0.1:${port}`, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
