// Builds dist/: one script for each kind of host, and the declarations. `cargo xtask build --package` makes wasm/ first.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { constants, deflateRawSync } from "node:zlib";
import { build } from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");
const wasm = join(root, "wasm", "tollgate_bg.wasm");

if (!existsSync(wasm)) {
  console.error("pkg/wasm/ is missing: run `cargo xtask build --package`, which makes it and then calls this script.");
  process.exit(1);
}
/** The module as text, for the inline host: compressed, since reading a long script is what makes an import slow. */
const inlineWasm = {
  name: "inline-wasm",
  setup(bundle) {
    bundle.onLoad({ filter: /tollgate_bg\.wasm$/ }, ({ path }) => {
      const compressed = deflateRawSync(readFileSync(path), { level: constants.Z_BEST_COMPRESSION });
      return { contents: compressed.toString("base64"), loader: "text" };
    });
  },
};

/** On the edge of Next.js a module is made in another realm than the one that asks what it is, where `instanceof` says that it is none. */
const anyRealm = {
  name: "any-realm",
  setup(bundle) {
    bundle.onLoad({ filter: /wasm\/tollgate\.js$/ }, ({ path }) => {
      const [asked, asks] = ["module instanceof WebAssembly.Module", 'Object.prototype.toString.call(module) === "[object WebAssembly.Module]"'];
      const glue = readFileSync(path, "utf8");
      if (!glue.includes(asked)) throw new Error(`${path} no longer asks \`${asked}\`: see what it does instead`);
      return { contents: glue.replaceAll(asked, asks), loader: "js" };
    });
  },
};

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
copyFileSync(wasm, join(dist, "tollgate.wasm"));
for (const licence of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(join(root, "..", licence), join(root, licence));
await Promise.all([
  script("index.ts", "index.js", "esm", "inline"),
  script("index.ts", "index.cjs", "cjs", "inline"),
  script("index.ts", "workerd.js", "esm", "workerd"),
  script("index.ts", "edge.js", "esm", "edge"),
  script("client-entry.ts", "client-entry.js", "esm", "none"),
  script("client-entry.ts", "client-entry.cjs", "cjs", "none"),
]);
declarations();

/** One bundled script; hosts differ only in how they come by the WebAssembly module. */
function script(entry, name, format, host) {
  return build({
    entryPoints: [join(root, "src", entry)],
    outfile: join(dist, name),
    bundle: true,
    format,
    platform: "neutral",
    target: "es2022",
    charset: "utf8",
    alias: { "#wasm-module": join(root, "src", "wasm-module", `${host}.ts`) },
    plugins: [inlineWasm, anyRealm],
    // These hosts leave the import to whoever loads or bundles the script.
    external: ["./tollgate.wasm", "./tollgate.wasm?module"],
    logLevel: "warning",
  });
}

/** The declarations that a user can reach, once for `import` and once for `require`. */
function declarations() {
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
  const out = join(dist, "types");
  execFileSync(process.execPath, [tsc, "-p", root, "--declaration", "--emitDeclarationOnly", "--outDir", out], { stdio: "inherit" });
  const emitted = join(out, "src");
  const reachable = new Set();
  const visit = (file) => {
    if (reachable.has(file)) return;
    reachable.add(file);
    for (const [, name] of readFileSync(join(emitted, file), "utf8").matchAll(/from "\.\/([\w-]+)\.js"/g)) visit(`${name}.d.ts`);
  };
  visit("index.d.ts");
  visit("client-entry.d.ts");
  for (const file of readdirSync(emitted)) {
    if (!reachable.has(file)) continue;
    const text = readFileSync(join(emitted, file), "utf8");
    writeFileSync(join(dist, file), text);
    writeFileSync(join(dist, file.replace(/\.ts$/, ".cts")), text.replace(/from "(\.\/[\w-]+)\.js"/g, 'from "$1.cjs"'));
  }
  rmSync(out, { recursive: true });
}
