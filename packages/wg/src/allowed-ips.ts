/**
 * Which peer a prefix belongs to, by the longest prefix, for both directions: where a packet goes, and whether its source
 * is one that its peer may use. A prefix has one owner; given to another peer it moves.
 */

import {
  getInt32,
  type IpAddr,
  type Packet,
  PktkitError,
  type Prefix,
  RouteTable,
} from '@pktkit/core';
import type { Peer } from './peer.ts';

interface Owner {
  /** What the routes of this peer have for a value. */
  readonly index: number;
  readonly prefixes: Prefix[];
}

export class AllowedIps {
  readonly #routes = new RouteTable();
  /** By the routes' values. */
  readonly #peers: Array<Peer | undefined> = [];
  readonly #free: number[] = [];
  readonly #owners = new Map<Peer, Owner>();

  /** Prefixes of all peers. */
  get size(): number {
    return this.#routes.size;
  }

  /** The peer that this packet goes to. */
  destination(packet: Packet): Peer | undefined {
    const { buf, off } = packet;
    return this.#find(buf, off, buf[off] >>> 4 === 4 ? off + 16 : off + 24);
  }

  /** Whether a packet to this packet's source would go to `peer`. */
  allowsSource(peer: Peer, packet: Packet): boolean {
    const { buf, off } = packet;
    return this.#find(buf, off, buf[off] >>> 4 === 4 ? off + 12 : off + 8) === peer;
  }

  lookup(address: IpAddr): Peer | undefined {
    const index = this.#routes.lookup(address);
    return index < 0 ? undefined : this.#peers[index];
  }

  /** Leads a prefix to `peer`, and away from its owner. Throws `PKT_LIMIT` when there are too many. */
  insert(prefix: Prefix, peer: Peer): void {
    const { network } = prefix;
    const before = this.#routes.get(network);
    const owner = this.#owners.get(peer) ?? this.#register(peer);
    if (before === owner.index) return;
    if (!this.#routes.set(network, owner.index)) {
      throw new PktkitError('PKT_LIMIT', `there are ${this.#routes.size} allowed IPs, no more fit`);
    }
    owner.prefixes.push(network);
    if (before >= 0) this.#disown(this.#peers[before] as Peer, network);
  }

  /** False when the prefix does not belong to `peer`. */
  remove(prefix: Prefix, peer: Peer): boolean {
    const { network } = prefix;
    const owner = this.#owners.get(peer);
    if (owner === undefined || this.#routes.get(network) !== owner.index) return false;
    this.#routes.delete(network);
    this.#disown(peer, network);
    return true;
  }

  removePeer(peer: Peer): void {
    const owner = this.#owners.get(peer);
    if (owner === undefined) return;
    for (const prefix of owner.prefixes) this.#routes.delete(prefix);
    this.#unregister(peer, owner);
  }

  prefixesOf(peer: Peer): readonly Prefix[] {
    return this.#owners.get(peer)?.prefixes ?? [];
  }

  #find(buf: Uint8Array, off: number, at: number): Peer | undefined {
    const index =
      buf[off] >>> 4 === 4
        ? this.#routes.lookup4(getInt32(buf, at))
        : this.#routes.lookup6(
            getInt32(buf, at),
            getInt32(buf, at + 4),
            getInt32(buf, at + 8),
            getInt32(buf, at + 12),
          );
    return index < 0 ? undefined : this.#peers[index];
  }

  #register(peer: Peer): Owner {
    const index = this.#free.pop() ?? this.#peers.length;
    const owner: Owner = { index, prefixes: [] };
    this.#peers[index] = peer;
    this.#owners.set(peer, owner);
    return owner;
  }

  #unregister(peer: Peer, owner: Owner): void {
    this.#owners.delete(peer);
    this.#peers[owner.index] = undefined;
    this.#free.push(owner.index);
  }

  #disown(peer: Peer, network: Prefix): void {
    const owner = this.#owners.get(peer);
    if (owner === undefined) return;
    const at = owner.prefixes.findIndex((prefix) => prefix.equals(network));
    if (at >= 0) owner.prefixes.splice(at, 1);
    if (owner.prefixes.length === 0) this.#unregister(peer, owner);
  }
}
