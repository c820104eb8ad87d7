/** What the demo prints, and whether everything that it claims held. */

const colours = process.stdout.isTTY === true && process.env["NO_COLOR"] === undefined;

const paint = (code: number) => (text: string) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text);
const bold = paint(1);
const dim = paint(2);
const red = paint(31);
const green = paint(32);

let failed = 0;
let checked = 0;

export function heading(text: string): void {
  console.log(`\n${bold(text)}`);
}

export function line(text: string): void {
  console.log(`  ${text}`);
}

export function aside(text: string): void {
  console.log(`  ${dim(text)}`);
}

/** A claim of the demo. One that does not hold makes the demo fail, at its end. */
export function check(claim: string, holds: boolean, otherwise = ""): void {
  checked += 1;
  if (holds) {
    console.log(`  ${green("✓")} ${claim}`);
  } else {
    failed += 1;
    console.log(`  ${red("✗")} ${claim}${otherwise === "" ? "" : red(`: ${otherwise}`)}`);
  }
}

/** The last line, and the exit code that goes with it. */
export function verdict(): number {
  const text = failed === 0 ? green(`All ${checked} checks held.`) : red(`${failed} of ${checked} checks did not hold.`);
  console.log(`\n${text}`);
  return failed === 0 && checked > 0 ? 0 : 1;
}

export interface Column {
  title: string;
  right?: boolean;
}

/** A table, with its totals set apart where there are any. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], total?: readonly string[]): void {
  const all = total === undefined ? rows : [...rows, total];
  const widths = columns.map((column, at) => Math.max(column.title.length, ...all.map((row) => (row[at] ?? "").length)));
  const show = (cells: readonly string[]) =>
    columns
      .map((column, at) => {
        const width = widths[at] ?? 0;
        const cell = cells[at] ?? "";
        return column.right === true ? cell.padStart(width) : cell.padEnd(width);
      })
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "─".repeat(width)).join("  ");
  line(bold(show(columns.map((column) => column.title))));
  line(dim(rule));
  for (const row of rows) line(show(row));
  if (total !== undefined) {
    line(dim(rule));
    line(show(total));
  }
}
