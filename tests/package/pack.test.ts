// The package as a user gets it: packed, installed into a project, imported, required, type-checked, bundled.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { build, type Plugin } from "esbuild";
import { UnrulyServer } from "../support/unruly-server.ts";
import { serveModules } from "../support/workerd.ts";

const run = promisify(execFile);
const repository = fileURLToPath(new URL("../../", import.meta.url));
const consumer = fileURLToPath(new URL("consumer/", import.meta.url));
const PARTS = "race price overrides ways errors expiry administration policy clock warnings warningsOfCredits history";

let folder: string;
let tarball: string;
let files: string[];
/** A user's project: ESM, with the package installed from the tarball. */
let project: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "tollgate-pack-"));
  const { stdout } = await npm(join(repository, "pkg"), "pack", "--json", "--pack-destination", folder);
  const report: unknown = JSON.parse(stdout);
  // npm 11 answers a list, later ones an object by package name.
  const [packed] = Object.values(report as Record<string, { filename: string; files: { path: string }[] }>);
  assert.ok(packed);
  tarball = join(folder, packed.filename);
  files = packed.files.map((file) => file.path).sort();
  project = join(folder, "project");
  await mkdir(project);
  await writeFile(join(project, "package.json"), JSON.stringify({ name: "project", private: true, type: "module" }));
  await npm(project, "install", "--offline", "--no-audit", "--no-fund", "--no-package-lock", tarball);
  await cp(consumer, project, { recursive: true });
});
after(() => rm(folder, { recursive: true, force: true }));

describe("the tarball", () => {
  it("has what is used and nothing else", () => {
    const unexpected = files.filter((path) => !/^(package\.json|README\.md|LICENSE-(?:MIT|APACHE)|dist\/[\w-]+\.(js|cjs|d\.ts|d\.cts|wasm))$/.test(path));
    assert.deepEqual(unexpected, []);
    for (const path of ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "dist/index.js", "dist/index.cjs", "dist/workerd.js", "dist/edge.js", "dist/tollgate.wasm", "dist/index.d.ts", "dist/index.d.cts", "dist/client-entry.js", "dist/client-entry.cjs"]) {
      assert.ok(files.includes(path), path);
    }
  });

  it("needs no other package", async () => {
    const manifest = JSON.parse(await readFile(join(project, "node_modules/tollgate/package.json"), "utf8"));
    assert.deepEqual([manifest.dependencies, manifest.peerDependencies, manifest.scripts?.postinstall], [undefined, undefined, undefined]);
    assert.equal(manifest.sideEffects, false);
  });

  it("publint has nothing to say", async () => {
    const { stdout } = await run(process.execPath, [bin("publint"), tarball, "--strict"]);
    assert.match(stdout, /All good/);
  });

  it("attw finds its types from every side", async () => {
    const { stdout } = await run(process.execPath, [bin("@arethetypeswrong/cli", "attw"), tarball, "--format", "json"]);
    const { analysis, problems = {} } = JSON.parse(stdout);
    assert.equal(analysis.packageName, "tollgate");
    assert.ok(analysis.entrypoints["."] && analysis.entrypoints["./client"]);
    assert.deepEqual(problems, {});
  });
});

describe("in Node", () => {
  const programs = { imported: "esm.ts", required: "cjs.cts", "without what only Node has": "plain.ts" };
  for (const [name, program] of Object.entries(programs)) {
    it(name, async () => {
      const { stdout } = await run(process.execPath, [program], { cwd: project });
      assert.equal(stdout.trim(), PARTS);
    });
  }
});

describe("types", () => {
  const shared = { strict: true, noEmit: true, skipLibCheck: false, allowImportingTsExtensions: true, exactOptionalPropertyTypes: true, types: [] };
  const configurations: Record<string, unknown> = {
    "NodeNext, with @types/node": {
      compilerOptions: { ...shared, target: "ES2022", module: "NodeNext", lib: ["ES2022"], types: ["node"], typeRoots: [join(repository, "node_modules/@types")] },
      files: ["esm.ts", "cjs.cts", "scenario.ts", "types.ts"],
    },
    "a bundler, with the DOM": {
      compilerOptions: { ...shared, target: "ES2022", module: "ESNext", moduleResolution: "Bundler", lib: ["ES2022", "DOM"] },
      files: ["scenario.ts", "types.ts", "worker.ts"],
    },
    "a bundler, with the conditions of Workers": {
      compilerOptions: { ...shared, target: "ES2022", module: "ESNext", moduleResolution: "Bundler", customConditions: ["workerd", "worker", "browser"], lib: ["ES2022", "DOM"] },
      files: ["types.ts", "worker.ts"],
    },
  };
  for (const [name, configuration] of Object.entries(configurations)) {
    it(name, async () => {
      const path = join(project, `tsconfig.${name.replace(/\W+/g, "-")}.json`);
      await writeFile(path, JSON.stringify(configuration));
      const { stdout } = await run(process.execPath, [bin("typescript", "tsc"), "-p", path]).catch((error: { stdout: string }) => error);
      assert.equal(stdout, "");
    });
  }
});

describe("in workerd", () => {
  it("bundled with wrangler's conditions: the scenario, and a client", async () => {
    const wasm = join(project, "node_modules/tollgate/dist/tollgate.wasm");
    const { outputFiles, metafile } = await build({
      absWorkingDir: project,
      entryPoints: ["worker.ts"],
      bundle: true,
      write: false,
      metafile: true,
      format: "esm",
      target: "es2022",
      conditions: ["workerd", "worker", "browser"],
      plugins: [wasmBeside],
    });
    assert.ok(Object.keys(metafile.inputs).some((path) => path.endsWith("tollgate/dist/workerd.js")), "another entry was taken");
    const script = outputFiles[0]?.text;
    assert.ok(script);
    const ledger = await UnrulyServer.start();
    const worker = await serveModules({ "worker.js": { esModule: script }, "tollgate.wasm": { wasm: await readFile(wasm) } }, { LEDGER_URL: ledger.url });
    try {
      for (let round = 0; round < 2; round++) {
        const scenario = await fetch(`${worker.url}/scenario`);
        assert.equal((await scenario.text()).replaceAll(/["[\]]/g, "").replaceAll(",", " "), PARTS);
        const client = await fetch(`${worker.url}/client`);
        assert.equal(await client.text(), '[["a","settled"],["b","settled"],["c","settled"]]');
      }
      assert.equal(ledger.seen.length, 4, "each round is a batch of reserves and a batch of settles");
    } finally {
      await worker.stop();
      await ledger.stop();
    }
  });
});

describe("for other hosts", () => {
  const bundle = async (conditions: string[], platform: "node" | "browser") => {
    const { outputFiles, metafile } = await build({
      absWorkingDir: project,
      stdin: { contents: 'export { createLocal } from "tollgate";', resolveDir: project },
      bundle: true,
      write: false,
      metafile: true,
      format: "esm",
      platform,
      conditions,
      plugins: [wasmBeside],
    });
    const entry = Object.keys(metafile.inputs).find((path) => path.includes("tollgate/dist/"));
    return { text: outputFiles[0]?.text ?? "", entry: entry?.replace(/^.*\//, "") };
  };

  it("Next.js on the edge gets the module by its own suffix", async () => {
    const { text, entry } = await bundle(["edge-light", "browser", "module", "import"], "browser");
    assert.equal(entry, "edge.js");
    assert.match(text, /from "\.\/tollgate\.wasm\?module"/);
  });

  it("a module of another realm is a module", async () => {
    const { outputFiles } = await build({
      absWorkingDir: project,
      stdin: { contents: 'export { createLocal } from "tollgate";', resolveDir: project },
      bundle: true,
      write: false,
      format: "esm",
      conditions: ["edge-light", "browser", "module", "import"],
      plugins: [
        {
          name: "foreign-module",
          setup({ onResolve, onLoad }) {
            onResolve({ filter: /\.wasm\?module$/ }, () => ({ path: "module", namespace: "foreign" }));
            onLoad({ filter: /.*/, namespace: "foreign" }, () => ({ contents: "export default globalThis.foreignModule;" }));
          },
        },
      ],
    });
    // As on the edge of Next.js, where the module comes from outside of the sandbox that asks what it is.
    const bytes = await readFile(join(project, "node_modules/tollgate/dist/tollgate.wasm"));
    const foreign: unknown = runInNewContext("new WebAssembly.Module(bytes)", { bytes });
    assert.ok(!(foreign instanceof WebAssembly.Module), "it is of this realm");
    Object.assign(globalThis, { foreignModule: foreign });
    const script = join(project, "foreign.mjs");
    await writeFile(script, outputFiles[0]?.text ?? "");
    const { createLocal } = (await import(pathToFileURL(script).href)) as typeof import("../../pkg/dist/index.js");
    const tollgate = createLocal({ quotas: { month: { scope: "tenant", resource: "all", unit: "usd", limit: "1", period: "month" } } });
    assert.equal((await tollgate.reserve({ id: "a", resource: "llm", estimate: { usd: "1" } })).state, "held");
  });

  it("Next.js in Node, and plain bundlers, get the module inlined", async () => {
    for (const conditions of [["node", "module", "import", "react-server"], ["browser", "module", "import"]]) {
      const { text, entry } = await bundle(conditions, "node");
      assert.equal(entry, "index.js");
      assert.doesNotMatch(text, /\.wasm["?]/);
    }
  });

  for (const [name, entry, conditions] of [
    ["tollgate", "tollgate", ["import"]],
    ["tollgate/client on Workers", "tollgate/client", ["workerd", "worker", "browser"]],
    ["tollgate/client on the edge", "tollgate/client", ["edge-light", "browser", "module", "import"]],
  ] as const) {
    it(`a program that only uses the client of ${name} carries neither the module nor its glue`, async () => {
      const { outputFiles } = await build({
        absWorkingDir: project,
        stdin: { contents: `export { createClient } from "${entry}";`, resolveDir: project },
        bundle: true,
        write: false,
        format: "esm",
        minify: true,
        conditions: [...conditions],
      });
      const text = outputFiles[0]?.text ?? "";
      assert.ok(text.length < 45_000, `${text.length} characters`);
      assert.doesNotMatch(text, /WebAssembly/);
      assert.ok(gzipSync(text).length <= 12_000, "an entry without the module has 12 KB gzipped at most");
    });
  }

  it("errors are what they are called, whichever copy of the package made them", async () => {
    const require = createRequire(join(project, "x.js"));
    const copies = [await import(pathToFileURL(join(project, "node_modules/tollgate/dist/index.js")).href), require("tollgate"), require("tollgate/client")];
    for (const made of copies) {
      const error = new made.NotFoundError({ code: "not_found", status: 404, detail: "x" });
      for (const asked of copies) {
        assert.ok(error instanceof asked.NotFoundError && error instanceof asked.TollgateError);
        assert.ok(!(error instanceof asked.UnavailableError) && !(new Error() instanceof asked.TollgateError));
        const Base: new (info: object) => Error = asked.NotFoundError;
        class Own extends Base {}
        assert.ok(!(error instanceof Own) && new Own({ code: "not_found", status: 404, detail: "x" }) instanceof Own);
      }
    }
  });
});

/** Leaves WebAssembly beside the script, as wrangler and Next.js do. */
const wasmBeside: Plugin = {
  name: "wasm-beside",
  setup({ onResolve }) {
    onResolve({ filter: /\.wasm(\?module)?$/ }, ({ path }) => ({ path, external: true }));
  },
};

/** npm, told nothing by the npm that may run these tests. */
function npm(cwd: string, ...args: string[]) {
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.toLowerCase().startsWith("npm_")));
  return run("npm", args, { cwd, env: environment });
}

/** The script of a tool that the repository has installed. */
function bin(name: string, tool = name): string {
  const manifest = join(repository, "node_modules", name, "package.json");
  const { bin: scripts } = createRequire(import.meta.url)(manifest);
  return join(dirname(manifest), typeof scripts === "string" ? scripts : scripts[tool]);
}
