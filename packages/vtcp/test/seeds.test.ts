import { describe, expect, it } from 'vitest';
import { linkOf, PLAIN, runSeed } from './seeds.ts';

// The full runs (1000 seeds of 5 MB, 50 seeds of 100 MB) are in seeds.script.ts.
describe('transfers by seed', () => {
  it('arrive whole over links made by the seed, both ends closed', () => {
    for (let seed = 1; seed <= 200; seed++) {
      expect([seed, runSeed(seed, 300_000, linkOf(seed)).what]).toEqual([seed, null]);
    }
  });

  it('arrive whole over 2 % loss, 20 ms and 3 % reordering', () => {
    for (let seed = 1; seed <= 50; seed++) {
      expect([seed, runSeed(seed, 2_000_000, PLAIN).what]).toEqual([seed, null]);
    }
  }, 60_000);
});
