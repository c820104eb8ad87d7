import type { ChildProcess } from "node:child_process";

/** The port of workerd's socket `http`, as workerd itself reports it on its control channel: nobody can take it in between. */
export function listening(child: ChildProcess): Promise<number> {
  const control = child.stdio[3];
  if (control === undefined || control === null || !("setEncoding" in control)) throw new Error("no control channel");
  let text = "";
  return new Promise<number>((resolve) => {
    control.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      for (const line of text.split("\n").slice(0, -1)) {
        const event: { event?: string; socket?: string; port?: number } = JSON.parse(line);
        if (event.event === "listen" && event.socket === "http" && event.port !== undefined) resolve(event.port);
      }
    });
  });
}

/** An environment variable that `cargo xtask test js` sets. */
export function required(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") {
    throw new Error(`${name} is not set: run these tests with \`cargo xtask test js\`, which builds the Worker and says where workerd is`);
  }
  return value;
}
