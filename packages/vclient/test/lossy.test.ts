import { createHash } from 'node:crypto';
import { connectL3, impair } from '@pktkit/core';
import { poisonL3, VirtualClock } from '@pktkit/testkit';
import { VClient, type VSocket } from '@pktkit/vclient';
import { describe, expect, it } from 'vitest';
import { A4, B4 } from './hosts.ts';

/** The full measure (50 seeds of 100 MB) takes its time: `PKTKIT_LONG=1`. */
const LONG = process.env.PKTKIT_LONG === '1';
const SEEDS = LONG ? 50 : 4;
const SIZE = LONG ? 100_000_000 : 3_000_000;

/** xorshift32: the same link for the same seed. */
function seeded(seed: number): () => number {
  let state = seed * 2654435761 + 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

function content(size: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  const random = seeded(seed + 1000);
  for (let i = 0; i + 4 <= size; i += 4) bytes.writeUInt32LE(random(), i);
  return bytes;
}

const hash = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('a bad link', () => {
  const seeds = Array.from({ length: SEEDS }, (_, i) => i + 1);
  it.each(seeds)(
    'VCL-01: a response followed by end and destroy arrives whole (seed %i)',
    async (seed) => {
      const clock = new VirtualClock();
      const random = seeded(seed);
      const a = new VClient({ clock, random, addrs: [`${A4}/24`] });
      const b = new VClient({ clock, random, addrs: [`${B4}/24`] });
      // On the receiver's side of the wiring, which segments in front of a link: each packet has its own fate.
      const link = impair(a, { loss: 0.02, delay: 20, reorder: 0.03, random, clock });
      connectL3(poisonL3(link), poisonL3(b));
      const payload = content(SIZE, seed);
      b.listen({ port: 80 }).on('connection', (socket: VSocket) => {
        socket.once('data', () => socket.end(payload, () => socket.destroy()));
      });
      const received = createHash('sha256');
      let length = 0;
      let ended = false;
      const socket = a.connect({ host: B4, port: 80 });
      socket.write('go');
      socket.on('data', (part: Buffer) => {
        received.update(part);
        length += part.length;
      });
      socket.on('end', () => {
        ended = true;
      });
      await clock.runUntilAsync(() => ended);
      expect(length).toBe(payload.length);
      expect(received.digest('hex')).toBe(hash(payload));
      expect(link.stats.lost).toBeGreaterThan(SIZE / 1500 / 100);
    },
    LONG ? 600_000 : 30_000,
  );
});
