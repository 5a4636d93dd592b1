/**
 * The kernels: ChaCha20-Poly1305 (RFC 8439) and BLAKE2s (RFC 7693) over fixed places in memory. `npm run wasm` in this
 * package compiles them into `src/wasm/module.ts`.
 */

import { block, keysAhead, xor256 } from './chacha20';
import { AAD, LENGTHS, STREAM, TAG, TEXT } from './layout';
import { polyFinish, polyInit, polyUpdate } from './poly1305';

export { blake2sBlocks } from './blake2s';
export { block, keysAhead, polyFinish, polyInit, polyUpdate };

/** What fits beside the one-time key's block into one run of four blocks. */
const SHORT: i32 = 192;

/** XORs the key stream from block `counter` on to `len` bytes at `at`; writes up to 255 bytes more behind them. */
export function stream(at: usize, len: i32, counter: i32): void {
  for (let done = 0; done < len; done += 256) {
    xor256(at + done, at + done, counter);
    counter += 4;
  }
}

/** Encrypts `len` bytes at TEXT in place and puts the tag behind them. */
export function seal(len: i32, aadLen: i32): void {
  const key = TEXT - 64;
  if (len > 0) {
    clear(key, 64);
    stream(key, len + 64, 0);
  } else {
    block(key, 0);
  }
  authenticate(key, len, aadLen);
  // The lengths are authenticated: what was padding may become the tag.
  polyFinish(TEXT + len, key);
}

/** Checks the tag behind the `len` bytes at TEXT and decrypts them in place; 0 for a forgery, and nothing is decrypted. */
export function open(len: i32, aadLen: i32): i32 {
  const tag0 = load<u64>(TEXT + len);
  const tag1 = load<u64>(TEXT + len, 8);
  if (len > 0 && len <= SHORT) {
    // One run gives the one-time key and all of the key stream.
    clear(STREAM, 256);
    xor256(STREAM, STREAM, 0);
  } else {
    block(STREAM, 0);
  }
  authenticate(STREAM, len, aadLen);
  polyFinish(TAG, STREAM);
  // Public from here on: the caller learns it.
  if (((load<u64>(TAG) ^ tag0) | (load<u64>(TAG, 8) ^ tag1)) != 0) return 0;
  if (len <= SHORT) {
    for (let at = 0; at < len; at += 16) {
      const stream = v128.load(STREAM + at, 64);
      v128.store(TEXT + at, v128.xor(v128.load(TEXT + at), stream));
    }
  } else {
    stream(TEXT, len, 1);
  }
  return 1;
}

/** A loop of stores: `memory.fill` calls out of the module. */
function clear(at: usize, len: i32): void {
  for (let done = 0; done < len; done += 16) v128.store(at + done, i64x2.splat(0));
}

/** Poly1305 over additional data, ciphertext and lengths, each padded to 16 bytes (RFC 8439 §2.8). */
function authenticate(key: usize, len: i32, aadLen: i32): void {
  polyInit(key);
  if (aadLen > 0) {
    v128.store(AAD + aadLen, i64x2.splat(0));
    polyUpdate(AAD, (aadLen + 15) & ~15);
  }
  v128.store(TEXT + len, i64x2.splat(0));
  polyUpdate(TEXT, (len + 15) & ~15);
  store<u64>(LENGTHS, aadLen);
  store<u64>(LENGTHS, len, 8);
  polyUpdate(LENGTHS, 16);
}
