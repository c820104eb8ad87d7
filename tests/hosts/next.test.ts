// The package under `next start`: in a route, a page, an edge route and an edge API route, behind `proxy.js` and behind `middleware.js`, built by Turbopack and by webpack.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { required } from "../support/process.ts";

const run = promisify(execFile);
const app = fileURLToPath(new URL("next/", import.meta.url));
const DECIDED = { held: "held", denied: "quota_exceeded", isOurs: true, refused: "url", price: "0.0025" };
const environment = { ...process.env, NODE_ENV: undefined, NEXT_TELEMETRY_DISABLED: "1", CI: "true" };

/** Next.js and React, without the app. */
let installed: string;
let folder: string;

before(async () => {
  installed = required("TOLLGATE_NEXT");
  folder = await mkdtemp(join(tmpdir(), "tollgate-next-"));
});
after(() => rm(folder, { recursive: true, force: true }));

for (const bundler of ["turbopack", "webpack"]) {
  for (const [first, firstRuntime] of [["proxy", "nodejs"], ["middleware", "edge"]] as const) {
    describe(`Next.js, ${bundler}, ${first}.js`, () => {
      let server: Served;
      before(async () => {
        const project = join(folder, `${bundler}-${first}`);
        await cp(app, project, { recursive: true, filter: (path) => !path.endsWith("first") });
        await cp(join(app, "first", `${first}.js`), join(project, `${first}.js`));
        // Next.js fails by itself on an edge route that webpack builds: it looks for a manifest that it has not written.
        if (bundler === "webpack") await rm(join(project, "app/edge"), { recursive: true });
        await cp(join(installed, "node_modules"), join(project, "node_modules"), { recursive: true, verbatimSymlinks: true });
        await cp(fileURLToPath(new URL("../../pkg/", import.meta.url)), join(project, "node_modules/tollgate"), {
          recursive: true,
          filter: (path) => /pkg\/?$|pkg\/(package\.json|dist)/.test(path),
        });
        await run(process.execPath, [next(project), "build", `--${bundler}`], { cwd: project, env: environment }).catch((error: { stdout: string; stderr: string }) => {
          throw new Error(`next build: ${error.stdout}\n${error.stderr}`);
        });
        server = await serve(project);
      });
      after(() => server.stop());

      const paths: [string, string][] = [["/node", "nodejs"], ["/api/edge", "edge"]];
      if (bundler === "turbopack") paths.push(["/edge", "edge"]);
      for (const [path, runtime] of paths) {
        it(`${path} decides on ${runtime}`, async () => {
          const response = await fetch(server.url + path);
          assert.deepEqual(await response.json(), { runtime, ...DECIDED });
        });
      }

      it("a page decides", async () => {
        const text = await (await fetch(server.url)).text();
        assert.match(text.replaceAll("&quot;", '"'), /"denied":"quota_exceeded","isOurs":true/);
      });

      it(`${first}.js decides before the app`, async () => {
        const response = await fetch(`${server.url}/node`);
        assert.deepEqual(JSON.parse(response.headers.get("x-gate") ?? "null"), { runtime: firstRuntime, ...DECIDED });
      });
    });
  }
}

interface Served {
  url: string;
  stop(): Promise<void>;
}

/** `next start` on a free port. */
async function serve(project: string): Promise<Served> {
  const child = spawn(process.execPath, [next(project), "start", "--hostname", "127.0.0.1", "--port", "0"], { cwd: project, env: environment, stdio: ["ignore", "pipe", "inherit"] });
  const reap = () => child.kill("SIGKILL");
  process.once("exit", reap);
  const exited = once(child, "exit").then(() => process.off("exit", reap));
  let said = "";
  const url = new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      const found = /Local:\s+(http:\/\/127\.0\.0\.1:\d+)/.exec(said);
      if (found?.[1] !== undefined && said.includes("Ready")) resolve(found[1]);
    });
    exited.then(() => reject(new Error(`next start ended: ${said}`)), reject);
  });
  return {
    url: await url,
    async stop() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}

function next(project: string): string {
  return join(project, "node_modules/next/dist/bin/next");
}
