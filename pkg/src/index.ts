export { createClient } from "./client.js";
export type { ClientOptions } from "./client.js";
export { catalogVersion, createLocal } from "./local.js";
export type { LocalOptions, LocalTollgate } from "./local.js";
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
