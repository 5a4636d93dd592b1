/** AEADs over node:crypto. The key is imported once; a cipher object is made per message, which is what Node offers. */

import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import type { AeadName, CounterAead } from '../provider.ts';
import {
  checkAad,
  checkNonce,
  checkOpen,
  checkSeal,
  putCounter,
  TAG_LENGTH,
  wiped,
} from '../windows.ts';

const OPTIONS = { authTagLength: TAG_LENGTH };

export function nodeAead(name: AeadName, key: Uint8Array): CounterAead {
  return new NodeAead(name, key);
}

class NodeAead implements CounterAead {
  readonly name: AeadName;
  readonly nonceLength: number = 12;
  readonly #algorithm: 'chacha20-poly1305';
  readonly #counterNonce = new Uint8Array(12);
  #key: KeyObject | null;

  constructor(name: AeadName, key: Uint8Array) {
    this.name = name;
    // Node's types tell the three AEAD families apart by literal; at run time any of our names fits.
    this.#algorithm = (name === 'chacha20poly1305' ? 'chacha20-poly1305' : name) as never;
    this.#key = createSecretKey(key);
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
    checkNonce(nonce, nonceOff, 12);
    checkAad(aad, aadOff, aadLen);
    const iv = nonce.subarray(nonceOff, nonceOff + 12);
    const cipher = createCipheriv(this.#algorithm, this.#key ?? wiped(this.name), iv, OPTIONS);
    if (aadLen > 0) {
      cipher.setAAD(aad!.subarray(aadOff, aadOff + aadLen), { plaintextLength: len });
    }
    if (len > 0) dst.set(cipher.update(src.subarray(srcOff, srcOff + len)), dstOff);
    cipher.final();
    dst.set(cipher.getAuthTag(), tagOff);
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
    const iv = nonce.subarray(nonceOff, nonceOff + 12);
    const cipher = createDecipheriv(this.#algorithm, this.#key ?? wiped(this.name), iv, OPTIONS);
    if (aadLen > 0) {
      cipher.setAAD(aad!.subarray(aadOff, aadOff + aadLen), { plaintextLength: len });
    }
    cipher.setAuthTag(src.subarray(tagOff, tagOff + TAG_LENGTH));
    const text = len > 0 ? cipher.update(src.subarray(srcOff, srcOff + len)) : null;
    try {
      cipher.final();
    } catch {
      text?.fill(0);
      return false;
    }
    if (text !== null) {
      dst.set(text, dstOff);
      text.fill(0);
    }
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
    putCounter(this.#counterNonce, counterLow, counterHigh);
    this.seal(dst, dstOff, src, srcOff, len, this.#counterNonce, 0, null, 0, 0);
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
    putCounter(this.#counterNonce, counterLow, counterHigh);
    return this.open(dst, dstOff, src, srcOff, len, this.#counterNonce, 0, null, 0, 0);
  }

  wipe(): void {
    // OpenSSL cleanses the key's memory when the collector frees the object.
    this.#key = null;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }
}
