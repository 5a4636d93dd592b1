/** BLAKE2s (RFC 7693) and HMAC-BLAKE2s (RFC 2104) over the WebAssembly kernels. The state of each object lives here. */

import type { Mac } from '../provider.ts';
import { verifyMac } from '../verify.ts';
import { checkWindow, copyWindow, wiped } from '../windows.ts';
import { BLAKE_INPUT, BLAKE_INPUT_BYTES, BLAKE_STATE, type Kernel } from './kernel.ts';

const IV = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];
const BLOCK = 64;

/** The running hash: 8 words of state, a block that waits, and how many bytes were compressed. */
class State {
  readonly h = new Uint32Array(8);
  readonly block = new Uint8Array(BLOCK);
  waiting = 0;
  compressed = 0;

  /** The parameter block of §2.5: digest length, key length, fanout 1, depth 1. */
  init(length: number, keyLength: number): void {
    this.h.set(IV);
    this.h[0] ^= 0x01010000 ^ (keyLength << 8) ^ length;
    this.waiting = 0;
    this.compressed = 0;
  }

  copyFrom(other: State): void {
    this.h.set(other.h);
    this.block.set(other.block);
    this.waiting = other.waiting;
    this.compressed = other.compressed;
  }

  update(kernel: Kernel, buf: Uint8Array, off: number, len: number): void {
    let at = off;
    const end = off + len;
    // The last block is compressed by `digest`, even when it is full.
    while (end - at > BLOCK - this.waiting) {
      let filled = 0;
      if (this.waiting > 0) {
        const take = BLOCK - this.waiting;
        copyWindow(kernel.bytes, BLAKE_INPUT, this.block, 0, this.waiting);
        copyWindow(kernel.bytes, BLAKE_INPUT + this.waiting, buf, at, take);
        at += take;
        filled = BLOCK;
        this.waiting = 0;
      }
      const whole = Math.min(
        BLAKE_INPUT_BYTES - filled,
        Math.max(0, Math.ceil((end - at) / BLOCK) - 1) * BLOCK,
      );
      copyWindow(kernel.bytes, BLAKE_INPUT + filled, buf, at, whole);
      at += whole;
      this.#compress(kernel, (filled + whole) / BLOCK, BLOCK, 0);
    }
    copyWindow(this.block, this.waiting, buf, at, end - at);
    this.waiting += end - at;
  }

  /** Writes the first `length` bytes of the digest; the state is used up. */
  digest(kernel: Kernel, dst: Uint8Array, dstOff: number, length: number): void {
    const bytes = kernel.bytes;
    copyWindow(bytes, BLAKE_INPUT, this.block, 0, this.waiting);
    bytes.fill(0, BLAKE_INPUT + this.waiting, BLAKE_INPUT + BLOCK);
    this.#compress(kernel, 1, this.waiting, 1);
    for (let i = 0; i < length; i++) dst[dstOff + i] = this.h[i >> 2] >>> (8 * (i & 3));
  }

  wipe(): void {
    this.h.fill(0);
    this.block.fill(0);
    this.waiting = 0;
  }

  #compress(kernel: Kernel, count: number, lastLength: number, final: number): void {
    const { words, run } = kernel;
    const at = BLAKE_STATE / 4;
    for (let i = 0; i < 8; i++) words[at + i] = this.h[i];
    words[at + 8] = this.compressed;
    words[at + 9] = this.compressed / 0x1_0000_0000;
    run.blake2sBlocks(count, lastLength, final);
    for (let i = 0; i < 8; i++) this.h[i] = words[at + i];
    this.compressed += (count - 1) * BLOCK + lastLength;
  }
}

export class WasmBlake2s implements Mac {
  readonly name = 'blake2s';
  readonly length: number;
  readonly #kernel: Kernel;
  readonly #start = new State();
  readonly #state = new State();
  #live = true;

  constructor(kernel: Kernel, length: number, key: Uint8Array | null) {
    this.#kernel = kernel;
    this.length = length;
    this.#start.init(length, key?.length ?? 0);
    if (key !== null) {
      // A key is the first block (§3.3); it waits, because it may also be the last.
      this.#start.block.set(key);
      this.#start.waiting = BLOCK;
      key.fill(0);
    }
    this.#state.copyFrom(this.#start);
  }

  update(buf: Uint8Array, off: number, len: number): void {
    checkWindow(buf, off, len, 'message');
    if (!this.#live) wiped(this.name);
    this.#state.update(this.#kernel, buf, off, len);
  }

  finish(dst: Uint8Array, dstOff: number): void {
    checkWindow(dst, dstOff, this.length, 'digest');
    if (!this.#live) wiped(this.name);
    this.#state.digest(this.#kernel, dst, dstOff, this.length);
    this.#state.copyFrom(this.#start);
  }

  verify(tag: Uint8Array, tagOff: number, tagLen: number = this.length): boolean {
    return verifyMac(this, tag, tagOff, tagLen);
  }

  reset(): void {
    if (!this.#live) wiped(this.name);
    this.#state.copyFrom(this.#start);
  }

  wipe(): void {
    this.#start.wipe();
    this.#state.wipe();
    this.#live = false;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }
}

export class WasmHmacBlake2s implements Mac {
  readonly name = 'hmac-blake2s';
  readonly length: number = 32;
  readonly #kernel: Kernel;
  readonly #inner = new State();
  readonly #outer = new State();
  readonly #state = new State();
  #live = true;

  constructor(kernel: Kernel, key: Uint8Array) {
    this.#kernel = kernel;
    const padded = new Uint8Array(BLOCK);
    if (key.length > BLOCK) {
      this.#state.init(32, 0);
      this.#state.update(kernel, key, 0, key.length);
      this.#state.digest(kernel, padded, 0, 32);
    } else {
      padded.set(key);
    }
    key.fill(0);
    for (let i = 0; i < BLOCK; i++) padded[i] ^= 0x36;
    this.#inner.init(32, 0);
    this.#inner.update(kernel, padded, 0, BLOCK);
    for (let i = 0; i < BLOCK; i++) padded[i] ^= 0x36 ^ 0x5c;
    this.#outer.init(32, 0);
    this.#outer.update(kernel, padded, 0, BLOCK);
    padded.fill(0);
    this.#state.copyFrom(this.#inner);
  }

  update(buf: Uint8Array, off: number, len: number): void {
    checkWindow(buf, off, len, 'message');
    if (!this.#live) wiped(this.name);
    this.#state.update(this.#kernel, buf, off, len);
  }

  finish(dst: Uint8Array, dstOff: number): void {
    checkWindow(dst, dstOff, 32, 'digest');
    if (!this.#live) wiped(this.name);
    this.#state.digest(this.#kernel, scratch, 0, 32);
    this.#state.copyFrom(this.#outer);
    this.#state.update(this.#kernel, scratch, 0, 32);
    this.#state.digest(this.#kernel, dst, dstOff, 32);
    this.#state.copyFrom(this.#inner);
    scratch.fill(0);
  }

  verify(tag: Uint8Array, tagOff: number, tagLen: number = this.length): boolean {
    return verifyMac(this, tag, tagOff, tagLen);
  }

  reset(): void {
    if (!this.#live) wiped(this.name);
    this.#state.copyFrom(this.#inner);
  }

  wipe(): void {
    this.#inner.wipe();
    this.#outer.wipe();
    this.#state.wipe();
    this.#live = false;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }
}

const scratch = new Uint8Array(32);
