import {
  copyBytes,
  equalBytes,
  fillRandom,
  fromHex,
  get16,
  get24,
  get32,
  getInt32,
  put16,
  put24,
  put32,
  random32,
  randomBelow,
  toHex,
} from '@pktkit/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('bytes', () => {
  it('reads and writes in network byte order, as DataView does', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 12, maxLength: 12 }),
        fc.nat(8),
        fc.nat(0xffffffff),
        (bytes, at, value) => {
          const view = new DataView(bytes.buffer);
          expect(get16(bytes, at)).toBe(view.getUint16(at));
          expect(get24(bytes, at)).toBe(view.getUint32(at) >>> 8);
          expect(get32(bytes, at)).toBe(view.getUint32(at));
          expect(getInt32(bytes, at)).toBe(view.getInt32(at));
          put32(bytes, at, value);
          expect(view.getUint32(at)).toBe(value);
          put32(bytes, at, value | 0);
          expect(view.getUint32(at)).toBe(value);
          put16(bytes, at, value & 0xffff);
          expect(view.getUint16(at)).toBe(value & 0xffff);
          put24(bytes, at, value & 0xffffff);
          expect(get24(bytes, at)).toBe(value & 0xffffff);
        },
      ),
    );
  });

  it('copies like copyWithin and set, overlapping or not', () => {
    fc.assert(
      fc.property(fc.nat(300), fc.nat(300), fc.nat(300), fc.boolean(), (from, to, len, same) => {
        const src = new Uint8Array(600).map((_, i) => i * 7);
        const dst = same ? src : new Uint8Array(600);
        const expected = dst.slice();
        expected.set(src.slice(from, from + len), to);
        copyBytes(dst, to, src, from, len);
        expect(dst).toEqual(expected);
        expect(equalBytes(dst, 0, expected, 0, 600)).toBe(true);
      }),
    );
    expect(equalBytes(Uint8Array.of(1, 2), 0, Uint8Array.of(1, 3), 0, 2)).toBe(false);
  });

  it('prints and reads hexadecimal', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(fromHex(toHex(bytes))).toEqual(bytes);
      }),
    );
    expect(fromHex('0A:0b 0c')).toEqual(Uint8Array.of(10, 11, 12));
    for (const text of ['0', '0g', 'zz']) expect(() => fromHex(text)).toThrow(TypeError);
  });
});

describe('random', () => {
  it('fills arrays larger than the system gives at once', () => {
    const bytes = fillRandom(new Uint8Array(200_000));
    for (let at = 0; at < bytes.length; at += 10_000) {
      expect(bytes.subarray(at, at + 10_000).some((byte) => byte !== 0)).toBe(true);
    }
  });

  it('gives different words, block after block', () => {
    const words = new Set(Array.from({ length: 2000 }, () => random32()));
    expect(words.size).toBeGreaterThan(1990);
    for (const word of words)
      expect(Number.isInteger(word) && word >= 0 && word < 2 ** 32).toBe(true);
  });

  it('is uniform below a bound: what lies above the last whole multiple is drawn again', () => {
    const draws = [0xffffffff, 0xfffffffe, 5];
    expect(randomBelow(3, () => draws.shift() as number)).toBe(0xfffffffe % 3);
    expect(draws).toEqual([5]);
    const counts = [0, 0, 0];
    for (let i = 0; i < 3000; i++) counts[randomBelow(3)]++;
    expect(Math.min(...counts)).toBeGreaterThan(800);
  });
});
