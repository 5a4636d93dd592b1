import { describe, expect, it } from 'vitest';
import { runTransfer } from './transfer.ts';

describe('a transfer both ways', () => {
  for (const [name, link] of Object.entries({
    'a clean link': { delay: 1 },
    'a bottleneck': { delay: 10, rate: 100e6, queue: 256 << 10 },
    'loss and reordering': { delay: 10, loss: 0.02, reorder: 0.03, duplicate: 0.01 },
  })) {
    it(`arrives whole over ${name}`, () => {
      const result = runTransfer({ link, seed: 7, up: 600_000, down: 400_000 });
      expect(result.upIntact).toBe(true);
      expect(result.downIntact).toBe(true);
      expect(result.errors).toEqual([null, null]);
      expect(result.left).toBe(0);
    });
  }
});
