/** The chain of hashes that a journal's rows form, and the file that they are exported to: one row per line, as JSON. */
import { createHash } from "node:crypto";
import { appendFile, readFile } from "node:fs/promises";

/** Where a part of the chain ends. */
export interface ChainEnd {
  /** The last entry; 0 before the first. */
  through: number;
  /** The hash of the row that ends with it. */
  head: string;
}

/** One commit, as the ledger has it stored. */
export interface Row extends ChainEnd {
  /** The JSON text of its entries: what is hashed. */
  entries: string;
}

/** An entry, as far as this example looks into it. */
export interface Entry {
  seq: number;
  at: string;
  type: string;
}

/** Before the first row of every ledger. */
export const GENESIS: ChainEnd = { through: 0, head: "sha256:genesis" };

/** Checks that rows follow one another, and what they follow, without a gap; returns where they end. Throws at the first that does not. */
export function follow(from: ChainEnd, rows: Iterable<Row>): ChainEnd {
  let { through, head } = from;
  for (const row of rows) {
    const hash = `sha256:${createHash("sha256").update(`${head}\n${row.entries}`).digest("hex")}`;
    if (hash !== row.head) throw new Error(`the row that ends with entry ${row.through} does not follow entry ${through}`);
    for (const { seq } of entriesOf(row)) {
      if (seq !== ++through) throw new Error(`entry ${seq} is where entry ${through} should be`);
    }
    if (row.through !== through) throw new Error(`the row says that it ends with entry ${row.through}, and ends with ${through}`);
    head = row.head;
  }
  return { through, head };
}

export function entriesOf(row: Row): Entry[] {
  return JSON.parse(row.entries) as Entry[];
}

/** The rows of a file; none where there is no file yet. */
export async function readRows(file: string): Promise<Row[]> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line) => JSON.parse(line) as Row);
}

export async function appendRows(file: string, rows: Row[]): Promise<void> {
  await appendFile(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(""), { flush: true });
}
