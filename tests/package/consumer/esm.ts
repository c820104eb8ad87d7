import { countModules } from "./modules.ts";

const compiled = countModules();
const tollgate = await import("tollgate");
tollgate.createClient({ url: "http://127.0.0.1:1", token: "t", tenant: "t", onUnavailable: "deny" });
if (compiled() !== 0) throw new Error("importing the package, or making a client, compiled the module");
const { run } = await import("./scenario.ts");
const parts = await run(tollgate);
if (compiled() !== 1) throw new Error(`the module was compiled ${compiled()} times`);
console.log(parts.join(" "));
