/** The eight places in the app that call a model, each over the API of its provider. */
import type { Estimate, PayloadFormat, Settlement, Tollgate } from "tollgate";
import { readEvents } from "./sse.ts";

export interface ModelCall {
  touchpoint: string;
  format: PayloadFormat;
  provider: string;
  model: string;
  streamed: boolean;
  /** What the call may use at most. */
  estimate: Estimate;
  path: string;
  body: Record<string, unknown>;
}

const letter =
  "Ms. Aoife Byrne, born on 4 May 1987, of 12 Harbour Road, Cork, writes that her pension contributions of March were " +
  "paid twice, from IBAN IE29 AIBK 9311 5212 3456 78, and asks for one of them back. ";
const toSanitize = `Take every personal detail out of this letter, and keep everything else as it is:\n\n${letter.repeat(4)}`;

const ask = (content: string) => [{ role: "user", content }];
const parts = (text: string) => [{ role: "user", parts: [{ text }] }];

/** In the order of their priority. `main-chat` answers with one model and, when that one is busy, with another. */
export const modelCalls: readonly ModelCall[] = [
  {
    touchpoint: "main-chat",
    format: "anthropic.messages",
    provider: "anthropic",
    model: "claude-sonnet-4-5-20250929",
    streamed: true,
    estimate: { inputTokens: 10_500, maxOutputTokens: 1024 },
    path: "/v1/messages",
    body: { model: "claude-sonnet-4-5-20250929", stream: true, max_tokens: 1024, messages: ask("Does Article 9 apply to us?") },
  },
  {
    touchpoint: "main-chat",
    format: "openai.chat",
    provider: "openai",
    model: "gpt-4o-2024-08-06",
    streamed: true,
    estimate: { inputTokens: 1700, maxOutputTokens: 512 },
    path: "/v1/chat/completions",
    body: {
      model: "gpt-4o-2024-08-06",
      stream: true,
      // Without this the stream would not say what it cost.
      stream_options: { include_usage: true },
      max_completion_tokens: 512,
      messages: ask("What is the limit?"),
    },
  },
  {
    touchpoint: "compliance-engine",
    format: "openai.responses",
    provider: "openai",
    model: "gpt-5-2025-08-07",
    streamed: true,
    estimate: { inputTokens: 3500, maxOutputTokens: 2048 },
    path: "/v1/responses",
    body: { model: "gpt-5-2025-08-07", stream: true, max_output_tokens: 2048, input: "Check this answer against the sources." },
  },
  {
    touchpoint: "agent:global-regulatory",
    format: "gemini.generate_content",
    provider: "google",
    model: "gemini-2.5-pro",
    streamed: true,
    estimate: { inputTokens: 5500, maxOutputTokens: 2048 },
    path: "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse",
    body: { contents: parts("Which text is older?"), generationConfig: { maxOutputTokens: 2048 } },
  },
  {
    touchpoint: "merge-summarizer",
    format: "groq.chat",
    provider: "groq",
    model: "llama-3.3-70b-versatile",
    streamed: false,
    estimate: { inputTokens: 2000, maxOutputTokens: 1024 },
    path: "/openai/v1/chat/completions",
    body: { model: "llama-3.3-70b-versatile", max_completion_tokens: 1024, messages: ask("Merge these two answers.") },
  },
  {
    touchpoint: "agent:ie-social-safety",
    format: "anthropic.messages",
    provider: "anthropic",
    model: "claude-sonnet-4-5-20250929",
    streamed: false,
    estimate: { inputTokens: 2700, maxOutputTokens: 2048 },
    path: "/v1/messages",
    body: { model: "claude-sonnet-4-5-20250929", max_tokens: 2048, messages: ask("Which class is a part-time teacher in?") },
  },
  {
    touchpoint: "pii-sanitizer",
    format: "gemini.generate_content",
    provider: "google",
    model: "gemini-2.5-flash",
    streamed: false,
    // No tokenizer at hand: a token is at least one byte, so the bytes are an upper bound.
    estimate: { inputBytes: Buffer.byteLength(toSanitize), maxOutputTokens: 256 },
    path: "/v1beta/models/gemini-2.5-flash:generateContent",
    body: { contents: parts(toSanitize), generationConfig: { maxOutputTokens: 256 } },
  },
  {
    touchpoint: "compaction:semantic",
    format: "groq.chat",
    provider: "groq",
    model: "llama-3.3-70b-versatile",
    streamed: true,
    estimate: { inputTokens: 3200, maxOutputTokens: 1024 },
    path: "/openai/v1/chat/completions",
    body: { model: "llama-3.3-70b-versatile", stream: true, max_completion_tokens: 1024, messages: ask("Shorten the older turns.") },
  },
  {
    touchpoint: "compaction:merge-moderate",
    format: "openai.chat",
    provider: "openai",
    model: "o4-mini-2025-04-16",
    streamed: false,
    estimate: { inputTokens: 900, maxOutputTokens: 4096 },
    path: "/v1/chat/completions",
    body: { model: "o4-mini-2025-04-16", max_completion_tokens: 4096, messages: ask("Keep what still matters.") },
  },
];

export interface Settled {
  touchpoint: string;
  settlement: Settlement;
  held: string;
}

/** Reserves, calls, and settles from the provider's own answer. */
export async function callModel(tollgate: Tollgate, providerUrl: string, call: ModelCall): Promise<Settled> {
  const { provider, model, estimate, touchpoint, format } = call;
  const request = { resource: "llm", provider, model, estimate, userId: "u-7", attribution: { touchpoint } } as const;
  return await tollgate.withReservation(request, async (hold) => {
    const answer = await fetch(providerUrl + call.path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(call.body),
    });
    if (!answer.ok || answer.body === null) throw new Error(`${touchpoint}: ${answer.status} ${await answer.text()}`);
    const body: unknown = call.streamed ? await readEvents(answer.body) : await answer.json();
    return { touchpoint, held: hold.held.usd, settlement: await hold.settle({ payload: { format, body } }) };
  });
}
