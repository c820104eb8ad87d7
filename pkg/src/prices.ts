import type { Basis, Charge, ChargeLine } from "./types.js";

/** The part of the WebAssembly module that prices numbers. `quantitiesAt` and `sumAt` are places in its memory. */
export interface Pricer {
  quantitiesAt(): number;
  sumAt(): number;
  meters(): string;
  know(provider: string, model: string, mode: string, region: string): number;
  price(number: number, atMs: number): number;
}

/** A model in a mode and a region, by the number that the module calls it. */
interface Known {
  number: number;
  /** What a charge says besides its sum, by the rate card and the flags that the module names. */
  rest: Map<number, Rest>;
}

interface Rest extends Basis {
  flags: readonly string[];
}

/** More combinations than the price list has; what is asked beyond them takes the long way. */
const MAX_KNOWN = 50_000;
const LONGEST_SUM = 48;

/**
 * Charges by numbers: a request of the usual shape becomes a few numbers in the module's memory, and only the sum comes back as text. The lines of the
 * charge are asked for when they are read. A request of any other shape, and one that has no price, is not answered here.
 */
export class Prices {
  readonly #pricer: Pricer;
  readonly #memory: WebAssembly.Memory;
  readonly #charge: (request: object) => Charge;
  readonly #meters = new Map<string, number>();
  readonly #known = new Map<string, Map<string, Map<string, Known>>>();
  #knownCount = 0;
  #quantities = new Float64Array(0);
  #sum = new Uint8Array(0);

  /** `charge` prices a request that is JSON, and throws where it has no price. */
  constructor(pricer: Pricer, memory: WebAssembly.Memory, charge: (request: object) => Charge) {
    this.#pricer = pricer;
    this.#memory = memory;
    this.#charge = charge;
    for (const name of pricer.meters().split(",")) this.#meters.set(name, this.#meters.size);
  }

  /** The charge at an instant, unless the request needs the long way. */
  price(request: object, atMs: number): Charge | undefined {
    if (!isPlain(request)) return undefined;
    let provider: unknown, model: unknown, mode: unknown, region: unknown, usage: unknown;
    for (const name of Object.keys(request)) {
      const value: unknown = request[name];
      if (name === "provider") provider = value;
      else if (name === "model") model = value;
      else if (name === "usage") usage = value;
      else if (name === "mode") mode = value;
      else if (name === "region") region = value;
      else if (name !== "at" && value !== undefined) return undefined;
    }
    if (typeof provider !== "string" || typeof model !== "string" || !isPlain(usage)) return undefined;
    const known = this.#find(provider, model, mode, region);
    if (known === undefined || !this.#write(usage)) return undefined;
    const packed = this.#pricer.price(known.number, atMs);
    if (packed === 0) return undefined;
    const asked = { ...request, usage: { ...usage } };
    const rest = known.rest.get(packed >>> 8);
    if (rest === undefined) {
      const { basis, flags, ...charge } = this.#charge(withTime(asked, atMs));
      if (basis !== undefined) known.rest.set(packed >>> 8, { ...basis, flags });
      return { ...charge, ...(basis !== undefined && { basis: { ...basis } }), flags: [...flags] };
    }
    return chargeOf(this.#read(packed & 0xff), rest, () => this.#charge(withTime(asked, atMs)).lines);
  }

  #find(provider: string, model: string, mode: unknown, region: unknown): Known | undefined {
    let way = "";
    if (mode !== undefined || region !== undefined) {
      // Empty texts stand for what is left out, and the long way refuses them.
      if ((mode !== undefined && typeof mode !== "string") || (region !== undefined && typeof region !== "string")) return undefined;
      if (mode === "" || region === "") return undefined;
      way = `${mode ?? ""} ${region ?? ""}`;
    }
    const known = this.#known.get(provider)?.get(model)?.get(way);
    return known ?? this.#learn(provider, model, way, mode ?? "", region ?? "");
  }

  #learn(provider: string, model: string, way: string, mode: string, region: string): Known | undefined {
    if (this.#knownCount >= MAX_KNOWN) return undefined;
    const number = this.#pricer.know(provider, model, mode, region);
    if (number === 0) return undefined;
    const known: Known = { number, rest: new Map() };
    const models = this.#known.get(provider) ?? new Map<string, Map<string, Known>>();
    const ways = models.get(model) ?? new Map<string, Known>();
    this.#known.set(provider, models.set(model, ways.set(way, known)));
    this.#knownCount += 1;
    return known;
  }

  /** Puts the quantities into the module's memory; false where one is not a count of a meter. */
  #write(usage: Record<string, unknown>): boolean {
    // The memory's old views are empty once it has grown.
    if (this.#quantities.length === 0) {
      this.#quantities = new Float64Array(this.#memory.buffer, this.#pricer.quantitiesAt(), this.#meters.size);
    }
    const quantities = this.#quantities;
    quantities.fill(0);
    for (const name of Object.keys(usage)) {
      const quantity = usage[name];
      if (quantity === undefined) continue;
      const place = this.#meters.get(name);
      if (place === undefined || typeof quantity !== "number" || !Number.isSafeInteger(quantity) || quantity < 0) return false;
      quantities[place] = quantity;
    }
    return true;
  }

  /** The last sum. It is ASCII and short, and a decoder would take longer to start. */
  #read(length: number): string {
    if (this.#sum.length === 0) this.#sum = new Uint8Array(this.#memory.buffer, this.#pricer.sumAt(), LONGEST_SUM);
    const bytes = this.#sum;
    let text = "";
    for (let at = 0; at < length; at += 1) text += CHARACTERS[bytes[at] as number];
    return text;
  }
}

const CHARACTERS = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code));

/** An object whose members are all there is to it, so that reading them is what JSON would do. */
function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function withTime(request: object, atMs: number): object {
  return { ...request, at: new Date(atMs).toISOString() };
}

/** Whoever gets a charge may change it, so it shares nothing with others. */
function chargeOf(usd: string, { catalog, rateCard, flags }: Rest, read: () => ChargeLine[]): Charge {
  let lines: ChargeLine[] | undefined;
  return {
    usd,
    get lines() {
      return (lines ??= read());
    },
    set lines(changed) {
      lines = changed;
    },
    basis: { catalog, rateCard },
    flags: [...flags],
  };
}
