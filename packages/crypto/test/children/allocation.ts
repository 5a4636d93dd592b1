/** Measures the bytes of heap per message of the fast tiers. Run with `--expose-gc`; prints one JSON object. */

import { wasmProviderSync } from '@pktkit/crypto';
import { opensslProvider } from '@pktkit/crypto/node';

const gc = (globalThis as { gc?: () => void }).gc;
if (gc === undefined) throw new Error('run with --expose-gc');

const ROUNDS = 50_000;
const result: Record<string, number> = {};
const src = new Uint8Array(2048);
const dst = new Uint8Array(2048);
const back = new Uint8Array(2048);
const key = new Uint8Array(32).fill(9);
const nonce = new Uint8Array(12);

for (const provider of [wasmProviderSync(), opensslProvider()]) {
  const chacha = provider.aead('chacha20poly1305', key);
  for (const len of [64, 1424]) {
    let count = 0;
    measure(`${provider.name} chacha20poly1305 seal ${len}`, () => {
      chacha.sealCounter(dst, 16, src, 32, len, count++, 0);
    });
    chacha.sealCounter(dst, 16, src, 32, len, 5, 0);
    measure(`${provider.name} chacha20poly1305 open ${len}`, () => {
      if (!chacha.openCounter(back, 32, dst, 16, len, 5, 0)) throw new Error('refused');
    });
  }
  const hash = provider.blake2s(16, key);
  measure(`${provider.name} blake2s`, () => {
    hash.update(src, 0, 116);
    hash.finish(dst, 0);
  });
  if (provider.name !== 'openssl') continue;
  const gcm = provider.aead('aes-256-gcm', key);
  measure('openssl aes-256-gcm seal 1420', () => {
    gcm.seal(dst, 24, src, 32, 1420, nonce, 0, dst, 0, 8, 8);
  });
  gcm.seal(dst, 24, src, 32, 1420, nonce, 0, dst, 0, 8, 8);
  measure('openssl aes-256-gcm open 1420', () => {
    if (!gcm.open(back, 24, dst, 24, 1420, nonce, 0, dst, 0, 8, 8)) throw new Error('refused');
  });
}
process.stdout.write(JSON.stringify(result));

function measure(name: string, run: () => void): void {
  for (let i = 0; i < 30_000; i++) run();
  let least = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 5; attempt++) {
    gc!();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < ROUNDS; i++) run();
    least = Math.min(least, (process.memoryUsage().heapUsed - before) / ROUNDS);
  }
  result[name] = least;
}
