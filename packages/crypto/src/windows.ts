/** Checks that stand between a caller's numbers and memory: the fast tiers write where they are told. */

import { CryptoError } from './errors.ts';
import type { AeadName, CipherName } from './provider.ts';

export const TAG_LENGTH = 16;
export const NO_BYTES: Uint8Array = new Uint8Array(0);

/** Key length in bytes of the AEADs and ciphers. */
export function keyLength(name: AeadName | CipherName): number {
  switch (name) {
    case 'aes-128-gcm':
    case 'aes-128-cbc':
    case 'aes-128-ctr':
      return 16;
    case 'aes-192-gcm':
    case 'aes-192-cbc':
    case 'aes-192-ctr':
      return 24;
    case 'chacha20poly1305':
    case 'aes-256-gcm':
    case 'aes-256-cbc':
    case 'aes-256-ctr':
      return 32;
    default:
      throw new TypeError(`unknown cipher ${JSON.stringify(name)}`);
  }
}

/**
 * `off` and `len` are whole numbers below 2^31 and the window lies inside the buffer. A detached buffer has length 0,
 * so that nothing but empty windows pass.
 */
export function checkWindow(buf: Uint8Array, off: number, len: number, what: string): void {
  if ((off | 0) !== off || (len | 0) !== len || (off | len) < 0 || off + len > buf.length) {
    failWindow(buf, off, len, what);
  }
}

/** The windows of `seal`: text in, text out, tag out. */
export function checkSeal(
  dst: Uint8Array,
  dstOff: number,
  src: Uint8Array,
  srcOff: number,
  len: number,
  tagOff: number,
): void {
  checkWindow(src, srcOff, len, 'src');
  checkWindow(dst, dstOff, len, 'dst');
  checkWindow(dst, tagOff, TAG_LENGTH, 'tag');
  if (tagOff < dstOff + len && dstOff < tagOff + TAG_LENGTH) {
    throw new RangeError(`the tag at ${tagOff} overlaps the text at ${dstOff}, ${len} bytes`);
  }
  if (dst === src && dstOff !== srcOff) checkApart(dstOff, srcOff, len);
}

/** The windows of `open`: text in, text out, tag in. `len` is not negative here. */
export function checkOpen(
  dst: Uint8Array,
  dstOff: number,
  src: Uint8Array,
  srcOff: number,
  len: number,
  tagOff: number,
): void {
  checkWindow(src, srcOff, len, 'src');
  checkWindow(src, tagOff, TAG_LENGTH, 'tag');
  checkWindow(dst, dstOff, len, 'dst');
  if (dst === src && dstOff !== srcOff) checkApart(dstOff, srcOff, len);
}

export function checkNonce(nonce: Uint8Array, nonceOff: number, length: number): void {
  checkWindow(nonce, nonceOff, length, 'nonce');
}

export function checkAad(aad: Uint8Array | null, aadOff: number, aadLen: number): void {
  if (aad !== null) checkWindow(aad, aadOff, aadLen, 'aad');
  else if (aadLen !== 0) throw new RangeError(`aad is null, but its length is ${aadLen}`);
}

export function wiped(what: string): never {
  throw new CryptoError('CRYPTO_WIPED', `this ${what} was wiped; make a new one from a key`);
}

/** In time that depends on the length alone. */
export function equalConstantTime(
  a: Uint8Array,
  aOff: number,
  b: Uint8Array,
  bOff: number,
  len: number,
): boolean {
  checkWindow(a, aOff, len, 'first');
  checkWindow(b, bOff, len, 'second');
  let difference = 0;
  for (let i = 0; i < len; i++) difference |= a[aOff + i] ^ b[bOff + i];
  return difference === 0;
}

export function isAllZero(bytes: Uint8Array, off: number, len: number): boolean {
  let bits = 0;
  for (let i = 0; i < len; i++) bits |= bytes[off + i];
  return bits === 0;
}

/** Writes 4 zero bytes and the counter's 64 bits, little-endian: the nonce of WireGuard's data messages. */
export function putCounter(nonce: Uint8Array, low: number, high: number): void {
  nonce[0] = 0;
  nonce[1] = 0;
  nonce[2] = 0;
  nonce[3] = 0;
  nonce[4] = low;
  nonce[5] = low >>> 8;
  nonce[6] = low >>> 16;
  nonce[7] = low >>> 24;
  nonce[8] = high;
  nonce[9] = high >>> 8;
  nonce[10] = high >>> 16;
  nonce[11] = high >>> 24;
}

/** Copies a window. Short ones in a loop: that is faster than making the view that `set` needs. */
export function copyWindow(
  dst: Uint8Array,
  dstOff: number,
  src: Uint8Array,
  srcOff: number,
  len: number,
): void {
  if (len > 64) dst.set(src.subarray(srcOff, srcOff + len), dstOff);
  else for (let i = 0; i < len; i++) dst[dstOff + i] = src[srcOff + i];
}

function checkApart(a: number, b: number, len: number): void {
  if (a < b + len && b < a + len) {
    throw new RangeError(
      `source at ${b} and destination at ${a} of one buffer overlap (${len} bytes): ` +
        'use the same offset (in place) or windows that do not touch',
    );
  }
}

function failWindow(buf: Uint8Array, off: number, len: number, what: string): never {
  if (!(buf instanceof Uint8Array)) throw new TypeError(`${what} is not a Uint8Array`);
  throw new RangeError(
    `the ${what} window (offset ${off}, ${len} bytes) does not lie in its buffer of ${buf.length} bytes`,
  );
}
