/** AES-CBC and AES-CTR over node:crypto. */

import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import { padBlocks, unpaddedLength } from '../padding.ts';
import type { Cipher, CipherName } from '../provider.ts';
import { checkNonce, checkWindow, wiped } from '../windows.ts';

export function nodeCipher(name: CipherName, key: Uint8Array): Cipher {
  return new NodeCipher(name, key);
}

class NodeCipher implements Cipher {
  readonly name: CipherName;
  readonly #blocks: boolean;
  #key: KeyObject | null;

  constructor(name: CipherName, key: Uint8Array) {
    this.name = name;
    this.#blocks = name.endsWith('-cbc');
    this.#key = createSecretKey(key);
    key.fill(0);
  }

  encrypt(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    iv: Uint8Array,
    ivOff: number,
  ): number {
    checkWindow(src, srcOff, len, 'src');
    checkNonce(iv, ivOff, 16);
    const text = this.#blocks ? padBlocks(src, srcOff, len) : src.subarray(srcOff, srcOff + len);
    checkWindow(dst, dstOff, text.length, 'dst');
    const key = this.#key ?? wiped(this.name);
    const cipher = createCipheriv(this.name, key, iv.subarray(ivOff, ivOff + 16));
    if (this.#blocks) cipher.setAutoPadding(false);
    dst.set(cipher.update(text), dstOff);
    return text.length;
  }

  decrypt(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    iv: Uint8Array,
    ivOff: number,
  ): number {
    if (this.#blocks && (len <= 0 || len % 16 !== 0)) return -1;
    checkWindow(src, srcOff, len, 'src');
    checkWindow(dst, dstOff, len, 'dst');
    checkNonce(iv, ivOff, 16);
    const key = this.#key ?? wiped(this.name);
    const cipher = createDecipheriv(this.name, key, iv.subarray(ivOff, ivOff + 16));
    // Node's own padding check would branch on the padding and throw.
    if (this.#blocks) cipher.setAutoPadding(false);
    const text = cipher.update(src.subarray(srcOff, srcOff + len));
    const used = this.#blocks ? unpaddedLength(text, 0, len) : len;
    if (used >= 0) dst.set(text, dstOff);
    text.fill(0);
    return used;
  }

  wipe(): void {
    this.#key = null;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }
}
