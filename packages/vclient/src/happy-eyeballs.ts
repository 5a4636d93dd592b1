/**
 * Happy Eyeballs (RFC 8305): both families are looked up at once, attempts start 250 ms apart and alternate between the
 * families, the first that connects wins. Sans-I/O but for the promises of the look-ups.
 */

import type { Clock, IpAddr, Timer } from '@pktkit/core';

/** One attempt that can be called off. */
export interface Attempt {
  abort(): void;
}

export interface EyeballsOptions<T> {
  clock: Clock;
  /** Look-ups under way, each giving the addresses of one family, the preferred family first. */
  lookups: readonly Promise<readonly IpAddr[]>[];
  /** Starts one attempt; it calls exactly one of the two, later. A throw counts as a failure. */
  start(
    address: IpAddr,
    onConnected: (result: T) => void,
    onFailed: (error: Error) => void,
  ): Attempt;
  onConnected(result: T): void;
  /** Nothing was left to try: the first error, or null when there was no address at all. */
  onFailed(error: Error | null): void;
}

/** RFC 8305 §3: how long the preferred family's answer is waited for. */
const RESOLUTION_DELAY = 50;
/** RFC 8305 §5. */
const ATTEMPT_DELAY = 250;

export class Eyeballs<T> {
  readonly #options: EyeballsOptions<T>;
  /** What has not been tried, by look-up. */
  readonly #queues: IpAddr[][];
  #lookupsLeft: number;
  #preferredDone = false;
  #nextQueue = 0;
  readonly #running = new Set<Attempt>();
  #started = 0;
  #lastStart = 0;
  #firstError: Error | null = null;
  #over = false;
  readonly #timer: Timer;

  constructor(options: EyeballsOptions<T>) {
    this.#options = options;
    this.#queues = options.lookups.map(() => []);
    this.#lookupsLeft = options.lookups.length;
    this.#timer = options.clock.timer(() => this.#attempt());
    options.lookups.forEach((lookup, at) => {
      lookup.then(
        (addresses) => this.#onAddresses(at, addresses),
        (error: Error) => {
          this.#firstError ??= error;
          this.#onAddresses(at, []);
        },
      );
    });
    if (options.lookups.length === 0) this.#finish();
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer.cancel();
    for (const attempt of this.#running) attempt.abort();
    this.#running.clear();
  }

  #onAddresses(at: number, addresses: readonly IpAddr[]): void {
    if (this.#over) return;
    this.#lookupsLeft--;
    this.#queues[at].push(...addresses);
    if (at === 0) this.#preferredDone = true;
    if (this.#started > 0) {
      // Under way: the next attempt is due by the timer, or at once when nothing runs any more.
      if (this.#running.size === 0) this.#attempt();
      else this.#timer.arm(this.#lastStart + ATTEMPT_DELAY);
      return;
    }
    // The other family answered first: the preferred one gets a moment.
    if (this.#preferredDone || this.#lookupsLeft === 0) this.#attempt();
    else if (addresses.length > 0) this.#timer.arm(this.#options.clock.now + RESOLUTION_DELAY);
  }

  /** Starts the next address, the families in turn. */
  #attempt(): void {
    if (this.#over) return;
    this.#timer.cancel();
    const address = this.#take();
    if (address === null) {
      if (this.#running.size === 0 && this.#lookupsLeft === 0) this.#finish();
      return;
    }
    this.#started++;
    this.#lastStart = this.#options.clock.now;
    let settled = false;
    let attempt: Attempt | null = null;
    const failed = (error: Error) => {
      if (settled || this.#over) return;
      settled = true;
      if (attempt !== null) this.#running.delete(attempt);
      // The error of a real attempt tells more than that of a look-up of the other family.
      if (this.#firstError === null || this.#started === 1) this.#firstError = error;
      this.#attempt();
    };
    try {
      attempt = this.#options.start(
        address,
        (result) => {
          if (settled || this.#over) return;
          settled = true;
          if (attempt !== null) this.#running.delete(attempt);
          this.cancel();
          this.#options.onConnected(result);
        },
        failed,
      );
    } catch (error) {
      failed(error as Error);
      return;
    }
    this.#running.add(attempt);
    if (this.#queues.some((queue) => queue.length > 0) || this.#lookupsLeft > 0) {
      this.#timer.arm(this.#options.clock.now + ATTEMPT_DELAY);
    }
  }

  #take(): IpAddr | null {
    for (let i = 0; i < this.#queues.length; i++) {
      const queue = this.#queues[(this.#nextQueue + i) % this.#queues.length];
      const address = queue.shift();
      if (address === undefined) continue;
      this.#nextQueue = (this.#nextQueue + i + 1) % this.#queues.length;
      return address;
    }
    return null;
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer.cancel();
    this.#options.onFailed(this.#firstError);
  }
}
