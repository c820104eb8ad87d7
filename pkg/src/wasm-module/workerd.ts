// Cloudflare Workers: compiling bytes at run time is not allowed, a module that was imported is compiled already.
import module from "./tollgate.wasm";

export function wasmModule(): WebAssembly.Module {
  return module;
}
