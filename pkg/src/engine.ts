import { wasmModule } from "#wasm-module";
import * as wasm from "../wasm/tollgate.js";
import type { Pricer } from "./prices.js";

/**
 * A ledger inside the WebAssembly module. JSON in; out comes the status in three digits, with JSON behind them or nothing. Bad input is answered, never
 * thrown.
 */
export interface EngineLedger {
  execute(commandJson: string, nowMs: number): string;
}

/** The core, in WebAssembly. */
export interface Engine {
  openLedger(configJson: string, nowMs: number): EngineLedger;
  /** The request says when the call is made: the core has no clock. */
  price(requestJson: string): string;
  pricer: Pricer;
  memory: WebAssembly.Memory;
  catalogVersion(): string;
}

let engine: Engine | undefined;

/** The core, instantiated at the first call and not before: importing this package must cost nothing. */
export function loadEngine(): Engine {
  if (engine === undefined) {
    const { memory } = wasm.initSync({ module: wasmModule() });
    engine = {
      openLedger: (configJson, nowMs) => new wasm.Ledger(configJson, nowMs),
      price: wasm.price,
      pricer: new wasm.Pricer(),
      memory,
      catalogVersion: wasm.catalogVersion,
    };
  }
  return engine;
}
