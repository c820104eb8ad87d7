async function main(): Promise<void> {
  const { countModules } = await import("./modules.ts");
  const compiled = countModules();
  const tollgate: typeof import("tollgate", { with: { "resolution-mode": "require" } }) = require("tollgate");
  tollgate.createClient({ url: "http://127.0.0.1:1", token: "t", tenant: "t", onUnavailable: "deny" });
  if (compiled() !== 0) throw new Error("importing the package, or making a client, compiled the module");
  const { run } = await import("./scenario.ts");
  const parts = await run(tollgate);
  if (compiled() !== 1) throw new Error(`the module was compiled ${compiled()} times`);
  console.log(parts.join(" "));
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
