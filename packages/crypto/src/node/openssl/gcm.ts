/**
 * AES-GCM (NIST SP 800-38D) from the provider inside OpenSSL: two calls a message, one that takes the nonce, one that
 * does the rest. A context for each direction is made with the key and held.
 */

import type { CounterAead } from '../../provider.ts';
import type { GcmName } from '../../suite.ts';
import { AAD, AAD_BYTES, KEY, NONCE, TAG, TEXT } from '../../wasm/kernel.ts';
import { WindowCache } from '../../wasm/window-cache.ts';
import {
  checkAad,
  checkNonce,
  checkOpen,
  checkSeal,
  copyWindow,
  putCounter,
  TAG_LENGTH,
  wiped,
} from '../../windows.ts';
import type { GcmFunctions } from './library.ts';
import type { NativeMemory } from './memory.ts';

interface Contexts {
  readonly native: GcmFunctions;
  readonly seal: number;
  readonly open: number;
}

/** Addresses in the kernel's memory, made once. */
export interface GcmPlaces {
  readonly nonce: number;
  readonly aad: number;
  readonly text: number;
  readonly tag: number;
}

export function gcmPlaces(memory: NativeMemory): GcmPlaces {
  // Null first: the fields must keep the number objects (memory.ts, `Address`).
  const places: Record<keyof GcmPlaces, number | null> = {
    nonce: null,
    aad: null,
    text: null,
    tag: null,
  };
  places.nonce = memory.own(NONCE);
  places.aad = memory.own(AAD);
  places.text = memory.own(TEXT);
  places.tag = memory.own(TAG);
  return places as GcmPlaces;
}

/** Frees the contexts of a cipher that nobody wiped. */
const forgotten = new FinalizationRegistry<Contexts>(free);

export class NativeGcm implements CounterAead {
  readonly name: GcmName;
  readonly nonceLength: number = 12;
  readonly #memory: NativeMemory;
  readonly #source = new WindowCache();
  readonly #result = new WindowCache();
  readonly #nonce = new Uint8Array(12);
  readonly #places: GcmPlaces;
  #contexts: Contexts | null;

  constructor(
    native: GcmFunctions,
    memory: NativeMemory,
    places: GcmPlaces,
    name: GcmName,
    key: Uint8Array,
  ) {
    this.name = name;
    this.#memory = memory;
    this.#places = places;
    const { kernel } = memory;
    const own = memory.own(KEY);
    kernel.keyOwner = null;
    kernel.bytes.set(key, KEY);
    kernel.bytes.fill(0, NONCE, NONCE + 12);
    const contexts = newContexts(native, key.length);
    const ready =
      contexts.seal !== 0 &&
      contexts.open !== 0 &&
      native.initSeal(contexts.seal, own, key.length, places.nonce, 12, 0) === 1 &&
      native.initOpen(contexts.open, own, key.length, places.nonce, 12, 0) === 1;
    kernel.bytes.fill(0, KEY, KEY + 32);
    key.fill(0);
    if (!ready) {
      free(contexts);
      throw new Error(`OpenSSL refuses ${name}`);
    }
    this.#contexts = contexts;
    forgotten.register(this, contexts, this);
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
    checkNonce(nonce, nonceOff, 12);
    checkAad(aad, aadOff, aadLen);
    const { native, seal } = this.#contexts ?? wiped(this.name);
    const memory = this.#memory;
    const places = this.#places;
    const { bytes } = memory.kernel;
    const data = this.#aad(aad, aadOff, aadLen);
    for (let i = 0; i < 12; i++) bytes[NONCE + i] = nonce[nonceOff + i];
    native.setIv(seal, places.nonce, 12);
    const from = memory.source.at(src, srcOff, len);
    const to = from === 0 ? 0 : memory.destination.at(dst, dstOff, len);
    if (to !== 0) {
      native.seal(seal, data, aadLen, from, len, to, memory.destination.tag(tagOff), TAG_LENGTH);
      return;
    }
    const { text, tag } = places;
    this.#source.copy(bytes, TEXT, src, srcOff, len);
    native.seal(seal, data, aadLen, text, len, text, tag, TAG_LENGTH);
    this.#result.copy(dst, dstOff, bytes, TEXT, len);
    copyWindow(dst, tagOff, bytes, TAG, TAG_LENGTH);
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
    checkNonce(nonce, nonceOff, 12);
    checkAad(aad, aadOff, aadLen);
    const { native, open } = this.#contexts ?? wiped(this.name);
    const memory = this.#memory;
    const places = this.#places;
    const { bytes } = memory.kernel;
    const data = this.#aad(aad, aadOff, aadLen);
    for (let i = 0; i < 12; i++) bytes[NONCE + i] = nonce[nonceOff + i];
    native.setIv(open, places.nonce, 12);
    const from = memory.source.at(src, srcOff, len);
    const to = from === 0 ? 0 : memory.destination.at(dst, dstOff, len);
    if (to !== 0) {
      const expected = memory.source.tag(tagOff);
      if (native.open(open, data, aadLen, from, len, to, expected, TAG_LENGTH) === 1) return true;
      // It decrypts while it authenticates: what a forgery left behind is zeroed.
      dst.fill(0, dstOff, dstOff + len);
      return false;
    }
    const { text, tag } = places;
    this.#source.copy(bytes, TEXT, src, srcOff, len);
    copyWindow(bytes, TAG, src, tagOff, TAG_LENGTH);
    if (native.open(open, data, aadLen, text, len, text, tag, TAG_LENGTH) !== 1) {
      bytes.fill(0, TEXT, TEXT + len);
      return false;
    }
    this.#result.copy(dst, dstOff, bytes, TEXT, len);
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
    putCounter(this.#nonce, counterLow, counterHigh);
    this.seal(dst, dstOff, src, srcOff, len, this.#nonce, 0, null, 0, 0);
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
    putCounter(this.#nonce, counterLow, counterHigh);
    return this.open(dst, dstOff, src, srcOff, len, this.#nonce, 0, null, 0, 0);
  }

  wipe(): void {
    if (this.#contexts === null) return;
    forgotten.unregister(this);
    free(this.#contexts);
    this.#contexts = null;
    this.#source.clear();
    this.#result.clear();
    this.#memory.release();
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  /** The address of the additional data: in our memory, or, when it does not fit there, of the caller's. */
  #aad(aad: Uint8Array | null, aadOff: number, aadLen: number): number {
    const { aad: place, kernel } = this.#memory;
    if (aadLen > AAD_BYTES) return place.at(aad!, aadOff, aadLen);
    if (aadLen > 0) copyWindow(kernel.bytes, AAD, aad!, aadOff, aadLen);
    return this.#places.aad;
  }
}

function newContexts(native: GcmFunctions, keyBytes: number): Contexts {
  // Null first, as above: the addresses are passed with every message.
  const contexts: { native: GcmFunctions; seal: number | null; open: number | null } = {
    native,
    seal: null,
    open: null,
  };
  contexts.seal = native.newContext(keyBytes);
  contexts.open = native.newContext(keyBytes);
  return contexts as Contexts;
}

/** OpenSSL overwrites the key when it frees a context. */
function free(contexts: Contexts): void {
  if (contexts.seal !== 0) contexts.native.freeContext(contexts.seal);
  if (contexts.open !== 0) contexts.native.freeContext(contexts.open);
}
