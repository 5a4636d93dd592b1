/** X25519 over node:crypto with imported keys held: an agreement costs 29 µs where importing both costs 97. */

import { Buffer } from 'node:buffer';
import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import { publicBytes } from '../noble/x25519.ts';
import type { X25519KeyPair, X25519PublicKey } from '../provider.ts';
import type { X25519Suite } from '../suite.ts';
import { checkWindow, isAllZero, wiped } from '../windows.ts';

/** The point whose multiple is the public key (RFC 7748 §4.1). */
const BASE = importPublic(Uint8Array.from({ length: 32 }, (_, i) => (i === 0 ? 9 : 0)));

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
    this.#key = createPrivateKey({ key: jwk(secret, secret), format: 'jwk' });
    this.publicKey = Uint8Array.from(diffieHellman({ privateKey: this.#key, publicKey: BASE }));
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
  return createPublicKey({ key: jwk(bytes), format: 'jwk' });
}

/**
 * RFC 8037 §2. Imported from this form, a key costs a tenth of what it costs as DER. Node takes `d` alone to make a
 * private key, but wants some `x` beside it.
 */
function jwk(x: Uint8Array, d?: Uint8Array): JsonWebKey {
  const key: JsonWebKey = { kty: 'OKP', crv: 'X25519', x: base64url(x) };
  if (d !== undefined) key.d = base64url(d);
  return key;
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}
