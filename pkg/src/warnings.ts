import type { Warning } from "./tollgate.js";
import type { QuotaState } from "./types.js";

/** More than any tenant has quotas; beyond it the oldest crossings are forgotten. */
const MAX_REMEMBERED = 10_000;

/** Hands warnings to the app, each threshold once. */
export class Warnings {
  readonly #handler: ((warning: Warning) => void) | undefined;
  readonly #seen = new Set<string>();

  constructor(handler: ((warning: Warning) => void) | undefined) {
    this.#handler = handler;
  }

  /** Whether anybody is to be told of thresholds. */
  get areWanted(): boolean {
    return this.#handler !== undefined;
  }

  /** Reports the thresholds that these quotas have crossed and that were not reported before. */
  thresholds(quotas: readonly QuotaState[]): void {
    if (this.#handler === undefined) return;
    for (const quota of quotas) {
      const rolls = typeof quota.period === "object";
      const limit = quota.effectiveLimit ?? quota.limit;
      // A rolling window starts anew with every answer; its threshold can be crossed again once it is not crossed any more.
      const keyOf = (threshold: string) => JSON.stringify([quota.id, limit, rolls ? "rolling" : quota.periodStart, threshold]);
      if (rolls) {
        for (const threshold of quota.warnAt) if (!quota.warned.includes(threshold)) this.#seen.delete(keyOf(threshold));
      }
      for (const threshold of quota.warned) {
        const key = keyOf(threshold);
        if (this.#seen.has(key)) continue;
        this.#remember(key);
        const unit = quota.unit === "usd" ? "USD" : quota.unit;
        const message = `quota ${quota.id}: ${quota.spent} spent and ${quota.held} held of ${limit} ${unit}`;
        this.emit({ type: "quota_threshold", message, threshold, quota });
      }
    }
  }

  /** Reports a warning. Without a handler, one that stands for lost control of money goes to the console. */
  emit(warning: Warning): void {
    if (this.#handler === undefined) {
      if (warning.type !== "quota_threshold") console.warn(`tollgate: ${warning.message}`, warning.error);
      return;
    }
    try {
      this.#handler(warning);
    } catch (error) {
      // The handler's own failure must not make a hold leak or a paid answer vanish.
      console.error("tollgate: onWarning threw", error);
    }
  }

  #remember(key: string): void {
    this.#seen.add(key);
    if (this.#seen.size > MAX_REMEMBERED) {
      for (const oldest of this.#seen) {
        this.#seen.delete(oldest);
        break;
      }
    }
  }
}
