/** ChaCha20-Poly1305 (RFC 8439) over the WebAssembly kernels. */

import type { CounterAead } from '../provider.ts';
import {
  checkAad,
  checkNonce,
  checkOpen,
  checkSeal,
  copyWindow,
  equalConstantTime,
  TAG_LENGTH,
  wiped,
} from '../windows.ts';
import {
  AAD,
  AAD_BYTES,
  type Kernel,
  LENGTHS,
  NONCE,
  STREAM,
  TAG,
  TEXT,
  TEXT_BYTES,
} from './kernel.ts';
import { WindowCache } from './window-cache.ts';

/** One kernel call takes this much text and additional data; what is longer goes in pieces. */
const TEXT_LIMIT = TEXT_BYTES - 256;
const AAD_LIMIT = AAD_BYTES - 64;

export class WasmChaCha20Poly1305 implements CounterAead {
  readonly name: 'chacha20poly1305' = 'chacha20poly1305';
  readonly nonceLength: number = 12;
  protected readonly kernel: Kernel;
  protected readonly source: WindowCache = new WindowCache();
  protected readonly result: WindowCache = new WindowCache();
  #key: Uint32Array | null;

  constructor(kernel: Kernel, key: Uint8Array) {
    this.kernel = kernel;
    this.#key = keyWords(key);
    key.fill(0);
  }

  seal(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    nonce: Uint8Array,
    nonceOff: number,
    aad: Uint8Array | null,
    aadOff: number,
    aadLen: number,
    tagOff: number = dstOff + len,
  ): void {
    checkSeal(dst, dstOff, src, srcOff, len, tagOff);
    this.begin(nonce, nonceOff, aad, aadOff, aadLen);
    const { bytes, run } = this.kernel;
    if (len > TEXT_LIMIT || aadLen > AAD_LIMIT) {
      this.#sealLong(dst, dstOff, src, srcOff, len, aad, aadOff, aadLen);
      copyWindow(dst, tagOff, bytes, TAG, TAG_LENGTH);
      return;
    }
    if (aadLen > 0) copyWindow(bytes, AAD, aad!, aadOff, aadLen);
    this.source.copy(bytes, TEXT, src, srcOff, len);
    run.seal(len, aadLen);
    if (tagOff === dstOff + len) {
      this.result.copy(dst, dstOff, bytes, TEXT, len + TAG_LENGTH);
    } else {
      this.result.copy(dst, dstOff, bytes, TEXT, len);
      copyWindow(dst, tagOff, bytes, TEXT + len, TAG_LENGTH);
    }
  }

  open(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    nonce: Uint8Array,
    nonceOff: number,
    aad: Uint8Array | null,
    aadOff: number,
    aadLen: number,
    tagOff: number = srcOff + len,
  ): boolean {
    if (len < 0) return false;
    checkOpen(dst, dstOff, src, srcOff, len, tagOff);
    this.begin(nonce, nonceOff, aad, aadOff, aadLen);
    const { bytes, run } = this.kernel;
    if (len > TEXT_LIMIT || aadLen > AAD_LIMIT) {
      return this.#openLong(dst, dstOff, src, srcOff, len, aad, aadOff, aadLen, tagOff);
    }
    if (aadLen > 0) copyWindow(bytes, AAD, aad!, aadOff, aadLen);
    if (tagOff === srcOff + len) {
      this.source.copy(bytes, TEXT, src, srcOff, len + TAG_LENGTH);
    } else {
      this.source.copy(bytes, TEXT, src, srcOff, len);
      copyWindow(bytes, TEXT + len, src, tagOff, TAG_LENGTH);
    }
    if (run.open(len, aadLen) === 0) return false;
    this.result.copy(dst, dstOff, bytes, TEXT, len);
    return true;
  }

  sealCounter(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    counterLow: number,
    counterHigh: number,
  ): void {
    if (len > TEXT_LIMIT) {
      this.seal(
        dst,
        dstOff,
        src,
        srcOff,
        len,
        counterNonce(counterLow, counterHigh),
        0,
        null,
        0,
        0,
      );
      return;
    }
    checkSeal(dst, dstOff, src, srcOff, len, dstOff + len);
    this.beginCounter(counterLow, counterHigh);
    const { bytes, run } = this.kernel;
    this.source.copy(bytes, TEXT, src, srcOff, len);
    run.seal(len, 0);
    this.result.copy(dst, dstOff, bytes, TEXT, len + TAG_LENGTH);
  }

  openCounter(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    counterLow: number,
    counterHigh: number,
  ): boolean {
    if (len < 0) return false;
    if (len > TEXT_LIMIT) {
      const nonce = counterNonce(counterLow, counterHigh);
      return this.open(dst, dstOff, src, srcOff, len, nonce, 0, null, 0, 0);
    }
    checkOpen(dst, dstOff, src, srcOff, len, srcOff + len);
    this.beginCounter(counterLow, counterHigh);
    const { bytes, run } = this.kernel;
    this.source.copy(bytes, TEXT, src, srcOff, len + TAG_LENGTH);
    if (run.open(len, 0) === 0) return false;
    this.result.copy(dst, dstOff, bytes, TEXT, len);
    return true;
  }

  wipe(): void {
    this.#key?.fill(0);
    this.#key = null;
    this.kernel.forgetKey(this);
    this.source.clear();
    this.result.clear();
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  /** Checks the windows, takes the key and the nonce. */
  protected begin(
    nonce: Uint8Array,
    nonceOff: number,
    aad: Uint8Array | null,
    aadOff: number,
    aadLen: number,
  ): void {
    checkNonce(nonce, nonceOff, 12);
    checkAad(aad, aadOff, aadLen);
    this.kernel.setKey(this, this.#key ?? wiped(this.name));
    const bytes = this.kernel.bytes;
    for (let i = 0; i < 12; i++) bytes[NONCE + i] = nonce[nonceOff + i];
  }

  protected beginCounter(low: number, high: number): void {
    const words = this.kernel.words;
    this.kernel.setKey(this, this.#key ?? wiped(this.name));
    words[NONCE / 4] = 0;
    words[NONCE / 4 + 1] = low;
    words[NONCE / 4 + 2] = high;
  }

  #sealLong(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    aad: Uint8Array | null,
    aadOff: number,
    aadLen: number,
  ): void {
    const { bytes, run } = this.kernel;
    run.block(STREAM, 0);
    run.polyInit(STREAM);
    this.#authenticate(aad, aadOff, aadLen);
    for (let at = 0; at < len; at += PIECE) {
      const size = Math.min(PIECE, len - at);
      copyWindow(bytes, TEXT, src, srcOff + at, size);
      run.stream(TEXT, size, 1 + at / 64);
      copyWindow(dst, dstOff + at, bytes, TEXT, size);
      this.#authenticatePiece(size);
    }
    this.#finish(aadLen, len);
  }

  #openLong(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    aad: Uint8Array | null,
    aadOff: number,
    aadLen: number,
    tagOff: number,
  ): boolean {
    const { bytes, run } = this.kernel;
    run.block(STREAM, 0);
    run.polyInit(STREAM);
    this.#authenticate(aad, aadOff, aadLen);
    this.#authenticate(src, srcOff, len);
    this.#finish(aadLen, len);
    if (!equalConstantTime(bytes, TAG, src, tagOff, TAG_LENGTH)) return false;
    for (let at = 0; at < len; at += PIECE) {
      const size = Math.min(PIECE, len - at);
      copyWindow(bytes, TEXT, src, srcOff + at, size);
      run.stream(TEXT, size, 1 + at / 64);
      copyWindow(dst, dstOff + at, bytes, TEXT, size);
    }
    return true;
  }

  /** Poly1305 over a window, padded with zeros to a multiple of 16. */
  #authenticate(buf: Uint8Array | null, off: number, len: number): void {
    for (let at = 0; at < len; at += PIECE) {
      const size = Math.min(PIECE, len - at);
      copyWindow(this.kernel.bytes, TEXT, buf!, off + at, size);
      this.#authenticatePiece(size);
    }
  }

  #authenticatePiece(size: number): void {
    const { bytes, run } = this.kernel;
    bytes.fill(0, TEXT + size, TEXT + size + 16);
    run.polyUpdate(TEXT, (size + 15) & ~15);
  }

  #finish(aadLen: number, len: number): void {
    const { words, run } = this.kernel;
    words[LENGTHS / 4] = aadLen;
    words[LENGTHS / 4 + 1] = 0;
    words[LENGTHS / 4 + 2] = len;
    words[LENGTHS / 4 + 3] = 0;
    run.polyUpdate(LENGTHS, 16);
    run.polyFinish(TAG, STREAM);
  }
}

/** A multiple of 64, so that a piece begins with a block of the key stream. */
const PIECE = 32 * 1024;

/** Little-endian words; WebAssembly's memory has that order on every machine. */
export function keyWords(key: Uint8Array): Uint32Array {
  const words = new Uint32Array(8);
  for (let i = 0; i < 8; i++) {
    words[i] = key[4 * i] | (key[4 * i + 1] << 8) | (key[4 * i + 2] << 16) | (key[4 * i + 3] << 24);
  }
  return words;
}

function counterNonce(low: number, high: number): Uint8Array {
  const nonce = new Uint8Array(12);
  for (let i = 0; i < 4; i++) {
    nonce[4 + i] = low >>> (8 * i);
    nonce[8 + i] = high >>> (8 * i);
  }
  return nonce;
}
