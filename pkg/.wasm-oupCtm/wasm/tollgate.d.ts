/* tslint:disable */
/* eslint-disable */

/**
 * One tenant's ledger in memory.
 */
export class Ledger {
    free(): void;
    [Symbol.dispose](): void;
    /**
     * Carries out one command, `{"op":"reserve",…}`, and answers `{"status":201,"body":{…}}`.
     */
    execute(command_json: string, now_ms: number): string;
    /**
     * A ledger that starts as `config_json` says, at `now_ms` milliseconds since 1970. What is wrong with either is the answer to
     * every command.
     */
    constructor(config_json: string, now_ms: number);
}

/**
 * The date of the price list's last change.
 */
export function catalogVersion(): string;

/**
 * The price of a usage, `{"provider":…,"model":…,"at":…,"usage":{…}}`.
 */
export function price(request_json: string): string;

export type InitInput = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

export interface InitOutput {
    readonly memory: WebAssembly.Memory;
    readonly __wbg_ledger_free: (a: number, b: number) => void;
    readonly catalogVersion: (a: number) => void;
    readonly ledger_execute: (a: number, b: number, c: number, d: number, e: number) => void;
    readonly ledger_new: (a: number, b: number, c: number) => number;
    readonly price: (a: number, b: number, c: number) => void;
    readonly __wbindgen_externrefs: WebAssembly.Table;
    readonly __wbindgen_add_to_stack_pointer: (a: number) => number;
    readonly __wbindgen_export: (a: number, b: number, c: number) => void;
    readonly __wbindgen_export2: (a: number, b: number) => number;
    readonly __wbindgen_export3: (a: number, b: number, c: number, d: number) => number;
    readonly __wbindgen_start: () => void;
}

export type SyncInitInput = BufferSource | WebAssembly.Module;

/**
 * Instantiates the given `module`, which can either be bytes or
 * a precompiled `WebAssembly.Module`.
 *
 * @param {{ module: SyncInitInput }} module - Passing `SyncInitInput` directly is deprecated.
 *
 * @returns {InitOutput}
 */
export function initSync(module: { module: SyncInitInput } | SyncInitInput): InitOutput;

/**
 * If `module_or_path` is {RequestInfo} or {URL}, makes a request and
 * for everything else, calls `WebAssembly.instantiate` directly.
 *
 * @param {{ module_or_path: InitInput | Promise<InitInput> }} module_or_path - Passing `InitInput` directly is deprecated.
 *
 * @returns {Promise<InitOutput>}
 */
export default function __wbg_init (module_or_path: { module_or_path: InitInput | Promise<InitInput> } | InitInput | Promise<InitInput>): Promise<InitOutput>;
