/**
 * MAC1, MAC2 and cookies (whitepaper §5.3, §5.4.4, §5.4.7): who sends a handshake message knows our public key (MAC1), and
 * while we are busy also receives at the address it sends from (MAC2).
 *
 *     cookie reply, 64 bytes
 *       0  type 3, three zero bytes
 *       4  receiver index
 *       8  nonce                 24
 *      32  cookie, sealed        32   XChaCha20-Poly1305, the message's MAC1 as additional data
 */

import type { Aead, CryptoProvider, Mac } from '@pktkit/crypto';
import { COOKIE_REPLY_LENGTH, KEY_LENGTH, MAC_LENGTH, MessageType } from './constants.ts';
import { put32le } from './le.ts';
import type { Noise } from './noise.ts';

const MAC1_LABEL = 'mac1----';
const COOKIE_LABEL = 'cookie--';
const RECEIVER = 4;
const NONCE = 8;
const NONCE_LENGTH = 24;
const SEALED = 32;
/** An IPv6 address, a port and a zone identifier: the longest source that a link describes. */
export const MAX_SOURCE = 24;

/** The side that receives handshake messages: one for each identity. */
export class CookieChecker {
  readonly #provider: CryptoProvider;
  readonly #mac1: Mac;
  readonly #sealer: Aead;
  readonly #computed = new Uint8Array(MAC_LENGTH);
  readonly #lifetime: number;
  #secret: Mac | null = null;
  #secretUntil = 0;

  constructor(noise: Noise, publicKey: Uint8Array, lifetime: number) {
    const { provider } = noise;
    this.#provider = provider;
    this.#lifetime = lifetime;
    this.#mac1 = provider.blake2s(MAC_LENGTH, noise.labelledKey(MAC1_LABEL, publicKey));
    this.#sealer = provider.xchacha20poly1305(noise.labelledKey(COOKIE_LABEL, publicKey));
  }

  /** Whether the message's MAC1 is for this identity. `len` is that of the whole message. */
  checkMac1(buf: Uint8Array, off: number, len: number): boolean {
    const at = len - 2 * MAC_LENGTH;
    this.#mac1.update(buf, off, at);
    return this.#mac1.verify(buf, off + at);
  }

  /** Whether MAC2 was made with the cookie that this source was given lately. */
  checkMac2(
    buf: Uint8Array,
    off: number,
    len: number,
    source: Uint8Array,
    sourceLen: number,
    now: number,
  ): boolean {
    if (this.#secret === null || now >= this.#secretUntil) return false;
    this.#cookieOf(this.#secret, source, sourceLen);
    const mac2 = this.#provider.blake2s(MAC_LENGTH, this.#computed);
    mac2.update(buf, off, len - MAC_LENGTH);
    const valid = mac2.verify(buf, off + len - MAC_LENGTH);
    mac2.wipe();
    return valid;
  }

  /** Writes the reply to a handshake message; its length is `COOKIE_REPLY_LENGTH`. */
  writeReply(
    out: Uint8Array,
    outOff: number,
    buf: Uint8Array,
    off: number,
    len: number,
    sender: number,
    source: Uint8Array,
    sourceLen: number,
    now: number,
  ): number {
    if (this.#secret === null || now >= this.#secretUntil) {
      this.#secret?.wipe();
      this.#secret = this.#provider.blake2s(MAC_LENGTH, this.#provider.randomBytes(KEY_LENGTH));
      this.#secretUntil = now + this.#lifetime;
    }
    this.#cookieOf(this.#secret, source, sourceLen);
    out[outOff] = MessageType.COOKIE_REPLY;
    out[outOff + 1] = 0;
    out[outOff + 2] = 0;
    out[outOff + 3] = 0;
    put32le(out, outOff + RECEIVER, sender);
    out.set(this.#provider.randomBytes(NONCE_LENGTH), outOff + NONCE);
    this.#sealer.seal(
      out,
      outOff + SEALED,
      this.#computed,
      0,
      MAC_LENGTH,
      out,
      outOff + NONCE,
      buf,
      off + len - 2 * MAC_LENGTH,
      MAC_LENGTH,
    );
    return COOKIE_REPLY_LENGTH;
  }

  wipe(): void {
    this.#mac1.wipe();
    this.#sealer.wipe();
    this.#secret?.wipe();
    this.#secret = null;
    this.#computed.fill(0);
  }

  #cookieOf(secret: Mac, source: Uint8Array, sourceLen: number): void {
    secret.update(source, 0, sourceLen);
    secret.finish(this.#computed, 0);
  }
}

/**
 * Signs a handshake message for `publicKey`: MAC1, and MAC2 with `cookie` (zero bytes without one). MAC1 is behind
 * `off + len - 32` afterwards.
 */
export function signMessage(
  noise: Noise,
  publicKey: Uint8Array,
  cookie: Uint8Array | null,
  buf: Uint8Array,
  off: number,
  len: number,
): void {
  const { provider } = noise;
  const mac1At = len - 2 * MAC_LENGTH;
  const mac1 = provider.blake2s(MAC_LENGTH, noise.labelledKey(MAC1_LABEL, publicKey));
  mac1.update(buf, off, mac1At);
  mac1.finish(buf, off + mac1At);
  mac1.wipe();
  const mac2At = len - MAC_LENGTH;
  if (cookie === null) {
    buf.fill(0, off + mac2At, off + len);
    return;
  }
  const mac2 = provider.blake2s(MAC_LENGTH, cookie);
  mac2.update(buf, off, mac2At);
  mac2.finish(buf, off + mac2At);
  mac2.wipe();
}

/** Reads a cookie reply to the message whose MAC1 is given; false when it was not made for it by `publicKey`'s owner. */
export function openCookieReply(
  noise: Noise,
  publicKey: Uint8Array,
  mac1: Uint8Array,
  mac1Off: number,
  buf: Uint8Array,
  off: number,
  cookie: Uint8Array,
  cookieOff: number,
): boolean {
  const opener = noise.provider.xchacha20poly1305(noise.labelledKey(COOKIE_LABEL, publicKey));
  const valid = opener.open(
    cookie,
    cookieOff,
    buf,
    off + SEALED,
    MAC_LENGTH,
    buf,
    off + NONCE,
    mac1,
    mac1Off,
    MAC_LENGTH,
  );
  opener.wipe();
  return valid;
}
