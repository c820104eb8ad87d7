// Named here because a project without the DOM's types does not know it.
const host = globalThis as unknown as { WebAssembly: { Module: new (...args: unknown[]) => object } };

/** Counts from now on how often WebAssembly is compiled. */
export function countModules(): () => number {
  let count = 0;
  host.WebAssembly.Module = new Proxy(host.WebAssembly.Module, {
    construct(target, args) {
      count++;
      return new target(...args);
    },
  });
  return () => count;
}
