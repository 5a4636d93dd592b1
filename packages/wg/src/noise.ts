/**
 * The handshake's cryptography: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (whitepaper §5.4.1 to §5.4.5). Pure functions of
 * keys and bytes; who may speak, when, and with which index is decided elsewhere.
 *
 *     initiation, 148 bytes                       response, 92 bytes
 *       0  type 1, three zero bytes                 0  type 2, three zero bytes
 *       4  sender index                             4  sender index
 *       8  ephemeral public key        32           8  receiver index
 *      40  static public key, sealed   48          12  ephemeral public key   32
 *      88  time stamp, sealed          28          44  nothing, sealed        16
 *     116  MAC1                        16          60  MAC1                   16
 *     132  MAC2                        16          76  MAC2                   16
 */

import {
  type CryptoProvider,
  type Hasher,
  NoiseKdf,
  type X25519KeyPair,
  type X25519PublicKey,
} from '@pktkit/crypto';
import { KEY_LENGTH, MessageType, TAG, TIMESTAMP_LENGTH } from './constants.ts';
import { put32le } from './le.ts';

const CONSTRUCTION = 'Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s';
const IDENTIFIER = 'WireGuard v1 zx2c4 Jason@zx2c4.com';

const SENDER = 4;
const INITIATION_EPHEMERAL = 8;
const INITIATION_STATIC = 40;
const INITIATION_TIMESTAMP = 88;
const RESPONSE_RECEIVER = 8;
const RESPONSE_EPHEMERAL = 12;
const RESPONSE_NOTHING = 44;

const NO_BYTES = new Uint8Array(0);
const ZERO_NONCE = new Uint8Array(12);

/** Chaining key and hash of a handshake under way: 64 bytes, chaining key first. */
export class HandshakeState {
  readonly chainingKey: Uint8Array = new Uint8Array(KEY_LENGTH);
  readonly hash: Uint8Array = new Uint8Array(KEY_LENGTH);

  wipe(): void {
    this.chainingKey.fill(0);
    this.hash.fill(0);
  }
}

/** What an initiator keeps until the response comes. */
export interface InitiatorHandshake {
  readonly state: HandshakeState;
  readonly ephemeral: X25519KeyPair;
}

/** What a valid initiation said. */
export interface OpenedInitiation {
  readonly state: HandshakeState;
  readonly publicKey: Uint8Array;
  readonly timestamp: Uint8Array;
  readonly remoteEphemeral: Uint8Array;
}

/** The keys of a session, 32 bytes each; wiped by who takes them. */
export interface SessionKeys {
  readonly send: Uint8Array;
  readonly receive: Uint8Array;
}

export class Noise {
  readonly provider: CryptoProvider;
  readonly #hasher: Hasher;
  readonly #kdf: NoiseKdf;
  readonly #initialChainingKey = new Uint8Array(KEY_LENGTH);
  readonly #initialHash = new Uint8Array(KEY_LENGTH);
  readonly #key = new Uint8Array(KEY_LENGTH);
  readonly #shared = new Uint8Array(KEY_LENGTH);
  readonly #tau = new Uint8Array(KEY_LENGTH);

  constructor(provider: CryptoProvider) {
    this.provider = provider;
    this.#hasher = provider.blake2s(KEY_LENGTH);
    this.#kdf = new NoiseKdf(provider);
    const construction = ascii(CONSTRUCTION);
    this.#hasher.update(construction, 0, construction.length);
    this.#hasher.finish(this.#initialChainingKey, 0);
    const identifier = ascii(IDENTIFIER);
    this.#hasher.update(this.#initialChainingKey, 0, KEY_LENGTH);
    this.#hasher.update(identifier, 0, identifier.length);
    this.#hasher.finish(this.#initialHash, 0);
  }

  /**
   * Writes an initiation but for its MACs. `staticShared` is DH(our static, their static). Gives null when the peer's key
   * is one of those with which nothing can be agreed.
   */
  writeInitiation(
    out: Uint8Array,
    off: number,
    sender: number,
    ours: X25519KeyPair,
    theirs: Uint8Array,
    theirKey: X25519PublicKey,
    staticShared: Uint8Array,
    timestamp: Uint8Array,
  ): InitiatorHandshake | null {
    const state = this.#begin(theirs);
    const ephemeral = this.provider.x25519KeyPair();
    writeType(out, off, MessageType.INITIATION);
    put32le(out, off + SENDER, sender);
    out.set(ephemeral.publicKey, off + INITIATION_EPHEMERAL);
    this.#mixEphemeral(state, out, off + INITIATION_EPHEMERAL);
    if (!ephemeral.agree(this.#shared, 0, theirKey)) {
      ephemeral.wipe();
      state.wipe();
      return null;
    }
    this.#mixKey(state, this.#shared);
    this.#seal(state, out, off + INITIATION_STATIC, ours.publicKey, KEY_LENGTH);
    this.#mixKey(state, staticShared);
    this.#seal(state, out, off + INITIATION_TIMESTAMP, timestamp, TIMESTAMP_LENGTH);
    this.#forget();
    return { state, ephemeral };
  }

  /**
   * The first half of reading an initiation: who sent it. Its MAC1 has been checked. Null when it is not for `ours` or was
   * changed on the way.
   */
  openInitiationStatic(buf: Uint8Array, off: number, ours: X25519KeyPair): OpenedInitiation | null {
    const state = this.#begin(ours.publicKey);
    const remoteEphemeral = buf.slice(
      off + INITIATION_EPHEMERAL,
      off + INITIATION_EPHEMERAL + KEY_LENGTH,
    );
    this.#mixEphemeral(state, buf, off + INITIATION_EPHEMERAL);
    if (!ours.agree(this.#shared, 0, remoteEphemeral)) return null;
    this.#mixKey(state, this.#shared);
    const publicKey = new Uint8Array(KEY_LENGTH);
    if (!this.#open(state, publicKey, buf, off + INITIATION_STATIC, KEY_LENGTH)) return null;
    return { state, publicKey, timestamp: new Uint8Array(TIMESTAMP_LENGTH), remoteEphemeral };
  }

  /** The second half: proves that the sender has the static key it named, and fills `opened.timestamp`. */
  openInitiationTimestamp(
    buf: Uint8Array,
    off: number,
    opened: OpenedInitiation,
    staticShared: Uint8Array,
  ): boolean {
    this.#mixKey(opened.state, staticShared);
    const valid = this.#open(
      opened.state,
      opened.timestamp,
      buf,
      off + INITIATION_TIMESTAMP,
      TIMESTAMP_LENGTH,
    );
    this.#forget();
    return valid;
  }

  /** Writes the response but for its MACs, and gives the session's keys. Uses up `opened`. */
  writeResponse(
    out: Uint8Array,
    off: number,
    sender: number,
    receiver: number,
    opened: OpenedInitiation,
    psk: Uint8Array,
  ): SessionKeys | null {
    const { state } = opened;
    const ephemeral = this.provider.x25519KeyPair();
    writeType(out, off, MessageType.RESPONSE);
    put32le(out, off + SENDER, sender);
    put32le(out, off + RESPONSE_RECEIVER, receiver);
    out.set(ephemeral.publicKey, off + RESPONSE_EPHEMERAL);
    this.#mixEphemeral(state, out, off + RESPONSE_EPHEMERAL);
    let usable = ephemeral.agree(this.#shared, 0, opened.remoteEphemeral);
    if (usable) {
      this.#chain(state, this.#shared);
      usable = ephemeral.agree(this.#shared, 0, opened.publicKey);
    }
    ephemeral.wipe();
    let keys: SessionKeys | null = null;
    if (usable) {
      this.#chain(state, this.#shared);
      this.#mixPsk(state, psk);
      this.#seal(state, out, off + RESPONSE_NOTHING, NO_BYTES, 0);
      const [first, second] = this.#split(state);
      keys = { send: second, receive: first };
    }
    state.wipe();
    this.#forget();
    return keys;
  }

  /** Reads a response to our initiation; leaves the handshake as it was when the response is not valid. */
  readResponse(
    buf: Uint8Array,
    off: number,
    handshake: InitiatorHandshake,
    ours: X25519KeyPair,
    psk: Uint8Array,
  ): SessionKeys | null {
    // A forged response must not spoil the state that the real one needs.
    const state = new HandshakeState();
    state.chainingKey.set(handshake.state.chainingKey);
    state.hash.set(handshake.state.hash);
    const remote = buf.slice(off + RESPONSE_EPHEMERAL, off + RESPONSE_EPHEMERAL + KEY_LENGTH);
    this.#mixEphemeral(state, buf, off + RESPONSE_EPHEMERAL);
    let usable = handshake.ephemeral.agree(this.#shared, 0, remote);
    if (usable) {
      this.#chain(state, this.#shared);
      usable = ours.agree(this.#shared, 0, remote);
    }
    let keys: SessionKeys | null = null;
    if (usable) {
      this.#chain(state, this.#shared);
      this.#mixPsk(state, psk);
      if (this.#open(state, NO_BYTES, buf, off + RESPONSE_NOTHING, 0)) {
        const [first, second] = this.#split(state);
        keys = { send: first, receive: second };
      }
    }
    state.wipe();
    this.#forget();
    return keys;
  }

  /** Hashes `label` and a public key: the keys of MAC1 and of cookies. */
  labelledKey(label: string, publicKey: Uint8Array): Uint8Array {
    const key = new Uint8Array(KEY_LENGTH);
    const bytes = ascii(label);
    this.#hasher.update(bytes, 0, bytes.length);
    this.#hasher.update(publicKey, 0, KEY_LENGTH);
    this.#hasher.finish(key, 0);
    return key;
  }

  #begin(responder: Uint8Array): HandshakeState {
    const state = new HandshakeState();
    state.chainingKey.set(this.#initialChainingKey);
    state.hash.set(this.#initialHash);
    this.#mixHash(state, responder, 0, KEY_LENGTH);
    return state;
  }

  /** `e`: with a pre-shared key in the pattern, it goes into the chaining key as well as into the hash. */
  #mixEphemeral(state: HandshakeState, buf: Uint8Array, off: number): void {
    this.#kdf.derive(state.chainingKey, buf, off, KEY_LENGTH, state.chainingKey, null, null);
    this.#mixHash(state, buf, off, KEY_LENGTH);
  }

  #mixHash(state: HandshakeState, buf: Uint8Array, off: number, len: number): void {
    this.#hasher.update(state.hash, 0, KEY_LENGTH);
    this.#hasher.update(buf, off, len);
    this.#hasher.finish(state.hash, 0);
  }

  #chain(state: HandshakeState, shared: Uint8Array): void {
    this.#kdf.kdf1(state.chainingKey, state.chainingKey, shared);
  }

  #mixKey(state: HandshakeState, shared: Uint8Array): void {
    this.#kdf.kdf2(state.chainingKey, this.#key, state.chainingKey, shared);
  }

  #mixPsk(state: HandshakeState, psk: Uint8Array): void {
    this.#kdf.kdf3(state.chainingKey, this.#tau, this.#key, state.chainingKey, psk);
    this.#mixHash(state, this.#tau, 0, KEY_LENGTH);
  }

  #seal(state: HandshakeState, out: Uint8Array, off: number, text: Uint8Array, len: number): void {
    const aead = this.provider.aead('chacha20poly1305', this.#key);
    aead.seal(out, off, text, 0, len, ZERO_NONCE, 0, state.hash, 0, KEY_LENGTH);
    aead.wipe();
    this.#mixHash(state, out, off, len + TAG);
  }

  #open(
    state: HandshakeState,
    text: Uint8Array,
    buf: Uint8Array,
    off: number,
    len: number,
  ): boolean {
    const aead = this.provider.aead('chacha20poly1305', this.#key);
    const valid = aead.open(text, 0, buf, off, len, ZERO_NONCE, 0, state.hash, 0, KEY_LENGTH);
    aead.wipe();
    if (valid) this.#mixHash(state, buf, off, len + TAG);
    return valid;
  }

  /** The initiator's sending key, then the responder's. */
  #split(state: HandshakeState): [Uint8Array, Uint8Array] {
    const first = new Uint8Array(KEY_LENGTH);
    const second = new Uint8Array(KEY_LENGTH);
    this.#kdf.kdf2(first, second, state.chainingKey, NO_BYTES);
    return [first, second];
  }

  #forget(): void {
    this.#key.fill(0);
    this.#shared.fill(0);
    this.#tau.fill(0);
  }
}

function writeType(out: Uint8Array, off: number, type: number): void {
  out[off] = type;
  out[off + 1] = 0;
  out[off + 2] = 0;
  out[off + 3] = 0;
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}
