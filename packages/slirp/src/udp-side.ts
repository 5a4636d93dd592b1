/**
 * UDP of one namespace. A mapping belongs to an address and port of a guest, whatever it sends to: one host socket, so that
 * the outside sees one address and port too (endpoint-independent mapping, RFC 4787 REQ-1). Errors of single datagrams are
 * told to the guest and leave the mapping alone.
 */

import {
  FlowTable,
  IPV4_HEADER,
  IPV6_HEADER,
  IpAddr,
  IpProtocol,
  type Packet,
  Packet as PacketWindow,
  type Timer,
  UDP_HEADER,
  udp,
  writeIpv4,
  writeIpv6,
} from '@pktkit/core';
import type { Context } from './context.ts';
import { type ErrorKind, ErrorKinds, kindOfError, type PacketMaker } from './packets.ts';
import { Reach } from './policy.ts';
import type { HostDatagramEvents, HostDatagrams, HostErrorCode } from './sockets.ts';

/** What UDP asks of its namespace. */
export interface UdpSideHost {
  readonly maker: PacketMaker;
  refuse(packet: Packet, kind: ErrorKind): void;
}

/** How often idle mappings are looked for, in milliseconds. */
const SWEEP = 5000;
const DNS_PORT = 53;

/** A peer that a guest has written to. */
interface Peer {
  /** As the guest knows it. */
  readonly address: IpAddr;
  readonly port: number;
  /** As the host knows it, when the gateway's address stands for the host's loopback. */
  readonly target: string;
}

export class UdpSide {
  readonly #context: Context;
  readonly #host: UdpSideHost;
  readonly #table: FlowTable;
  /** By record number of the table. */
  readonly #mappings: Array<UdpMapping | undefined> = [];
  readonly #timer: Timer;

  constructor(context: Context, host: UdpSideHost) {
    this.#context = context;
    this.#host = host;
    this.#table = new FlowTable({
      capacity: context.limits.mappingsPerNamespace,
      random: context.random,
    });
    this.#timer = context.clock.timer(() => this.#sweep());
  }

  get mappings(): number {
    return this.#table.size;
  }

  /** A datagram of a guest: `at` is where its UDP header starts in the buffer, `len` what it claims. */
  handle(packet: Packet, at: number, len: number): void {
    const { buf } = packet;
    const sourcePort = udp.srcPort(buf, at);
    const port = udp.dstPort(buf, at);
    const { stats } = this.#context;
    if (port === 0 || sourcePort === 0) {
      stats.dropMalformed++;
      return;
    }
    const source = packet.src;
    const record = this.#find(source, sourcePort);
    const mapping = record < 0 ? undefined : this.#mappings[record];
    const destination = packet.dst;
    const peer =
      mapping?.peer(destination, port) ??
      this.#admit(packet, source, sourcePort, destination, port);
    if (peer === null) return;
    const open = mapping ?? this.#open(packet, source, sourcePort);
    if (open === null) return;
    open.send(peer, buf.subarray(at + UDP_HEADER, at + len));
  }

  /** Opens a mapping from outside, for a port forward; datagrams then go both ways through `socket`. */
  close(): void {
    this.#timer.cancel();
    for (let record = 0; record < this.#mappings.length; record++) this.#remove(record);
  }

  /** Called by a mapping whose socket is gone. */
  drop(mapping: UdpMapping): void {
    const record = this.#find(mapping.guest, mapping.guestPort);
    if (record >= 0 && this.#mappings[record] === mapping) this.#remove(record);
  }

  /** Whether this flow may be, and where it goes; answers the guest when not. */
  #admit(
    packet: Packet,
    source: IpAddr,
    sourcePort: number,
    destination: IpAddr,
    port: number,
  ): Peer | null {
    const { policy, addrs, stats, clock } = this.#context;
    let target = destination;
    switch (policy.reach(destination, addrs)) {
      case Reach.NEVER:
        stats.dropMartian++;
        return null;
      case Reach.INSIDE:
        this.#host.refuse(packet, ErrorKinds.HOST);
        return null;
      case Reach.GATEWAY:
        if (!policy.hostLoopback) {
          this.#host.refuse(packet, ErrorKinds.PORT);
          return null;
        }
        target = policy.loopback(destination);
        break;
      default:
    }
    const verdict = policy.judge(
      { protocol: 'udp', source, sourcePort, destination, destinationPort: port, target },
      clock.now,
    );
    if (verdict === 'allow') return { address: destination, port, target: target.toString() };
    stats.dropPolicy++;
    if (verdict === 'reject') this.#host.refuse(packet, ErrorKinds.PROHIBITED);
    return null;
  }

  #open(packet: Packet, guest: IpAddr, guestPort: number): UdpMapping | null {
    const { stats, limits, clock } = this.#context;
    if (this.#table.size >= limits.mappingsPerNamespace) this.#evict();
    if (stats.udpMappings >= limits.mappings && this.#table.size > 0) this.#evict();
    if (stats.udpMappings >= limits.mappings) {
      stats.dropMappingLimit++;
      return null;
    }
    let mapping: UdpMapping;
    try {
      mapping = new UdpMapping(this.#context, this, this.#host, guest, guestPort);
    } catch (error) {
      stats.udpErrors++;
      const kind = kindOfError((error as NodeJS.ErrnoException).code ?? '');
      if (kind !== null) this.#host.refuse(packet, kind);
      return null;
    }
    const { w0, w1, w2, w3 } = guest;
    const record = this.#table.insert(w0, w1, w2, w3, 0, 0, 0, 0, guestPort, 0);
    if (record < 0) {
      mapping.close();
      stats.dropMappingLimit++;
      return null;
    }
    this.#mappings[record] = mapping;
    stats.udpMappings++;
    if (this.#table.size === 1) this.#timer.arm(clock.now + SWEEP);
    return mapping;
  }

  #find(guest: IpAddr, port: number): number {
    return this.#table.find(guest.w0, guest.w1, guest.w2, guest.w3, 0, 0, 0, 0, port, 0);
  }

  /** The longest idle mapping makes room. */
  #evict(): void {
    let oldest = -1;
    let since = Number.POSITIVE_INFINITY;
    for (let record = 0; record < this.#mappings.length; record++) {
      const mapping = this.#mappings[record];
      if (mapping !== undefined && mapping.lastUsed < since) {
        oldest = record;
        since = mapping.lastUsed;
      }
    }
    if (oldest < 0) return;
    this.#context.stats.dropMappingLimit++;
    this.#remove(oldest);
  }

  #sweep(): void {
    const { clock, timeouts } = this.#context;
    const { now } = clock;
    for (let record = 0; record < this.#mappings.length; record++) {
      const mapping = this.#mappings[record];
      if (mapping === undefined) continue;
      const idle = now - mapping.lastUsed;
      if (idle >= (mapping.isDns ? timeouts.dns : timeouts.udp)) this.#remove(record);
    }
    if (this.#table.size > 0) this.#timer.arm(now + SWEEP);
  }

  #remove(record: number): void {
    const mapping = this.#mappings[record];
    if (mapping === undefined) return;
    this.#mappings[record] = undefined;
    this.#table.remove(record);
    this.#context.stats.udpMappings--;
    mapping.close();
  }
}

export class UdpMapping implements HostDatagramEvents {
  readonly guest: IpAddr;
  readonly guestPort: number;
  lastUsed: number;
  /** True while it has spoken to name servers only. */
  isDns = true;
  readonly #context: Context;
  readonly #side: UdpSide;
  readonly #host: UdpSideHost;
  readonly #socket: HostDatagrams;
  /** By address and port as the host knows them, in the order of first use. */
  readonly #peers = new Map<string, Peer>();
  /** How many peers share an address, for address-dependent filtering. */
  readonly #addresses = new Map<string, { peer: Peer; count: number }>();
  /** Datagrams mostly go where the last one went. */
  #last: Peer | null = null;

  constructor(
    context: Context,
    side: UdpSide,
    host: UdpSideHost,
    guest: IpAddr,
    guestPort: number,
  ) {
    this.#context = context;
    this.#side = side;
    this.#host = host;
    this.guest = guest;
    this.guestPort = guestPort;
    this.lastUsed = context.clock.now;
    const from = guest.family === 4 ? context.from.v4 : context.from.v6;
    this.#socket = context.provider.datagrams(guest.family, this, { address: from?.toString() });
  }

  /** The peer that a guest means, when it has been admitted before. */
  peer(destination: IpAddr, port: number): Peer | null {
    const last = this.#last;
    if (last !== null && last.port === port && last.address.equals(destination)) return last;
    for (const peer of this.#peers.values()) {
      if (peer.port === port && peer.address.equals(destination)) return peer;
    }
    return null;
  }

  send(peer: Peer, payload: Uint8Array): void {
    const { stats, clock } = this.#context;
    this.lastUsed = clock.now;
    if (peer !== this.#last) this.#remember(peer);
    if (!this.#socket.send(payload, peer.target, peer.port)) {
      stats.dropUdpQueue++;
      return;
    }
    stats.udpUp++;
    stats.udpBytesUp += payload.length;
  }

  close(): void {
    this.#socket.close();
  }

  onMessage(bytes: Uint8Array, address: string, port: number): void {
    const { stats, clock } = this.#context;
    const source = this.#sender(address, port);
    if (source === null) {
      stats.dropUdpFiltered++;
      return;
    }
    clock.beginBatch();
    // RFC 4787 REQ-6: what comes in keeps a mapping alive only for a guest that listens; what goes out always does.
    this.lastUsed = clock.now;
    stats.udpDown++;
    stats.udpBytesDown += bytes.length;
    this.#host.maker.udp(source, port, this.guest, this.guestPort, bytes);
    clock.endBatch();
  }

  onError(error: HostErrorCode, address: string | null, port: number): void {
    const { stats, clock } = this.#context;
    stats.udpErrors++;
    const kind = kindOfError(error);
    const peer = address === null ? undefined : this.#peers.get(key(address, port));
    if (kind === null || peer === undefined) return;
    clock.beginBatch();
    this.#host.refuse(this.#quote(peer), kind);
    clock.endBatch();
  }

  onClosed(_error: HostErrorCode): void {
    this.#context.stats.udpErrors++;
    this.#side.drop(this);
  }

  /** As whom the guest hears this sender; null when it has not asked for it. */
  #sender(address: string, port: number): IpAddr | null {
    const exact = this.#peers.get(key(address, port));
    if (exact !== undefined) return exact.address;
    const { filtering } = this.#context;
    if (filtering === 'address-and-port') return null;
    const known = this.#addresses.get(address);
    if (known !== undefined) return known.peer.address;
    return filtering === 'endpoint-independent' ? IpAddr.tryParse(address) : null;
  }

  #remember(peer: Peer): void {
    this.#last = peer;
    if (peer.port !== DNS_PORT) this.isDns = false;
    const name = key(peer.target, peer.port);
    if (this.#peers.has(name)) return;
    if (this.#peers.size >= this.#context.limits.peersPerMapping) this.#forgetOldest();
    this.#peers.set(name, peer);
    const known = this.#addresses.get(peer.target);
    if (known === undefined) this.#addresses.set(peer.target, { peer, count: 1 });
    else known.count++;
  }

  #forgetOldest(): void {
    for (const [name, peer] of this.#peers) {
      this.#peers.delete(name);
      const known = this.#addresses.get(peer.target);
      if (known !== undefined && --known.count === 0) this.#addresses.delete(peer.target);
      return;
    }
  }

  /** The head of the datagram that failed: enough for the guest to know its socket by. */
  #quote(peer: Peer): Packet {
    const v4 = this.guest.family === 4;
    const header = v4 ? IPV4_HEADER : IPV6_HEADER;
    const buf = new Uint8Array(header + UDP_HEADER);
    if (v4) {
      writeIpv4(buf, 0, buf.length, IpProtocol.UDP, this.guest.w3, peer.address.w3);
    } else {
      writeIpv6(buf, 0, UDP_HEADER, IpProtocol.UDP, this.guest, peer.address);
    }
    udp.write(buf, header, this.guestPort, peer.port, UDP_HEADER);
    return PacketWindow.of(buf);
  }
}

function key(address: string, port: number): string {
  return `${address} ${port}`;
}
