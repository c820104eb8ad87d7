// A host that is neither Node nor a Worker, as a browser is: the module is unpacked and compiled without Node's own parts.
const host = globalThis as { Buffer?: unknown; process?: unknown };
const { Buffer, process } = globalThis;
const tollgate = await import("tollgate");
delete host.Buffer;
delete host.process;
const version = tollgate.catalogVersion();
// Node's own fetch, which the scenario uses, needs them.
Object.assign(host, { Buffer, process });
if (!/^\d{4}-\d\d-\d\d$/.test(version)) throw new Error(`a catalog of ${version}`);
const { run } = await import("./scenario.ts");
const parts = await run(tollgate);
console.log(parts.join(" "));
