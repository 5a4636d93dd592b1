/**
 * Joins IP devices into one network by longest prefix match: each device is reached at its own addresses and is the way to
 * its networks. Without a `router` section it is a hub that leaves packets alone; with one it is a router that counts hops
 * down and keeps the scopes (RFC 1812, RFC 8200 §3).
 */

import { copyBytes, equalBytes, get16, getInt32, put16 } from './bytes.ts';
import { update16 } from './checksum.ts';
import { type Clock, systemClock } from './clock.ts';
import {
  type Disconnect,
  disconnect,
  dropPacket,
  type L3Connector,
  type L3Device,
} from './device.ts';
import { PktkitError } from './errors.ts';
import { ErrorLimiter, MAX_ICMP_ERROR, writeIcmpError } from './icmp-error.ts';
import { IpAddr, type IpFamily, Prefix } from './ip.ts';
import { SEGMENT_SIZE_MASK } from './offload.ts';
import { Packet } from './packet.ts';
import { reportLater } from './platform.ts';
import { HEADROOM, pool, TAILROOM } from './pool.ts';
import type { Random32 } from './random.ts';
import { RouteTable } from './route-table.ts';
import { headersOf } from './segment.ts';
import { sendL3 } from './software-offload.ts';
import { IcmpTimeExceeded, IcmpType, IcmpUnreachable } from './wire/icmp.ts';
import { Icmpv6TimeExceeded, Icmpv6Type, Icmpv6Unreachable } from './wire/icmpv6.ts';
import { IPV4_CHECKSUM, IPV4_HEADER, IPV4_SRC, IPV4_TTL } from './wire/ipv4.ts';
import { IPV6_HEADER, IPV6_HOP_LIMIT, IPV6_SRC } from './wire/ipv6.ts';

export interface L3HubOptions {
  /** Most devices; `connectL3` throws `PKT_LIMIT` beyond. 4096 unless told. */
  maxPorts?: number | undefined;
  /** Counts hops down, answers where they end, and forwards neither broadcasts nor link-local traffic. Off unless told. */
  routing?: boolean | undefined;
  /**
   * The addresses that ICMP errors come from, one of each family. Without one, IPv4 errors come from 192.0.0.8 (RFC 7600)
   * and IPv6 ones are not sent.
   */
  addresses?: readonly (IpAddr | string)[] | undefined;
  /** ICMP errors a second, for all ports together; 0 sends none. 100 unless told. */
  errorsPerSecond?: number | undefined;
  clock?: Clock | undefined;
  /** Source of the table's secret. */
  random?: Random32 | undefined;
  /** Told when a device threw; by default the error becomes an uncaught exception later, off the data path. */
  onError?: ((error: unknown, device: L3Device) => void) | undefined;
}

export interface L3HubStats {
  /** Packets sent to one device. */
  forwarded: number;
  /** Broadcast and multicast packets, sent to all devices that they are for. */
  flooded: number;
  /** ICMP errors sent. */
  icmpErrors: number;
  /** ICMP errors not sent because there were too many, or because the packet may not be answered. */
  icmpSuppressed: number;
  /** Errors that devices threw out of `send`. */
  portErrors: number;
  /** Dropped: shorter than a header, or of no known version. */
  dropMalformed: number;
  /** Dropped: no route. Answered with ICMP. */
  dropNoRoute: number;
  /** Dropped: the way leads back to the device that it came from. */
  dropSamePort: number;
  /** Dropped: sends nested too deep, as a loop of hubs does. */
  dropLoop: number;
  /** Dropped by a router: the hops are used up. Answered with ICMP. */
  dropHops: number;
  /** Dropped by a router: broadcast and link-local traffic stays on its link. */
  dropScope: number;
  /** Dropped: larger than the next device's MTU. Answered with ICMP. */
  dropTooBig: number;
}

/** Sends nested deeper than this are a loop. */
const MAX_DEPTH = 16;
/** Bytes of a packet that are compared to know it again. */
const COMPARED = 96;
/** Set in a route's value when the address is a network's broadcast address. */
const BROADCAST = 0x40000000;
/** RFC 7600 §4: where an IPv4 error comes from when the sender has no address. */
const DUMMY4 = IpAddr.v4(0xc0000008);

class Port {
  readonly id: number;
  readonly device: L3Device;
  addrs: readonly Prefix[];
  attached = true;

  constructor(id: number, device: L3Device) {
    this.id = id;
    this.device = device;
    this.addrs = device.addrs;
  }
}

export class L3Hub implements L3Connector {
  readonly stats: L3HubStats = {
    forwarded: 0,
    flooded: 0,
    icmpErrors: 0,
    icmpSuppressed: 0,
    portErrors: 0,
    dropMalformed: 0,
    dropNoRoute: 0,
    dropSamePort: 0,
    dropLoop: 0,
    dropHops: 0,
    dropScope: 0,
    dropTooBig: 0,
  };
  readonly #maxPorts: number;
  readonly #routing: boolean;
  readonly #source4: IpAddr;
  readonly #source6: IpAddr | null;
  readonly #limiter: ErrorLimiter;
  readonly #onError: (error: unknown, device: L3Device) => void;
  readonly #table: RouteTable;
  #ports: readonly Port[] = [];
  readonly #byId: Array<Port | null> = [];
  readonly #freeIds: number[] = [];
  /** Routes that were set by hand, by prefix; the default routes are those of length 0. */
  readonly #routes: Map<string, { prefix: Prefix; port: Port }> = new Map();
  #dirty = false;
  /** Counts packets; every eighth also looks at another port's addresses. */
  #glance = 0;
  #depth = 0;
  /** The packets being sent to several, by depth: to know one that comes back. */
  readonly #flooding: Array<Packet | null> = new Array(MAX_DEPTH).fill(null);

  constructor(options: L3HubOptions = {}) {
    const { maxPorts = 4096, errorsPerSecond = 100 } = options;
    if (!Number.isInteger(maxPorts) || maxPorts < 1) {
      throw new RangeError(`maxPorts is a whole number above 0, got ${maxPorts}`);
    }
    if (!(errorsPerSecond >= 0)) {
      throw new RangeError(`errorsPerSecond is 0 or more, got ${errorsPerSecond}`);
    }
    const addresses = (options.addresses ?? []).map((address) => IpAddr.from(address));
    this.#maxPorts = maxPorts;
    this.#routing = options.routing ?? false;
    this.#source4 = addresses.find(({ family }) => family === 4) ?? DUMMY4;
    this.#source6 = addresses.find(({ family }) => family === 6) ?? null;
    const clock = options.clock ?? systemClock;
    this.#limiter = new ErrorLimiter(clock, errorsPerSecond, errorsPerSecond / 2);
    this.#onError = options.onError ?? reportLater;
    this.#table = new RouteTable({ random: options.random });
  }

  /** How many devices are connected. */
  get portCount(): number {
    return this.#ports.length;
  }

  connectL3(device: L3Device): Disconnect {
    if (this.#ports.some((port) => port.device === device)) {
      throw new PktkitError(
        'PKT_INVALID_CONFIG',
        'this device is connected to this hub already; disconnect it first',
      );
    }
    if (this.#ports.length >= this.#maxPorts) {
      throw new PktkitError('PKT_LIMIT', `the hub has ${this.#maxPorts} ports; raise maxPorts`);
    }
    const port = new Port(this.#freeIds.pop() ?? this.#byId.length, device);
    this.#byId[port.id] = port;
    this.#ports = [...this.#ports, port];
    this.#dirty = true;
    device.setHandler((packet) => this.#receive(port, packet));
    return disconnect(() => {
      port.attached = false;
      device.setHandler(dropPacket);
      this.#ports = this.#ports.filter((other) => other !== port);
      for (const [key, route] of this.#routes) if (route.port === port) this.#routes.delete(key);
      this.#byId[port.id] = null;
      this.#freeIds.push(port.id);
      this.#dirty = true;
    });
  }

  /**
   * Sends a network through a connected device, also when no address of it says so. Goes before what devices' own
   * addresses say, for the same prefix; ends with the device's connection.
   */
  addRoute(prefix: Prefix | string, device: L3Device): void {
    const network = Prefix.from(prefix).network;
    this.#routes.set(network.toString(), { prefix: network, port: this.#portOf(device) });
    this.#dirty = true;
  }

  /** False when there was no such route. */
  removeRoute(prefix: Prefix | string): boolean {
    this.#dirty = true;
    return this.#routes.delete(Prefix.from(prefix).network.toString());
  }

  /** Where packets go that no other route matches; of both families unless told. The device must be connected. */
  setDefaultRoute(device: L3Device, family?: IpFamily): void {
    if (family !== 6) this.addRoute('0.0.0.0/0', device);
    if (family !== 4) this.addRoute('::/0', device);
  }

  /** Of both families unless told. */
  clearDefaultRoute(family?: IpFamily): void {
    if (family !== 6) this.removeRoute('0.0.0.0/0');
    if (family !== 4) this.removeRoute('::/0');
  }

  /** The device of the default route of a family; null without one. */
  defaultRoute(family: IpFamily): L3Device | null {
    return this.#routes.get(family === 4 ? '0.0.0.0/0' : '::/0')?.port.device ?? null;
  }

  /** The device that a packet to `address` would go to; null for none (or for many). */
  route(address: IpAddr | string): L3Device | null {
    this.refresh();
    const id = this.#table.lookup(IpAddr.from(address));
    return id < 0 || id >= BROADCAST ? null : (this.#byId[id]?.device ?? null);
  }

  /**
   * Reads all devices' addresses again. Packets do so by and by (the sender's and the receiver's at once, another's with every
   * eighth, all when there is no route); call this when a change must hold for the very next packet.
   */
  refresh(): void {
    for (const port of this.#ports) this.#look(port);
    if (this.#dirty) this.#rebuild();
  }

  #portOf(device: L3Device): Port {
    const port = this.#ports.find((candidate) => candidate.device === device);
    if (port !== undefined) return port;
    throw new PktkitError(
      'PKT_INVALID_CONFIG',
      'a route needs a device that is connected to this hub; call connectL3 first',
    );
  }

  #receive(port: Port, packet: Packet): void {
    const { stats } = this;
    const { buf, off, len } = packet;
    if (!port.attached) return;
    const version = len < IPV4_HEADER ? 0 : buf[off] >>> 4;
    if (version !== 4 && (version !== 6 || len < IPV6_HEADER)) {
      stats.dropMalformed++;
      return;
    }
    if (this.#depth >= MAX_DEPTH) {
      stats.dropLoop++;
      return;
    }
    if (port.device.addrs !== port.addrs) this.#look(port);
    if ((++this.#glance & 7) === 0)
      this.#look(this.#ports[(this.#glance >>> 3) % this.#ports.length]);
    if (this.#dirty) this.#rebuild();
    this.#depth++;
    if (version === 4 ? buf[off + 16] >= 0xe0 : buf[off + 24] === 0xff) {
      this.#receiveGroup(port, packet, version);
    } else {
      let id = this.#lookup(buf, off, version);
      if (id < 0) {
        this.refresh();
        id = this.#lookup(buf, off, version);
      } else if (id < BROADCAST) {
        const found = this.#byId[id] as Port;
        if (found.device.addrs !== found.addrs && this.#look(found)) {
          this.#rebuild();
          id = this.#lookup(buf, off, version);
        }
      }
      const target = id >= 0 && id < BROADCAST ? (this.#byId[id] as Port) : port;
      if (target !== port && !this.#routing && packet.offload === 0 && len <= target.device.mtu) {
        // What `#forward` does with nearly every packet, without the call.
        stats.forwarded++;
        this.#deliver(target, packet);
      } else if (id < 0) this.#noRoute(port, packet, version);
      else if (id >= BROADCAST) this.#receiveBroadcast(port, packet);
      else this.#forward(port, this.#byId[id] as Port, packet, version);
    }
    this.#depth--;
  }

  #lookup(buf: Uint8Array, off: number, version: number): number {
    if (version === 4) return this.#table.lookup4(getInt32(buf, off + 16));
    return this.#table.lookup6(
      getInt32(buf, off + 24),
      getInt32(buf, off + 28),
      getInt32(buf, off + 32),
      getInt32(buf, off + 36),
    );
  }

  #forward(port: Port, target: Port, packet: Packet, version: number): void {
    if (target === port) {
      this.stats.dropSamePort++;
      return;
    }
    if (this.#routing && !this.#countHop(port, packet, version)) return;
    const { len, offload } = packet;
    const { mtu } = target.device;
    const size = offload & SEGMENT_SIZE_MASK;
    if (size === 0 ? len > mtu : size + 120 > mtu && this.#segmentLen(packet, size) > mtu) {
      this.stats.dropTooBig++;
      if (version === 4) {
        const { UNREACHABLE } = IcmpType;
        this.#answer(port, packet, UNREACHABLE, IcmpUnreachable.FRAGMENTATION_NEEDED, mtu);
      } else {
        this.#answer(port, packet, Icmpv6Type.PACKET_TOO_BIG, 0, mtu);
      }
      return;
    }
    this.stats.forwarded++;
    this.#deliver(target, packet);
  }

  /** The largest packet that a super-segment will become. */
  #segmentLen(packet: Packet, size: number): number {
    return headersOf(packet.buf, packet.off, packet.len) + size;
  }

  /** A router's part: false when the packet ends here. */
  #countHop(port: Port, packet: Packet, version: number): boolean {
    const { buf, off } = packet;
    const at = off + (version === 4 ? IPV4_TTL : IPV6_HOP_LIMIT);
    if (version === 6 && (isLinkLocal6(buf, off + 8) || isLinkLocal6(buf, off + 24))) {
      // RFC 4291 §2.5.6
      this.stats.dropScope++;
      return false;
    }
    if (buf[at] <= 1) {
      this.stats.dropHops++;
      if (packet.isMulticast) return false;
      if (version === 4)
        this.#answer(port, packet, IcmpType.TIME_EXCEEDED, IcmpTimeExceeded.TRANSIT);
      else this.#answer(port, packet, Icmpv6Type.TIME_EXCEEDED, Icmpv6TimeExceeded.TRANSIT);
      return false;
    }
    if (version === 4) {
      const before = get16(buf, at);
      buf[at]--;
      put16(
        buf,
        off + IPV4_CHECKSUM,
        update16(get16(buf, off + IPV4_CHECKSUM), before, before - 0x100),
      );
    } else {
      buf[at]--;
    }
    return true;
  }

  /** Multicast, 255.255.255.255, and the addresses above 240.0.0.0, which lead nowhere. */
  #receiveGroup(port: Port, packet: Packet, version: number): void {
    const { buf, off } = packet;
    if (this.#depth > 1 && this.#isLoop(packet, version)) {
      this.stats.dropLoop++;
      return;
    }
    if (version === 4 && buf[off + 16] >= 0xf0 && packet.dst4 !== -1) {
      this.stats.dropNoRoute++;
      return;
    }
    if (this.#routing) {
      // Limited broadcast and link-local groups stay where they are (RFC 1812 §5.3.5.1, RFC 5771 §4, RFC 4291 §2.7).
      const stays =
        version === 4
          ? buf[off + 16] >= 0xf0 || packet.dst4 >>> 8 === 0xe00000
          : (buf[off + 25] & 0xf) <= 2;
      if (stays) {
        this.stats.dropScope++;
        return;
      }
      if (!this.#countHop(port, packet, version)) return;
    }
    this.stats.flooded++;
    this.#flooding[this.#depth - 1] = packet;
    const ports = this.#ports;
    for (let i = 0; i < ports.length; i++) {
      if (ports[i] !== port && ports[i].attached) this.#deliverCopy(ports[i], packet);
    }
    this.#flooding[this.#depth - 1] = null;
  }

  /** Without this, each of several links between two hubs would double the work at every turn. */
  #isLoop(packet: Packet, version: number): boolean {
    // From the source address on: what is in front changes at every hop.
    const skip = version === 4 ? IPV4_SRC : IPV6_SRC;
    for (let i = 0; i < this.#depth - 1; i++) {
      const other = this.#flooding[i];
      if (other === null || other.len !== packet.len) continue;
      const size = Math.min(packet.len, COMPARED) - skip;
      if (equalBytes(other.buf, other.off + skip, packet.buf, packet.off + skip, size)) return true;
    }
    return false;
  }

  /** A network's own broadcast address: for every device with an address in that network. */
  #receiveBroadcast(source: Port, packet: Packet): void {
    const dst = packet.dst4;
    if (this.#depth > 1 && this.#isLoop(packet, 4)) {
      this.stats.dropLoop++;
      return;
    }
    if (this.#routing && !isBroadcastOf(source, dst)) {
      // RFC 2644: a router does not let others use its networks as amplifiers.
      this.stats.dropScope++;
      return;
    }
    this.stats.flooded++;
    this.#flooding[this.#depth - 1] = packet;
    const ports = this.#ports;
    for (let i = 0; i < ports.length; i++) {
      const port = ports[i];
      if (port !== source && port.attached && isBroadcastOf(port, dst)) {
        this.#deliverCopy(port, packet);
      }
    }
    this.#flooding[this.#depth - 1] = null;
  }

  #noRoute(port: Port, packet: Packet, version: number): void {
    this.stats.dropNoRoute++;
    if (version === 4) this.#answer(port, packet, IcmpType.UNREACHABLE, IcmpUnreachable.NETWORK);
    else this.#answer(port, packet, Icmpv6Type.UNREACHABLE, Icmpv6Unreachable.NO_ROUTE);
  }

  #answer(port: Port, packet: Packet, type: number, code: number, rest = 0): void {
    const source = packet.version === 4 ? this.#source4 : this.#source6;
    if (source === null || !this.#limiter.take()) {
      this.stats.icmpSuppressed++;
      return;
    }
    const out = pool.take(HEADROOM + MAX_ICMP_ERROR);
    const len = writeIcmpError(out, HEADROOM, packet, source, type, code, rest);
    if (len === 0) {
      this.stats.icmpSuppressed++;
    } else {
      this.stats.icmpErrors++;
      this.#deliver(port, new Packet(out, HEADROOM, len));
    }
    pool.give(out);
  }

  /** Each of several receivers gets its own: one that translates addresses writes into what it is handed. */
  #deliverCopy(port: Port, { buf, off, len, offload }: Packet): void {
    const copy = pool.take(HEADROOM + len + TAILROOM);
    copyBytes(copy, HEADROOM, buf, off, len);
    this.#deliver(port, new Packet(copy, HEADROOM, len, offload));
    pool.give(copy);
  }

  #deliver(port: Port, packet: Packet): void {
    try {
      sendL3(port.device, packet);
    } catch (error) {
      this.stats.portErrors++;
      try {
        this.#onError(error, port.device);
      } catch (second) {
        reportLater(second);
      }
    }
  }

  /** True when the port's addresses have changed since they were read. */
  #look(port: Port): boolean {
    const { addrs } = port.device;
    if (addrs === port.addrs) return false;
    const before = port.addrs;
    port.addrs = addrs;
    if (addrs.length === before.length && addrs.every((addr, i) => addr.equals(before[i]))) {
      return false;
    }
    this.#dirty = true;
    return true;
  }

  #rebuild(): void {
    this.#dirty = false;
    const table = this.#table;
    table.clear();
    // What is set first stays: routes by hand, then devices' own addresses, broadcast addresses, networks by age.
    const add = (prefix: Prefix, value: number) => {
      if (table.get(prefix) < 0) table.set(prefix, value);
    };
    for (const { prefix, port } of this.#routes.values()) add(prefix, port.id);
    for (const port of this.#ports) {
      for (const { addr } of port.addrs) {
        if (!addr.isUnspecified) add(Prefix.of(addr, addr.family === 4 ? 32 : 128), port.id);
      }
    }
    for (const { addrs } of this.#ports) {
      for (const { broadcast, addr } of addrs) {
        if (broadcast !== null && !addr.isUnspecified) {
          add(Prefix.of(broadcast, 32), BROADCAST);
        }
      }
    }
    for (const port of this.#ports) {
      for (const prefix of port.addrs) {
        // An address without a network (0.0.0.0/0, as of a host that has none yet) is no route to everything.
        if (prefix.bits > 0 && !prefix.addr.isUnspecified) add(prefix.network, port.id);
      }
    }
  }
}

function isBroadcastOf(port: Port, address: number): boolean {
  const { addrs } = port;
  for (let i = 0; i < addrs.length; i++) {
    const prefix = addrs[i];
    if (prefix.family !== 4 || prefix.bits > 30) continue;
    const mask = prefix.mask[3];
    if (((address ^ prefix.addr.w3) & mask) === 0 && (address | mask) === -1) return true;
  }
  return false;
}

function isLinkLocal6(buf: Uint8Array, off: number): boolean {
  return buf[off] === 0xfe && (buf[off + 1] & 0xc0) === 0x80;
}
