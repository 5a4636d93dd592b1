/** Every provider that this machine can run: each suite runs on all of them. */

import { type CryptoProvider, nobleProvider, wasmProviderSync } from '@pktkit/crypto';
import { nodeProvider } from '@pktkit/crypto/node';

export const providers: readonly CryptoProvider[] = [
  nobleProvider(),
  nodeProvider(),
  wasmProviderSync(),
];

export function hex(text: string): Uint8Array {
  const digits = text.replace(/[\s:]/g, '');
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Seals whole arrays: the text followed by its tag. */
export function sealed(
  cipher: import('@pktkit/crypto').Aead,
  nonce: Uint8Array,
  text: Uint8Array,
  aad: Uint8Array | null = null,
): Uint8Array {
  const out = new Uint8Array(text.length + 16);
  cipher.seal(out, 0, text, 0, text.length, nonce, 0, aad, 0, aad?.length ?? 0);
  return out;
}

/** Opens whole arrays; `null` for a forgery. */
export function opened(
  cipher: import('@pktkit/crypto').Aead,
  nonce: Uint8Array,
  message: Uint8Array,
  aad: Uint8Array | null = null,
): Uint8Array | null {
  const len = message.length - 16;
  const out = new Uint8Array(Math.max(len, 0));
  const good = cipher.open(out, 0, message, 0, len, nonce, 0, aad, 0, aad?.length ?? 0);
  return good ? out : null;
}

export function digestOf(hasher: import('@pktkit/crypto').Hasher, text: Uint8Array): Uint8Array {
  const out = new Uint8Array(hasher.length);
  hasher.update(text, 0, text.length);
  hasher.finish(out, 0);
  return out;
}
