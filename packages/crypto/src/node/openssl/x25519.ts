/** X25519 from the function behind OpenSSL's key objects: no import of the peer's key, which for an ephemeral one costs. */

import { publicBytes } from '../../noble/x25519.ts';
import type { X25519KeyPair, X25519PublicKey } from '../../provider.ts';
import type { X25519Suite } from '../../suite.ts';
import { BLAKE_INPUT } from '../../wasm/kernel.ts';
import { checkWindow, wiped } from '../../windows.ts';
import type { X25519Functions } from './library.ts';
import type { NativeMemory } from './memory.ts';

// Places in our memory for the time of one call; they are zeroed behind it.
const SECRET = BLAKE_INPUT;
const PEER = BLAKE_INPUT + 32;
const SHARED = BLAKE_INPUT + 64;

export function nativeX25519(native: X25519Functions, memory: NativeMemory): X25519Suite {
  return {
    keyPair: (secret) => new NativeKeyPair(native, memory, secret),
    publicKey: (bytes) => ({ bytes }),
  };
}

class NativeKeyPair implements X25519KeyPair {
  readonly publicKey: Uint8Array;
  readonly #native: X25519Functions;
  readonly #memory: NativeMemory;
  #secret: Uint8Array | null;

  constructor(native: X25519Functions, memory: NativeMemory, secret: Uint8Array) {
    this.#native = native;
    this.#memory = memory;
    this.#secret = secret;
    const { kernel } = memory;
    kernel.bytes.set(secret, SECRET);
    native.publicFromPrivate(memory.own(SHARED), memory.own(SECRET));
    this.publicKey = kernel.bytes.slice(SHARED, SHARED + 32);
    kernel.bytes.fill(0, SECRET, SECRET + 96);
  }

  agree(dst: Uint8Array, dstOff: number, peer: Uint8Array | X25519PublicKey): boolean {
    checkWindow(dst, dstOff, 32, 'shared secret');
    const secret = this.#secret ?? wiped('key pair');
    const memory = this.#memory;
    const bytes = memory.kernel.bytes;
    bytes.set(publicBytes(peer), PEER);
    bytes.set(secret, SECRET);
    // 0 when the result is all zero (RFC 7748 §6.1).
    const usable =
      this.#native.agree(memory.own(SHARED), memory.own(SECRET), memory.own(PEER)) === 1;
    if (usable) for (let i = 0; i < 32; i++) dst[dstOff + i] = bytes[SHARED + i];
    bytes.fill(0, SECRET, SECRET + 96);
    return usable;
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
