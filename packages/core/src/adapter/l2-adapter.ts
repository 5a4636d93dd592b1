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

import { copyBytes, get16, getInt32 } from '../bytes.ts';
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
import type { Frame } from '../frame.ts';
import { IpAddr, Prefix } from '../ip.ts';
import { MacAddr } from '../mac.ts';
import { Accept } from '../offload.ts';
import { ipLength, Packet } from '../packet.ts';
import { pipeL3 } from '../pipe.ts';
import { HEADROOM, pool, TAILROOM } from '../pool.ts';
import type { RaServer } from '../ra-server.ts';
import { random32 } from '../random.ts';
import { sendL3 } from '../software-offload.ts';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from '../wire/dhcp.ts';
import { ETHERNET_HEADER, EtherType } from '../wire/ethernet.ts';
import { IpProtocol } from '../wire/ipv4.ts';
import { NdpType } from '../wire/ndp.ts';
import { ArpHost, type ArpLink, type ArpStats } from './arp-host.ts';
import { DhcpClient, type DhcpClientLink } from './dhcp-client.ts';
import { Egress } from './egress.ts';
import { HostNetwork } from './host-network.ts';
import { NdpHost, type NdpLink, type NdpStats } from './ndp-host.ts';
import type { NeighborStats } from './neighbor-cache.ts';
import {
  gatewayAddress,
  hostedDhcp,
  hostedRa,
  type L2AdapterOptions,
  type L2AdapterStats,
  type NetworkConfig,
} from './options.ts';
import { BROADCAST_HOP } from './routes4.ts';

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
  readonly #network: HostNetwork;
  readonly #egress: Egress;
  readonly #arp: ArpHost;
  readonly #ndp: NdpHost | null;
  readonly #options: L2AdapterOptions;
  readonly #onClose: () => void;
  readonly #startTimer: Timer;
  #closed = false;
  /** While an address is added that has been checked already. */
  #verified: IpAddr | null = null;
  /** Whether UDP needs a look at its ports: a DHCP client or server is behind this port. */
  readonly #watchUdp: boolean;
  /** The station that the last DHCP message came from, as 48 bits; 0 before. */
  #dhcpPeer = 0;

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
    this.#macHigh = Math.floor(this.mac.value / 2 ** 32);
    this.#macLow = this.mac.value | 0;
    const ndp = () => this.#ndp;
    this.#network = new HostNetwork(
      {
        device,
        ndp,
        lease: () => this.dhcp?.lease ?? null,
        appeared: (prefix) => this.#introduce(prefix),
        changed: () => options.onConfig?.(this.config),
      },
      gatewayAddress(options.gateway4, 4),
      gatewayAddress(options.gateway6, 6),
    );
    this.#egress = new Egress({
      device,
      network: this.#network,
      stats: this.stats,
      mac: this.mac,
      mtu: this.mtu,
      clock,
      random,
      options,
      ndp,
    });
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
    this.#network.refresh();
    device.setHandler((packet) => this.#egress.send(packet));
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
      neighbors4: this.#egress.cache4.stats,
      neighbors6: this.#egress.cache6.stats,
    };
  }

  /** The link-local IPv6 address; in use once it has been checked. Null without IPv6. */
  get linkLocal(): IpAddr | null {
    return this.#ndp?.linkLocal ?? null;
  }

  get config(): NetworkConfig {
    return this.#network.config;
  }

  /** Sets or, with null, clears a default gateway of one family; the other stays. */
  setGateway4(address: IpAddr | string | null): void {
    this.#network.setGateway4(gatewayAddress(address, 4));
  }

  setGateway6(address: IpAddr | string | null): void {
    this.#network.setGateway6(gatewayAddress(address, 6));
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
    const wasUp = this.#egress.handler !== dropFrame;
    this.#egress.handler = handler;
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
    this.#egress.handler = dropFrame;
    this.#device.setHandler(dropPacket);
    this.#onClose();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #deliverCopy(buf: Uint8Array, at: number, size: number, offload: number): void {
    const copy = pool.take(HEADROOM + size + TAILROOM);
    copyBytes(copy, HEADROOM, buf, at, size);
    sendL3(this.#device, new Packet(copy, HEADROOM, size, offload));
    pool.give(copy);
  }

  #onArp(buf: Uint8Array, at: number, len: number): void {
    if (this.#device.addrs !== this.#network.addrs) this.#network.refresh();
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
      if (
        dst !== -1 &&
        !this.#network.owns4(dst) &&
        this.#network.routes4.nextHop(dst) !== BROADCAST_HOP
      )
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
    if (this.#device.addrs !== this.#network.addrs) this.#network.refresh();
    if (this.raServer !== null && frame.buf[at + offset] === NdpType.ROUTER_SOLICITATION) {
      this.raServer.send(frame);
    }
    return this.#ndp?.handle(frame.buf, at, size, at + offset) ?? false;
  }

  #start(): void {
    if (this.#egress.handler === dropFrame || this.#closed) return;
    this.#network.refresh();
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
    this.#egress.cache4.clear();
    this.#egress.cache6.clear();
  }

  /** Frames of the servers behind this port. */
  #relay(frame: Frame): void {
    this.stats.framesOut++;
    this.#egress.handler(frame);
  }

  /** An address has appeared: it is announced, or checked. */
  #introduce(prefix: Prefix): void {
    if (this.#egress.handler === dropFrame || prefix.addr.isUnspecified) return;
    if (prefix.family === 4) {
      if (this.#options.announce !== false) this.#arp.announce(prefix.addr.w3);
    } else if (this.#ndp !== null && !prefix.addr.equals(this.#ndp.linkLocal)) {
      if (this.#verified?.equals(prefix.addr)) this.#ndp.groupsChanged();
      else this.#ndp.checkAddress(prefix, true);
    }
  }

  #arpLink(): ArpLink {
    return {
      mac: this.mac,
      cache4: this.#egress.cache4,
      owns4: (ip) => this.#network.owns4(ip),
      isNeighbor4: (ip) => this.#network.routes4.isOnLink(ip),
      emitArp: (op, senderIp, targetMac, targetIp, dst) =>
        this.#egress.emitArp(op, senderIp, targetMac, targetIp, dst),
      conflict4: (ip) => {
        this.#options.onConflict?.(IpAddr.v4(ip));
        if (this.dhcp?.lease?.address.addr.w3 === ip) this.dhcp.conflict();
      },
    };
  }

  #ndpLink(): NdpLink {
    const owned = () => this.#network.owned6;
    return {
      mac: this.mac,
      cache6: this.#egress.cache6,
      get owned6() {
        return owned();
      },
      emit6: (buf, off, len, mac) =>
        this.#egress.transmit(buf, off, len, 0, Math.floor(mac / 2 ** 32), mac | 0, EtherType.IPV6),
      addAddress: (prefix) => {
        if (prefix.addr.isLinkLocal) this.#network.linkLocalReady = true;
        this.#verified = prefix.addr;
        this.#network.setAddrs([...this.#device.addrs, prefix]);
        this.#verified = null;
      },
      removeAddress: (address, conflict) => {
        if (conflict) this.#options.onConflict?.(address);
        this.#network.setAddrs(this.#device.addrs.filter((prefix) => !prefix.addr.equals(address)));
      },
      routerMtu: (mtu) => {
        this.#egress.mtu6 = Math.min(this.mtu, mtu);
      },
      changed: () => this.#network.update(),
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
          this.#egress.transmit(buf, off, len, 0, 0xffff, -1, EtherType.IPV4);
        } else if (
          this.#egress.cache4.find4(this.#network.routes4.nextHop(dst)) >= 0 ||
          this.#dhcpPeer === 0
        ) {
          this.#egress.send(packet);
        } else {
          const mac = this.#dhcpPeer;
          this.#egress.transmit(
            buf,
            off,
            len,
            0,
            Math.floor(mac / 2 ** 32),
            mac | 0,
            EtherType.IPV4,
          );
        }
      },
      checkAddress: (address, quick, done) => this.#arp.check(address.w3, quick, done),
      applyLease: (lease, previous) => {
        this.#egress.mtu4 =
          lease !== null && lease.mtu >= 576 ? Math.min(this.mtu, lease.mtu) : this.mtu;
        const others = this.#device.addrs.filter(
          (prefix) =>
            (previous === null || !prefix.addr.equals(previous.address.addr)) &&
            (lease === null || !prefix.addr.equals(lease.address.addr)) &&
            !(prefix.family === 4 && prefix.addr.isUnspecified),
        );
        this.#network.setAddrs(lease === null ? others : [lease.address, ...others]);
      },
    };
  }
}
