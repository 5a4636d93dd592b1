import { describe, expect, it } from 'vitest';
import { IndexTable } from '../src/index-table.ts';
import { LoadMeter, SourceLimiter } from '../src/load.ts';
import { compareTimestamps, Tai64n } from '../src/tai64n.ts';

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state ^ (state >>> 15)) >>> 0;
  };
}

describe('index table', () => {
  it('WG-12: draws again when an index is taken or zero', () => {
    const draws = [5, 5, 0, 5, 9];
    const table = new IndexTable<string>(10, () => draws.shift() as number);
    expect(table.add('a')).toBe(5);
    expect(table.add('b')).toBe(9);
    expect(table.get(5)).toBe('a');
    expect(table.get(9)).toBe('b');
  });

  it('finds what is there and nothing else, through growth and removal', () => {
    const table = new IndexTable<number>(100_000, seeded(1));
    const live = new Map<number, number>();
    const random = seeded(2);
    for (let i = 0; i < 30_000; i++) {
      if (random() % 3 !== 0 || live.size === 0) {
        live.set(table.add(i), i);
      } else {
        const [index] = live.keys();
        expect(table.delete(index)).toBe(true);
        expect(table.delete(index)).toBe(false);
        live.delete(index);
      }
    }
    expect(table.size).toBe(live.size);
    for (const [index, value] of live) expect(table.get(index)).toBe(value);
    for (let i = 0; i < 1000; i++) {
      const index = random() | 0;
      expect(table.get(index)).toBe(live.get(index));
    }
    for (const index of live.keys()) table.delete(index);
    expect(table.size).toBe(0);
    expect(table.get(1)).toBeUndefined();
  });

  it('never holds more than its limit', () => {
    const table = new IndexTable<number>(3, seeded(3));
    for (let i = 0; i < 3; i++) expect(table.add(i)).not.toBe(0);
    expect(table.add(4)).toBe(0);
    expect(table.size).toBe(3);
  });
});

describe('time stamps', () => {
  it('rise strictly when the wall clock stands still, steps back or rolls over', () => {
    const clock = new Tai64n();
    const last = new Uint8Array(12);
    const next = new Uint8Array(12);
    const walls = [...new Array(100).fill(1_767_225_600_999), 1_700_000_000_000, 1_767_225_700_000];
    for (const wall of walls) {
      clock.write(wall, next, 0);
      expect(compareTimestamps(next, 0, last, 0)).toBeGreaterThan(0);
      const nanos = new DataView(next.buffer).getUint32(8);
      expect(nanos).toBeLessThan(1_000_000_000);
      last.set(next);
    }
  });

  it('have the layout of TAI64N', () => {
    const out = new Uint8Array(12);
    new Tai64n().write(1_000_000_000_500, out, 0);
    const view = new DataView(out.buffer);
    expect(view.getBigUint64(0)).toBe(0x4000000000000000n + 10n + 1_000_000_000n);
    expect(view.getUint32(8)).toBeLessThanOrEqual(500_000_000);
    expect(view.getUint32(8)).toBeGreaterThan(500_000_000 - 0x1000000);
  });
});

describe('load', () => {
  it('WG-08: is seen on one thread, by what arrives, and passes', () => {
    const meter = new LoadMeter(100, 10);
    let loaded = 0;
    // Twice the rate: the burst is used up after some time.
    for (let i = 0; i < 100; i++) if (meter.note(i * 5)) loaded++;
    expect(loaded).toBeGreaterThan(50);
    expect(meter.isUnderLoad(500)).toBe(true);
    expect(meter.isUnderLoad(2000)).toBe(false);
    for (let i = 0; i < 100; i++) expect(meter.note(3000 + i * 20)).toBe(false);
  });

  it('WG-08: holds each address to its rate, whatever its port', () => {
    const limiter = new SourceLimiter(seeded(4));
    const source = new Uint8Array([10, 0, 0, 1, 0, 0]);
    let allowed = 0;
    for (let i = 0; i < 1000; i++) {
      source[5] = i;
      if (limiter.allow(source, 6, i)) allowed++;
    }
    // Five at once and twenty a second.
    expect(allowed).toBeGreaterThanOrEqual(20);
    expect(allowed).toBeLessThanOrEqual(26);
    source[3] = 2;
    expect(limiter.allow(source, 6, 1000)).toBe(true);
  });
});
