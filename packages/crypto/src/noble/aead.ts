/** AEADs over @noble/ciphers: the floor on every runtime and the oracle of the other tiers. Allocates per message. */

import { gcm } from '@noble/ciphers/aes.js';
import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import type { Aead, AeadName, CounterAead } from '../provider.ts';
import {
  checkAad,
  checkNonce,
  checkOpen,
  checkSeal,
  NO_BYTES,
  putCounter,
  TAG_LENGTH,
  wiped,
} from '../windows.ts';

type NobleAead = (
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
) => { encrypt(text: Uint8Array): Uint8Array; decrypt(sealed: Uint8Array): Uint8Array };

export function nobleChaCha20Poly1305(key: Uint8Array): CounterAead {
  return new NobleCounterAead('chacha20poly1305', 12, chacha20poly1305, key);
}

export function nobleXChaCha20Poly1305(key: Uint8Array): Aead {
  return new NobleAeadCipher('xchacha20poly1305', 24, xchacha20poly1305, key);
}

export function nobleGcm(name: AeadName, key: Uint8Array): CounterAead {
  return new NobleCounterAead(name, 12, gcm, key);
}

class NobleAeadCipher<Name extends Aead['name']> implements Aead {
  readonly name: Name;
  readonly nonceLength: number;
  readonly #cipher: NobleAead;
  #key: Uint8Array | null;

  constructor(name: Name, nonceLength: number, cipher: NobleAead, key: Uint8Array) {
    this.name = name;
    this.nonceLength = nonceLength;
    this.#cipher = cipher;
    this.#key = key;
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
    const sealed = this.#at(nonce, nonceOff, aad, aadOff, aadLen).encrypt(
      src.subarray(srcOff, srcOff + len),
    );
    dst.set(sealed.subarray(0, len), dstOff);
    dst.set(sealed.subarray(len), tagOff);
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
    const cipher = this.#at(nonce, nonceOff, aad, aadOff, aadLen);
    const sealed = new Uint8Array(len + TAG_LENGTH);
    sealed.set(src.subarray(srcOff, srcOff + len));
    sealed.set(src.subarray(tagOff, tagOff + TAG_LENGTH), len);
    let text: Uint8Array;
    try {
      text = cipher.decrypt(sealed);
    } catch {
      // All lengths were checked above: what noble still refuses is the tag.
      return false;
    }
    dst.set(text, dstOff);
    text.fill(0);
    return true;
  }

  wipe(): void {
    this.#key?.fill(0);
    this.#key = null;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  #at(
    nonce: Uint8Array,
    nonceOff: number,
    aad: Uint8Array | null,
    aadOff: number,
    aadLen: number,
  ): ReturnType<NobleAead> {
    checkNonce(nonce, nonceOff, this.nonceLength);
    checkAad(aad, aadOff, aadLen);
    return this.#cipher(
      this.#key ?? wiped(this.name),
      nonce.slice(nonceOff, nonceOff + this.nonceLength),
      aad === null ? NO_BYTES : aad.subarray(aadOff, aadOff + aadLen),
    );
  }
}

class NobleCounterAead extends NobleAeadCipher<AeadName> implements CounterAead {
  readonly #nonce = new Uint8Array(12);

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
}
