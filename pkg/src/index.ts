export * from "./client-entry.js";
export { catalogVersion, createLocal } from "./local.js";
export type { LocalOptions, LocalTollgate } from "./local.js";
