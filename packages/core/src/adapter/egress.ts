/**
 * The way out of an `L2Adapter`: from a packet of the IP device to a frame on the link. Finds the next hop, has its Ethernet
 * address found, writes the header in front, and answers what cannot be sent with an ICMP error.
 */

import { copyBytes, get16, getInt32, put16, put32 } from '../bytes.ts';
import type { Clock } from '../clock.ts';
import { dropFrame, type FrameHandler, type L3Device } from '../device.ts';
import { fragment4 } from '../fragment.ts';
import { Frame } from '../frame.ts';
import { ErrorLimiter, MAX_ICMP_ERROR, writeIcmpError } from '../icmp-error.ts';
import { IpAddr, type IpFamily } from '../ip.ts';
import type { MacAddr } from '../mac.ts';
import { CHECKSUM_PARTIAL, SEGMENT_SIZE_MASK } from '../offload.ts';
import { Packet } from '../packet.ts';
import { HEADROOM, pool, TAILROOM } from '../pool.ts';
import type { Random32 } from '../random.ts';
import { ARP_LENGTH, writeArp } from '../wire/arp.ts';
import { ETHERNET_HEADER, EtherType } from '../wire/ethernet.ts';
import { IPV4_DF, IpProtocol } from '../wire/ipv4.ts';
import { IPV6_HEADER } from '../wire/ipv6.ts';
import type { HostNetwork } from './host-network.ts';
import type { NdpHost } from './ndp-host.ts';
import { NeighborCache, type NeighborLink, NeighborState } from './neighbor-cache.ts';
import type { L2AdapterOptions, L2AdapterStats } from './options.ts';
import { BROADCAST_HOP, NO_ROUTE } from './routes4.ts';

export interface EgressParts {
  readonly device: L3Device;
  readonly network: HostNetwork;
  readonly stats: L2AdapterStats;
  readonly mac: MacAddr;
  readonly mtu: number;
  readonly clock: Clock;
  readonly random: Random32;
  readonly options: L2AdapterOptions;
  /** Null without IPv6. */
  ndp(): NdpHost | null;
}

export class Egress {
  readonly cache4: NeighborCache;
  readonly cache6: NeighborCache;
  /** Where frames go; `dropFrame` while the link is down. */
  handler: FrameHandler = dropFrame;
  mtu4: number;
  mtu6: number;
  readonly #device: L3Device;
  readonly #network: HostNetwork;
  readonly #stats: L2AdapterStats;
  readonly #mac: number;
  readonly #macHigh: number;
  readonly #macLow: number;
  readonly #limiter: ErrorLimiter;
  readonly #ndp: () => NdpHost | null;
  #depth = 0;

  constructor(parts: EgressParts) {
    const { mac, mtu, clock, random, options } = parts;
    this.#device = parts.device;
    this.#network = parts.network;
    this.#stats = parts.stats;
    this.#ndp = parts.ndp;
    this.#mac = mac.value;
    this.#macHigh = Math.floor(mac.value / 2 ** 32);
    this.#macLow = mac.value | 0;
    this.mtu4 = mtu;
    this.mtu6 = mtu;
    this.#limiter = new ErrorLimiter(clock);
    const cacheOptions = {
      clock,
      random,
      limit: options.maxNeighbors,
      maxUnresolved: options.maxUnresolved,
    };
    this.cache4 = new NeighborCache(this.#neighborLink(4), cacheOptions);
    this.cache6 = new NeighborCache(this.#neighborLink(6), cacheOptions);
  }

  /** A packet from the IP device. */
  send(packet: Packet): void {
    if (this.handler === dropFrame) {
      this.#stats.dropClosed++;
      return;
    }
    if (this.#device.addrs !== this.#network.addrs) this.#network.refresh();
    const { buf, off, len } = packet;
    if (len < 20) {
      this.#stats.dropMalformed++;
      return;
    }
    const version = buf[off] >>> 4;
    if (version === 4) this.#output4(packet);
    else if (version === 6 && len >= IPV6_HEADER) this.#output6(packet);
    else this.#stats.dropMalformed++;
  }

  #output4(packet: Packet): void {
    const { buf, off, len } = packet;
    if (this.#network.owned4.length === 0) {
      this.#stats.dropNoAddress++;
      return;
    }
    if (len > this.mtu4 && !this.#fits(packet, this.mtu4)) {
      this.#tooBig4(packet);
      return;
    }
    const dst = getInt32(buf, off + 16);
    if (dst >>> 28 >= 0xe) {
      this.#sendGroup4(packet, dst);
      return;
    }
    const hop = this.#network.routes4.nextHop(dst);
    if (hop === NO_ROUTE) {
      this.#stats.dropNoRoute++;
      this.#reject(packet, 3, 0, 0);
      return;
    }
    if (hop === BROADCAST_HOP) {
      this.transmit(buf, off, len, packet.offload, 0xffff, -1, EtherType.IPV4);
      return;
    }
    const cache = this.cache4;
    const entry = cache.find4(hop);
    if (entry >= 0) {
      if (cache.state[entry] === NeighborState.REACHABLE || cache.use(entry, packet)) {
        const high = cache.macHigh[entry];
        this.transmit(buf, off, len, packet.offload, high, cache.macLow[entry], EtherType.IPV4);
      }
    } else if (this.#network.owns4(hop)) {
      this.#stats.dropSelf++;
    } else {
      cache.resolve(0, 0, 0, hop, packet);
    }
  }

  #output6(packet: Packet): void {
    const { buf, off, len } = packet;
    if (this.#ndp() === null || this.#network.owned6.length === 0) {
      this.#stats.dropNoAddress++;
      return;
    }
    if (len > this.mtu6 && !this.#fits(packet, this.mtu6)) {
      this.#stats.dropTooBig++;
      this.#reject(packet, 2, 0, this.mtu6);
      return;
    }
    let w0 = getInt32(buf, off + 24);
    let w1 = getInt32(buf, off + 28);
    let w2 = getInt32(buf, off + 32);
    let w3 = getInt32(buf, off + 36);
    if (w0 >>> 24 === 0xff) {
      this.transmit(buf, off, len, packet.offload, 0x3333, w3, EtherType.IPV6);
      return;
    }
    // fe80::/10 is always on the link and never a gateway's business (RFC 4291 §2.5.6).
    if (w0 >>> 22 !== 0x3fa && !this.#network.isOnLink6(w0, w1, w2, w3)) {
      const route = this.#network.route6;
      if (route === null) {
        this.#stats.dropNoRoute++;
        this.#reject(packet, 1, 0, 0);
        return;
      }
      w0 = route.w0;
      w1 = route.w1;
      w2 = route.w2;
      w3 = route.w3;
    }
    const cache = this.cache6;
    const entry = cache.find6(w0, w1, w2, w3);
    if (entry >= 0) {
      if (cache.state[entry] === NeighborState.REACHABLE || cache.use(entry, packet)) {
        const high = cache.macHigh[entry];
        this.transmit(buf, off, len, packet.offload, high, cache.macLow[entry], EtherType.IPV6);
      }
    } else if (this.#network.owns6(w0, w1, w2, w3)) {
      this.#stats.dropSelf++;
    } else {
      cache.resolve(w0, w1, w2, w3, packet);
    }
  }

  /** Writes the Ethernet header in front, in place when there is room. */
  transmit(
    buf: Uint8Array,
    off: number,
    len: number,
    offload: number,
    high: number,
    low: number,
    type: number,
  ): void {
    if (off < ETHERNET_HEADER) {
      this.#transmitCopy(buf, off, len, offload, high, low, type);
      return;
    }
    const at = off - ETHERNET_HEADER;
    put16(buf, at, high);
    put32(buf, at + 2, low);
    put16(buf, at + 6, this.#macHigh);
    put32(buf, at + 8, this.#macLow);
    put16(buf, at + 12, type);
    this.#stats.framesOut++;
    this.handler(new Frame(buf, at, len + ETHERNET_HEADER, offload));
  }

  #transmitCopy(
    buf: Uint8Array,
    off: number,
    len: number,
    offload: number,
    high: number,
    low: number,
    type: number,
  ): void {
    const out = pool.take(HEADROOM + len + TAILROOM);
    copyBytes(out, HEADROOM, buf, off, len);
    this.#stats.copied++;
    this.transmit(out, HEADROOM, len, offload, high, low, type);
    pool.give(out);
  }

  #sendGroup4(packet: Packet, dst: number): void {
    const { buf, off, len, offload } = packet;
    if (dst >>> 28 === 0xe) {
      // RFC 1112 §6.4: the low 23 bits.
      this.transmit(buf, off, len, offload, 0x0100, 0x5e000000 | (dst & 0x7fffff), EtherType.IPV4);
    } else if (dst === -1) {
      this.transmit(buf, off, len, offload, 0xffff, -1, EtherType.IPV4);
    } else {
      this.#stats.dropNoRoute++;
    }
  }

  /** Whether each wire segment of a super-segment fits. Headers are at most 60 + 60 bytes, mostly 40 or 60. */
  #fits(packet: Packet, mtu: number): boolean {
    const segment = packet.offload & SEGMENT_SIZE_MASK;
    if (segment === 0) return false;
    const transport = packet.transport;
    if (transport < 0) return false;
    const at = transport & 0xffff;
    const tcp = transport >>> 16 === IpProtocol.TCP;
    const header = tcp ? (packet.buf[packet.off + at + 12] >>> 4) * 4 : 8;
    return at + header + segment <= mtu;
  }

  #tooBig4(packet: Packet): void {
    const { buf, off, offload } = packet;
    const mtu = this.mtu4;
    const mayFragment =
      (get16(buf, off + 6) & IPV4_DF) === 0 &&
      (offload & (SEGMENT_SIZE_MASK | CHECKSUM_PARTIAL)) === 0;
    if (mayFragment && fragment4(packet, mtu, (part) => this.#output4(part)) > 0) {
      this.#stats.fragmented++;
      return;
    }
    this.#stats.dropTooBig++;
    this.#reject(packet, 3, 4, mtu);
  }

  /** An ICMP error to the IP device about its own packet. */
  #reject(packet: Packet, type: number, code: number, rest: number): void {
    const source =
      packet.version === 4 ? IpAddr.v4(this.#network.owned4[0]) : this.#network.owned6[0];
    // A device may answer an error with a packet that fails again.
    if (source === undefined || this.#depth > 3 || !this.#limiter.take()) return;
    const out = pool.take(HEADROOM + MAX_ICMP_ERROR);
    const len = writeIcmpError(out, HEADROOM, packet, source, type, code, rest);
    if (len > 0) {
      this.#stats.icmpErrors++;
      this.#depth++;
      try {
        this.#device.send(new Packet(out, HEADROOM, len));
      } finally {
        this.#depth--;
      }
    }
    pool.give(out);
  }

  #neighborLink(family: IpFamily): NeighborLink {
    const type = family === 4 ? EtherType.IPV4 : EtherType.IPV6;
    const cacheOf = () => (family === 4 ? this.cache4 : this.cache6);
    return {
      solicit: (entry, unicast) => {
        const cache = cacheOf();
        const mac = unicast ? cache.mac(entry) : -1;
        if (family === 4) this.#askArp(cache.w3[entry], mac);
        else this.#ndp()?.solicit(addressOf(cache, entry), mac);
      },
      deliver: (entry, { buf, off, len, offload }) => {
        const cache = cacheOf();
        const high = cache.macHigh[entry];
        // A copy of its own: only the header in front is missing.
        this.transmit(buf, off, len, offload, high, cache.macLow[entry], type);
      },
      unreachable: (w0, w1, w2, w3, waiting) => {
        if (family === 6) this.#ndp()?.routerFailed(w0, w1, w2, w3);
        this.#stats.dropUnreachable += waiting.length;
        for (const packet of waiting) {
          if (family === 4) this.#reject(packet, 3, 1, 0);
          else this.#reject(packet, 1, 3, 0);
        }
      },
    };
  }

  #askArp(target: number, mac: number): void {
    const sender = this.#network.senderFor4(target);
    if (sender === 0) return;
    this.emitArp(1, sender, Math.max(mac, 0), target, mac < 0 ? 0xffffffffffff : mac);
  }

  emitArp(op: number, senderIp: number, targetMac: number, targetIp: number, dst: number): void {
    const buf = pool.take(HEADROOM + ETHERNET_MIN_PAYLOAD);
    buf.fill(0, HEADROOM, HEADROOM + ETHERNET_MIN_PAYLOAD);
    writeArp(buf, HEADROOM, op, this.#mac, senderIp, targetMac, targetIp);
    const high = Math.floor(dst / 2 ** 32);
    this.transmit(buf, HEADROOM, ARP_LENGTH, 0, high, dst | 0, EtherType.ARP);
    pool.give(buf);
  }
}

/** Without the check sequence; shorter payloads are padded by hardware, and by us for ARP. */
const ETHERNET_MIN_PAYLOAD = 46;

function addressOf(cache: NeighborCache, entry: number): IpAddr {
  return IpAddr.v6(cache.w0[entry], cache.w1[entry], cache.w2[entry], cache.w3[entry]);
}
