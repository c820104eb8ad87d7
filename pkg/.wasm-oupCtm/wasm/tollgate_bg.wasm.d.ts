/* tslint:disable */
/* eslint-disable */
export const memory: WebAssembly.Memory;
export const __wbg_ledger_free: (a: number, b: number) => void;
export const catalogVersion: (a: number) => void;
export const ledger_execute: (a: number, b: number, c: number, d: number, e: number) => void;
export const ledger_new: (a: number, b: number, c: number) => number;
export const price: (a: number, b: number, c: number) => void;
export const __wbindgen_externrefs: WebAssembly.Table;
export const __wbindgen_add_to_stack_pointer: (a: number) => number;
export const __wbindgen_export: (a: number, b: number, c: number) => void;
export const __wbindgen_export2: (a: number, b: number) => number;
export const __wbindgen_export3: (a: number, b: number, c: number, d: number) => number;
export const __wbindgen_start: () => void;
