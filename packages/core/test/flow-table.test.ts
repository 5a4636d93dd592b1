import { FlowTable } from '@pktkit/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

type Key = [number, number, number, number, number, number, number, number, number, number];

function seeded(seed: number): () => number {
  let x = seed;
  return () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x;
  };
}

describe('FlowTable', () => {
  it('finds what was inserted, in both families, and only that', () => {
    const table = new FlowTable({ capacity: 100 });
    const v4 = table.insert4(0x0a000001, 0xc0a80001 | 0, (1234 << 16) | 80, 6);
    const v6 = table.insert(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
    expect(table.find4(0x0a000001, 0xc0a80001 | 0, (1234 << 16) | 80, 6)).toBe(v4);
    expect(
      table.find(0, 0, 0xffff, 0x0a000001, 0, 0, 0xffff, 0xc0a80001 | 0, (1234 << 16) | 80, 6),
    ).toBe(v4);
    expect(table.find(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)).toBe(v6);
    expect(table.find4(0x0a000001, 0xc0a80001 | 0, (1234 << 16) | 80, 17)).toBe(-1);
    for (let word = 0; word < 10; word++) {
      const key: Key = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
      expect(table.keyWord(v6, word)).toBe(key[word]);
      key[word] ^= 1 << 31;
      expect(table.find(...key)).toBe(-1);
    }
    expect(table.insert4(0x0a000001, 0xc0a80001 | 0, (1234 << 16) | 80, 6)).toBe(v4);
    expect(table.size).toBe(2);
  });

  it('is bounded, says so, and takes new flows when old ones have gone', () => {
    const table = new FlowTable({ capacity: 300 });
    for (let i = 0; i < 300; i++) expect(table.insert4(i, 1, 2, 3)).toBe(i);
    expect(table.insert4(300, 1, 2, 3)).toBe(-1);
    expect(table.insert4(7, 1, 2, 3)).toBe(7);
    expect(table.remove(7)).toBe(true);
    expect(table.remove(7)).toBe(false);
    expect(table.has(7)).toBe(false);
    expect(table.insert4(300, 1, 2, 3)).toBe(7);
    expect(table.limit).toBe(300);
    table.clear();
    expect(table.size).toBe(0);
    expect(table.find4(1, 1, 2, 3)).toBe(-1);
    expect(table.insert4(1, 1, 2, 3)).toBe(0);
    expect(() => new FlowTable({ capacity: 0 })).toThrow(/capacity/);
  });

  it('equals a Map over any sequence of operations, growth and reuse included', () => {
    const small = fc.integer({ min: -2, max: 2 });
    const operation = fc.record({
      kind: fc.constantFrom('insert', 'insert', 'insert4', 'remove', 'find'),
      words: fc.array(small, { minLength: 10, maxLength: 10 }),
      pick: fc.nat(1000),
    });
    fc.assert(
      fc.property(fc.nat(), fc.array(operation, { maxLength: 400 }), (seed, operations) => {
        const table = new FlowTable({ capacity: 90, random: seeded(seed) });
        const twin = new Map<string, number>();
        for (const { kind, words, pick } of operations) {
          const key = (
            kind === 'insert4'
              ? [0, 0, 0xffff, words[3], 0, 0, 0xffff, words[7], words[8], words[9]]
              : words
          ) as Key;
          const name = key.join();
          if (kind === 'remove') {
            const entries = [...twin];
            if (entries.length === 0) continue;
            const [victim, record] = entries[pick % entries.length];
            expect(table.remove(record)).toBe(true);
            twin.delete(victim);
          } else if (kind !== 'find') {
            const record =
              kind === 'insert4'
                ? table.insert4(key[3], key[7], key[8], key[9])
                : table.insert(...key);
            if (twin.has(name)) expect(record).toBe(twin.get(name));
            else if (twin.size === 90) expect(record).toBe(-1);
            else {
              expect([...twin.values()]).not.toContain(record);
              twin.set(name, record);
            }
          }
          expect(table.find(...key)).toBe(twin.get(name) ?? -1);
        }
        expect(table.size).toBe(twin.size);
        for (const [name, record] of twin) {
          expect(table.find(...(name.split(',').map(Number) as Key))).toBe(record);
          expect(table.has(record)).toBe(true);
        }
      }),
    );
  });

  it('spreads keys that differ only where a weak hash is blind', () => {
    // The upper bytes of two words: a hash that only multiplies and adds whole words puts these on 256 places.
    const table = new FlowTable({ capacity: 65_536 });
    for (let i = 0; i < 256; i++) {
      for (let j = 0; j < 256; j++) table.insert4(i << 24, 1, j << 24, 6);
    }
    expect(table.size).toBe(65_536);
    expect(table.longestProbe()).toBeLessThan(200);
  });

  it('puts the same keys elsewhere in every table', () => {
    const order = (seed: number) => {
      const table = new FlowTable({ capacity: 32, random: seeded(seed) });
      for (let i = 0; i < 32; i++) table.insert4(i, i, i, i);
      return table.longestProbe();
    };
    const lengths = new Set(Array.from({ length: 64 }, (_, seed) => order(seed)));
    expect(lengths.size).toBeGreaterThan(1);
  });
});
