declare module "*.wasm?module" {
  const module: WebAssembly.Module;
  export default module;
}

declare module "*/tollgate.wasm" {
  const module: WebAssembly.Module;
  export default module;
}

/** As the build inlines it: deflated, in base64. */
declare module "*/tollgate_bg.wasm" {
  const compressed: string;
  export default compressed;
}
