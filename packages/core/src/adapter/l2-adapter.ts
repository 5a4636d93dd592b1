/**
 * A host's network card: puts an IP device on an Ethernet. Frames come in through `send` and leave through the handler, as
 * with any `L2Device`; the IP device behind it sees packets only.
 *
 *      hub ◀── frames ──▶ L2Adapter ◀── packets ──▶ IP device (vclient, slirp, a router)
 *                          ARP, NDP, DHCP client, SLAAC
 *                          DHCP server and router advertisements, when it is a gateway
 *
 * The IP device's `addrs` are the truth about addresses; what the adapter obtains (DHCP, SLAAC, the link-local address) it
 * adds there. Its `addrs` must be a new array after a change and the same one otherwise.
 *
 * Who may write where: the Ethernet header goes in front of the packet's window when its buffer has the room, which may be
 * the very header that came in with it, else into a pooled copy. A window's bytes and those in front of it may be overwritten
 * by whoever it is handed to; group frames, which a switch hands to others as well, are therefore passed on as a copy.
 */

import { copyBytes, get16, getInt32, put16, put32 } from '../bytes.ts';
import { systemClock, type Timer } from '../clock.ts';
import type { AbortSignalLike } from '../connect.ts';
import {
  dropFrame,
  dropPacket,
  type FrameHandler,
  type L2Device,
  type L3Connector,
  type L3Device,
} from '../device.ts';
import type { DhcpServer } from '../dhcp/server.ts';
import { PktkitError } from '../errors.ts';
import { fragment4 } from '../fragment.ts';
import { Frame } from '../frame.ts';
import { ErrorLimiter, MAX_ICMP_ERROR, writeIcmpError } from '../icmp-error.ts';
import { IpAddr, type IpFamily, Prefix } from '../ip.ts';
import { MacAddr } from '../mac.ts';
import { Accept, CHECKSUM_PARTIAL, SEGMENT_SIZE_MASK } from '../offload.ts';
import { ipLength, Packet } from '../packet.ts';
import { pipeL3 } from '../pipe.ts';
import { HEADROOM, pool, TAILROOM } from '../pool.ts';
import type { RaServer } from '../ra-server.ts';
import { random32 } from '../random.ts';
import { sendL3 } from '../software-offload.ts';
import { ARP_LENGTH, writeArp } from '../wire/arp.ts';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from '../wire/dhcp.ts';
import { ETHERNET_HEADER, EtherType } from '../wire/ethernet.ts';
import { IPV4_DF, IpProtocol } from '../wire/ipv4.ts';
import { IPV6_HEADER } from '../wire/ipv6.ts';
import { NdpType } from '../wire/ndp.ts';
import { ArpHost, type ArpLink, type ArpStats } from './arp-host.ts';
import { DhcpClient, type DhcpClientLink, type DhcpLease } from './dhcp-client.ts';
import { NdpHost, type NdpLink, type NdpStats } from './ndp-host.ts';
import {
  NeighborCache,
  type NeighborLink,
  NeighborState,
  type NeighborStats,
} from './neighbor-cache.ts';
import {
  gatewayAddress,
  hostedDhcp,
  hostedRa,
  type L2AdapterOptions,
  type L2AdapterStats,
  leaseGateway,
  type NetworkConfig,
} from './options.ts';
import { BROADCAST_HOP, NO_ROUTE, Routes4 } from './routes4.ts';

/** Wraps an IP device for a switch: `hub.connectL2(adapt(client, { dhcp: true }))`; or makes a port for a connector. */
export function adapt(device: L3Device | L3Connector, options: L2AdapterOptions = {}): L2Adapter {
  if ('setAddrs' in device) return new L2Adapter(device, options);
  const [inside, outside] = pipeL3({ mtu: options.mtu });
  const undo = device.connectL3(inside);
  const adapter = new L2Adapter(outside, { acceptRa: false, ...options }, () => {
    undo();
    inside.close();
  });
  inside.setAddrs(outside.addrs);
  return adapter;
}

export class L2Adapter implements L2Device {
  readonly mac: MacAddr;
  readonly mtu: number;
  readonly accepts: number = Accept.ALL;
  readonly stats: L2AdapterStats = {
    framesIn: 0,
    framesOut: 0,
    copied: 0,
    fragmented: 0,
    dropOtherStation: 0,
    dropMalformed: 0,
    dropType: 0,
    dropNoAddress: 0,
    dropNoRoute: 0,
    dropSelf: 0,
    dropTooBig: 0,
    dropUnreachable: 0,
    dropClosed: 0,
    icmpErrors: 0,
  };
  /** The DHCP client; null without the option. */
  readonly dhcp: DhcpClient | null;
  readonly dhcpServer: DhcpServer | null;
  readonly raServer: RaServer | null;

  readonly #device: L3Device;
  readonly #macHigh: number;
  readonly #macLow: number;
  readonly #cache4: NeighborCache;
  readonly #cache6: NeighborCache;
  readonly #routes4: Routes4 = new Routes4();
  readonly #arp: ArpHost;
  readonly #ndp: NdpHost | null;
  readonly #limiter: ErrorLimiter;
  readonly #options: L2AdapterOptions;
  readonly #onClose: () => void;
  readonly #startTimer: Timer;
  #handler: FrameHandler = dropFrame;
  #closed = false;
  /** The device's list as last seen, and what follows from it. */
  #addrs: readonly Prefix[] | null = null;
  #owned4: Int32Array = new Int32Array(0);
  #owned6: IpAddr[] = [];
  #prefixes6: Prefix[] = [];
  #linkLocalReady = false;
  /** While an address is added that has been checked already. */
  #verified: IpAddr | null = null;
  #gateway4: IpAddr | null;
  #gateway6: IpAddr | null;
  #route6: IpAddr | null = null;
  #mtu4: number;
  #mtu6: number;
  /** Whether UDP needs a look at its ports: a DHCP client or server is behind this port. */
  readonly #watchUdp: boolean;
  /** The station that the last DHCP message came from, as 48 bits; 0 before. */
  #dhcpPeer = 0;
  #depth = 0;

  constructor(device: L3Device, options: L2AdapterOptions = {}, onClose: () => void = () => {}) {
    const clock = options.clock ?? systemClock;
    const random = options.random ?? random32;
    this.#device = device;
    this.#options = options;
    this.#onClose = onClose;
    this.mac = options.mac === undefined ? MacAddr.random(random) : MacAddr.from(options.mac);
    if (this.mac.isMulticast || this.mac.value === 0) {
      throw new PktkitError('PKT_INVALID_CONFIG', `mac: ${this.mac} is not a station's address`);
    }
    this.mtu = options.mtu ?? device.mtu;
    if (!Number.isInteger(this.mtu) || this.mtu < 68 || this.mtu > 65535) {
      throw new RangeError(`mtu: 68 to 65535 bytes, got ${this.mtu}`);
    }
    this.#mtu4 = this.mtu;
    this.#mtu6 = this.mtu;
    this.#macHigh = Math.floor(this.mac.value / 2 ** 32);
    this.#macLow = this.mac.value | 0;
    this.#gateway4 = gatewayAddress(options.gateway4, 4);
    this.#gateway6 = gatewayAddress(options.gateway6, 6);
    this.#limiter = new ErrorLimiter(clock);
    const cacheOptions = {
      clock,
      random,
      limit: options.maxNeighbors,
      maxUnresolved: options.maxUnresolved,
    };
    this.#cache4 = new NeighborCache(this.#neighborLink(4), cacheOptions);
    this.#cache6 = new NeighborCache(this.#neighborLink(6), cacheOptions);
    this.#arp = new ArpHost(this.#arpLink(), clock, random);
    const acceptRa = options.acceptRa ?? true;
    this.#ndp =
      options.ipv6 === false
        ? null
        : new NdpHost(this.#ndpLink(), {
            clock,
            random,
            acceptRa,
            autoconf: options.autoconf ?? acceptRa,
            dadTransmits: options.dadTransmits ?? 1,
          });
    this.#startTimer = clock.timer(() => this.#start());
    if (options.addrs !== undefined) device.setAddrs(options.addrs.map((a) => Prefix.from(a)));
    const dhcp = options.dhcp === true ? {} : options.dhcp;
    this.dhcp = dhcp
      ? new DhcpClient(this.#dhcpLink(), this.mac, { ...dhcp, clock, random })
      : null;
    this.dhcpServer = hostedDhcp(options.dhcpServer, {
      address: device.addrs.find((prefix) => prefix.family === 4),
      mac: this.mac,
      clock,
      random,
    });
    this.raServer = hostedRa(options.raServer, { mac: this.mac, clock, random });
    this.#watchUdp = this.dhcp !== null || this.dhcpServer !== null;
    this.#refresh();
    device.setHandler((packet) => this.#output(packet));
  }

  /** ARP, NDP and neighbour counters. `ndp` is null without IPv6. */
  get protocolStats(): {
    arp: ArpStats;
    ndp: NdpStats | null;
    neighbors4: NeighborStats;
    neighbors6: NeighborStats;
  } {
    return {
      arp: this.#arp.stats,
      ndp: this.#ndp?.stats ?? null,
      neighbors4: this.#cache4.stats,
      neighbors6: this.#cache6.stats,
    };
  }

  /** The link-local IPv6 address; in use once it has been checked. Null without IPv6. */
  get linkLocal(): IpAddr | null {
    return this.#ndp?.linkLocal ?? null;
  }

  get config(): NetworkConfig {
    const lease = this.dhcp?.lease ?? null;
    return {
      addrs: this.#device.addrs,
      gateway4: this.#gateway4 ?? leaseGateway(lease),
      gateway6: this.#gateway6 ?? this.#ndp?.router ?? null,
      dns: [...(lease?.dns ?? []), ...(this.#ndp?.dns ?? [])],
      domain: lease?.domain ?? null,
      search: [...new Set([...(lease?.search ?? []), ...(this.#ndp?.search ?? [])])],
      lease,
    };
  }

  /** Sets or, with null, clears a default gateway of one family; the other stays. */
  setGateway4(address: IpAddr | string | null): void {
    this.#gateway4 = gatewayAddress(address, 4);
    this.#changed();
  }

  setGateway6(address: IpAddr | string | null): void {
    this.#gateway6 = gatewayAddress(address, 6);
    this.#changed();
  }

  /** Resolves with the configuration once DHCP, if it is used, has an address. Rejects when `signal` fires. */
  async ready(options: { signal?: AbortSignalLike | undefined } = {}): Promise<NetworkConfig> {
    const { signal } = options;
    if (signal?.aborted) throw signal.reason;
    const { dhcp } = this;
    if (dhcp === null || dhcp.lease !== null) return this.config;
    if (this.#closed) throw new PktkitError('PKT_CLOSED', 'the adapter is closed');
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        cancel();
        reject(signal?.reason);
      };
      const cancel = dhcp.whenLeased(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve(this.config);
      });
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Plugs in: with a handler the link is up and addresses are checked, announced and asked for. */
  setHandler(handler: FrameHandler): void {
    const wasUp = this.#handler !== dropFrame;
    this.#handler = handler;
    const isUp = handler !== dropFrame && !this.#closed;
    if (isUp === wasUp) return;
    // Not at once: whoever connects us is still at it.
    if (isUp) this.#startTimer.arm(0);
    else this.#stop();
  }

  /** A frame from the link. */
  send(frame: Frame): void {
    const { buf, off, len } = frame;
    if (len < ETHERNET_HEADER) {
      this.stats.dropMalformed++;
      return;
    }
    const dstHigh = get16(buf, off);
    const group = (dstHigh & 0x100) !== 0;
    if (!group && (dstHigh !== this.#macHigh || getInt32(buf, off + 2) !== this.#macLow)) {
      this.stats.dropOtherStation++;
      return;
    }
    if (this.#closed) {
      this.stats.dropClosed++;
      return;
    }
    this.stats.framesIn++;
    const at = off + ETHERNET_HEADER;
    const type = get16(buf, off + 12);
    if (type !== EtherType.IPV4 && type !== EtherType.IPV6) {
      if (type === EtherType.ARP) this.#onArp(buf, at, len - ETHERNET_HEADER);
      else this.stats.dropType++;
      return;
    }
    // Padding up to the minimum frame ends here: the IP header says how long the packet is.
    const size = ipLength(buf, at, len - ETHERNET_HEADER);
    if (size < 0 || buf[at] >>> 4 !== (type === EtherType.IPV4 ? 4 : 6)) {
      this.stats.dropMalformed++;
      return;
    }
    if (type === EtherType.IPV4) {
      if (this.#watchUdp && buf[at + 9] === IpProtocol.UDP && this.#onUdp(frame, at, size)) return;
    } else {
      const next = buf[at + 6];
      if (
        (next === IpProtocol.ICMPV6 || next === IpProtocol.HOP_BY_HOP) &&
        this.#onIcmp6(frame, at, size)
      ) {
        return;
      }
    }
    if (group) {
      this.#deliverCopy(buf, at, size, frame.offload);
      return;
    }
    const packet = new Packet(buf, at, size, frame.offload);
    if (frame.offload === 0) this.#device.send(packet);
    else sendL3(this.#device, packet);
  }

  /** Ends DHCP and everything else at once. The IP device stays open: it belongs to whoever made it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // What says goodbye does so while the link is still there.
    this.dhcp?.stop({ release: true });
    this.dhcpServer?.close();
    this.raServer?.close();
    this.#stop();
    this.#handler = dropFrame;
    this.#device.setHandler(dropPacket);
    this.#onClose();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** A packet from the IP device. */
  #output(packet: Packet): void {
    if (this.#handler === dropFrame) {
      this.stats.dropClosed++;
      return;
    }
    if (this.#device.addrs !== this.#addrs) this.#refresh();
    const { buf, off, len } = packet;
    if (len < 20) {
      this.stats.dropMalformed++;
      return;
    }
    const version = buf[off] >>> 4;
    if (version === 4) this.#output4(packet);
    else if (version === 6 && len >= IPV6_HEADER) this.#output6(packet);
    else this.stats.dropMalformed++;
  }

  #output4(packet: Packet): void {
    const { buf, off, len } = packet;
    if (this.#owned4.length === 0) {
      this.stats.dropNoAddress++;
      return;
    }
    if (len > this.#mtu4 && !this.#fits(packet, this.#mtu4)) {
      this.#tooBig4(packet);
      return;
    }
    const dst = getInt32(buf, off + 16);
    if (dst >>> 28 >= 0xe) {
      this.#sendGroup4(packet, dst);
      return;
    }
    const hop = this.#routes4.nextHop(dst);
    if (hop === NO_ROUTE) {
      this.stats.dropNoRoute++;
      this.#reject(packet, 3, 0, 0);
      return;
    }
    if (hop === BROADCAST_HOP) {
      this.#transmit(buf, off, len, packet.offload, 0xffff, -1, EtherType.IPV4);
      return;
    }
    const cache = this.#cache4;
    const entry = cache.find4(hop);
    if (entry >= 0) {
      if (cache.state[entry] === NeighborState.REACHABLE || cache.use(entry, packet)) {
        const high = cache.macHigh[entry];
        this.#transmit(buf, off, len, packet.offload, high, cache.macLow[entry], EtherType.IPV4);
      }
    } else if (this.#owns4(hop)) {
      this.stats.dropSelf++;
    } else {
      cache.resolve(0, 0, 0, hop, packet);
    }
  }

  #output6(packet: Packet): void {
    const { buf, off, len } = packet;
    if (this.#ndp === null || this.#owned6.length === 0) {
      this.stats.dropNoAddress++;
      return;
    }
    if (len > this.#mtu6 && !this.#fits(packet, this.#mtu6)) {
      this.stats.dropTooBig++;
      this.#reject(packet, 2, 0, this.#mtu6);
      return;
    }
    let w0 = getInt32(buf, off + 24);
    let w1 = getInt32(buf, off + 28);
    let w2 = getInt32(buf, off + 32);
    let w3 = getInt32(buf, off + 36);
    if (w0 >>> 24 === 0xff) {
      this.#transmit(buf, off, len, packet.offload, 0x3333, w3, EtherType.IPV6);
      return;
    }
    // fe80::/10 is always on the link and never a gateway's business (RFC 4291 §2.5.6).
    if (w0 >>> 22 !== 0x3fa && !this.#isOnLink6(w0, w1, w2, w3)) {
      const route = this.#route6;
      if (route === null) {
        this.stats.dropNoRoute++;
        this.#reject(packet, 1, 0, 0);
        return;
      }
      w0 = route.w0;
      w1 = route.w1;
      w2 = route.w2;
      w3 = route.w3;
    }
    const cache = this.#cache6;
    const entry = cache.find6(w0, w1, w2, w3);
    if (entry >= 0) {
      if (cache.state[entry] === NeighborState.REACHABLE || cache.use(entry, packet)) {
        const high = cache.macHigh[entry];
        this.#transmit(buf, off, len, packet.offload, high, cache.macLow[entry], EtherType.IPV6);
      }
    } else if (
      this.#owned6.some((own) => own.w3 === w3 && own.w2 === w2 && own.w1 === w1 && own.w0 === w0)
    ) {
      this.stats.dropSelf++;
    } else {
      cache.resolve(w0, w1, w2, w3, packet);
    }
  }

  /** Writes the Ethernet header in front, in place when there is room. */
  #transmit(
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
    this.stats.framesOut++;
    this.#handler(new Frame(buf, at, len + ETHERNET_HEADER, offload));
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
    this.stats.copied++;
    this.#transmit(out, HEADROOM, len, offload, high, low, type);
    pool.give(out);
  }

  #sendGroup4(packet: Packet, dst: number): void {
    const { buf, off, len, offload } = packet;
    if (dst >>> 28 === 0xe) {
      // RFC 1112 §6.4: the low 23 bits.
      this.#transmit(buf, off, len, offload, 0x0100, 0x5e000000 | (dst & 0x7fffff), EtherType.IPV4);
    } else if (dst === -1) {
      this.#transmit(buf, off, len, offload, 0xffff, -1, EtherType.IPV4);
    } else {
      this.stats.dropNoRoute++;
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
    const mtu = this.#mtu4;
    const mayFragment =
      (get16(buf, off + 6) & IPV4_DF) === 0 &&
      (offload & (SEGMENT_SIZE_MASK | CHECKSUM_PARTIAL)) === 0;
    if (mayFragment && fragment4(packet, mtu, (part) => this.#output4(part)) > 0) {
      this.stats.fragmented++;
      return;
    }
    this.stats.dropTooBig++;
    this.#reject(packet, 3, 4, mtu);
  }

  /** An ICMP error to the IP device about its own packet. */
  #reject(packet: Packet, type: number, code: number, rest: number): void {
    const source = packet.version === 4 ? IpAddr.v4(this.#owned4[0]) : this.#owned6[0];
    // A device may answer an error with a packet that fails again.
    if (source === undefined || this.#depth > 3 || !this.#limiter.take()) return;
    const out = pool.take(HEADROOM + MAX_ICMP_ERROR);
    const len = writeIcmpError(out, HEADROOM, packet, source, type, code, rest);
    if (len > 0) {
      this.stats.icmpErrors++;
      this.#depth++;
      try {
        this.#device.send(new Packet(out, HEADROOM, len));
      } finally {
        this.#depth--;
      }
    }
    pool.give(out);
  }

  #deliverCopy(buf: Uint8Array, at: number, size: number, offload: number): void {
    const copy = pool.take(HEADROOM + size + TAILROOM);
    copyBytes(copy, HEADROOM, buf, at, size);
    sendL3(this.#device, new Packet(copy, HEADROOM, size, offload));
    pool.give(copy);
  }

  #onArp(buf: Uint8Array, at: number, len: number): void {
    if (this.#device.addrs !== this.#addrs) this.#refresh();
    this.#arp.handle(buf, at, len);
  }

  /** True when a DHCP client or server has taken the datagram. */
  #onUdp(frame: Frame, at: number, size: number): boolean {
    const { buf } = frame;
    const header = (buf[at] & 15) * 4;
    // A fragment has no ports to look at; DHCP is never sent in fragments to hosts without an address.
    if (size < header + 8 || (get16(buf, at + 6) & 0x3fff) !== 0) return false;
    const port = get16(buf, at + header + 2);
    if (port === DHCP_CLIENT_PORT && this.dhcp !== null && this.dhcp.state !== 'stopped') {
      const length = get16(buf, at + header + 4);
      if (length >= 8 && header + length <= size) {
        if ((buf[frame.off + 6] & 1) === 0) this.#dhcpPeer = frame.src;
        this.dhcp.handleMessage(buf, at + header + 8, length - 8);
      }
      return true;
    }
    if (port === DHCP_SERVER_PORT && this.dhcpServer !== null) {
      const dst = getInt32(buf, at + 16);
      if (dst !== -1 && !this.#owns4(dst) && this.#routes4.nextHop(dst) !== BROADCAST_HOP)
        return false;
      this.dhcpServer.send(frame);
      return true;
    }
    return false;
  }

  /** True when neighbour discovery has taken the message. */
  #onIcmp6(frame: Frame, at: number, size: number): boolean {
    const packet = new Packet(frame.buf, at, size);
    const transport = packet.transport;
    if (transport >>> 16 !== IpProtocol.ICMPV6 || transport < 0) return false;
    const offset = transport & 0xffff;
    if (offset + 4 > size) return false;
    if (this.#device.addrs !== this.#addrs) this.#refresh();
    if (this.raServer !== null && frame.buf[at + offset] === NdpType.ROUTER_SOLICITATION) {
      this.raServer.send(frame);
    }
    return this.#ndp?.handle(frame.buf, at, size, at + offset) ?? false;
  }

  #start(): void {
    if (this.#handler === dropFrame || this.#closed) return;
    this.#refresh();
    this.#ndp?.start();
    for (const prefix of this.#device.addrs) this.#introduce(prefix);
    this.dhcp?.start();
    this.dhcpServer?.setHandler((frame) => this.#relay(frame));
    this.raServer?.setHandler((frame) => this.#relay(frame));
  }

  #stop(): void {
    this.#startTimer.cancel();
    this.#ndp?.stop();
    this.#arp.stop();
    this.dhcp?.suspend();
    this.dhcpServer?.setHandler(dropFrame);
    this.raServer?.setHandler(dropFrame);
    this.#cache4.clear();
    this.#cache6.clear();
  }

  /** Frames of the servers behind this port. */
  #relay(frame: Frame): void {
    this.stats.framesOut++;
    this.#handler(frame);
  }

  /** An address has appeared: it is announced, or checked. */
  #introduce(prefix: Prefix): void {
    if (this.#handler === dropFrame || prefix.addr.isUnspecified) return;
    if (prefix.family === 4) {
      if (this.#options.announce !== false) this.#arp.announce(prefix.addr.w3);
    } else if (this.#ndp !== null && !prefix.addr.equals(this.#ndp.linkLocal)) {
      if (this.#verified?.equals(prefix.addr)) this.#ndp.groupsChanged();
      else this.#ndp.checkAddress(prefix, true);
    }
  }

  /** The device's addresses have changed, by whomever. */
  #refresh(): void {
    const before = this.#addrs;
    const { addrs } = this.#device;
    this.#addrs = addrs;
    const usable = addrs.filter((prefix) => !prefix.addr.isUnspecified && !prefix.addr.isMulticast);
    this.#owned4 = Int32Array.from(
      usable.filter((prefix) => prefix.family === 4),
      (prefix) => prefix.addr.w3,
    );
    this.#prefixes6 = usable.filter((prefix) => prefix.family === 6);
    this.#owned6 = this.#prefixes6.map((prefix) => prefix.addr);
    const linkLocal = this.#ndp?.linkLocal;
    if (this.#linkLocalReady && linkLocal && !this.#owned6.some((own) => own.equals(linkLocal))) {
      this.#owned6.push(linkLocal);
    }
    this.#reroute();
    for (const prefix of usable) {
      if (before?.some((other) => other.addr.equals(prefix.addr)) !== true) this.#introduce(prefix);
    }
  }

  #reroute(): void {
    const lease = this.dhcp?.lease ?? null;
    const routes: Array<{ prefix: Prefix; gateway: IpAddr }> = [];
    const { gateway4 } = this.config;
    if (gateway4 !== null) routes.push({ prefix: Prefix.of(IpAddr.ANY4, 0), gateway: gateway4 });
    for (const route of lease?.routes ?? []) {
      if (route.prefix.bits > 0 && !route.gateway.isUnspecified) routes.push(route);
    }
    this.#routes4.set(this.#prefixesOnLink4(lease), routes);
    this.#route6 = this.config.gateway6;
  }

  /** Our networks, and those that RFC 3442 says are on the link by a router of 0.0.0.0. */
  #prefixesOnLink4(lease: DhcpLease | null): Prefix[] {
    const list = (this.#addrs ?? []).filter(
      (prefix) => prefix.family === 4 && !prefix.addr.isUnspecified,
    );
    for (const route of lease?.routes ?? []) {
      if (route.gateway.isUnspecified) list.push(route.prefix);
    }
    return list;
  }

  #changed(): void {
    this.#reroute();
    this.#options.onConfig?.(this.config);
  }

  #setAddrs(addrs: readonly Prefix[]): void {
    this.#device.setAddrs(addrs);
    this.#refresh();
    this.#changed();
  }

  #owns4(ip: number): boolean {
    const owned = this.#owned4;
    for (let i = 0; i < owned.length; i++) if (owned[i] === ip) return true;
    return false;
  }

  #isOnLink6(w0: number, w1: number, w2: number, w3: number): boolean {
    const prefixes = this.#prefixes6;
    for (let i = 0; i < prefixes.length; i++) {
      if (prefixes[i].containsWords(w0, w1, w2, w3)) return true;
    }
    return this.#ndp?.onLink(w0, w1, w2, w3) ?? false;
  }

  #neighborLink(family: IpFamily): NeighborLink {
    const type = family === 4 ? EtherType.IPV4 : EtherType.IPV6;
    const cacheOf = () => (family === 4 ? this.#cache4 : this.#cache6);
    return {
      solicit: (entry, unicast) => {
        const cache = cacheOf();
        const mac = unicast ? cache.mac(entry) : -1;
        if (family === 4) this.#askArp(cache.w3[entry], mac);
        else this.#ndp?.solicit(addressOf(cache, entry), mac);
      },
      deliver: (entry, { buf, off, len, offload }) => {
        const cache = cacheOf();
        const high = cache.macHigh[entry];
        // A copy of its own: only the header in front is missing.
        this.#transmit(buf, off, len, offload, high, cache.macLow[entry], type);
      },
      unreachable: (w0, w1, w2, w3, waiting) => {
        if (family === 6) this.#ndp?.routerFailed(w0, w1, w2, w3);
        this.stats.dropUnreachable += waiting.length;
        for (const packet of waiting) {
          if (family === 4) this.#reject(packet, 3, 1, 0);
          else this.#reject(packet, 1, 3, 0);
        }
      },
    };
  }

  #askArp(target: number, mac: number): void {
    // An own address of the target's network, else the first: gateways may be outside all of them.
    let sender = this.#owned4.length > 0 ? this.#owned4[0] : 0;
    for (const prefix of this.#addrs ?? []) {
      if (prefix.family === 4 && ((prefix.addr.w3 ^ target) & prefix.mask[3]) === 0) {
        sender = prefix.addr.w3;
        break;
      }
    }
    if (sender === 0) return;
    this.#emitArp(1, sender, Math.max(mac, 0), target, mac < 0 ? 0xffffffffffff : mac);
  }

  #emitArp(op: number, senderIp: number, targetMac: number, targetIp: number, dst: number): void {
    const buf = pool.take(HEADROOM + ETHERNET_MIN_PAYLOAD);
    buf.fill(0, HEADROOM, HEADROOM + ETHERNET_MIN_PAYLOAD);
    writeArp(buf, HEADROOM, op, this.mac.value, senderIp, targetMac, targetIp);
    const high = Math.floor(dst / 2 ** 32);
    this.#transmit(buf, HEADROOM, ARP_LENGTH, 0, high, dst | 0, EtherType.ARP);
    pool.give(buf);
  }

  #arpLink(): ArpLink {
    return {
      mac: this.mac,
      cache4: this.#cache4,
      owns4: (ip) => this.#owns4(ip),
      isNeighbor4: (ip) => this.#routes4.isOnLink(ip),
      emitArp: (op, senderIp, targetMac, targetIp, dst) =>
        this.#emitArp(op, senderIp, targetMac, targetIp, dst),
      conflict4: (ip) => {
        this.#options.onConflict?.(IpAddr.v4(ip));
        if (this.dhcp?.lease?.address.addr.w3 === ip) this.dhcp.conflict();
      },
    };
  }

  #ndpLink(): NdpLink {
    const owned = () => this.#owned6;
    return {
      mac: this.mac,
      cache6: this.#cache6,
      get owned6() {
        return owned();
      },
      emit6: (buf, off, len, mac) =>
        this.#transmit(buf, off, len, 0, Math.floor(mac / 2 ** 32), mac | 0, EtherType.IPV6),
      addAddress: (prefix) => {
        if (prefix.addr.isLinkLocal) this.#linkLocalReady = true;
        this.#verified = prefix.addr;
        this.#setAddrs([...this.#device.addrs, prefix]);
        this.#verified = null;
      },
      removeAddress: (address, conflict) => {
        if (conflict) this.#options.onConflict?.(address);
        this.#setAddrs(this.#device.addrs.filter((prefix) => !prefix.addr.equals(address)));
      },
      routerMtu: (mtu) => {
        this.#mtu6 = Math.min(this.mtu, mtu);
      },
      changed: () => this.#changed(),
    };
  }

  #dhcpLink(): DhcpClientLink {
    return {
      sendDhcp: (packet) => {
        const { buf, off, len } = packet;
        const dst = packet.dst4;
        // Broadcast needs no address of ours. Unicast goes the way of every packet, or back to where the server's last
        // message came from: a RELEASE on closing cannot wait for ARP.
        if (dst === -1) {
          this.#transmit(buf, off, len, 0, 0xffff, -1, EtherType.IPV4);
        } else if (this.#cache4.find4(this.#routes4.nextHop(dst)) >= 0 || this.#dhcpPeer === 0) {
          this.#output(packet);
        } else {
          const mac = this.#dhcpPeer;
          this.#transmit(buf, off, len, 0, Math.floor(mac / 2 ** 32), mac | 0, EtherType.IPV4);
        }
      },
      checkAddress: (address, quick, done) => this.#arp.check(address.w3, quick, done),
      applyLease: (lease, previous) => {
        this.#mtu4 = lease !== null && lease.mtu >= 576 ? Math.min(this.mtu, lease.mtu) : this.mtu;
        const others = this.#device.addrs.filter(
          (prefix) =>
            (previous === null || !prefix.addr.equals(previous.address.addr)) &&
            (lease === null || !prefix.addr.equals(lease.address.addr)) &&
            !(prefix.family === 4 && prefix.addr.isUnspecified),
        );
        this.#setAddrs(lease === null ? others : [lease.address, ...others]);
      },
    };
  }
}

/** Without the check sequence; shorter payloads are padded by hardware, and by us for ARP. */
const ETHERNET_MIN_PAYLOAD = 46;

function addressOf(cache: NeighborCache, entry: number): IpAddr {
  return IpAddr.v6(cache.w0[entry], cache.w1[entry], cache.w2[entry], cache.w3[entry]);
}
