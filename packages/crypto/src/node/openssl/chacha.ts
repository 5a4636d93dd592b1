/**
 * ChaCha20-Poly1305 (RFC 8439 §2.8) from OpenSSL's ChaCha20_ctr32 and Poly1305_*, for what is longer than `SHORT`; the
 * WebAssembly kernel serves what is shorter, where the calls would cost more than the work, and the one-time keys.
 */

import { WasmChaCha20Poly1305 } from '../../wasm/chacha.ts';
import { AAD, AAD_BYTES, KEY, LENGTHS, NONCE, STREAM, TAG, TEXT } from '../../wasm/kernel.ts';
import { checkOpen, checkSeal, copyWindow, equalConstantTime, TAG_LENGTH } from '../../windows.ts';
import type { ChaChaFunctions } from './library.ts';
import type { NativeMemory } from './memory.ts';

/** Poly1305's context; `library.ts` says how many bytes of it OpenSSL uses. */
export const POLY_CONTEXT = 1600;
export const POLY_CONTEXT_ROOM = 448;

/** Up to here, two runs of the kernel, the calls cost more than the work. */
const SHORT = 448;
const COUNTER = NONCE - 4;
/** One-time keys made at once, of counters in a row: four blocks take hardly longer than one. */
const AHEAD = 4;
const KEY_WORDS = 8;

/** Addresses in the kernel's memory, made once. */
export interface ChaChaPlaces {
  readonly key: number;
  readonly counter: number;
  readonly poly: number;
  readonly stream: number;
  readonly lengths: number;
  readonly rest: number;
  readonly tag: number;
  readonly aad: number;
  readonly front: number;
  readonly text: number;
}

export function chachaPlaces(memory: NativeMemory): ChaChaPlaces {
  // Null first: the fields must keep the number objects (memory.ts, `Address`).
  const places: Record<keyof ChaChaPlaces, number | null> = {
    key: null,
    counter: null,
    poly: null,
    stream: null,
    lengths: null,
    rest: null,
    tag: null,
    aad: null,
    front: null,
    text: null,
  };
  places.key = memory.own(KEY);
  places.counter = memory.own(COUNTER);
  places.poly = memory.own(POLY_CONTEXT);
  places.stream = memory.own(STREAM);
  places.lengths = memory.own(LENGTHS);
  places.rest = memory.own(LENGTHS - 16);
  places.tag = memory.own(TAG);
  places.aad = memory.own(AAD);
  places.front = memory.own(TEXT - 64);
  places.text = memory.own(TEXT);
  return places as ChaChaPlaces;
}

export class NativeChaCha20Poly1305 extends WasmChaCha20Poly1305 {
  readonly #native: ChaChaFunctions;
  readonly #memory: NativeMemory;
  readonly #places: ChaChaPlaces;
  /** One-time keys of the counter #aheadLow, #aheadHigh and of those after it; made when a counter first asks for one. */
  #ahead: Uint32Array | null = null;
  #aheadLow = 0;
  #aheadHigh = 0;

  constructor(
    native: ChaChaFunctions,
    memory: NativeMemory,
    places: ChaChaPlaces,
    key: Uint8Array,
  ) {
    super(memory.kernel, key);
    this.#native = native;
    this.#memory = memory;
    this.#places = places;
  }

  override seal(
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
    if (len <= SHORT || aadLen > AAD_BYTES - 64) {
      super.seal(dst, dstOff, src, srcOff, len, nonce, nonceOff, aad, aadOff, aadLen, tagOff);
      return;
    }
    checkSeal(dst, dstOff, src, srcOff, len, tagOff);
    this.begin(nonce, nonceOff, aad, aadOff, aadLen);
    if (aadLen > 0) copyWindow(this.kernel.bytes, AAD, aad!, aadOff, aadLen);
    this.#seal(dst, dstOff, src, srcOff, len, aadLen, tagOff, false);
  }

  override open(
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
    if (len <= SHORT || aadLen > AAD_BYTES - 64) {
      return super.open(
        dst,
        dstOff,
        src,
        srcOff,
        len,
        nonce,
        nonceOff,
        aad,
        aadOff,
        aadLen,
        tagOff,
      );
    }
    checkOpen(dst, dstOff, src, srcOff, len, tagOff);
    this.begin(nonce, nonceOff, aad, aadOff, aadLen);
    if (aadLen > 0) copyWindow(this.kernel.bytes, AAD, aad!, aadOff, aadLen);
    return this.#open(dst, dstOff, src, srcOff, len, aadLen, tagOff, false);
  }

  override sealCounter(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    counterLow: number,
    counterHigh: number,
  ): void {
    if (len <= SHORT) {
      super.sealCounter(dst, dstOff, src, srcOff, len, counterLow, counterHigh);
      return;
    }
    checkSeal(dst, dstOff, src, srcOff, len, dstOff + len);
    this.beginCounter(counterLow, counterHigh);
    this.#seal(dst, dstOff, src, srcOff, len, 0, dstOff + len, true);
  }

  override openCounter(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    counterLow: number,
    counterHigh: number,
  ): boolean {
    if (len <= SHORT) {
      return super.openCounter(dst, dstOff, src, srcOff, len, counterLow, counterHigh);
    }
    checkOpen(dst, dstOff, src, srcOff, len, srcOff + len);
    this.beginCounter(counterLow, counterHigh);
    return this.#open(dst, dstOff, src, srcOff, len, 0, srcOff + len, true);
  }

  override wipe(): void {
    super.wipe();
    this.#ahead?.fill(0);
    this.#ahead = null;
    this.#memory.release();
  }

  /** Key, nonce and additional data stand in the kernel's memory; `counted`: the nonce is a counter. */
  #seal(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    aadLen: number,
    tagOff: number,
    counted: boolean,
  ): void {
    const memory = this.#memory;
    const native = this.#native;
    const places = this.#places;
    const from = memory.source.at(src, srcOff, len);
    const to = from === 0 ? 0 : memory.destination.at(dst, dstOff, len);
    if (to === 0) {
      this.#sealCopied(dst, dstOff, src, srcOff, len, aadLen, tagOff);
      return;
    }
    this.#oneTimeKey(counted);
    this.#chacha(to, from, len, 1);
    this.#polyBegin(places.stream, aadLen);
    const padding = -len & 15;
    if (tagOff === dstOff + len && tagOff + padding + TAG_LENGTH <= dst.length) {
      // Padding and lengths stand where the tag will, and a little beyond: one update for all.
      const beyond = tagOff + TAG_LENGTH;
      for (let i = 0; i < padding; i++) {
        behind[i] = dst[beyond + i];
        dst[tagOff + i] = 0;
      }
      putLengths(dst, tagOff + padding, aadLen, len);
      native.polyUpdate(places.poly, to, len + padding + 16);
      for (let i = 0; i < padding; i++) dst[beyond + i] = behind[i];
    } else {
      this.#polyText(dst, dstOff, to, len, aadLen);
    }
    native.polyFinish(places.poly, memory.destination.tag(tagOff));
  }

  #sealCopied(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    aadLen: number,
    tagOff: number,
  ): void {
    const { bytes, words } = this.kernel;
    const places = this.#places;
    // The one-time key's block stands in front of the text: one run makes both.
    for (let i = 1; i <= 16; i++) words[TEXT / 4 - i] = 0;
    this.source.copy(bytes, TEXT, src, srcOff, len);
    this.#chacha(places.front, places.front, len + 64, 0);
    this.#polyCopied(places.front, len, aadLen);
    this.#native.polyFinish(places.poly, places.tag);
    this.result.copy(dst, dstOff, bytes, TEXT, len);
    copyWindow(dst, tagOff, bytes, TAG, TAG_LENGTH);
  }

  #open(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    aadLen: number,
    tagOff: number,
    counted: boolean,
  ): boolean {
    const memory = this.#memory;
    const places = this.#places;
    const { bytes } = this.kernel;
    const from = memory.source.at(src, srcOff, len);
    const to = from === 0 ? 0 : memory.destination.at(dst, dstOff, len);
    this.#oneTimeKey(counted);
    if (to === 0) {
      this.source.copy(bytes, TEXT, src, srcOff, len);
      this.#polyCopied(places.stream, len, aadLen);
    } else {
      this.#polyBegin(places.stream, aadLen);
      this.#polyText(src, srcOff, from, len, aadLen);
    }
    this.#native.polyFinish(places.poly, places.tag);
    if (!equalConstantTime(bytes, TAG, src, tagOff, TAG_LENGTH)) return false;
    if (to === 0) {
      this.#chacha(places.text, places.text, len, 1);
      this.result.copy(dst, dstOff, bytes, TEXT, len);
    } else {
      this.#chacha(to, from, len, 1);
    }
    return true;
  }

  /**
   * Puts the message's one-time key at STREAM. Messages in the order of their counters find theirs made three times of four.
   * A group that begins with the last counters of a high half holds keys that nobody asks for: the kernel's addition wraps.
   */
  #oneTimeKey(counted: boolean): void {
    const { words, run } = this.kernel;
    const low = words[NONCE / 4 + 1];
    const high = words[NONCE / 4 + 2];
    if (!counted) {
      run.block(STREAM, 0);
      return;
    }
    let ahead = this.#ahead;
    let at = low - this.#aheadLow;
    if (ahead === null || at < 0 || at >= AHEAD || high !== this.#aheadHigh) {
      ahead ??= new Uint32Array(AHEAD * KEY_WORDS);
      run.keysAhead(STREAM);
      for (let i = 0; i < AHEAD * KEY_WORDS; i++) {
        ahead[i] = words[STREAM / 4 + (i >> 3) * 16 + (i & 7)];
      }
      this.#ahead = ahead;
      this.#aheadLow = low;
      this.#aheadHigh = high;
      at = 0;
    }
    for (let i = 0; i < KEY_WORDS; i++) words[STREAM / 4 + i] = ahead[at * KEY_WORDS + i];
  }

  #chacha(to: number, from: number, len: number, counter: number): void {
    this.kernel.words[COUNTER / 4] = counter;
    this.#native.chacha(to, from, len, this.#places.key, this.#places.counter);
  }

  /** Poly1305 with the one-time key at `key`, over the padded additional data. */
  #polyBegin(key: number, aadLen: number): void {
    const { poly, aad } = this.#places;
    this.#native.polyInit(poly, key);
    if (aadLen === 0) return;
    this.kernel.bytes.fill(0, AAD + aadLen, AAD + aadLen + 16);
    this.#native.polyUpdate(poly, aad, (aadLen + 15) & ~15);
  }

  /** Text that was copied to TEXT, with padding and lengths written behind it. */
  #polyCopied(key: number, len: number, aadLen: number): void {
    const { bytes } = this.kernel;
    const padded = (len + 15) & ~15;
    for (let i = len; i < padded; i++) bytes[TEXT + i] = 0;
    putLengths(bytes, TEXT + padded, aadLen, len);
    this.#polyBegin(key, aadLen);
    this.#native.polyUpdate(this.#places.poly, this.#places.text, padded + 16);
  }

  /** Text where it stands; what is left of its last block, and the lengths, from our memory. */
  #polyText(buf: Uint8Array, off: number, address: number, len: number, aadLen: number): void {
    const { bytes } = this.kernel;
    const { poly, lengths, rest } = this.#places;
    const left = len & 15;
    this.#native.polyUpdate(poly, address, len - left);
    putLengths(bytes, LENGTHS, aadLen, len);
    if (left === 0) {
      this.#native.polyUpdate(poly, lengths, 16);
      return;
    }
    for (let i = 0; i < 16; i++) {
      bytes[LENGTHS - 16 + i] = i < left ? buf[off + len - left + i] : 0;
    }
    this.#native.polyUpdate(poly, rest, 32);
  }
}

/** What stands behind a tag's slot while padding and lengths go there. */
const behind = new Uint8Array(16);

/** Two 64-bit lengths, little-endian (RFC 8439 §2.8). */
function putLengths(buf: Uint8Array, off: number, aadLen: number, len: number): void {
  for (let i = 0; i < 4; i++) {
    buf[off + i] = aadLen >>> (8 * i);
    buf[off + 4 + i] = 0;
    buf[off + 8 + i] = len >>> (8 * i);
    buf[off + 12 + i] = 0;
  }
}
