// Next.js on the edge: as in Workers, with the suffix by which its bundlers know that a module is wanted.
import module from "./tollgate.wasm?module";

export function wasmModule(): WebAssembly.Module {
  return module;
}
