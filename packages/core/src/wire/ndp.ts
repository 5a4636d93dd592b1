/**
 * Neighbour discovery (RFC 4861 §4) with the DNS options of RFC 8106, and the multicast listener report of RFC 3810
 * §5.2. Builders write a whole IPv6 packet; readers take the ICMPv6 message's offset and length.
 *
 *     NS, NA     | type | code 0 | checksum | R S O, reserved (4) | target (16)                     | options
 *     RS         | type | code 0 | checksum | reserved (4)                                          | options
 *     RA         | type | code 0 | checksum | hop limit | M O Prf | lifetime s | reachable ms | retrans ms | options
 *     option     | type | length in units of 8 bytes | …
 */

import { get16, get32, put16, put32 } from '../bytes.ts';
import { checksum, pseudoHeaderSum, sum } from '../checksum.ts';
import { IpAddr, Prefix } from '../ip.ts';
import { type MacAddr, readMac, writeMac } from '../mac.ts';
import { IpProtocol } from './ipv4.ts';
import { IPV6_HEADER } from './ipv6.ts';

export const NdpType = {
  MLD_QUERY: 130,
  MLD_REPORT: 131,
  MLD_DONE: 132,
  ROUTER_SOLICITATION: 133,
  ROUTER_ADVERTISEMENT: 134,
  NEIGHBOR_SOLICITATION: 135,
  NEIGHBOR_ADVERTISEMENT: 136,
  REDIRECT: 137,
  MLD2_REPORT: 143,
} as const;

export const NdpOption = {
  SOURCE_LINK_LAYER: 1,
  TARGET_LINK_LAYER: 2,
  PREFIX: 3,
  MTU: 5,
  RDNSS: 25,
  DNSSL: 31,
} as const;

/** Flags of an advertisement, as its byte 4 carries them. */
export const NA_ROUTER = 0x80;
export const NA_SOLICITED = 0x40;
export const NA_OVERRIDE = 0x20;

/** Every message of this protocol travels with it, and is void without (RFC 4861 §6.1, §7.1): no router has passed it. */
export const NDP_HOP_LIMIT = 255;

export const ALL_NODES: IpAddr = IpAddr.parse('ff02::1');
export const ALL_ROUTERS: IpAddr = IpAddr.parse('ff02::2');
const MLD2_ROUTERS = IpAddr.parse('ff02::16');

/** More options than any sender has reason to use: the rest of the message is not looked at. */
const MAX_OPTIONS = 32;

/** The link-local address with the modified EUI-64 of `mac` (RFC 4291 appendix A). */
export function linkLocalAddress(mac: MacAddr): IpAddr {
  return eui64Address(Prefix.parse('fe80::/64'), mac);
}

/** The address within a /64 that SLAAC forms from `mac`. */
export function eui64Address(prefix: Prefix, mac: MacAddr): IpAddr {
  const high = Math.floor(mac.value / 2 ** 24);
  const low = mac.value % 2 ** 24;
  const { w0, w1 } = prefix.addr;
  return IpAddr.v6(w0, w1, ((high ^ 0x020000) << 8) | 0xff, 0xfe000000 | low);
}

/** ff02::1:ffXX:XXXX (RFC 4291 §2.7.1). */
export function solicitedNode(address: IpAddr): IpAddr {
  return IpAddr.v6(0xff020000, 0, 1, 0xff000000 | (address.w3 & 0xffffff));
}

/** The Ethernet group of an IPv6 group, 33:33 and its low 32 bits (RFC 2464 §7), as a 48-bit integer. */
export function multicastMac6(low: number): number {
  return 0x333300000000 + (low >>> 0);
}

/** Whether the ICMPv6 message of `len` bytes at `at` has a right checksum. */
export function icmpv6ChecksumOk(buf: Uint8Array, ipOff: number, at: number, len: number): boolean {
  return sum(buf, at, len, pseudoHeaderSum(buf, ipOff, IpProtocol.ICMPV6, len)) === 0xffff;
}

/**
 * Whether the options from `at` to `end` are well formed: none of length zero (RFC 4861 §4.6), none beyond the message, not
 * too many.
 */
export function ndpOptionsOk(buf: Uint8Array, at: number, end: number): boolean {
  let next = at;
  for (let count = 0; next < end; count++) {
    if (count === MAX_OPTIONS || next + 8 > end || buf[next + 1] === 0) return false;
    next += buf[next + 1] * 8;
  }
  return next === end;
}

/** The offset of the first option of `type` in options that `ndpOptionsOk` has passed, or -1. */
export function ndpFindOption(buf: Uint8Array, at: number, end: number, type: number): number {
  for (let next = at; next < end; next += buf[next + 1] * 8) if (buf[next] === type) return next;
  return -1;
}

/** The Ethernet address in a link-layer option, as a 48-bit integer; -1 without one, or for a group address. */
export function ndpLinkLayer(buf: Uint8Array, at: number, end: number, type: number): number {
  const option = ndpFindOption(buf, at, end, type);
  if (option < 0) return -1;
  const mac = readMac(buf, option + 2);
  return (buf[option + 2] & 1) !== 0 || mac === 0 ? -1 : mac;
}

/** Writes a neighbour solicitation and gives its length. `mac` -1 leaves the option out, as DAD must (RFC 4862 §5.4.2). */
export function writeNeighborSolicitation(
  buf: Uint8Array,
  off: number,
  src: IpAddr,
  dst: IpAddr,
  target: IpAddr,
  mac: number,
): number {
  const at = off + IPV6_HEADER;
  put32(buf, at, NdpType.NEIGHBOR_SOLICITATION << 24);
  put32(buf, at + 4, 0);
  target.write(buf, at + 8);
  let len = 24;
  if (mac >= 0) len += writeLinkLayer(buf, at + len, NdpOption.SOURCE_LINK_LAYER, mac);
  return finish(buf, off, src, dst, len);
}

/** Writes a neighbour advertisement and gives its length. */
export function writeNeighborAdvertisement(
  buf: Uint8Array,
  off: number,
  src: IpAddr,
  dst: IpAddr,
  target: IpAddr,
  flags: number,
  mac: number,
): number {
  const at = off + IPV6_HEADER;
  put32(buf, at, NdpType.NEIGHBOR_ADVERTISEMENT << 24);
  put32(buf, at + 4, flags << 24);
  target.write(buf, at + 8);
  const len = 24 + writeLinkLayer(buf, at + 24, NdpOption.TARGET_LINK_LAYER, mac);
  return finish(buf, off, src, dst, len);
}

/** Writes a router solicitation to all routers and gives its length. */
export function writeRouterSolicitation(
  buf: Uint8Array,
  off: number,
  src: IpAddr,
  mac: number,
): number {
  const at = off + IPV6_HEADER;
  put32(buf, at, NdpType.ROUTER_SOLICITATION << 24);
  put32(buf, at + 4, 0);
  let len = 8;
  // RFC 4861 §4.1: no link-layer option from the unspecified address.
  if (!src.isUnspecified) len += writeLinkLayer(buf, at + 8, NdpOption.SOURCE_LINK_LAYER, mac);
  return finish(buf, off, src, ALL_ROUTERS, len);
}

/** A prefix option (RFC 4861 §4.6.2). Lifetimes in seconds, `Infinity` for ever. */
export interface PrefixInfo {
  prefix: Prefix;
  onLink: boolean;
  autonomous: boolean;
  validLifetime: number;
  preferredLifetime: number;
}

/** RFC 4191 §2.1. */
export type RouterPreference = 'low' | 'medium' | 'high';

export interface RouterAdvertisement {
  hopLimit: number;
  /** M: addresses are to be had by DHCPv6. */
  managed: boolean;
  /** O: other configuration is. */
  otherConfig: boolean;
  preference: RouterPreference;
  /** Seconds; 0 means "not a default router". */
  routerLifetime: number;
  /** Milliseconds; 0 for unspecified. */
  reachableTime: number;
  retransTimer: number;
  /** Link-layer address of the router as 48 bits, or -1. */
  mac: number;
  /** 0 when not given. */
  mtu: number;
  prefixes: PrefixInfo[];
  /** Seconds for all of `dns` (RFC 8106 §5.1). */
  dnsLifetime: number;
  dns: IpAddr[];
  searchLifetime: number;
  search: string[];
}

/** Reads an advertisement whose options `ndpOptionsOk` has passed. Lists are cut at 16 entries. */
export function readRouterAdvertisement(
  buf: Uint8Array,
  at: number,
  len: number,
): RouterAdvertisement {
  const flags = buf[at + 5];
  const ra: RouterAdvertisement = {
    hopLimit: buf[at + 4],
    managed: (flags & 0x80) !== 0,
    otherConfig: (flags & 0x40) !== 0,
    // RFC 4191 §2.2: the reserved value is treated as medium.
    preference: (flags & 0x18) === 0x08 ? 'high' : (flags & 0x18) === 0x18 ? 'low' : 'medium',
    routerLifetime: get16(buf, at + 6),
    reachableTime: get32(buf, at + 8),
    retransTimer: get32(buf, at + 12),
    mac: ndpLinkLayer(buf, at + 16, at + len, NdpOption.SOURCE_LINK_LAYER),
    mtu: 0,
    prefixes: [],
    dnsLifetime: 0,
    dns: [],
    searchLifetime: 0,
    search: [],
  };
  const end = at + len;
  for (let next = at + 16; next < end; next += buf[next + 1] * 8) {
    const size = buf[next + 1] * 8;
    switch (buf[next]) {
      case NdpOption.PREFIX:
        if (size === 32 && buf[next + 2] <= 128 && ra.prefixes.length < MAX_LIST) {
          ra.prefixes.push({
            prefix: Prefix.of(IpAddr.read(6, buf, next + 16), buf[next + 2]).network,
            onLink: (buf[next + 3] & 0x80) !== 0,
            autonomous: (buf[next + 3] & 0x40) !== 0,
            validLifetime: readLifetime(buf, next + 4),
            preferredLifetime: readLifetime(buf, next + 8),
          });
        }
        break;
      case NdpOption.MTU:
        if (size === 8) ra.mtu = get32(buf, next + 4);
        break;
      case NdpOption.RDNSS:
        ra.dnsLifetime = readLifetime(buf, next + 4);
        for (let a = next + 8; a + 16 <= next + size && ra.dns.length < MAX_LIST; a += 16) {
          ra.dns.push(IpAddr.read(6, buf, a));
        }
        break;
      case NdpOption.DNSSL:
        ra.searchLifetime = readLifetime(buf, next + 4);
        readSearchList(buf, next + 8, next + size, ra.search);
        break;
    }
  }
  return ra;
}

/** Writes an advertisement and gives its length, or -1 when `limit` bytes do not hold it. */
export function writeRouterAdvertisement(
  buf: Uint8Array,
  off: number,
  limit: number,
  src: IpAddr,
  dst: IpAddr,
  ra: RouterAdvertisement,
): number {
  const search = encodeSearchList(ra.search);
  const searchSize = search.length === 0 ? 0 : 8 + ((search.length + 7) & ~7);
  const size =
    16 +
    (ra.mac >= 0 ? 8 : 0) +
    (ra.mtu > 0 ? 8 : 0) +
    ra.prefixes.length * 32 +
    (ra.dns.length > 0 ? 8 + ra.dns.length * 16 : 0) +
    searchSize;
  if (IPV6_HEADER + size > limit) return -1;
  const at = off + IPV6_HEADER;
  buf.fill(0, at, at + size);
  buf[at] = NdpType.ROUTER_ADVERTISEMENT;
  buf[at + 4] = ra.hopLimit;
  const preference = ra.preference === 'high' ? 0x08 : ra.preference === 'low' ? 0x18 : 0;
  buf[at + 5] = (ra.managed ? 0x80 : 0) | (ra.otherConfig ? 0x40 : 0) | preference;
  put16(buf, at + 6, ra.routerLifetime);
  put32(buf, at + 8, ra.reachableTime);
  put32(buf, at + 12, ra.retransTimer);
  let next = at + 16;
  if (ra.mac >= 0) next += writeLinkLayer(buf, next, NdpOption.SOURCE_LINK_LAYER, ra.mac);
  if (ra.mtu > 0) {
    put16(buf, next, (NdpOption.MTU << 8) | 1);
    put32(buf, next + 4, ra.mtu);
    next += 8;
  }
  for (const info of ra.prefixes) {
    put16(buf, next, (NdpOption.PREFIX << 8) | 4);
    buf[next + 2] = info.prefix.bits;
    buf[next + 3] = (info.onLink ? 0x80 : 0) | (info.autonomous ? 0x40 : 0);
    writeLifetime(buf, next + 4, info.validLifetime);
    writeLifetime(buf, next + 8, info.preferredLifetime);
    info.prefix.network.addr.write(buf, next + 16);
    next += 32;
  }
  if (ra.dns.length > 0) {
    put16(buf, next, (NdpOption.RDNSS << 8) | (1 + ra.dns.length * 2));
    writeLifetime(buf, next + 4, ra.dnsLifetime);
    for (let i = 0; i < ra.dns.length; i++) ra.dns[i].write(buf, next + 8 + i * 16);
    next += 8 + ra.dns.length * 16;
  }
  if (searchSize > 0) {
    put16(buf, next, (NdpOption.DNSSL << 8) | (searchSize / 8));
    writeLifetime(buf, next + 4, ra.searchLifetime);
    buf.set(search, next + 8);
  }
  return finish(buf, off, src, dst, size);
}

/**
 * Writes a version 2 report that says "I listen to these groups" (RFC 3810 §5.2: CHANGE_TO_EXCLUDE with no sources when
 * joining, MODE_IS_EXCLUDE when asked) and gives its length. It carries the router alert of RFC 2711.
 */
export function writeMld2Report(
  buf: Uint8Array,
  off: number,
  src: IpAddr,
  groups: readonly IpAddr[],
  asked: boolean,
): number {
  const at = off + IPV6_HEADER + 8;
  put32(buf, at, NdpType.MLD2_REPORT << 24);
  put32(buf, at + 4, groups.length);
  for (let i = 0; i < groups.length; i++) {
    const record = at + 8 + i * 20;
    put32(buf, record, (asked ? 2 : 4) << 24);
    groups[i].write(buf, record + 4);
  }
  const len = 8 + groups.length * 20;
  writeHeader(buf, off, src, MLD2_ROUTERS, len + 8, IpProtocol.HOP_BY_HOP, 1);
  // Router alert for MLD, padded to eight bytes.
  put32(buf, off + IPV6_HEADER, (IpProtocol.ICMPV6 << 24) | 0x0502);
  put32(buf, off + IPV6_HEADER + 4, 0x00000100);
  put16(buf, at + 2, checksum(buf, at, len, pseudoHeaderSum(buf, off, IpProtocol.ICMPV6, len)));
  return IPV6_HEADER + 8 + len;
}

const MAX_LIST = 16;

function writeLinkLayer(buf: Uint8Array, at: number, type: number, mac: number): number {
  buf[at] = type;
  buf[at + 1] = 1;
  writeMac(buf, at + 2, mac);
  return 8;
}

function finish(buf: Uint8Array, off: number, src: IpAddr, dst: IpAddr, len: number): number {
  writeHeader(buf, off, src, dst, len, IpProtocol.ICMPV6, NDP_HOP_LIMIT);
  const at = off + IPV6_HEADER;
  put16(buf, at + 2, 0);
  put16(buf, at + 2, checksum(buf, at, len, pseudoHeaderSum(buf, off, IpProtocol.ICMPV6, len)));
  return IPV6_HEADER + len;
}

function writeHeader(
  buf: Uint8Array,
  off: number,
  src: IpAddr,
  dst: IpAddr,
  len: number,
  next: number,
  hopLimit: number,
): void {
  put32(buf, off, 0x60000000);
  put16(buf, off + 4, len);
  buf[off + 6] = next;
  buf[off + 7] = hopLimit;
  src.write(buf, off + 8);
  dst.write(buf, off + 24);
}

function readLifetime(buf: Uint8Array, at: number): number {
  const seconds = get32(buf, at);
  return seconds === 0xffffffff ? Number.POSITIVE_INFINITY : seconds;
}

function writeLifetime(buf: Uint8Array, at: number, seconds: number): void {
  put32(buf, at, seconds >= 0xffffffff ? 0xffffffff : Math.floor(seconds));
}

/** Domain names as DNS writes them (RFC 8106 §5.2), without compression. */
function readSearchList(buf: Uint8Array, at: number, end: number, names: string[]): void {
  let name = '';
  let next = at;
  while (next < end && names.length < MAX_LIST) {
    const size = buf[next++];
    if (size === 0) {
      if (name === '') return; // padding
      names.push(name);
      name = '';
    } else {
      if (size > 63 || next + size > end || name.length + size > 254) return;
      if (name !== '') name += '.';
      for (let i = 0; i < size; i++) name += String.fromCharCode(buf[next + i]);
      next += size;
    }
  }
}

function encodeSearchList(names: readonly string[]): Uint8Array {
  const bytes: number[] = [];
  for (const name of names) {
    for (const label of name.split('.')) {
      bytes.push(label.length);
      for (let i = 0; i < label.length; i++) bytes.push(label.charCodeAt(i));
    }
    bytes.push(0);
  }
  return Uint8Array.from(bytes);
}
