/**
 * Time for everything that is not an I/O edge. Engines read `now`, arm timers and register flushes; none of them touches
 * `Date`, `performance` or `setTimeout`. Production uses `systemClock`; tests use a virtual one over the same `TimerQueue`.
 *
 * A **batch** is what one wake-up of an I/O edge delivers. The edge brackets it with `beginBatch` and `endBatch`; in
 * between, `now` stands still (reading a real clock costs 42 ns) and output is coalesced: who has something to flush
 * registers once with `endOfBatch`. Outside a batch a registered flush runs as a microtask.
 */

import {
  afterInput,
  type HostTimeout,
  holdProcess,
  microtask,
  monotonicNow,
  reportLater,
  startTimeout,
  stopTimeout,
  wallNow,
} from './platform.ts';

export interface Timer {
  /** When it fires, in the clock's milliseconds; `Infinity` when it is not armed. */
  readonly deadline: number;
  /** (Re-)arms for `deadline`; one in the past fires at the next turn. Moving a deadline later costs a store. */
  arm(deadline: number): void;
  cancel(): void;
}

export interface Clock {
  /** Monotonic milliseconds, with fractions. Constant within a batch. */
  readonly now: number;
  /** Milliseconds since 1970 UTC; may step. For time stamps that leave the process, never for durations. */
  readonly wall: number;
  /** A timer that is not armed yet. Its callback runs inside a batch. */
  timer(callback: () => void): Timer;
  /** Calls may nest: the outermost pair is the batch. */
  beginBatch(): void;
  endBatch(): void;
  /** Runs `flush` once when this batch ends, in order of registration. The caller remembers that it has registered. */
  endOfBatch(flush: () => void): void;
  /** While anything holds the clock, armed timers keep the process alive (an open socket does so). */
  hold(): void;
  release(): void;
}

class QueuedTimer implements Timer {
  deadline: number = Number.POSITIVE_INFINITY;
  /** The deadline that the heap has ordered it by: never later than `deadline`. */
  key: number = 0;
  order: number = 0;
  index: number = -1;
  readonly callback: () => void;
  readonly #queue: TimerQueue;

  constructor(queue: TimerQueue, callback: () => void) {
    this.#queue = queue;
    this.callback = callback;
  }

  arm(deadline: number): void {
    // NaN would break the heap's order silently.
    if (!(deadline > Number.NEGATIVE_INFINITY)) throw new RangeError(`not a deadline: ${deadline}`);
    this.#queue.arm(this, deadline);
  }

  cancel(): void {
    this.#queue.arm(this, Number.POSITIVE_INFINITY);
  }
}

/** Timers by deadline: a binary heap in which moving a deadline later, as protocols mostly do, is only noted. */
export class TimerQueue {
  readonly #heap: QueuedTimer[] = [];
  readonly #onEarlier: (deadline: number) => void;
  #order = 0;
  #cancelled = 0;

  /** `onEarlier` is told when a timer was armed that may fire before all others. */
  constructor(onEarlier: (deadline: number) => void = () => {}) {
    this.#onEarlier = onEarlier;
  }

  timer(callback: () => void): Timer {
    return new QueuedTimer(this, callback);
  }

  /** Timers in the queue, cancelled ones that have not been swept yet included. */
  get size(): number {
    return this.#heap.length;
  }

  /** The earliest deadline, or `Infinity`. */
  nextDeadline(): number {
    return this.#settleTop() ? this.#heap[0].key : Number.POSITIVE_INFINITY;
  }

  /** Fires what is due in order of deadline. A timer that keeps arming itself for `now` waits for the next call. */
  run(now: number, guard: (error: unknown) => void): void {
    let budget = this.#heap.length;
    while (budget-- > 0 && this.#settleTop() && this.#heap[0].key <= now) {
      const timer = this.#heap[0];
      this.#remove(timer);
      timer.deadline = Number.POSITIVE_INFINITY;
      try {
        timer.callback();
      } catch (error) {
        guard(error);
      }
    }
  }

  arm(timer: QueuedTimer, deadline: number): void {
    const before = timer.deadline;
    timer.deadline = deadline;
    if (timer.index < 0) {
      if (deadline === Number.POSITIVE_INFINITY) return;
      timer.key = deadline;
      timer.order = this.#order++;
      timer.index = this.#heap.length;
      this.#heap.push(timer);
      this.#up(timer);
      if (timer.index === 0) this.#onEarlier(deadline);
      return;
    }
    if (deadline === Number.POSITIVE_INFINITY) {
      if (before !== deadline && ++this.#cancelled > 64) this.#sweep();
      return;
    }
    if (before === Number.POSITIVE_INFINITY) this.#cancelled--;
    if (deadline >= timer.key) return;
    timer.key = deadline;
    this.#up(timer);
    if (timer.index === 0) this.#onEarlier(deadline);
  }

  /** Brings a timer to the top whose key is its real deadline. False when none is armed. */
  #settleTop(): boolean {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined) return false;
      if (top.deadline === top.key) return true;
      if (top.deadline === Number.POSITIVE_INFINITY) {
        this.#remove(top);
        this.#cancelled--;
      } else {
        top.key = top.deadline;
        this.#down(top);
      }
    }
  }

  /** Cancelled timers leave by themselves when their old deadline comes; many of them leave at once. */
  #sweep(): void {
    const heap = this.#heap;
    if (this.#cancelled * 2 < heap.length) return;
    let kept = 0;
    for (const timer of heap) {
      if (timer.deadline === Number.POSITIVE_INFINITY) {
        timer.index = -1;
      } else {
        timer.index = kept;
        heap[kept++] = timer;
      }
    }
    heap.length = kept;
    this.#cancelled = 0;
    for (let i = (kept >> 1) - 1; i >= 0; i--) this.#down(heap[i]);
  }

  #remove(timer: QueuedTimer): void {
    const heap = this.#heap;
    const last = heap.pop() as QueuedTimer;
    if (last !== timer) {
      last.index = timer.index;
      heap[last.index] = last;
      this.#down(last);
      this.#up(last);
    }
    timer.index = -1;
  }

  #up(timer: QueuedTimer): void {
    const heap = this.#heap;
    let at = timer.index;
    while (at > 0) {
      const parent = heap[(at - 1) >> 1];
      if (!before(timer, parent)) break;
      heap[at] = parent;
      parent.index = at;
      at = (at - 1) >> 1;
    }
    heap[at] = timer;
    timer.index = at;
  }

  #down(timer: QueuedTimer): void {
    const heap = this.#heap;
    let at = timer.index;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      const lower = heap[child];
      if (!before(lower, timer)) break;
      heap[at] = lower;
      lower.index = at;
      at = child;
    }
    heap[at] = timer;
    timer.index = at;
  }
}

function before(a: QueuedTimer, b: QueuedTimer): boolean {
  return a.key < b.key || (a.key === b.key && a.order < b.order);
}

/** Batches and their flushes, for clocks to build on. */
export class FlushQueue {
  #queue: Array<() => void> = [];
  #spare: Array<() => void> = [];

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  push(flush: () => void): void {
    this.#queue.push(flush);
  }

  /** Runs all, and what they register meanwhile. */
  run(guard: (error: unknown) => void): void {
    while (this.#queue.length > 0) {
      const queue = this.#queue;
      this.#queue = this.#spare;
      for (let i = 0; i < queue.length; i++) {
        try {
          queue[i]();
        } catch (error) {
          guard(error);
        }
      }
      // Setting the length would cost more than the one or two flushes that there mostly are.
      while (queue.length > 0) queue.pop();
      this.#spare = queue;
    }
  }
}

class SystemClock implements Clock {
  #depth = 0;
  #now = 0;
  readonly #flushes = new FlushQueue();
  #flushScheduled = false;
  readonly #timers: TimerQueue = new TimerQueue((deadline) => {
    if (this.#depth === 0) this.#wakeAt(deadline);
  });
  #timeout: HostTimeout | null = null;
  #timeoutAt = Number.POSITIVE_INFINITY;
  #holds = 0;
  readonly #onTimeout = () => {
    this.#timeout = null;
    // A process that was held up finds its timers due and its input waiting: what is on the way must not be taken for lost.
    afterInput(this.#onDue);
  };
  readonly #onDue = () => {
    this.#timeoutAt = Number.POSITIVE_INFINITY;
    this.beginBatch();
    this.#timers.run(this.#now, reportLater);
    this.endBatch();
  };
  readonly #onMicrotask = () => {
    this.#flushScheduled = false;
    if (this.#flushes.isEmpty) return;
    this.beginBatch();
    this.endBatch();
  };

  get now(): number {
    return this.#depth > 0 ? this.#now : monotonicNow();
  }

  get wall(): number {
    return wallNow();
  }

  timer(callback: () => void): Timer {
    return this.#timers.timer(callback);
  }

  beginBatch(): void {
    if (this.#depth++ === 0) this.#now = monotonicNow();
  }

  endBatch(): void {
    if (this.#depth === 1) this.#flushes.run(reportLater);
    if (--this.#depth === 0) this.#wakeAt(this.#timers.nextDeadline());
  }

  endOfBatch(flush: () => void): void {
    this.#flushes.push(flush);
    if (this.#depth === 0 && !this.#flushScheduled) {
      this.#flushScheduled = true;
      microtask(this.#onMicrotask);
    }
  }

  hold(): void {
    if (++this.#holds === 1 && this.#timeout !== null) holdProcess(this.#timeout, true);
  }

  release(): void {
    if (this.#holds === 0) throw new RangeError('the clock was released more often than held');
    if (--this.#holds === 0 && this.#timeout !== null) holdProcess(this.#timeout, false);
  }

  /** Makes sure that the host wakes us at `deadline` or before; an early wake-up only finds nothing due. */
  #wakeAt(deadline: number): void {
    if (deadline >= this.#timeoutAt) return;
    if (this.#timeout !== null) stopTimeout(this.#timeout);
    // Rounded up: the host's timer may fire a fraction of a millisecond early and would then run twice.
    const wait = Math.max(1, Math.ceil(deadline - monotonicNow()));
    // Hosts keep the delay in 31 bits.
    this.#timeout = startTimeout(this.#onTimeout, Math.min(wait, 0x7fffffff));
    this.#timeoutAt = deadline;
    if (this.#holds === 0) holdProcess(this.#timeout, false);
  }
}

/** The process's real clock: one host timer for every engine. */
export const systemClock: Clock = new SystemClock();
