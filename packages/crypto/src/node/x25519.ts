/** X25519 over node:crypto with imported keys held: an agreement costs 29 µs where importing both costs 97. */

import { Buffer } from 'node:buffer';
import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from 'node:crypto';
import { publicBytes } from '../noble/x25519.ts';
import type { X25519KeyPair, X25519PublicKey } from '../provider.ts';
import type { X25519Suite } from '../suite.ts';
import { checkWindow, isAllZero, wiped } from '../windows.ts';

// RFC 8410 §7 and §4: the DER that stands in front of the 32 bytes of a private and of a public key.
const PKCS8 = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 110, 4, 34, 4, 32];
const SPKI = [48, 42, 48, 5, 6, 3, 43, 101, 110, 3, 33, 0];

export const nodeX25519: X25519Suite = {
  keyPair: (secret) => new NodeKeyPair(secret),
  publicKey: (bytes) => new NodePublicKey(bytes),
};

class NodePublicKey implements X25519PublicKey {
  readonly bytes: Uint8Array;
  readonly key: KeyObject;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.key = importPublic(bytes);
  }
}

class NodeKeyPair implements X25519KeyPair {
  readonly publicKey: Uint8Array;
  #secret: Uint8Array | null;
  #key: KeyObject | null;

  constructor(secret: Uint8Array) {
    this.#secret = secret;
    const der = prefixed(PKCS8, secret);
    this.#key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    der.fill(0);
    const spki = createPublicKey(this.#key).export({ format: 'der', type: 'spki' });
    this.publicKey = Uint8Array.from(spki.subarray(SPKI.length));
  }

  agree(dst: Uint8Array, dstOff: number, peer: Uint8Array | X25519PublicKey): boolean {
    checkWindow(dst, dstOff, 32, 'shared secret');
    const privateKey = this.#key ?? wiped('key pair');
    const publicKey = peer instanceof NodePublicKey ? peer.key : importPublic(publicBytes(peer));
    let shared: Buffer;
    try {
      shared = diffieHellman({ privateKey, publicKey });
    } catch {
      // OpenSSL refuses to derive an all-zero secret (RFC 7748 §6.1); keys and lengths are right here.
      return false;
    }
    const usable = !isAllZero(shared, 0, 32);
    if (usable) dst.set(shared, dstOff);
    shared.fill(0);
    return usable;
  }

  exportSecret(): Uint8Array {
    return Uint8Array.from(this.#secret ?? wiped('key pair'));
  }

  wipe(): void {
    this.#secret?.fill(0);
    this.#secret = null;
    this.#key = null;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }
}

function importPublic(bytes: Uint8Array): KeyObject {
  return createPublicKey({ key: prefixed(SPKI, bytes), format: 'der', type: 'spki' });
}

function prefixed(prefix: readonly number[], bytes: Uint8Array): Buffer {
  const der = Buffer.alloc(prefix.length + bytes.length);
  der.set(prefix);
  der.set(bytes, prefix.length);
  return der;
}
