import { type Clock, FlushQueue, type Timer, TimerQueue } from '@pktkit/core';

function rethrow(error: unknown): void {
  throw error;
}

/**
 * A clock that moves only when told. Timers fire in order of deadline, each in a batch of its own at exactly its
 * deadline; a flush registered outside a batch runs before time moves on. An error in a callback reaches the caller.
 */
export class VirtualClock implements Clock {
  #now = 0;
  #depth = 0;
  #holds = 0;
  readonly #timers: TimerQueue = new TimerQueue();
  readonly #flushes = new FlushQueue();
  /** Wall time when `now` was 0: 2026-01-01 UTC unless told. */
  readonly epoch: number;

  constructor(epoch = 1_767_225_600_000) {
    this.epoch = epoch;
  }

  get now(): number {
    return this.#now;
  }

  get wall(): number {
    return this.epoch + this.#now;
  }

  /** How many hold the clock: 0 when everything that was opened has been closed. */
  get holds(): number {
    return this.#holds;
  }

  /** The next deadline, or `Infinity` when nothing will ever happen again by itself. */
  get nextDeadline(): number {
    return this.#timers.nextDeadline();
  }

  timer(callback: () => void): Timer {
    return this.#timers.timer(callback);
  }

  beginBatch(): void {
    this.#depth++;
  }

  endBatch(): void {
    if (this.#depth === 1) this.#flushes.run(rethrow);
    this.#depth--;
  }

  endOfBatch(flush: () => void): void {
    this.#flushes.push(flush);
  }

  hold(): void {
    this.#holds++;
  }

  release(): void {
    if (this.#holds === 0) throw new RangeError('the clock was released more often than held');
    this.#holds--;
  }

  /** Runs what is registered for the end of a batch, without moving time. */
  flush(): void {
    this.beginBatch();
    this.endBatch();
  }

  /** Moves to the next deadline, at most to `limit`, and fires what is due there. False when nothing was due by then. */
  step(limit: number = Number.POSITIVE_INFINITY): boolean {
    this.flush();
    const next = Math.max(this.#now, this.#timers.nextDeadline());
    if (next > limit || next === Number.POSITIVE_INFINITY) return false;
    this.#now = next;
    this.beginBatch();
    this.#timers.run(next, rethrow);
    this.endBatch();
    return true;
  }

  /** Moves time on by `milliseconds` and fires everything due meanwhile. */
  advance(milliseconds: number): void {
    const end = this.#now + milliseconds;
    while (this.step(end));
    this.#now = end;
    this.flush();
  }

  /** Steps until `condition` holds. Throws when nothing is left to happen or `within` milliseconds have passed. */
  runUntil(condition: () => boolean, within = 3_600_000): void {
    const end = this.#now + within;
    this.flush();
    while (!condition()) {
      if (this.step(end)) continue;
      // The last flush may have brought it about.
      if (condition()) return;
      throw new Error(`the condition did not hold by t=${Math.min(end, this.#now)} ms`);
    }
  }

  /**
   * `runUntil` for code that also waits for promises and streams: lets the event loop turn between steps. Stays
   * deterministic as long as nothing real (a socket, a file) is involved.
   */
  async runUntilAsync(condition: () => boolean, within = 3_600_000): Promise<void> {
    const end = this.#now + within;
    let idle = 0;
    while (!condition()) {
      this.flush();
      await new Promise((resolve) => setImmediate(resolve));
      if (condition()) return;
      if (this.step(end)) {
        idle = 0;
        continue;
      }
      // A chain of promises may need several turns before it arms the next timer.
      if (++idle > 100) throw new Error(`the condition did not hold by t=${this.#now} ms`);
    }
  }

  /** Runs until `promise` settles and gives its result. */
  async settle<T>(promise: Promise<T>, within = 3_600_000): Promise<T> {
    let done = false;
    const watch = () => {
      done = true;
    };
    promise.then(watch, watch);
    await this.runUntilAsync(() => done, within);
    return promise;
  }
}
