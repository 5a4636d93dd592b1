import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplayWindow } from '../src/replay.ts';

const HIGH = 0x100000000;

/** Remembers everything. */
class SlowWindow {
  readonly #seen = new Set<bigint>();
  #max = -1n;

  accept(counter: bigint): boolean {
    if (this.#seen.has(counter)) return false;
    if (counter <= this.#max - 8192n) return false;
    this.#seen.add(counter);
    if (counter > this.#max) this.#max = counter;
    return true;
  }
}

function accept(window: ReplayWindow, counter: number): boolean {
  return window.accept(counter % HIGH, Math.floor(counter / HIGH));
}

describe('replay window', () => {
  it('WG-05: takes counters below the first one that came', () => {
    const window = new ReplayWindow();
    expect(accept(window, 70)).toBe(true);
    for (const counter of [69, 64, 63, 1, 0]) expect(accept(window, counter)).toBe(true);
    for (const counter of [70, 69, 0]) expect(accept(window, counter)).toBe(false);
  });

  it('reaches back exactly 8192 counters', () => {
    const window = new ReplayWindow();
    expect(accept(window, 10_000)).toBe(true);
    expect(accept(window, 10_000 - 8191)).toBe(true);
    expect(accept(window, 10_000 - 8192)).toBe(false);
  });

  it('counts what is missing, and takes late ones off again', () => {
    const window = new ReplayWindow();
    for (const counter of [0, 1, 4, 6]) accept(window, counter);
    expect(window.missing).toBe(3);
    accept(window, 5);
    expect(window.missing).toBe(2);
    expect(window.accepted).toBe(5);
  });

  it('crosses from the low half into the high one', () => {
    const window = new ReplayWindow();
    expect(window.accept(0xfffffffe, 0)).toBe(true);
    expect(window.accept(0xffffffff, 0)).toBe(true);
    expect(window.accept(0, 1)).toBe(true);
    expect(window.accept(5, 1)).toBe(true);
    expect(window.accept(0xfffffffd, 0)).toBe(true);
    expect(window.accept(0xffffffff, 0)).toBe(false);
    expect(window.accept(0, 1)).toBe(false);
    expect(window.accept(0xffffffff, 0xfffffff0)).toBe(true);
    expect(window.accept(5, 1)).toBe(false);
  });

  it('agrees with one that remembers everything', () => {
    const near = fc.integer({ min: -9000, max: 9000 });
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.constant(1) },
      { weight: 4, arbitrary: fc.integer({ min: -70, max: 70 }) },
      { weight: 1, arbitrary: near },
    );
    fc.assert(
      fc.property(
        fc.constantFrom(0, 8000, HIGH - 5000),
        fc.array(step, { maxLength: 400 }),
        (start, steps) => {
          const fast = new ReplayWindow();
          const slow = new SlowWindow();
          let counter = start;
          for (const delta of steps) {
            counter = Math.max(0, counter + delta);
            expect(accept(fast, counter)).toBe(slow.accept(BigInt(counter)));
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
