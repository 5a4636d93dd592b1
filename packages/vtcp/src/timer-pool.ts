/** Timers of the clock, lent to one connection after another: an idle one has no deadline, and so needs none. */

import type { Clock, Timer } from '@pktkit/core';
import type { Connection } from './connection.ts';

/** More than this are left to the collector. */
const MAX_SPARE = 1024;

export class ConnectionTimer {
  readonly timer: Timer;
  /** Whom it serves now. */
  connection: Connection | null = null;

  constructor(clock: Clock, fire: (connection: Connection) => void) {
    this.timer = clock.timer(() => {
      if (this.connection !== null) fire(this.connection);
    });
  }
}

export class TimerPool {
  readonly #clock: Clock;
  readonly #fire: (connection: Connection) => void;
  readonly #spare: ConnectionTimer[] = [];

  constructor(clock: Clock, fire: (connection: Connection) => void) {
    this.#clock = clock;
    this.#fire = fire;
  }

  /** Sets the connection's timer; with `Infinity` it has none any more. */
  arm(c: Connection, at: number): void {
    if (at === Number.POSITIVE_INFINITY) {
      this.#giveBack(c);
      return;
    }
    if (c.timer === null) {
      c.timer = this.#spare.pop() ?? new ConnectionTimer(this.#clock, this.#fire);
      c.timer.connection = c;
    }
    const { timer } = c.timer;
    if (timer.deadline !== at) timer.arm(at);
  }

  #giveBack(c: Connection): void {
    const lent = c.timer;
    if (lent === null) return;
    c.timer = null;
    lent.connection = null;
    lent.timer.cancel();
    if (this.#spare.length < MAX_SPARE) this.#spare.push(lent);
  }
}
