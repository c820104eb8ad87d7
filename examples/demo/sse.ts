/**
 * The payloads of a provider's event stream, in order, without the closing `[DONE]`. Bytes may arrive cut anywhere, even
 * inside a character.
 */
export async function readEvents(body: ReadableStream<Uint8Array>): Promise<unknown[]> {
  const events: unknown[] = [];
  let data: string[] = [];
  let rest = "";

  const take = (text: string): void => {
    if (text === "") {
      const payload = data.join("\n");
      data = [];
      if (payload !== "" && payload !== "[DONE]") events.push(JSON.parse(payload));
    } else if (text.startsWith("data:")) {
      data.push(text.slice(text.startsWith("data: ") ? 6 : 5));
    }
  };

  const decoder = new TextDecoder();
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const text of lines) take(text.endsWith("\r") ? text.slice(0, -1) : text);
  }
  // An event that is not ended by an empty line was cut off; it does not count.
  return events;
}
