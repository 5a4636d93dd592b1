/**
 * What every tier of cryptography offers, and the rules that hold on each of them.
 *
 * Windows. Bytes are given as `(buf, off, len)`; nothing is copied on the caller's side and, on the fast tiers,
 * nothing is allocated per message. A window that does not lie inside its buffer is the programmer's mistake and
 * throws a `RangeError`. What the bytes say never throws: a forged message makes `open` return `false`.
 *
 * Aliasing. The text may be sealed or opened in place: source and destination text are then exactly the same
 * window. Otherwise they must not overlap. The tag's slot and the additional data must lie outside the
 * destination text; the nonce may lie anywhere, it is read first.
 *
 * Threads. An object belongs to the thread that made it. Nothing here is re-entrant, and nothing needs to be:
 * no call ever calls back.
 */

import type { Secret } from './secret.ts';

/** The AEADs with a 12-byte nonce (RFC 8439, NIST SP 800-38D). All of them append a tag of 16 bytes. */
export type AeadName = 'chacha20poly1305' | 'aes-128-gcm' | 'aes-192-gcm' | 'aes-256-gcm';

/** Unauthenticated modes for OpenVPN: the data channel's CBC (PKCS #7 padding) and tls-crypt's CTR. */
export type CipherName =
  | 'aes-128-cbc'
  | 'aes-192-cbc'
  | 'aes-256-cbc'
  | 'aes-128-ctr'
  | 'aes-192-ctr'
  | 'aes-256-ctr';

export type HashName = 'md5' | 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512' | 'blake2s';

/** The rows of `describe()`: one per piece of cryptography that a tier may serve differently. */
export type Primitive =
  | 'chacha20poly1305'
  | 'aes-gcm'
  | 'xchacha20poly1305'
  | 'x25519'
  | 'blake2s'
  | 'hmac-blake2s'
  | 'hash'
  | 'hmac'
  | 'aes-cbc'
  | 'aes-ctr';

/** A key as plain bytes, which are copied, or as a {@link Secret}. */
export type KeyInput = Uint8Array | Secret;

export interface Wipeable {
  /** Overwrites the key and releases what holds it. Any later use throws. Doing it twice is harmless. */
  wipe(): void;
  [Symbol.dispose](): void;
}

/** Authenticated encryption under one key. */
export interface Aead extends Wipeable {
  readonly name: AeadName | 'xchacha20poly1305';
  /** In bytes: 12, for XChaCha20-Poly1305 24. */
  readonly nonceLength: number;

  /**
   * Encrypts `len` bytes to `dst[dstOff …]` and writes the 16-byte tag to `dst[tagOff …]`: behind the text unless
   * said otherwise (OpenVPN puts it in front). A nonce must never be used twice under one key.
   */
  seal(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    nonce: Uint8Array,
    nonceOff: number,
    aad: Uint8Array | null,
    aadOff: number,
    aadLen: number,
    tagOff?: number,
  ): void;

  /**
   * Decrypts `len` bytes (the tag not counted) when the tag at `src[tagOff …]`, by default behind the text, is right.
   * Returns `false` for a forgery and for a negative `len`, which is what subtracting 16 from a truncated
   * message gives; the destination then holds no plaintext: it is untouched or zeroed.
   */
  open(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    nonce: Uint8Array,
    nonceOff: number,
    aad: Uint8Array | null,
    aadOff: number,
    aadLen: number,
    tagOff?: number,
  ): boolean;
}

/** An AEAD with a 12-byte nonce, which may also be given as WireGuard counts: 4 zero bytes, then 64 bits little-endian. */
export interface CounterAead extends Aead {
  readonly name: AeadName;

  /** `seal` with the nonce made of two unsigned halves, no additional data, and the tag behind the text. */
  sealCounter(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    counterLow: number,
    counterHigh: number,
  ): void;

  /** `open` for what `sealCounter` made. `len` does not count the tag. */
  openCounter(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    counterLow: number,
    counterHigh: number,
  ): boolean;
}

/** A hash that is used over and over: `update` as often as needed, then `finish`, which starts the next message. */
export interface Hasher {
  readonly name: string;
  /** Bytes that `finish` writes. */
  readonly length: number;
  update(buf: Uint8Array, off: number, len: number): void;
  /** Writes the digest to `dst[dstOff …]` and begins anew. */
  finish(dst: Uint8Array, dstOff: number): void;
  /** Forgets what was given since the last `finish`. */
  reset(): void;
}

/** A keyed hash: the key stays over messages. */
export interface Mac extends Hasher, Wipeable {
  /**
   * Ends the message and compares in constant time with the `tagLen` bytes at `tag[tagOff …]` (all of the digest
   * unless said otherwise; a truncated tag has at least 10 bytes, RFC 2104 §5).
   */
  verify(tag: Uint8Array, tagOff: number, tagLen?: number): boolean;
  /** Starts over under another key, without a new object: Noise derives a chain of keys for every message. */
  rekey(key: KeyInput): void;
}

/** An unauthenticated cipher under one key. Authenticate before decrypting. */
export interface Cipher extends Wipeable {
  readonly name: CipherName;
  /**
   * Writes the ciphertext and returns its length. CBC pads (PKCS #7): up to 16 bytes more than `len`, and
   * `dst` must have room for them. `iv` is 16 bytes.
   */
  encrypt(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    iv: Uint8Array,
    ivOff: number,
  ): number;
  /**
   * Writes the plaintext and returns its length, or -1 when length or padding is wrong (CBC). `dst` must have room
   * for `len` bytes.
   */
  decrypt(
    dst: Uint8Array,
    dstOff: number,
    src: Uint8Array,
    srcOff: number,
    len: number,
    iv: Uint8Array,
    ivOff: number,
  ): number;
}

/** A peer's public key, imported once. */
export interface X25519PublicKey {
  /** The 32 bytes, as they came. Do not change them. */
  readonly bytes: Uint8Array;
}

/** A secret key, imported once, with its public half. */
export interface X25519KeyPair extends Wipeable {
  /** 32 bytes. Do not change them. */
  readonly publicKey: Uint8Array;
  /**
   * Writes the 32-byte shared secret. `false`, and nothing written, when it is all zero, as it is for public
   * keys of small order (RFC 7748 §6.1).
   */
  agree(dst: Uint8Array, dstOff: number, peer: Uint8Array | X25519PublicKey): boolean;
  /** A copy of the 32-byte secret key, as it was given or drawn. */
  exportSecret(): Uint8Array;
}

export type ProviderName = 'noble' | 'wasm' | 'node' | 'openssl';

export interface ProviderDescription {
  readonly name: ProviderName;
  /** What serves each primitive, e.g. `'openssl 3.0.19: EVP'`. */
  readonly served: Readonly<Record<Primitive, string>>;
  /** Why something faster is not in use: a library that does not load, a self-test that failed. */
  readonly notes: readonly string[];
}

export interface CryptoProvider {
  readonly name: ProviderName;
  describe(): ProviderDescription;

  /** The key has 32 bytes, for GCM as many as the name says. */
  aead(name: AeadName, key: KeyInput): CounterAead;
  /** draft-irtf-cfrg-xchacha-03: 32-byte key, 24-byte nonce. */
  xchacha20poly1305(key: KeyInput): Aead;

  /** With a secret of 32 bytes (clamped when used, RFC 7748 §5), or a fresh random one. */
  x25519KeyPair(secret?: KeyInput): X25519KeyPair;
  /** Imports a peer's key for use with many messages. */
  x25519PublicKey(bytes: Uint8Array): X25519PublicKey;
  /** One agreement without keeping keys; `null` when the shared secret is all zero. */
  x25519(secret: KeyInput, publicKey: Uint8Array): Uint8Array | null;
  /** The public key of a secret key. */
  x25519Base(secret: KeyInput): Uint8Array;

  /** BLAKE2s (RFC 7693) with a digest of 1 to 32 bytes and, as a MAC, a key of 1 to 32 bytes. */
  blake2s(length: number, key?: KeyInput): Mac;
  hash(name: HashName): Hasher;
  hmac(name: HashName, key: KeyInput): Mac;
  cipher(name: CipherName, key: KeyInput): Cipher;

  /** Fresh bytes from the system's secure generator. */
  randomBytes(length: number): Uint8Array;
}
