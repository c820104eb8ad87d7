// `tollgate/client`: what talks to a Worker, without the WebAssembly module, for the edge and for whoever keeps no ledger in process.
export { createClient } from "./client.js";
export type { ClientOptions } from "./client.js";
export { createPlatform } from "./platform.js";
export type { Platform, PlatformOptions } from "./platform.js";
export {
  IdempotencyConflictError,
  InvalidRequestError,
  NotFoundError,
  QuotaExceededError,
  ReservationClosedError,
  TollgateError,
  TooManyHoldsError,
  UnauthorizedError,
  UnavailableError,
  UnpricedError,
} from "./errors.js";
export type { ErrorInfo } from "./errors.js";
export type { Hold, Reservation, Tollgate, Warning, WithReservationOptions } from "./tollgate.js";
export type * from "./types.js";
