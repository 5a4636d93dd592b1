/**
 * Any AEAD through OpenSSL's public EVP interface, with a context for each direction made with the key and held. Text
 * goes through memory of our own. For an OpenSSL that does not export what is faster.
 */

import type { AeadName, CounterAead } from '../../provider.ts';
import { AAD, AAD_BYTES, KEY, NONCE, STREAM, TAG, TEXT, TEXT_BYTES } from '../../wasm/kernel.ts';
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
import type { EvpFunctions } from './library.ts';
import type { NativeMemory } from './memory.ts';

// evp.h: EVP_CTRL_AEAD_GET_TAG and EVP_CTRL_AEAD_SET_TAG.
const GET_TAG = 0x10;
const SET_TAG = 0x11;

interface Contexts {
  readonly native: EvpFunctions;
  readonly seal: number;
  readonly open: number;
}

/** Frees the contexts of a cipher that nobody wiped. */
const forgotten = new FinalizationRegistry<Contexts>(free);

export class EvpAead implements CounterAead {
  readonly name: AeadName;
  readonly nonceLength: number = 12;
  readonly #memory: NativeMemory;
  readonly #source = new WindowCache();
  readonly #result = new WindowCache();
  readonly #nonce = new Uint8Array(12);
  #contexts: Contexts | null;

  constructor(native: EvpFunctions, memory: NativeMemory, name: AeadName, key: Uint8Array) {
    this.name = name;
    this.#memory = memory;
    const { kernel } = memory;
    kernel.keyOwner = null;
    kernel.bytes.set(key, KEY);
    key.fill(0);
    const contexts = { native, seal: native.newContext(), open: native.newContext() };
    const cipher = native.ciphers[name];
    const ready =
      contexts.seal !== 0 &&
      contexts.open !== 0 &&
      native.init(contexts.seal, cipher, 0, this.#memory.own(KEY), this.#memory.own(NONCE), 1) ===
        1 &&
      native.init(contexts.open, cipher, 0, this.#memory.own(KEY), this.#memory.own(NONCE), 0) ===
        1;
    kernel.bytes.fill(0, KEY, KEY + 32);
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
    const { native, seal } = this.#contexts ?? wiped(this.name);
    const { kernel } = this.#memory;
    this.#begin(seal, 1, nonce, nonceOff, aad, aadOff, aadLen);
    for (let at = 0; at < len; at += TEXT_BYTES) {
      const size = Math.min(TEXT_BYTES, len - at);
      this.#source.copy(kernel.bytes, TEXT, src, srcOff + at, size);
      check(native.cipher(seal, this.#memory.own(TEXT), this.#memory.own(TEXT), size));
      this.#result.copy(dst, dstOff + at, kernel.bytes, TEXT, size);
    }
    check(native.finish(seal, this.#memory.own(STREAM), this.#memory.own(STREAM + 64)) - 1);
    check(native.control(seal, GET_TAG, TAG_LENGTH, this.#memory.own(TAG)) - 1);
    copyWindow(dst, tagOff, kernel.bytes, TAG, TAG_LENGTH);
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
    const { native, open } = this.#contexts ?? wiped(this.name);
    const { kernel } = this.#memory;
    copyWindow(kernel.bytes, TAG, src, tagOff, TAG_LENGTH);
    this.#begin(open, 0, nonce, nonceOff, aad, aadOff, aadLen);
    check(native.control(open, SET_TAG, TAG_LENGTH, this.#memory.own(TAG)) - 1);
    for (let at = 0; at < len; at += TEXT_BYTES) {
      const size = Math.min(TEXT_BYTES, len - at);
      this.#source.copy(kernel.bytes, TEXT, src, srcOff + at, size);
      check(native.cipher(open, this.#memory.own(TEXT), this.#memory.own(TEXT), size));
      // One piece waits for the verdict in our memory; of several, all but the last are taken back on a forgery.
      if (at + size < len) this.#result.copy(dst, dstOff + at, kernel.bytes, TEXT, size);
    }
    const good = native.finish(open, this.#memory.own(STREAM), this.#memory.own(STREAM + 64)) === 1;
    const last = len === 0 ? 0 : len - (((len - 1) / TEXT_BYTES) | 0) * TEXT_BYTES;
    if (good) {
      this.#result.copy(dst, dstOff + len - last, kernel.bytes, TEXT, last);
      return true;
    }
    kernel.bytes.fill(0, TEXT, TEXT + last);
    if (len > TEXT_BYTES) dst.fill(0, dstOff, dstOff + len);
    return false;
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
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  #begin(
    context: number,
    encrypt: number,
    nonce: Uint8Array,
    nonceOff: number,
    aad: Uint8Array | null,
    aadOff: number,
    aadLen: number,
  ): void {
    checkNonce(nonce, nonceOff, 12);
    checkAad(aad, aadOff, aadLen);
    const { native } = this.#contexts!;
    const { kernel } = this.#memory;
    for (let i = 0; i < 12; i++) kernel.bytes[NONCE + i] = nonce[nonceOff + i];
    check(native.init(context, 0, 0, 0, this.#memory.own(NONCE), encrypt) - 1);
    for (let at = 0; at < aadLen; at += AAD_BYTES) {
      const size = Math.min(AAD_BYTES, aadLen - at);
      copyWindow(kernel.bytes, AAD, aad!, aadOff + at, size);
      check(native.cipher(context, 0, this.#memory.own(AAD), size));
    }
  }
}

function check(result: number): void {
  if (result < 0) throw new Error('OpenSSL failed inside an AEAD operation');
}

/** OpenSSL overwrites the key when it frees a context. */
function free(contexts: Contexts): void {
  if (contexts.seal !== 0) contexts.native.freeContext(contexts.seal);
  if (contexts.open !== 0) contexts.native.freeContext(contexts.open);
}
