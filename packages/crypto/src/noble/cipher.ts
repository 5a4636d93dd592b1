/** AES-CBC with PKCS #7 padding and AES-CTR over @noble/ciphers. */

import { cbc, ctr } from '@noble/ciphers/aes.js';
import { padBlocks, unpaddedLength } from '../padding.ts';
import type { Cipher, CipherName } from '../provider.ts';
import { checkNonce, checkWindow, wiped } from '../windows.ts';

export function nobleCbc(name: CipherName, key: Uint8Array): Cipher {
  return new NobleCbc(name, key);
}

export function nobleCtr(name: CipherName, key: Uint8Array): Cipher {
  return new NobleCtr(name, key);
}

abstract class NobleCipher {
  readonly name: CipherName;
  #key: Uint8Array | null;

  constructor(name: CipherName, key: Uint8Array) {
    this.name = name;
    this.#key = key;
  }

  wipe(): void {
    this.#key?.fill(0);
    this.#key = null;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  protected key(): Uint8Array {
    return this.#key ?? wiped(this.name);
  }
}

class NobleCbc extends NobleCipher implements Cipher {
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
    const padded = padBlocks(src, srcOff, len);
    checkWindow(dst, dstOff, padded.length, 'dst');
    const sealed = cbc(this.key(), iv.slice(ivOff, ivOff + 16), { disablePadding: true }).encrypt(
      padded,
    );
    dst.set(sealed, dstOff);
    return sealed.length;
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
    if (len <= 0 || len % 16 !== 0) return -1;
    checkWindow(src, srcOff, len, 'src');
    checkWindow(dst, dstOff, len, 'dst');
    checkNonce(iv, ivOff, 16);
    const text = cbc(this.key(), iv.slice(ivOff, ivOff + 16), { disablePadding: true }).decrypt(
      src.slice(srcOff, srcOff + len),
    );
    const used = unpaddedLength(text, 0, len);
    if (used >= 0) dst.set(text, dstOff);
    text.fill(0);
    return used;
  }
}

class NobleCtr extends NobleCipher implements Cipher {
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
    checkWindow(dst, dstOff, len, 'dst');
    checkNonce(iv, ivOff, 16);
    const out = ctr(this.key(), iv.slice(ivOff, ivOff + 16)).encrypt(
      src.slice(srcOff, srcOff + len),
    );
    dst.set(out, dstOff);
    return len;
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
    return this.encrypt(dst, dstOff, src, srcOff, len, iv, ivOff);
  }
}
