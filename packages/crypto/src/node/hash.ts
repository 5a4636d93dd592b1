/** Hashes and HMAC over node:crypto. Its objects serve one message each and are made at the first `update`. */

import {
  createHash,
  createHmac,
  createSecretKey,
  type Hash,
  type Hmac,
  type KeyObject,
} from 'node:crypto';
import type { Hasher, KeyInput, Mac } from '../provider.ts';
import { keyBytes } from '../secret.ts';
import type { PlainHashName } from '../suite.ts';
import { verifyMac } from '../verify.ts';
import { checkWindow, wiped } from '../windows.ts';

const LENGTHS: Record<PlainHashName, number> = {
  md5: 16,
  sha1: 20,
  sha224: 28,
  sha256: 32,
  sha384: 48,
  sha512: 64,
};

export function nodeHash(name: PlainHashName): Hasher {
  return new NodeHash(name);
}

export function nodeHmac(name: PlainHashName, key: Uint8Array): Mac {
  return new NodeHmac(name, key);
}

class NodeHash implements Hasher {
  readonly name: PlainHashName;
  readonly length: number;
  #running: Hash | null = null;

  constructor(name: PlainHashName) {
    this.name = name;
    this.length = LENGTHS[name];
  }

  update(buf: Uint8Array, off: number, len: number): void {
    checkWindow(buf, off, len, 'message');
    this.#running ??= createHash(this.name);
    this.#running.update(buf.subarray(off, off + len));
  }

  finish(dst: Uint8Array, dstOff: number): void {
    checkWindow(dst, dstOff, this.length, 'digest');
    dst.set((this.#running ?? createHash(this.name)).digest(), dstOff);
    this.#running = null;
  }

  reset(): void {
    this.#running = null;
  }
}

class NodeHmac implements Mac {
  readonly name: string;
  readonly length: number;
  readonly #hash: PlainHashName;
  #key: KeyObject | null;
  #running: Hmac | null = null;

  constructor(hash: PlainHashName, key: Uint8Array) {
    this.name = `hmac-${hash}`;
    this.length = LENGTHS[hash];
    this.#hash = hash;
    this.#key = createSecretKey(key);
    key.fill(0);
  }

  update(buf: Uint8Array, off: number, len: number): void {
    checkWindow(buf, off, len, 'message');
    this.#running ??= this.#begin();
    this.#running.update(buf.subarray(off, off + len));
  }

  finish(dst: Uint8Array, dstOff: number): void {
    checkWindow(dst, dstOff, this.length, 'digest');
    dst.set((this.#running ?? this.#begin()).digest(), dstOff);
    this.#running = null;
  }

  verify(tag: Uint8Array, tagOff: number, tagLen: number = this.length): boolean {
    return verifyMac(this, tag, tagOff, tagLen);
  }

  reset(): void {
    this.#running = null;
  }

  rekey(key: KeyInput): void {
    if (this.#key === null) wiped(this.name);
    this.#key = createSecretKey(keyBytes(key));
    this.#running = null;
  }

  wipe(): void {
    this.#key = null;
    this.#running = null;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  #begin(): Hmac {
    return createHmac(this.#hash, this.#key ?? wiped(this.name));
  }
}
