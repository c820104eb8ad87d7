// Node and everything else that has no loader of its own for WebAssembly: the module travels inside the script.
import { inflateSync } from "fflate";
import compressed from "../../wasm/tollgate_bg.wasm";

export function wasmModule(): WebAssembly.Module {
  return new WebAssembly.Module(inflate(decode(compressed)));
}

function decode(base64: string): Uint8Array {
  if (typeof Buffer !== "undefined") return Buffer.from(base64, "base64");
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** Node's own is far faster; it is asked for in a way that is synchronous and that no bundler follows. */
function inflate(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const zlib = typeof process === "undefined" ? undefined : process.getBuiltinModule?.("node:zlib");
  return zlib === undefined ? inflateSync(bytes) : new Uint8Array(zlib.inflateRawSync(bytes));
}
