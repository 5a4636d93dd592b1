import { VirtualClock } from '@pktkit/testkit';
import { describe, expect, it } from 'vitest';

describe('VirtualClock', () => {
  it('fires timers in order of deadline, each at its own time', () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    const note = (name: string) => () => seen.push(`${name}@${clock.now}`);
    const late = clock.timer(note('late'));
    const early = clock.timer(note('early'));
    const cancelled = clock.timer(note('cancelled'));
    late.arm(20);
    early.arm(5);
    cancelled.arm(7);
    cancelled.cancel();
    late.arm(30); // later: only noted
    clock.advance(100);
    expect(seen).toEqual(['early@5', 'late@30']);
    expect(clock.now).toBe(100);
  });

  it('runs flushes when a batch ends, and before time moves when there is none', () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    clock.beginBatch();
    clock.endOfBatch(() => seen.push('batch'));
    expect(seen).toEqual([]);
    clock.endBatch();
    expect(seen).toEqual(['batch']);
    clock.endOfBatch(() => seen.push(`loose@${clock.now}`));
    clock.advance(10);
    expect(seen).toEqual(['batch', 'loose@0']);
  });

  it('says when a condition can no longer come true', () => {
    const clock = new VirtualClock();
    expect(() => clock.runUntil(() => false)).toThrow(/did not hold/);
  });
});
