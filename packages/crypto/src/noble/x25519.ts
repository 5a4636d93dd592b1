/** X25519 (RFC 7748) over @noble/curves. */

import { x25519 } from '@noble/curves/ed25519.js';
import type { X25519KeyPair, X25519PublicKey } from '../provider.ts';
import type { X25519Suite } from '../suite.ts';
import { checkWindow, wiped } from '../windows.ts';

export const nobleX25519: X25519Suite = {
  keyPair: (secret) => new NobleKeyPair(secret),
  publicKey: (bytes) => ({ bytes }),
};

class NobleKeyPair implements X25519KeyPair {
  readonly publicKey: Uint8Array;
  #secret: Uint8Array | null;

  constructor(secret: Uint8Array) {
    this.#secret = secret;
    this.publicKey = x25519.getPublicKey(secret);
  }

  agree(dst: Uint8Array, dstOff: number, peer: Uint8Array | X25519PublicKey): boolean {
    checkWindow(dst, dstOff, 32, 'shared secret');
    const secret = this.#secret ?? wiped('key pair');
    const bytes = publicBytes(peer);
    let shared: Uint8Array;
    try {
      shared = x25519.getSharedSecret(secret, bytes);
    } catch {
      // Lengths are right: what noble still refuses is an all-zero result (RFC 7748 §6.1).
      return false;
    }
    dst.set(shared, dstOff);
    shared.fill(0);
    return true;
  }

  exportSecret(): Uint8Array {
    return Uint8Array.from(this.#secret ?? wiped('key pair'));
  }

  wipe(): void {
    this.#secret?.fill(0);
    this.#secret = null;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }
}

/** The 32 bytes of a peer's key in either form. */
export function publicBytes(peer: Uint8Array | X25519PublicKey): Uint8Array {
  const bytes = peer instanceof Uint8Array ? peer : peer.bytes;
  if (bytes.length !== 32) {
    throw new RangeError(`an X25519 public key has 32 bytes, not ${bytes.length}`);
  }
  return bytes;
}
