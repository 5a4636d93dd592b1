/**
 * WireGuard as one network interface: an `L3Device` with many peers behind it. A packet goes to the peer whose allowed IPs
 * hold its destination by the longest prefix; one that comes must have a source that would lead back ("cryptokey
 * routing", whitepaper §2).
 */

import {
  Accept,
  type Clock,
  dropPacket,
  type L3Device,
  type Packet,
  type PacketHandler,
  Prefix,
  SEGMENT_SIZE_MASK,
} from '@pktkit/core';
import { AllowedIps } from './allowed-ips.ts';
import { Coalescer } from './coalescer.ts';
import { DEFAULT_MTU } from './constants.ts';
import type { Engine } from './engine.ts';
import type { Identity, IdentityEvents, PeerOptions } from './identity.ts';
import type { Link } from './link.ts';
import type { Peer } from './peer.ts';

export interface WireGuardStats {
  /** Packets taken from `send` for a peer; a super-segment counts once. */
  sent: number;
  /** Packets given to the handler, before they are put together to super-segments. */
  received: number;
  /** No peer's allowed IPs hold the destination. */
  dropNoRoute: number;
  /** Larger than the MTU. */
  dropTooBig: number;
  /** Not an IP packet. */
  dropMalformed: number;
  /** Sent or received after `close`. */
  dropClosed: number;
}

export interface AllowedPeerOptions extends PeerOptions {
  /** Prefixes that lead to this peer; one that led to another peer moves here. */
  allowedIps?: ReadonlyArray<Prefix | string> | undefined;
}

export interface WireGuardOptions {
  /** 32 bytes, base64 or hexadecimal digits. */
  privateKey: Uint8Array | string;
  /** The interface's own addresses. */
  addresses?: ReadonlyArray<Prefix | string> | undefined;
  /** 1420 unless told. */
  mtu?: number | undefined;
  peers?: readonly AllowedPeerOptions[] | undefined;
  events?: IdentityEvents | undefined;
  /**
   * `Accept` bits of the device behind this one: with TSO bits, received TCP segments of a batch are put together to
   * super-segments. 0 (none) unless told.
   */
  coalesce?: number | undefined;
}

export class WireGuard implements L3Device {
  readonly identity: Identity;
  readonly link: Link;
  /** All offloads: super-segments are taken apart while they are encrypted. */
  readonly accepts: number = Accept.ALL;
  readonly stats: WireGuardStats = {
    sent: 0,
    received: 0,
    dropNoRoute: 0,
    dropTooBig: 0,
    dropMalformed: 0,
    dropClosed: 0,
  };
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #allowedIps: AllowedIps = new AllowedIps();
  readonly #coalescer: Coalescer;
  #flushing = false;
  #addrs: readonly Prefix[];
  #handler: PacketHandler = dropPacket;
  #closed = false;
  readonly #flush = () => {
    this.#flushing = false;
    this.#coalescer.flush();
  };

  /** Adds an identity to the engine. */
  constructor(engine: Engine, options: WireGuardOptions) {
    this.#engine = engine;
    this.#clock = engine.clock;
    this.link = engine.link;
    const mtu = options.mtu ?? DEFAULT_MTU;
    if (!Number.isInteger(mtu) || mtu < 576 || mtu > 65475) {
      throw new RangeError(`the MTU of a WireGuard device is 576 to 65475, got ${mtu}`);
    }
    this.#addrs = (options.addresses ?? []).map((prefix) => Prefix.from(prefix));
    this.#coalescer = new Coalescer((packet) => this.#handler(packet));
    this.#coalescer.accepts = options.coalesce ?? 0;
    this.identity = engine.addIdentity({
      privateKey: options.privateKey,
      mtu,
      events: options.events,
      allowedIps: this.#allowedIps,
      onPacket: (_peer, packet) => this.#receive(packet),
    });
    try {
      for (const peer of options.peers ?? []) this.addPeer(peer);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get mtu(): number {
    return this.identity.mtu;
  }

  get addrs(): readonly Prefix[] {
    return this.#addrs;
  }

  setAddrs(addrs: readonly Prefix[]): void {
    this.#addrs = [...addrs];
  }

  setHandler(handler: PacketHandler): void {
    this.#handler = handler;
  }

  /** See `WireGuardOptions.coalesce`. */
  set coalesce(accepts: number) {
    this.#coalescer.flush();
    this.#coalescer.accepts = accepts;
  }

  get coalesce(): number {
    return this.#coalescer.accepts;
  }

  get peers(): ReadonlyMap<string, Peer> {
    return this.identity.peers;
  }

  /** Throws `WG_PEER_EXISTS` when the key is configured already. */
  addPeer(options: AllowedPeerOptions): Peer {
    const allowedIps = (options.allowedIps ?? []).map((prefix) => Prefix.from(prefix));
    const { persistentKeepalive, ...rest } = options;
    const peer = this.identity.addPeer(rest);
    for (const prefix of allowedIps) this.allowIp(peer, prefix);
    try {
      if (persistentKeepalive !== undefined) peer.setPersistentKeepalive(persistentKeepalive);
    } catch (error) {
      this.removePeer(peer);
      throw error;
    }
    return peer;
  }

  removePeer(peer: Peer): boolean {
    return this.identity.removePeer(peer);
  }

  /** The peer that packets to this address go to. */
  route(packet: Packet): Peer | undefined {
    return this.#allowedIps.destination(packet);
  }

  /** Replaces all of a peer's prefixes. */
  setAllowedIps(peer: Peer, prefixes: ReadonlyArray<Prefix | string>): void {
    const parsed = prefixes.map((prefix) => Prefix.from(prefix));
    this.#allowedIps.removePeer(peer);
    for (const prefix of parsed) this.allowIp(peer, prefix);
  }

  /** Leads a prefix to this peer, and away from any other that had exactly the same. */
  allowIp(peer: Peer, prefix: Prefix | string): void {
    if (peer.isRemoved || peer.identity !== this.identity) {
      throw new RangeError('this peer does not belong to the device (any more)');
    }
    this.#allowedIps.insert(Prefix.from(prefix), peer);
  }

  /** Takes a prefix from this peer; nothing happens when it leads elsewhere. */
  disallowIp(peer: Peer, prefix: Prefix | string): void {
    this.#allowedIps.remove(Prefix.from(prefix), peer);
  }

  send(packet: Packet): void {
    const { stats } = this;
    if (this.#closed) {
      stats.dropClosed++;
      return;
    }
    const { len } = packet;
    const version = len < 20 ? 0 : packet.buf[packet.off] >>> 4;
    if (version !== 4 && (version !== 6 || len < 40)) {
      stats.dropMalformed++;
      return;
    }
    if (len > this.identity.mtu && (packet.offload & SEGMENT_SIZE_MASK) === 0) {
      stats.dropTooBig++;
      return;
    }
    const peer = this.#allowedIps.destination(packet);
    if (peer === undefined) {
      stats.dropNoRoute++;
      return;
    }
    stats.sent++;
    peer.send(packet);
  }

  /** Removes the identity with all its peers from its port. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#coalescer.flush();
    this.#handler = dropPacket;
    this.#engine.removeIdentity(this.identity);
  }

  #receive(packet: Packet): void {
    if (this.#closed) {
      this.stats.dropClosed++;
      return;
    }
    this.stats.received++;
    if (this.#coalescer.accepts === 0) {
      this.#handler(packet);
      return;
    }
    this.#coalescer.push(packet);
    if (this.#coalescer.isPending && !this.#flushing) {
      this.#flushing = true;
      this.#clock.endOfBatch(this.#flush);
    }
  }
}
