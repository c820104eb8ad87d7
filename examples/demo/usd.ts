/** Exact sums of decimal USD strings: money has at most 12 decimals, so whole picodollars hold it. */

const DECIMALS = 12;

/** Picodollars of a decimal string such as `"0.0062"`. */
export function parseUsd(text: string): bigint {
  const match = /^(-?)(\d+)(?:\.(\d{1,12}))?$/.exec(text);
  if (match === null) throw new Error(`not an amount of USD: ${JSON.stringify(text)}`);
  const [, sign, whole = "0", fraction = ""] = match;
  const pico = BigInt(whole + fraction.padEnd(DECIMALS, "0"));
  return sign === "-" ? -pico : pico;
}

/** The sum of decimal strings, in picodollars. */
export function sumUsd(amounts: Iterable<string>): bigint {
  let sum = 0n;
  for (const amount of amounts) sum += parseUsd(amount);
  return sum;
}

/** `$45.00`, or with as many decimals as the amount has. */
export function showUsd(amount: string | bigint): string {
  const pico = typeof amount === "bigint" ? amount : parseUsd(amount);
  const digits = (pico < 0n ? -pico : pico).toString().padStart(DECIMALS + 1, "0");
  const fraction = digits.slice(-DECIMALS).replace(/0+$/, "").padEnd(2, "0");
  return `${pico < 0n ? "-" : ""}$${digits.slice(0, -DECIMALS)}.${fraction}`;
}
