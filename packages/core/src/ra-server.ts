/**
 * Router advertisements (RFC 4861 §6.2, RFC 8106, RFC 4191), so that hosts give themselves IPv6 addresses. As a port of a
 * switch it speaks for the router whose link-local address is `source`; behind a gateway's adapter
 * (`adapt(stack, { raServer: { prefixes: ['fd00::/64'] } })`) it speaks for that adapter.
 */

import { get16 } from './bytes.ts';
import { type Clock, systemClock, type Timer } from './clock.ts';
import { dropFrame, type FrameHandler, type L2Device } from './device.ts';
import { PktkitError } from './errors.ts';
import { Frame } from './frame.ts';
import { IpAddr, Prefix } from './ip.ts';
import { MacAddr } from './mac.ts';
import { ipLength, Packet } from './packet.ts';
import { HEADROOM, pool } from './pool.ts';
import { type Random32, random32 } from './random.ts';
import { ETHERNET_HEADER, EtherType, writeEthernet } from './wire/ethernet.ts';
import { IpProtocol } from './wire/ipv4.ts';
import {
  ALL_NODES,
  icmpv6ChecksumOk,
  linkLocalAddress,
  multicastMac6,
  NDP_HOP_LIMIT,
  NdpOption,
  NdpType,
  ndpLinkLayer,
  ndpOptionsOk,
  type PrefixInfo,
  type RouterAdvertisement,
  type RouterPreference,
  writeRouterAdvertisement,
} from './wire/ndp.ts';

export interface RaPrefixOptions {
  prefix: Prefix | string;
  /** Hosts reach each other directly. True unless told. */
  onLink?: boolean | undefined;
  /** Hosts form addresses in it. True unless told. */
  autonomous?: boolean | undefined;
  /** Seconds; 30 days and 7 days (RFC 4861 §6.2.1). */
  validLifetime?: number | undefined;
  preferredLifetime?: number | undefined;
}

export interface RaServerOptions {
  prefixes?: readonly (RaPrefixOptions | Prefix | string)[] | undefined;
  dns?: readonly (IpAddr | string)[] | undefined;
  search?: readonly string[] | undefined;
  mtu?: number | undefined;
  /** Seconds for which hosts use the router by default: 1800. 0: not a default router. */
  routerLifetime?: number | undefined;
  preference?: RouterPreference | undefined;
  hopLimit?: number | undefined;
  /** Milliseconds between advertisements at most: 600,000, the least that is a third of it. At least 4000. */
  interval?: number | undefined;
  /** Ethernet address of the router. Random unless told. */
  mac?: MacAddr | string | undefined;
  /** Link-local address of the router; made of `mac` unless told. */
  source?: IpAddr | string | undefined;
  clock?: Clock | undefined;
  random?: Random32 | undefined;
}

export interface RaServerStats {
  sent: number;
  solicited: number;
  /** Solicitations that an advertisement on its way answers. */
  merged: number;
  dropInvalid: number;
}

/** RFC 4861 §6.2.1, §10. */
const MAX_INTERVAL = 600_000;
const MAX_INITIAL_INTERVAL = 16_000;
const MAX_INITIAL = 3;
const MIN_DELAY_BETWEEN = 3000;
const MAX_RA_DELAY = 500;
const MONTH = 2_592_000;
const WEEK = 604_800;
/** Everything must fit the smallest IPv6 packet. */
const LIMIT = 1280;

export class RaServer implements L2Device {
  readonly mac: MacAddr;
  readonly mtu: number = 1500;
  readonly accepts: number = 0;
  readonly source: IpAddr;
  readonly stats: RaServerStats = { sent: 0, solicited: 0, merged: 0, dropInvalid: 0 };
  readonly #clock: Clock;
  readonly #random: Random32;
  readonly #interval: number;
  readonly #advertisement: RouterAdvertisement;
  readonly #timer: Timer;
  #handler: FrameHandler = dropFrame;
  #closed = false;
  #initial = 0;
  #lastSent: number = Number.NEGATIVE_INFINITY;

  constructor(options: RaServerOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? random32;
    this.mac = options.mac === undefined ? MacAddr.random(this.#random) : MacAddr.from(options.mac);
    this.source =
      options.source === undefined ? linkLocalAddress(this.mac) : IpAddr.from(options.source);
    if (!this.source.isLinkLocal || this.source.family !== 6) {
      invalid(`source: routers advertise from a link-local IPv6 address, got ${this.source}`);
    }
    this.#interval = options.interval ?? MAX_INTERVAL;
    if (!(this.#interval >= 4000 && this.#interval <= 1_800_000)) {
      invalid(`interval: 4000 to 1800000 milliseconds, got ${this.#interval}`);
    }
    const dns = (options.dns ?? []).map((address) => IpAddr.from(address));
    if (dns.some((address) => address.family !== 6)) {
      invalid('dns: router advertisements carry IPv6 addresses; give IPv4 servers by DHCP');
    }
    const search = [...(options.search ?? [])];
    if (!search.every((name) => /^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$/.test(name))) {
      invalid('search: expected domain names such as lan.example');
    }
    const { mtu = 0, routerLifetime = 1800, hopLimit = 64 } = options;
    if (mtu !== 0 && !(mtu >= 1280 && mtu <= 65535)) invalid(`mtu: 1280 to 65535, got ${mtu}`);
    if (!(routerLifetime >= 0 && routerLifetime <= 65535)) {
      invalid(`routerLifetime: 0 to 65535 seconds, got ${routerLifetime}`);
    }
    // RFC 8106 §5.1: three times the longest interval lets one be lost.
    const dnsLifetime = Math.ceil((3 * this.#interval) / 1000);
    this.#advertisement = {
      hopLimit,
      managed: false,
      otherConfig: false,
      preference: options.preference ?? 'medium',
      routerLifetime,
      reachableTime: 0,
      retransTimer: 0,
      mac: this.mac.value,
      mtu,
      prefixes: (options.prefixes ?? []).map(prefixInfo),
      dnsLifetime,
      dns,
      searchLifetime: dnsLifetime,
      search,
    };
    const trial = new Uint8Array(LIMIT);
    const size = writeRouterAdvertisement(
      trial,
      0,
      LIMIT,
      this.source,
      ALL_NODES,
      this.#advertisement,
    );
    if (size < 0) invalid('prefixes, dns, search: together they do not fit into one advertisement');
    this.#timer = this.#clock.timer(() => this.#onTimer());
  }

  /** Plugs in: the first advertisements follow at once, at most 16 s apart (RFC 4861 §6.2.4). */
  setHandler(handler: FrameHandler): void {
    this.#handler = handler;
    if (handler === dropFrame || this.#closed) {
      this.#timer.cancel();
      return;
    }
    this.#initial = 0;
    this.#timer.arm(this.#clock.now);
  }

  send(frame: Frame): void {
    const { buf, off, len } = frame;
    if (this.#closed || len < ETHERNET_HEADER || get16(buf, off + 12) !== EtherType.IPV6) return;
    const at = off + ETHERNET_HEADER;
    const size = ipLength(buf, at, len - ETHERNET_HEADER);
    if (size < 0 || buf[at] >>> 4 !== 6) return;
    const transport = new Packet(buf, at, size).transport;
    if (transport < 0 || transport >>> 16 !== IpProtocol.ICMPV6) return;
    const message = at + (transport & 0xffff);
    const length = at + size - message;
    if (length < 1 || buf[message] !== NdpType.ROUTER_SOLICITATION) return;
    if (!this.#isValid(buf, at, message, length)) {
      this.stats.dropInvalid++;
      return;
    }
    this.stats.solicited++;
    // RFC 4861 §6.2.6: answered to all, after a random delay, three seconds after the last one at the earliest: solicitations
    // in any number cost a fixed rate of advertisements.
    const delay = (this.#random() / 2 ** 32) * MAX_RA_DELAY;
    const due = Math.max(this.#clock.now + delay, this.#lastSent + MIN_DELAY_BETWEEN);
    if (this.#timer.deadline <= due) this.stats.merged++;
    else this.#timer.arm(due);
  }

  /** Says goodbye (a lifetime of 0, RFC 4861 §6.2.5) and ends. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer.cancel();
    if (this.#lastSent > Number.NEGATIVE_INFINITY) this.#advertise(0);
    this.#handler = dropFrame;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #isValid(buf: Uint8Array, at: number, message: number, length: number): boolean {
    if (length < 8 || buf[message + 1] !== 0 || buf[at + 7] !== NDP_HOP_LIMIT) return false;
    if (!icmpv6ChecksumOk(buf, at, message, length)) return false;
    if (!ndpOptionsOk(buf, message + 8, message + length)) return false;
    // RFC 4861 §6.1.1: nobody tells a link-layer address without having an address.
    const unspecified = IpAddr.read(6, buf, at + 8).isUnspecified;
    const end = message + length;
    return !unspecified || ndpLinkLayer(buf, message + 8, end, NdpOption.SOURCE_LINK_LAYER) < 0;
  }

  #onTimer(): void {
    const now = this.#clock.now;
    const longest =
      this.#initial < MAX_INITIAL ? Math.min(MAX_INITIAL_INTERVAL, this.#interval) : this.#interval;
    this.#initial++;
    const least = Math.max(MIN_DELAY_BETWEEN, longest / 3);
    this.#timer.arm(now + least + (this.#random() / 2 ** 32) * (longest - least));
    this.#lastSent = now;
    this.#advertise(this.#advertisement.routerLifetime);
  }

  #advertise(routerLifetime: number): void {
    const buf = pool.take(HEADROOM + ETHERNET_HEADER + LIMIT);
    const at = HEADROOM + ETHERNET_HEADER;
    const ra = { ...this.#advertisement, routerLifetime };
    const len = writeRouterAdvertisement(buf, at, LIMIT, this.source, ALL_NODES, ra);
    writeEthernet(buf, HEADROOM, multicastMac6(1), this.mac.value, EtherType.IPV6);
    this.stats.sent++;
    this.#handler(new Frame(buf, HEADROOM, ETHERNET_HEADER + len));
    pool.give(buf);
  }
}

function prefixInfo(option: RaPrefixOptions | Prefix | string): PrefixInfo {
  const given =
    typeof option === 'string' || option instanceof Prefix ? { prefix: option } : option;
  const {
    onLink = true,
    autonomous = true,
    validLifetime = MONTH,
    preferredLifetime = WEEK,
  } = given as RaPrefixOptions;
  const prefix = Prefix.from(given.prefix).network;
  if (prefix.family !== 6) invalid(`prefixes: ${prefix} is IPv4`);
  if (autonomous && prefix.bits !== 64) {
    invalid(
      `prefixes: hosts form addresses in a /64 only, got ${prefix}; set autonomous: false or use a /64`,
    );
  }
  if (preferredLifetime > validLifetime) {
    invalid(`prefixes: ${prefix} is preferred for longer than it is valid`);
  }
  return { prefix, onLink, autonomous, validLifetime, preferredLifetime };
}

function invalid(message: string): never {
  throw new PktkitError('PKT_INVALID_CONFIG', message);
}
