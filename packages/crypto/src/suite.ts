/** Composes a provider from layers: the later layer serves what it brings, the earlier ones the rest. */

import { fillRandom } from './platform.ts';
import type {
  Aead,
  AeadName,
  Cipher,
  CipherName,
  CounterAead,
  CryptoProvider,
  Hasher,
  HashName,
  KeyInput,
  Mac,
  Primitive,
  ProviderDescription,
  ProviderName,
  X25519KeyPair,
  X25519PublicKey,
} from './provider.ts';
import { copyKey, keyBytes } from './secret.ts';
import { keyLength } from './windows.ts';

export type PlainHashName = Exclude<HashName, 'blake2s'>;
export type GcmName = Exclude<AeadName, 'chacha20poly1305'>;
export type CbcName = Extract<CipherName, `${string}-cbc`>;
export type CtrName = Extract<CipherName, `${string}-ctr`>;

/**
 * One constructor per primitive. They get a key of the right length as a private copy, which they own and wipe.
 */
export interface Suite {
  chacha20poly1305(key: Uint8Array): CounterAead;
  'aes-gcm'(name: GcmName, key: Uint8Array): CounterAead;
  xchacha20poly1305(key: Uint8Array): Aead;
  x25519: X25519Suite;
  blake2s(length: number, key: Uint8Array | null): Mac;
  'hmac-blake2s'(key: Uint8Array): Mac;
  hash(name: PlainHashName): Hasher;
  hmac(name: PlainHashName, key: Uint8Array): Mac;
  'aes-cbc'(name: CbcName, key: Uint8Array): Cipher;
  'aes-ctr'(name: CtrName, key: Uint8Array): Cipher;
}

export interface X25519Suite {
  keyPair(secret: Uint8Array): X25519KeyPair;
  publicKey(bytes: Uint8Array): X25519PublicKey;
}

export interface Layer {
  /** Who serves, for `describe()`. */
  readonly label: string;
  readonly suite: Partial<Suite>;
  readonly notes?: readonly string[];
}

export function compose(name: ProviderName, layers: readonly Layer[]): CryptoProvider {
  return new LayeredProvider(name, layers);
}

const HASH_NAMES: readonly HashName[] = [
  'md5',
  'sha1',
  'sha224',
  'sha256',
  'sha384',
  'sha512',
  'blake2s',
];

class LayeredProvider implements CryptoProvider {
  readonly name: ProviderName;
  readonly #suite: Suite;
  readonly #description: ProviderDescription;

  constructor(name: ProviderName, layers: readonly Layer[]) {
    const suite: Partial<Suite> = {};
    const served: Partial<Record<Primitive, string>> = {};
    const notes: string[] = [];
    for (const layer of layers) {
      Object.assign(suite, layer.suite);
      for (const primitive of Object.keys(layer.suite)) {
        served[primitive as Primitive] = layer.label;
      }
      notes.push(...(layer.notes ?? []));
    }
    this.name = name;
    // The first layer is noble's, which brings every primitive.
    this.#suite = suite as Suite;
    this.#description = Object.freeze({
      name,
      served: Object.freeze(served as Record<Primitive, string>),
      notes: Object.freeze(notes),
    });
  }

  describe(): ProviderDescription {
    return this.#description;
  }

  aead(name: AeadName, key: KeyInput): CounterAead {
    const bytes = copyKey(key, keyLength(name), name);
    return name === 'chacha20poly1305'
      ? this.#suite.chacha20poly1305(bytes)
      : this.#suite['aes-gcm'](name, bytes);
  }

  xchacha20poly1305(key: KeyInput): Aead {
    return this.#suite.xchacha20poly1305(copyKey(key, 32, 'xchacha20poly1305'));
  }

  x25519KeyPair(secret?: KeyInput): X25519KeyPair {
    const bytes = secret === undefined ? this.randomBytes(32) : copyKey(secret, 32, 'x25519');
    return this.#suite.x25519.keyPair(bytes);
  }

  x25519PublicKey(bytes: Uint8Array): X25519PublicKey {
    return this.#suite.x25519.publicKey(copyKey(bytes, 32, 'x25519'));
  }

  x25519(secret: KeyInput, publicKey: Uint8Array): Uint8Array | null {
    const pair = this.x25519KeyPair(secret);
    const shared = new Uint8Array(32);
    const usable = pair.agree(shared, 0, publicKey);
    pair.wipe();
    return usable ? shared : null;
  }

  x25519Base(secret: KeyInput): Uint8Array {
    const pair = this.x25519KeyPair(secret);
    const bytes = pair.publicKey;
    pair.wipe();
    return bytes;
  }

  blake2s(length: number, key?: KeyInput): Mac {
    if (!Number.isInteger(length) || length < 1 || length > 32) {
      throw new RangeError(`a BLAKE2s digest has 1 to 32 bytes, not ${length}`);
    }
    if (key === undefined) return this.#suite.blake2s(length, null);
    const bytes = keyBytes(key);
    if (bytes.length < 1 || bytes.length > 32) {
      throw new RangeError(`a BLAKE2s key has 1 to 32 bytes, not ${bytes.length}`);
    }
    return this.#suite.blake2s(length, Uint8Array.from(bytes));
  }

  hash(name: HashName): Hasher {
    checkHashName(name);
    return name === 'blake2s' ? this.#suite.blake2s(32, null) : this.#suite.hash(name);
  }

  hmac(name: HashName, key: KeyInput): Mac {
    checkHashName(name);
    const bytes = Uint8Array.from(keyBytes(key));
    return name === 'blake2s' ? this.#suite['hmac-blake2s'](bytes) : this.#suite.hmac(name, bytes);
  }

  cipher(name: CipherName, key: KeyInput): Cipher {
    const bytes = copyKey(key, keyLength(name), name);
    return isCbc(name) ? this.#suite['aes-cbc'](name, bytes) : this.#suite['aes-ctr'](name, bytes);
  }

  randomBytes(length: number): Uint8Array {
    return fillRandom(new Uint8Array(length));
  }
}

function isCbc(name: CipherName): name is CbcName {
  return name.endsWith('-cbc');
}

function checkHashName(name: HashName): void {
  if (!HASH_NAMES.includes(name)) throw new TypeError(`unknown hash ${JSON.stringify(name)}`);
}
