/** Key derivation over any provider's HMAC. */

import type { CryptoProvider, HashName, KeyInput, Mac } from './provider.ts';
import { keyBytes } from './secret.ts';
import { copyWindow } from './windows.ts';

const ONE = new Uint8Array([1]);

/**
 * HKDF (RFC 5869): extract and expand. `length` is at most 255 digests.
 */
export function hkdf(
  provider: CryptoProvider,
  hash: HashName,
  ikm: KeyInput,
  salt: Uint8Array,
  info: Uint8Array,
  length: number,
): Uint8Array {
  const extract = provider.hmac(hash, salt);
  const size = extract.length;
  if (!Number.isInteger(length) || length < 0 || length > 255 * size) {
    extract.wipe();
    throw new RangeError(`HKDF with ${hash} gives 0 to ${255 * size} bytes, not ${length}`);
  }
  const input = keyBytes(ikm);
  const prk = new Uint8Array(size);
  extract.update(input, 0, input.length);
  extract.finish(prk, 0);
  extract.wipe();

  const expand = provider.hmac(hash, prk);
  prk.fill(0);
  const out = new Uint8Array(length);
  const block = new Uint8Array(size);
  const counter = new Uint8Array(1);
  for (let at = 0; at < length; at += size) {
    if (at > 0) expand.update(block, 0, size);
    expand.update(info, 0, info.length);
    counter[0]++;
    expand.update(counter, 0, 1);
    expand.finish(block, 0);
    out.set(at + size <= length ? block : block.subarray(0, length - at), at);
  }
  block.fill(0);
  expand.wipe();
  return out;
}

/**
 * The HKDF of the Noise framework (revision 34, §4.3) with BLAKE2s, WireGuard's KDF1 to KDF3: as many outputs of 32
 * bytes as windows are given. `key`, the chaining key, may be one of the outputs.
 */
export class NoiseKdf {
  readonly #mac: Mac;
  readonly #first = new Uint8Array(33);
  readonly #second = new Uint8Array(33);
  readonly #prk = new Uint8Array(32);

  constructor(provider: CryptoProvider) {
    this.#mac = provider.hmac('blake2s', this.#prk);
  }

  kdf1(out1: Uint8Array, key: Uint8Array, input: Uint8Array): void {
    this.derive(key, input, 0, input.length, out1, null, null);
  }

  kdf2(out1: Uint8Array, out2: Uint8Array, key: Uint8Array, input: Uint8Array): void {
    this.derive(key, input, 0, input.length, out1, out2, null);
  }

  kdf3(
    out1: Uint8Array,
    out2: Uint8Array,
    out3: Uint8Array,
    key: Uint8Array,
    input: Uint8Array,
  ): void {
    this.derive(key, input, 0, input.length, out1, out2, out3);
  }

  /** The same with the input as a window, and as many outputs as are not `null`. */
  derive(
    key: Uint8Array,
    input: Uint8Array,
    inputOff: number,
    inputLen: number,
    out1: Uint8Array,
    out2: Uint8Array | null,
    out3: Uint8Array | null,
  ): void {
    const mac = this.#mac;
    const prk = this.#prk;
    const first = this.#first;
    const second = this.#second;
    mac.rekey(key);
    mac.update(input, inputOff, inputLen);
    mac.finish(prk, 0);
    mac.rekey(prk);
    mac.update(ONE, 0, 1);
    mac.finish(first, 0);
    if (out2 !== null) {
      first[32] = 2;
      mac.update(first, 0, 33);
      mac.finish(second, 0);
      if (out3 !== null) {
        second[32] = 3;
        mac.update(second, 0, 33);
        mac.finish(out3, 0);
      }
      copyWindow(out2, 0, second, 0, 32);
    }
    copyWindow(out1, 0, first, 0, 32);
    for (let i = 0; i < 33; i++) {
      first[i] = 0;
      second[i] = 0;
    }
    for (let i = 0; i < 32; i++) prk[i] = 0;
  }

  /** Forgets the last key. The object stays usable. */
  wipe(): void {
    this.#mac.rekey(this.#prk);
  }
}
