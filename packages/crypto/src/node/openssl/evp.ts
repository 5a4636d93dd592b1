/**
 * Any AEAD through OpenSSL's public EVP interface, with a context for each direction made with the key and held. For an
 * OpenSSL that does not export, or does not have in a known form, what is faster.
 */

import type { AeadName, CounterAead } from '../../provider.ts';
import { AAD, AAD_BYTES, KEY, NONCE, STREAM, TAG, TEXT } from '../../wasm/kernel.ts';
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

/** Addresses in the kernel's memory, made once. */
export interface EvpPlaces {
  readonly key: number;
  readonly nonce: number;
  readonly aad: number;
  readonly text: number;
  readonly tag: number;
  /** Where the last call writes nothing, and where it says so. */
  readonly rest: number;
  readonly restLength: number;
}

export function evpPlaces(memory: NativeMemory): EvpPlaces {
  // Null first: the fields must keep the number objects (memory.ts, `Address`).
  const places: Record<keyof EvpPlaces, number | null> = {
    key: null,
    nonce: null,
    aad: null,
    text: null,
    tag: null,
    rest: null,
    restLength: null,
  };
  places.key = memory.own(KEY);
  places.nonce = memory.own(NONCE);
  places.aad = memory.own(AAD);
  places.text = memory.own(TEXT);
  places.tag = memory.own(TAG);
  places.rest = memory.own(STREAM);
  places.restLength = memory.own(STREAM + 64);
  return places as EvpPlaces;
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
  readonly #places: EvpPlaces;
  #contexts: Contexts | null;

  constructor(
    native: EvpFunctions,
    memory: NativeMemory,
    places: EvpPlaces,
    name: AeadName,
    key: Uint8Array,
  ) {
    this.name = name;
    this.#memory = memory;
    this.#places = places;
    const { kernel } = memory;
    kernel.keyOwner = null;
    kernel.bytes.set(key, KEY);
    key.fill(0);
    const contexts = newContexts(native);
    const cipher = native.ciphers[name];
    const ready =
      contexts.seal !== 0 &&
      contexts.open !== 0 &&
      native.init(contexts.seal, cipher, 0, places.key, places.nonce, 1) === 1 &&
      native.init(contexts.open, cipher, 0, places.key, places.nonce, 0) === 1;
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
    const memory = this.#memory;
    const places = this.#places;
    const { bytes } = memory.kernel;
    this.#begin(seal, 1, nonce, nonceOff, aad, aadOff, aadLen);
    const from = memory.source.at(src, srcOff, len);
    const to = from === 0 ? 0 : memory.destination.at(dst, dstOff, len);
    // A buffer that is not known by address is short (memory.ts): it fits.
    if (to === 0) this.#source.copy(bytes, TEXT, src, srcOff, len);
    const text = to === 0 ? places.text : from;
    const out = to === 0 ? places.text : to;
    if (len > 0) check(native.cipher(seal, out, text, len));
    check(native.finish(seal, places.rest, places.restLength) - 1);
    check(native.control(seal, GET_TAG, TAG_LENGTH, places.tag) - 1);
    if (to === 0) this.#result.copy(dst, dstOff, bytes, TEXT, len);
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
    const { native, open } = this.#contexts ?? wiped(this.name);
    const memory = this.#memory;
    const places = this.#places;
    const { bytes } = memory.kernel;
    copyWindow(bytes, TAG, src, tagOff, TAG_LENGTH);
    this.#begin(open, 0, nonce, nonceOff, aad, aadOff, aadLen);
    check(native.control(open, SET_TAG, TAG_LENGTH, places.tag) - 1);
    const from = memory.source.at(src, srcOff, len);
    const to = from === 0 ? 0 : memory.destination.at(dst, dstOff, len);
    if (to === 0) this.#source.copy(bytes, TEXT, src, srcOff, len);
    const text = to === 0 ? places.text : from;
    const out = to === 0 ? places.text : to;
    if (len > 0) check(native.cipher(open, out, text, len));
    if (native.finish(open, places.rest, places.restLength) === 1) {
      if (to === 0) this.#result.copy(dst, dstOff, bytes, TEXT, len);
      return true;
    }
    // It decrypts before it knows: what a forgery left behind is zeroed.
    if (to === 0) bytes.fill(0, TEXT, TEXT + len);
    else dst.fill(0, dstOff, dstOff + len);
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
    this.#memory.release();
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
    check(native.init(context, 0, 0, 0, this.#places.nonce, encrypt) - 1);
    for (let at = 0; at < aadLen; at += AAD_BYTES) {
      const size = Math.min(AAD_BYTES, aadLen - at);
      copyWindow(kernel.bytes, AAD, aad!, aadOff + at, size);
      check(native.cipher(context, 0, this.#places.aad, size));
    }
  }
}

function check(result: number): void {
  if (result < 0) throw new Error('OpenSSL failed inside an AEAD operation');
}

function newContexts(native: EvpFunctions): Contexts {
  // Null first, as above: the addresses are passed with every message.
  const contexts: { native: EvpFunctions; seal: number | null; open: number | null } = {
    native,
    seal: null,
    open: null,
  };
  contexts.seal = native.newContext();
  contexts.open = native.newContext();
  return contexts as Contexts;
}

/** OpenSSL overwrites the key when it frees a context. */
function free(contexts: Contexts): void {
  if (contexts.seal !== 0) contexts.native.freeContext(contexts.seal);
  if (contexts.open !== 0) contexts.native.freeContext(contexts.open);
}
