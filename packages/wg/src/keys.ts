/**
 * Keys as people write them: 32 bytes in base64 (44 characters, as `wg` prints them) or in 64 hexadecimal digits (as its
 * socket protocol has them).
 */

import { fromHex, PktkitError, toHex } from '@pktkit/core';
import { type CryptoProvider, fillRandom } from '@pktkit/crypto';
import { KEY_LENGTH } from './constants.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const EQUALS = 0x3d;

/** Reads a key. Throws `WG_INVALID_KEY`, which says what was expected and never repeats what may be a secret. */
export function parseKey(text: string): Uint8Array {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return fromHex(text);
  // 32 bytes leave two bits of the last character unused: they must be zero, so that a key has one spelling.
  if (/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(text)) return fromBase64Key(text);
  throw new PktkitError(
    'WG_INVALID_KEY',
    `expected a key of 32 bytes: 44 characters of base64 ending in "=", or 64 hexadecimal digits; got ${text.length} characters`,
  );
}

/** A key given as bytes or text, as a copy that belongs to the caller. */
export function keyFrom(key: Uint8Array | string): Uint8Array {
  if (typeof key === 'string') return parseKey(key.trim());
  if (key.length !== KEY_LENGTH) {
    throw new PktkitError('WG_INVALID_KEY', `expected a key of 32 bytes, got ${key.length}`);
  }
  return Uint8Array.from(key);
}

/** Base64, as `wg` prints keys. Made in one piece: a string put together from 44 pieces would keep them all. */
export function formatKey(key: Uint8Array): string {
  const codes = new Array<number>(44);
  for (let i = 0, at = 0; i < 33; i += 3) {
    // The last group lacks its third byte.
    const word = (key[i] << 16) | (key[i + 1] << 8) | (i < 30 ? key[i + 2] : 0);
    for (let shift = 18; shift >= 0; shift -= 6) {
      codes[at++] = ALPHABET.charCodeAt((word >>> shift) & 63);
    }
  }
  codes[43] = EQUALS;
  return String.fromCharCode(...codes);
}

export function formatKeyHex(key: Uint8Array): string {
  return toHex(key);
}

/** A fresh private key, clamped as `wg genkey` does (RFC 7748 §5). */
export function generatePrivateKey(): Uint8Array {
  const key = fillRandom(new Uint8Array(KEY_LENGTH));
  clamp(key);
  return key;
}

/** A fresh pre-shared key. */
export function generatePresharedKey(): Uint8Array {
  return fillRandom(new Uint8Array(KEY_LENGTH));
}

/** The public key that belongs to a private key. */
export function derivePublicKey(
  provider: CryptoProvider,
  privateKey: Uint8Array | string,
): Uint8Array {
  const secret = keyFrom(privateKey);
  const publicKey = provider.x25519Base(secret);
  secret.fill(0);
  return publicKey;
}

export function clamp(key: Uint8Array): void {
  key[0] &= 248;
  key[31] = (key[31] & 127) | 64;
}

export function isZero(key: Uint8Array): boolean {
  let bits = 0;
  for (let i = 0; i < key.length; i++) bits |= key[i];
  return bits === 0;
}

function fromBase64Key(text: string): Uint8Array {
  const key = new Uint8Array(KEY_LENGTH);
  let word = 0;
  let bits = 0;
  let at = 0;
  for (let i = 0; i < 43; i++) {
    word = ((word << 6) | ALPHABET.indexOf(text[i])) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      key[at++] = word >>> bits;
    }
  }
  return key;
}
