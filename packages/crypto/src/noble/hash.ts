/** Hashes, HMAC and BLAKE2s over @noble/hashes. */

import { blake2s } from '@noble/hashes/blake2.js';
import { hmac } from '@noble/hashes/hmac.js';
import { md5, sha1 } from '@noble/hashes/legacy.js';
import { sha224, sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import type { Hasher, KeyInput, Mac } from '../provider.ts';
import { keyBytes } from '../secret.ts';
import type { PlainHashName } from '../suite.ts';
import { verifyMac } from '../verify.ts';
import { checkWindow, NO_BYTES, wiped } from '../windows.ts';

interface Running {
  update(bytes: Uint8Array): unknown;
  digestInto(out: Uint8Array): void;
  _cloneInto(to?: never): Running;
  destroy(): void;
}

export function nobleHash(name: PlainHashName): Hasher {
  const hash = hashOf(name);
  return new NobleMac(name, hash.outputLen, () => hash.create(), null);
}

export function nobleHmac(name: PlainHashName, key: Uint8Array): Mac {
  const hash = hashOf(name);
  return new NobleMac(`hmac-${name}`, hash.outputLen, (bytes) => hmac.create(hash, bytes), key);
}

export function nobleBlake2s(length: number, key: Uint8Array | null): Mac {
  const start = (bytes: Uint8Array): unknown =>
    blake2s.create(bytes.length === 0 ? { dkLen: length } : { dkLen: length, key: bytes });
  return new NobleMac('blake2s', length, start, key);
}

export function nobleHmacBlake2s(key: Uint8Array): Mac {
  return new NobleMac('hmac-blake2s', 32, (bytes) => hmac.create(blake2s, bytes), key);
}

function hashOf(name: PlainHashName): typeof sha256 | typeof sha512 | typeof md5 | typeof sha1 {
  switch (name) {
    case 'md5':
      return md5;
    case 'sha1':
      return sha1;
    case 'sha224':
      return sha224;
    case 'sha256':
      return sha256;
    case 'sha384':
      return sha384;
    case 'sha512':
      return sha512;
  }
}

/** Serves hashes and MACs: both are a start state that every message begins with a copy of. */
class NobleMac implements Mac {
  readonly name: string;
  readonly length: number;
  readonly #make: (key: Uint8Array) => unknown;
  #start: Running | null;
  #running: Running;

  constructor(
    name: string,
    length: number,
    make: (key: Uint8Array) => unknown,
    key: Uint8Array | null,
  ) {
    this.name = name;
    this.length = length;
    this.#make = make;
    // noble's objects take in the key at once.
    this.#start = make(key ?? NO_BYTES) as Running;
    this.#running = this.#start._cloneInto();
    key?.fill(0);
  }

  update(buf: Uint8Array, off: number, len: number): void {
    checkWindow(buf, off, len, 'message');
    if (this.#start === null) wiped(this.name);
    this.#running.update(buf.subarray(off, off + len));
  }

  finish(dst: Uint8Array, dstOff: number): void {
    checkWindow(dst, dstOff, this.length, 'digest');
    if (this.#start === null) wiped(this.name);
    const digest = new Uint8Array(this.length);
    this.#running.digestInto(digest);
    dst.set(digest, dstOff);
    this.reset();
  }

  verify(tag: Uint8Array, tagOff: number, tagLen: number = this.length): boolean {
    return verifyMac(this, tag, tagOff, tagLen);
  }

  rekey(key: KeyInput): void {
    if (this.#start === null) wiped(this.name);
    this.#start.destroy();
    this.#start = this.#make(keyBytes(key)) as Running;
    this.reset();
  }

  reset(): void {
    if (this.#start === null) wiped(this.name);
    this.#running.destroy();
    this.#running = this.#start._cloneInto();
  }

  wipe(): void {
    if (this.#start === null) return;
    this.#start.destroy();
    this.#running.destroy();
    this.#start = null;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }
}
