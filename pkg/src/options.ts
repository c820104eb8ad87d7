import { InvalidRequestError } from "./errors.js";

/** Where a Worker is, without a trailing slash. */
export function baseUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !["http:", "https:"].includes(parsed.protocol)) throw invalid("url", "must be an http or https URL");
  if (parsed.search !== "" || parsed.hash !== "") throw invalid("url", "must have neither a query nor a fragment");
  return parsed.href.replace(/\/+$/, "");
}

export function text(field: string, value: unknown): string {
  if (typeof value !== "string" || value === "") throw invalid(field, "must be a string that is not empty");
  return value;
}

export function integer(field: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) throw invalid(field, `must be a whole number from ${least} to ${most}`);
  return value;
}

export function invalid(field: string, what: string): InvalidRequestError {
  return new InvalidRequestError({ code: "invalid_request", status: 400, detail: `${field}: ${what}`, field });
}
