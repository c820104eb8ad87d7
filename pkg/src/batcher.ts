import { leftOut, resultsOf } from "./batch-answer.js";
import type { Command, CommandResult } from "./commands.js";
import { errorFromAnswer } from "./commands.js";
import { UnavailableError } from "./errors.js";
import { retryDelay, sleep } from "./retry.js";
import type { Attempt } from "./transport.js";

/** The Worker's limit on commands in a batch. */
const MAX_COMMANDS = 500;

/** Under the Worker's limit of 1 MiB on a body, with room for the envelope. */
const MAX_BYTES = 1_000_000;

/** What a batcher sends through. */
export interface BatchSender {
  /** Attempts after the first one. */
  readonly retries: number;
  /** One attempt at a batch's body; never throws. */
  attempt(body: string): Promise<Attempt>;
}

/**
 * Gathers the commands that are asked in one tick, or while `maxInFlight` batches are under way, into one request each.
 * A command keeps its text, and so its id and content, through every attempt.
 */
export class Batcher {
  readonly #sender: BatchSender;
  readonly #maxInFlight: number;
  #queue: Pending[] = [];
  #inFlight = 0;
  #scheduled = false;
  readonly #encoder = new TextEncoder();

  constructor(sender: BatchSender, maxInFlight: number) {
    this.#sender = sender;
    this.#maxInFlight = maxInFlight;
  }

  /** The command's answer. Rejects with UnavailableError after the retries, or with what the whole batch was refused for. */
  submit(command: Command): Promise<CommandResult> {
    // Written down now, so that nothing the caller changes later can differ between attempts.
    const text = JSON.stringify(command);
    const bytes = this.#encoder.encode(text).length;
    return new Promise((resolve, reject) => {
      this.#queue.push({ text, bytes, attempts: 0, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#inFlight < this.#maxInFlight) {
      this.#inFlight++;
      void this.#send(this.#take());
    }
  }

  /** The longest run of waiting commands, in order, that fits one request; at least one. */
  #take(): Pending[] {
    let count = 0;
    let bytes = 0;
    for (const { bytes: length } of this.#queue) {
      if (count === MAX_COMMANDS || (count > 0 && bytes + length + 1 > MAX_BYTES)) break;
      bytes += length + 1;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #send(batch: Pending[]): Promise<void> {
    for (const pending of batch) pending.attempts++;
    const outcome = await this.#sender.attempt(`{"commands":[${batch.map((pending) => pending.text).join(",")}]}`);
    // The place is free while failed commands wait, so that they hold up nobody else.
    this.#inFlight--;
    this.#settle(batch, outcome);
    this.#schedule();
  }

  #settle(batch: Pending[], outcome: Attempt): void {
    if (outcome.kind === "retry") {
      this.#again(batch, outcome.error, outcome.retryAfterMs);
      return;
    }
    const { result } = outcome;
    if (result.status >= 400) {
      // Refused as a whole: a bad token, no such tenant. Each caller gets an error of its own, to attach to its own stack.
      for (const pending of batch) pending.reject(errorFromAnswer(result));
      return;
    }
    const results = resultsOf(result.body, batch.length);
    if (results === undefined) {
      this.#again(batch, new UnavailableError("the batch's answer does not have a result for each command"), undefined);
      return;
    }
    // They were not attempted, and go first next time. Where nothing at all was done, they failed.
    const done = batch.length - leftOut(result.body);
    if (done > 0 && done < batch.length) {
      const later = batch.splice(done);
      for (const pending of later) pending.attempts--;
      this.#queue.unshift(...later);
    }
    const failed: Pending[] = [];
    let lastFailure: UnavailableError | undefined;
    batch.forEach((pending, index) => {
      const answer = results[index];
      if (answer === undefined) return;
      const failure = answer.status >= 500 ? errorFromAnswer(answer) : undefined;
      if (failure instanceof UnavailableError) {
        failed.push(pending);
        lastFailure = failure;
      } else {
        pending.resolve(answer);
      }
    });
    if (lastFailure !== undefined) this.#again(failed, lastFailure, undefined);
  }

  /** Puts commands back at the head of the queue after a pause; those that had their attempts fail. */
  #again(batch: Pending[], error: UnavailableError, retryAfterMs: number | undefined): void {
    const attempt = Math.max(...batch.map((pending) => pending.attempts));
    const delay = retryDelay(attempt, retryAfterMs);
    const retried: Pending[] = [];
    for (const pending of batch) {
      if (delay === undefined || pending.attempts > this.#sender.retries) {
        const { detail, status, cause, retryAfterSeconds } = error;
        pending.reject(new UnavailableError(detail, { status, cause, retryAfterSeconds }));
      } else {
        retried.push(pending);
      }
    }
    if (delay === undefined || retried.length === 0) return;
    void sleep(delay).then(() => {
      this.#queue.unshift(...retried);
      this.#schedule();
    });
  }
}

/** A command that waits for its answer. */
interface Pending {
  text: string;
  bytes: number;
  attempts: number;
  resolve(result: CommandResult): void;
  reject(error: Error): void;
}
