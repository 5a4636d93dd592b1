/**
 * WireGuard as one network interface: an `L3Device` with many peers behind it. A packet goes to the peer whose allowed IPs
 * hold its destination by the longest prefix; one that comes must have a source that would lead back ("cryptokey
 * routing", whitepaper §2).
 */

import { type Packet, Prefix } from '@pktkit/core';
import { AllowedIps } from './allowed-ips.ts';
import type { Engine } from './engine.ts';
import type { Identity, IdentityEvents, PeerOptions } from './identity.ts';
import type { Link } from './link.ts';
import type { Peer } from './peer.ts';
import { TunnelDevice } from './tunnel-device.ts';

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

export class WireGuard extends TunnelDevice {
  readonly identity: Identity;
  readonly link: Link;
  readonly #engine: Engine;
  readonly #allowedIps: AllowedIps = new AllowedIps();

  /** Adds an identity to the engine. */
  constructor(engine: Engine, options: WireGuardOptions) {
    const addrs = (options.addresses ?? []).map((prefix) => Prefix.from(prefix));
    super(engine.clock, addrs, options.coalesce ?? 0);
    this.#engine = engine;
    this.link = engine.link;
    this.identity = engine.addIdentity({
      privateKey: options.privateKey,
      mtu: options.mtu,
      events: options.events,
      allowedIps: this.#allowedIps,
      onPacket: (_peer, packet) => this.receive(packet),
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

  /** Removes the identity with all its peers from its engine. */
  override close(): void {
    if (this.isClosed) return;
    super.close();
    this.#engine.removeIdentity(this.identity);
  }

  protected forward(packet: Packet): boolean {
    const peer = this.#allowedIps.destination(packet);
    if (peer === undefined) return false;
    peer.send(packet);
    return true;
  }
}
