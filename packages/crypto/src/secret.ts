import { CryptoError } from './errors.ts';
import type { KeyInput, Wipeable } from './provider.ts';

/** Key bytes that can be wiped and do not print. */
export class Secret implements Wipeable {
  readonly length: number;
  #bytes: Uint8Array | null;

  /** Copies; wiping the original is the caller's business. */
  constructor(bytes: Uint8Array) {
    if (!(bytes instanceof Uint8Array)) throw new TypeError('a secret is made of a Uint8Array');
    this.#bytes = Uint8Array.from(bytes);
    this.length = bytes.length;
  }

  /** The live bytes, not a copy: they turn to zero on `wipe()`. */
  get bytes(): Uint8Array {
    if (this.#bytes === null) throw new CryptoError('CRYPTO_WIPED', 'this secret was wiped');
    return this.#bytes;
  }

  wipe(): void {
    this.#bytes?.fill(0);
    this.#bytes = null;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }
}

/** A private copy of a key, after checking its length. */
export function copyKey(key: KeyInput, length: number, what: string): Uint8Array {
  const bytes = keyBytes(key);
  if (bytes.length !== length) {
    throw new RangeError(`${what} needs a key of ${length} bytes, got ${bytes.length}`);
  }
  return Uint8Array.from(bytes);
}

/** The bytes behind a key, live: read them at once, do not keep or change them. */
export function keyBytes(key: KeyInput): Uint8Array {
  const bytes = key instanceof Secret ? key.bytes : key;
  if (!(bytes instanceof Uint8Array)) throw new TypeError('a key is a Uint8Array or a Secret');
  return bytes;
}
