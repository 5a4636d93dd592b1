/**
 * Seals and opens through every provider while the collector runs all the time and buffers come and go. Run with
 * `--expose-gc`; prints `survived` and what it did.
 */

import { type CounterAead, nobleProvider } from '@pktkit/crypto';
import { providers, randomFill, seeded } from '../providers.ts';

const gc = (globalThis as { gc?: () => void }).gc;
if (gc === undefined) throw new Error('run with --expose-gc');

const random = seeded(4242);
const noble = nobleProvider();
const key = randomFill(random, new Uint8Array(32));
let pool = Array.from({ length: 24 }, () => new Uint8Array(2048));
let done = 0;
let rejected = 0;

for (const { provider } of providers) {
  for (const name of ['chacha20poly1305', 'aes-256-gcm'] as const) {
    const oracle = noble.aead(name, key);
    let cipher: CounterAead = provider.aead(name, key);
    for (let i = 0; i < 700; i++) {
      const len = random(1500);
      const src = pick();
      const dst = pick();
      const srcOff = random(300);
      const dstOff = src === dst ? srcOff : random(300);
      randomFill(random, src.subarray(srcOff, srcOff + 32));
      const text = src.slice(srcOff, srcOff + len);
      const view = src.slice();
      cipher.sealCounter(dst, dstOff, src, srcOff, len, i, 0);
      if (i % 3 === 0) gc();
      const expected = new Uint8Array(len + 16);
      oracle.sealCounter(expected, 0, view, srcOff, len, i, 0);
      const got = dst.subarray(dstOff, dstOff + len + 16);
      if (Buffer.compare(got, expected) !== 0) throw new Error(`${provider.name} ${name} ${len}`);

      const forged = i % 5 === 0;
      if (forged) dst[dstOff + random(len + 16)] ^= 0x10;
      const back = new Uint8Array(2048);
      const good = cipher.openCounter(back, 7, dst, dstOff, len, i, 0);
      if (good === forged) throw new Error(`${provider.name} ${name} verdict`);
      if (forged) rejected++;
      else if (Buffer.compare(back.subarray(7, 7 + len), text) !== 0)
        throw new Error('text differs');

      // Ciphers die by wiping and by being forgotten; the pool's buffers are replaced.
      if (i % 50 === 49) {
        if (i % 100 === 99) cipher.wipe();
        cipher = provider.aead(name, key);
        pool = pool.map((buf) => (random(2) === 0 ? new Uint8Array(2048) : buf));
        gc();
      }
      done++;
    }
  }
}
// Let finalizers run while nothing else does.
for (let i = 0; i < 5; i++) {
  await new Promise((resolve) => setImmediate(resolve));
  gc();
}
process.stdout.write(`survived ${done} messages, ${rejected} forgeries\n`);

/** From the pool, or new and soon garbage. */
function pick(): Uint8Array {
  return random(3) === 0 ? new Uint8Array(2048) : pool[random(pool.length)];
}
