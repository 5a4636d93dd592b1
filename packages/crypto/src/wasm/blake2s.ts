/** BLAKE2s (RFC 7693) and HMAC-BLAKE2s (RFC 2104) over the WebAssembly kernels. The state of each object lives here. */

import type { KeyInput, Mac } from '../provider.ts';
import { keyBytes } from '../secret.ts';
import { verifyMac } from '../verify.ts';
import { checkWindow, copyWindow, NO_BYTES, wiped } from '../windows.ts';
import { BLAKE_INPUT, BLAKE_INPUT_BYTES, BLAKE_STATE, type Kernel } from './kernel.ts';

const IV = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];
const BLOCK = 64;

/** The running hash: 8 words of state, a block that waits, and how many bytes were compressed. */
class State {
  readonly h = new Uint32Array(8);
  readonly words = new Uint32Array(BLOCK / 4);
  readonly block = new Uint8Array(this.words.buffer);
  waiting = 0;
  compressed = 0;

  /** The parameter block of §2.5: digest length, key length, fanout 1, depth 1. */
  init(length: number, keyLength: number): void {
    for (let i = 0; i < 8; i++) this.h[i] = IV[i];
    this.h[0] ^= 0x01010000 ^ (keyLength << 8) ^ length;
    this.waiting = 0;
    this.compressed = 0;
  }

  copyFrom(other: State): void {
    for (let i = 0; i < 8; i++) this.h[i] = other.h[i];
    if (other.waiting > 0) for (let i = 0; i < BLOCK / 4; i++) this.words[i] = other.words[i];
    this.waiting = other.waiting;
    this.compressed = other.compressed;
  }

  /** Compresses the block that waits, as one that is not the last. */
  flush(kernel: Kernel): void {
    this.#load(kernel);
    this.#compress(kernel, 1, BLOCK, 0);
    this.waiting = 0;
  }

  update(kernel: Kernel, buf: Uint8Array, off: number, len: number): void {
    let at = off;
    const end = off + len;
    // The last block is compressed by `digest`, even when it is full.
    while (end - at > BLOCK - this.waiting) {
      let filled = 0;
      if (this.waiting > 0) {
        const take = BLOCK - this.waiting;
        this.#load(kernel);
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
    for (let i = this.waiting; i < BLOCK; i++) this.block[i] = 0;
    this.#load(kernel);
    this.#compress(kernel, 1, this.waiting, 1);
    for (let at = 0; at < length; at += 4) {
      const word = this.h[at >> 2];
      dst[dstOff + at] = word;
      if (at + 1 < length) dst[dstOff + at + 1] = word >>> 8;
      if (at + 2 < length) dst[dstOff + at + 2] = word >>> 16;
      if (at + 3 < length) dst[dstOff + at + 3] = word >>> 24;
    }
  }

  wipe(): void {
    this.h.fill(0);
    this.block.fill(0);
    this.waiting = 0;
  }

  #load({ words }: Kernel): void {
    for (let i = 0; i < BLOCK / 4; i++) words[BLAKE_INPUT / 4 + i] = this.words[i];
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
    this.#setKey(key ?? NO_BYTES);
    key?.fill(0);
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

  rekey(key: KeyInput): void {
    if (!this.#live) wiped(this.name);
    const bytes = keyBytes(key);
    if (bytes.length < 1 || bytes.length > 32) {
      throw new RangeError(`a BLAKE2s key has 1 to 32 bytes, not ${bytes.length}`);
    }
    this.#setKey(bytes);
  }

  wipe(): void {
    this.#start.wipe();
    this.#state.wipe();
    this.#live = false;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  #setKey(key: Uint8Array): void {
    const start = this.#start;
    start.init(this.length, key.length);
    if (key.length > 0) {
      // A key is the first block (§3.3); it waits, because it may also be the last.
      for (let i = 0; i < BLOCK; i++) start.block[i] = i < key.length ? key[i] : 0;
      start.waiting = BLOCK;
    }
    this.#state.copyFrom(start);
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
    this.#setKey(key);
    key.fill(0);
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
    for (let i = 0; i < 32; i++) scratch[i] = 0;
  }

  verify(tag: Uint8Array, tagOff: number, tagLen: number = this.length): boolean {
    return verifyMac(this, tag, tagOff, tagLen);
  }

  reset(): void {
    if (!this.#live) wiped(this.name);
    this.#state.copyFrom(this.#inner);
  }

  rekey(key: KeyInput): void {
    if (!this.#live) wiped(this.name);
    this.#setKey(keyBytes(key));
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

  /** RFC 2104 §2: a key longer than a block is hashed first. */
  #setKey(key: Uint8Array): void {
    const kernel = this.#kernel;
    const inner = this.#inner;
    const outer = this.#outer;
    let length = key.length;
    if (length > BLOCK) {
      this.#state.init(32, 0);
      this.#state.update(kernel, key, 0, length);
      this.#state.digest(kernel, scratch, 0, 32);
      length = 32;
    } else {
      for (let i = 0; i < length; i++) scratch[i] = key[i];
    }
    for (let i = 0; i < BLOCK; i++) {
      const byte = i < length ? scratch[i] : 0;
      inner.block[i] = byte ^ 0x36;
      outer.block[i] = byte ^ 0x5c;
      scratch[i] = 0;
    }
    inner.init(32, 0);
    // Waits: of an empty message it is the last block, and is compressed as such.
    inner.waiting = BLOCK;
    outer.init(32, 0);
    outer.flush(kernel);
    for (let i = 0; i < BLOCK; i++) outer.block[i] = 0;
    this.#state.copyFrom(inner);
  }
}

const scratch = new Uint8Array(BLOCK);
