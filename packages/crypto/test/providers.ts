/** Every provider that this machine can run, and helpers: each suite runs on all of them. */

import {
  type Aead,
  type CryptoProvider,
  type Hasher,
  nobleProvider,
  wasmProviderSync,
} from '@pktkit/crypto';
import { nodeProvider, opensslProvider } from '@pktkit/crypto/node';

export interface NamedProvider {
  readonly title: string;
  readonly provider: CryptoProvider;
}

export const providers: readonly NamedProvider[] = [
  { title: 'noble', provider: nobleProvider() },
  { title: 'wasm', provider: wasmProviderSync() },
  { title: 'node:crypto', provider: nodeProvider({ wasm: false }) },
  { title: 'OpenSSL, public functions', provider: opensslProvider({ publicOnly: true }) },
  { title: 'OpenSSL', provider: opensslProvider() },
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
  cipher: Aead,
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
  cipher: Aead,
  nonce: Uint8Array,
  message: Uint8Array,
  aad: Uint8Array | null = null,
): Uint8Array | null {
  const len = message.length - 16;
  const out = new Uint8Array(Math.max(len, 0));
  const good = cipher.open(out, 0, message, 0, len, nonce, 0, aad, 0, aad?.length ?? 0);
  return good ? out : null;
}

export function digestOf(hasher: Hasher, text: Uint8Array): Uint8Array {
  const out = new Uint8Array(hasher.length);
  hasher.update(text, 0, text.length);
  hasher.finish(out, 0);
  return out;
}

/** A small seeded generator (mulberry32), so that a failing case replays. */
export function seeded(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % bound;
  };
}

export function randomFill(random: (bound: number) => number, bytes: Uint8Array): Uint8Array {
  for (let i = 0; i < bytes.length; i++) bytes[i] = random(256);
  return bytes;
}
