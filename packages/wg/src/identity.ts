/** One WireGuard interface: a private key and the peers that know it. Several may share an engine and its port. */

import { type Packet, PktkitError } from '@pktkit/core';
import type { X25519KeyPair } from '@pktkit/crypto';
import type { AllowedIps } from './allowed-ips.ts';
import { DEFAULT_MTU, MAX_DATAGRAM, TRANSPORT_OVERHEAD } from './constants.ts';
import { CookieChecker } from './cookie.ts';
import type { EngineCore } from './engine-core.ts';
import { formatKey, isZero, keyFrom } from './keys.ts';
import { Peer } from './peer.ts';

/** What IPv4 hosts must take, and what a datagram carries at most. */
const MIN_MTU = 576;
const MAX_MTU = MAX_DATAGRAM - TRANSPORT_OVERHEAD;

export interface IdentityEvents {
  /** A handshake completed: packets flow from here on. */
  onHandshake?: ((peer: Peer) => void) | undefined;
  /** The peer's messages come from another endpoint than before. */
  onEndpoint?: ((peer: Peer) => void) | undefined;
  /** All keys were erased: after three times Reject-After-Time without a handshake, or on removal. */
  onSessionEnd?: ((peer: Peer) => void) | undefined;
  /** A handshake has gone unanswered; `attempts` have been made. A good moment to look its name up again. */
  onRetry?: ((peer: Peer, attempts: number) => void) | undefined;
  /** A handshake was given up after Rekey-Attempt-Time; packets that waited for it are lost. */
  onUnreachable?: ((peer: Peer) => void) | undefined;
  /** The peer was removed, by a call or by its expiry. */
  onRemoved?: ((peer: Peer) => void) | undefined;
  /**
   * A peer that is not configured has proven that it has this key. Call `request.accept()`, now or within fifteen
   * seconds, to add it and answer; do nothing to leave it out.
   */
  onUnknownPeer?: ((request: PeerRequest) => void) | undefined;
}

export interface PeerRequest {
  readonly identity: Identity;
  /** The public key in base64. */
  readonly id: string;
  readonly publicKey: Uint8Array;
  /** Where it came from, as text. */
  readonly from: string;
  /** Adds the peer and answers its newest initiation. Null when the request is too old: it will come again. */
  accept(options?: Omit<PeerOptions, 'publicKey'>): Peer | null;
  /** Forgets the request at once. */
  reject(): void;
}

export interface PeerOptions {
  /** 32 bytes, base64 or hexadecimal digits. */
  publicKey: Uint8Array | string;
  presharedKey?: Uint8Array | string | undefined;
  /** Handle of the link. */
  endpoint?: number | undefined;
  /** Seconds; 0 for none. */
  persistentKeepalive?: number | undefined;
  /** Milliseconds from now after which the peer is removed by itself. */
  expiresIn?: number | undefined;
  data?: unknown;
}

export interface IdentityOptions {
  /** 32 bytes, base64 or hexadecimal digits. */
  privateKey: Uint8Array | string;
  /** Largest packet inside the tunnel; padding does not go beyond it. 1420 unless told. */
  mtu?: number | undefined;
  events?: IdentityEvents | undefined;
  /** Routes and checks packets by prefix; without it each peer may send from any address. */
  allowedIps?: AllowedIps | undefined;
  /** Takes what peers send. The window is borrowed. */
  onPacket?: ((peer: Peer, packet: Packet) => void) | undefined;
}

/** What an identity needs of its engine. */
export interface IdentityHost {
  readonly core: EngineCore;
  admitPeer(): boolean;
  forgetPeer(): void;
  /** An identity with this public key is there already. */
  isTaken(id: string): boolean;
  rekeyed(identity: Identity): void;
}

export class Identity {
  mtu: number;
  events: IdentityEvents;
  readonly allowedIps: AllowedIps | null;
  onPacket: (peer: Peer, packet: Packet) => void;
  readonly #host: IdentityHost;
  readonly #peers = new Map<string, Peer>();
  #keyPair: X25519KeyPair;
  #checker: CookieChecker;
  #id: string;
  #closed = false;

  /** Made by `Engine.addIdentity`. */
  constructor(host: IdentityHost, options: IdentityOptions) {
    this.#host = host;
    this.mtu = checkMtu(options.mtu ?? DEFAULT_MTU);
    this.events = options.events ?? {};
    this.allowedIps = options.allowedIps ?? null;
    this.onPacket = options.onPacket ?? ignore;
    const { noise, timings } = host.core;
    this.#keyPair = importPrivateKey(host, options.privateKey);
    this.#checker = new CookieChecker(noise, this.#keyPair.publicKey, timings.cookieTime);
    this.#id = formatKey(this.#keyPair.publicKey);
  }

  /** The public key in base64. */
  get id(): string {
    return this.#id;
  }

  get publicKey(): Uint8Array {
    return this.#keyPair.publicKey;
  }

  get peers(): ReadonlyMap<string, Peer> {
    return this.#peers;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Gives the peer of this key, if it is configured. */
  peer(publicKey: Uint8Array | string): Peer | undefined {
    return this.#peers.get(formatKey(keyFrom(publicKey)));
  }

  /** Throws `WG_PEER_EXISTS` when the key is configured already, `PKT_LIMIT` when there are too many peers. */
  addPeer(options: PeerOptions): Peer {
    this.#mustBeOpen();
    const publicKey = keyFrom(options.publicKey);
    const id = formatKey(publicKey);
    if (this.#peers.has(id)) {
      throw new PktkitError('WG_PEER_EXISTS', `the peer ${id} is configured already`);
    }
    if (id === this.#id) {
      throw new PktkitError('WG_INVALID_CONFIG', `the key ${id} is our own: a peer needs another`);
    }
    const psk = options.presharedKey === undefined ? null : keyFrom(options.presharedKey);
    if (!this.#host.admitPeer()) {
      const { peers } = this.#host.core.limits;
      throw new PktkitError('PKT_LIMIT', `there are ${peers} peers; raise limits.peers for more`);
    }
    const peer = new Peer(this.#host.core, this, publicKey);
    this.#peers.set(id, peer);
    peer.data = options.data;
    if (psk !== null) {
      peer.setPresharedKey(psk);
      psk.fill(0);
    }
    const { endpoint, expiresIn, persistentKeepalive } = options;
    try {
      if (endpoint !== undefined) peer.setEndpoint(endpoint);
      if (expiresIn !== undefined) peer.setExpiry(this.#host.core.clock.now + expiresIn);
      if (persistentKeepalive !== undefined) peer.setPersistentKeepalive(persistentKeepalive);
    } catch (error) {
      this.removePeer(peer);
      throw error;
    }
    return peer;
  }

  /** Ends its sessions and frees everything that belongs to it. False when it was not configured. */
  removePeer(peer: Peer): boolean {
    if (this.#peers.get(peer.id) !== peer) return false;
    this.#peers.delete(peer.id);
    this.allowedIps?.removePeer(peer);
    peer.dispose();
    this.#host.forgetPeer();
    this.events.onRemoved?.(peer);
    return true;
  }

  expirePeer(peer: Peer): void {
    this.removePeer(peer);
  }

  /** Another private key; all sessions end. A peer whose key is the new public key is removed. */
  setPrivateKey(privateKey: Uint8Array | string): void {
    this.#mustBeOpen();
    const { noise, timings } = this.#host.core;
    const keyPair = importPrivateKey(this.#host, privateKey, this.#id);
    this.#keyPair.wipe();
    this.#checker.wipe();
    this.#keyPair = keyPair;
    this.#checker = new CookieChecker(noise, keyPair.publicKey, timings.cookieTime);
    this.#id = formatKey(keyPair.publicKey);
    const self = this.#peers.get(this.#id);
    if (self !== undefined) this.removePeer(self);
    for (const peer of [...this.#peers.values()]) peer.forgetDerived();
    this.#host.rekeyed(this);
  }

  /** A copy of the private key, for configuration. */
  exportPrivateKey(): Uint8Array {
    return this.#keyPair.exportSecret();
  }

  // From here on: for the engine.

  get keyPair(): X25519KeyPair {
    return this.#keyPair;
  }

  get checker(): CookieChecker {
    return this.#checker;
  }

  dispose(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const peer of [...this.#peers.values()]) this.removePeer(peer);
    this.#keyPair.wipe();
    this.#checker.wipe();
  }

  #mustBeOpen(): void {
    if (this.#closed) throw new PktkitError('PKT_CLOSED', 'this WireGuard identity was closed');
  }
}

/** Throws `WG_IDENTITY_EXISTS` when another identity of the engine has this key. */
function importPrivateKey(
  host: IdentityHost,
  key: Uint8Array | string,
  current = '',
): X25519KeyPair {
  const secret = keyFrom(key);
  if (isZero(secret)) {
    throw new PktkitError('WG_INVALID_KEY', 'the private key is zero: make one with wg genkey');
  }
  const keyPair = host.core.noise.provider.x25519KeyPair(secret);
  secret.fill(0);
  const id = formatKey(keyPair.publicKey);
  if (id !== current && host.isTaken(id)) {
    keyPair.wipe();
    throw new PktkitError('WG_IDENTITY_EXISTS', `the identity ${id} is on this port already`);
  }
  return keyPair;
}

function checkMtu(mtu: number): number {
  if (!Number.isInteger(mtu) || mtu < MIN_MTU || mtu > MAX_MTU) {
    throw new RangeError(`the MTU of a WireGuard device is ${MIN_MTU} to ${MAX_MTU}, got ${mtu}`);
  }
  return mtu;
}

function ignore(): void {}
