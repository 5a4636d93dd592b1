/**
 * DHCP messages (RFC 2131 §2) and their options (RFC 2132, RFC 3396 for long ones, RFC 3397 and RFC 3442 for search lists
 * and classless routes). Not a data path: messages become plain objects.
 *
 *     | op | htype | hlen | hops | xid (4) | secs (2) | flags (2) | ciaddr | yiaddr | siaddr | giaddr (4 each) |
 *     | chaddr (16) | sname (64) | file (128) | magic 63 82 53 63 | options … 255 |
 */

import { get16, get32, put16, put32 } from '../bytes.ts';
import { IpAddr, Prefix } from '../ip.ts';
import { readMac, writeMac } from '../mac.ts';

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;

export const DhcpType = {
  DISCOVER: 1,
  OFFER: 2,
  REQUEST: 3,
  DECLINE: 4,
  ACK: 5,
  NAK: 6,
  RELEASE: 7,
  INFORM: 8,
} as const;
export type DhcpType = number;

/** Option codes of the IANA registry. */
export const DhcpOption = {
  PAD: 0,
  SUBNET_MASK: 1,
  ROUTER: 3,
  DNS: 6,
  HOST_NAME: 12,
  DOMAIN_NAME: 15,
  MTU: 26,
  BROADCAST: 28,
  NTP: 42,
  VENDOR: 43,
  REQUESTED_ADDRESS: 50,
  LEASE_TIME: 51,
  OVERLOAD: 52,
  MESSAGE_TYPE: 53,
  SERVER_ID: 54,
  PARAMETER_LIST: 55,
  MESSAGE: 56,
  MAX_SIZE: 57,
  RENEWAL_TIME: 58,
  REBINDING_TIME: 59,
  VENDOR_CLASS: 60,
  CLIENT_ID: 61,
  TFTP_SERVER: 66,
  BOOT_FILE: 67,
  RELAY_AGENT: 82,
  DOMAIN_SEARCH: 119,
  CLASSLESS_ROUTES: 121,
  END: 255,
} as const;

export interface DhcpMessage {
  /** 1 from clients, 2 from servers. */
  op: number;
  xid: number;
  secs: number;
  hops: number;
  broadcast: boolean;
  /** Addresses as unsigned 32 bits; 0 for none. */
  ciaddr: number;
  yiaddr: number;
  siaddr: number;
  giaddr: number;
  /** Hardware address of the client as 48 bits. */
  mac: number;
  /** Values by code, long ones joined; without the message type. */
  options: Map<number, Uint8Array>;
  type: DhcpType;
}

/** Until the options: the fixed part and the magic number. */
const FIXED = 240;
/** What BOOTP relays and clients expect at least (RFC 1542 §2.1): 236 bytes and 64 of options. */
export const DHCP_MIN_LENGTH = 300;
const MAGIC = 0x63825363;
/** Options in one message, repeated ones included. */
const MAX_OPTIONS = 256;

/**
 * Reads a message for Ethernet; null when it is none. Options run on into `file` and `sname` where option 52 says so, and
 * repeated options are joined (RFC 3396 §7). The values are copies.
 */
export function parseDhcp(buf: Uint8Array, off: number, len: number): DhcpMessage | null {
  if (len < FIXED + 3 || get32(buf, off + 236) !== MAGIC) return null;
  const op = buf[off];
  if ((op !== 1 && op !== 2) || buf[off + 1] !== 1 || buf[off + 2] !== 6) return null;
  const options = new Map<number, Uint8Array>();
  if (!readOptions(buf, off + FIXED, off + len, options)) return null;
  const overload = options.get(DhcpOption.OVERLOAD);
  if (overload !== undefined) {
    // RFC 2131 §4.1: first `file`, then `sname`.
    if ((overload[0] & 1) !== 0 && !readOptions(buf, off + 108, off + 236, options)) return null;
    if ((overload[0] & 2) !== 0 && !readOptions(buf, off + 44, off + 108, options)) return null;
  }
  const type = options.get(DhcpOption.MESSAGE_TYPE);
  if (type === undefined || type.length !== 1) return null;
  options.delete(DhcpOption.MESSAGE_TYPE);
  options.delete(DhcpOption.OVERLOAD);
  return {
    op,
    hops: buf[off + 3],
    xid: get32(buf, off + 4),
    secs: get16(buf, off + 8),
    broadcast: (buf[off + 10] & 0x80) !== 0,
    ciaddr: get32(buf, off + 12),
    yiaddr: get32(buf, off + 16),
    siaddr: get32(buf, off + 20),
    giaddr: get32(buf, off + 24),
    mac: readMac(buf, off + 28),
    options,
    type: type[0],
  };
}

/**
 * Writes a message of at least 300 bytes and gives its length. Options that do not fit in `limit` bytes are left out, the
 * last ones first; a value over 255 bytes is split (RFC 3396 §5).
 */
export function writeDhcp(
  buf: Uint8Array,
  off: number,
  limit: number,
  message: DhcpMessage,
): number {
  buf.fill(0, off, off + DHCP_MIN_LENGTH);
  buf[off] = message.op;
  buf[off + 1] = 1;
  buf[off + 2] = 6;
  buf[off + 3] = message.hops;
  put32(buf, off + 4, message.xid);
  put16(buf, off + 8, message.secs);
  put16(buf, off + 10, message.broadcast ? 0x8000 : 0);
  put32(buf, off + 12, message.ciaddr);
  put32(buf, off + 16, message.yiaddr);
  put32(buf, off + 20, message.siaddr);
  put32(buf, off + 24, message.giaddr);
  writeMac(buf, off + 28, message.mac);
  put32(buf, off + 236, MAGIC);
  let at = off + FIXED;
  buf[at++] = DhcpOption.MESSAGE_TYPE;
  buf[at++] = 1;
  buf[at++] = message.type;
  const end = off + limit - 1;
  for (const [code, value] of message.options) {
    const parts = Math.max(1, Math.ceil(value.length / 255));
    if (at + value.length + parts * 2 > end) continue;
    for (let part = 0; part < parts; part++) {
      const from = part * 255;
      const size = Math.min(255, value.length - from);
      buf[at++] = code;
      buf[at++] = size;
      for (let i = 0; i < size; i++) buf[at++] = value[from + i];
    }
  }
  buf[at++] = DhcpOption.END;
  return Math.max(DHCP_MIN_LENGTH, at - off);
}

function readOptions(
  buf: Uint8Array,
  from: number,
  end: number,
  options: Map<number, Uint8Array>,
): boolean {
  let at = from;
  for (let count = 0; at < end && count < MAX_OPTIONS; ) {
    const code = buf[at++];
    if (code === DhcpOption.PAD) continue;
    if (code === DhcpOption.END) return true;
    count++;
    if (at >= end) return false;
    const size = buf[at++];
    if (at + size > end) return false;
    const before = options.get(code);
    const value = new Uint8Array((before?.length ?? 0) + size);
    if (before !== undefined) value.set(before);
    value.set(buf.subarray(at, at + size), before?.length ?? 0);
    options.set(code, value);
    at += size;
  }
  // Some senders leave the end option out when the message ends there.
  return true;
}

/** Unsigned 32 bits of an option that must have four bytes; -1 otherwise. */
export function optionU32(options: Map<number, Uint8Array>, code: number): number {
  const value = options.get(code);
  return value === undefined || value.length !== 4 ? -1 : get32(value, 0);
}

/** The addresses in an option, at most 64; entries that a host cannot use are passed over. */
export function optionAddresses(options: Map<number, Uint8Array>, code: number): IpAddr[] {
  const value = options.get(code);
  const addresses: IpAddr[] = [];
  if (value === undefined) return addresses;
  for (let at = 0; at + 4 <= value.length && addresses.length < 64; at += 4) {
    const address = IpAddr.read(4, value, at);
    if (isHostAddress(address)) addresses.push(address);
  }
  return addresses;
}

/** A name of printable ASCII without white space; null otherwise. Trailing zeros, which some servers send, are cut. */
export function optionText(options: Map<number, Uint8Array>, code: number): string | null {
  const value = options.get(code);
  if (value === undefined) return null;
  let text = '';
  for (const byte of value) {
    if (byte === 0) break;
    if (byte <= 0x20 || byte >= 0x7f) return null;
    text += String.fromCharCode(byte);
  }
  return text === '' ? null : text;
}

export interface DhcpRoute {
  prefix: Prefix;
  /** 0.0.0.0: the destination is on the link itself. */
  gateway: IpAddr;
}

/** Option 121 (RFC 3442), at most 128 routes; an empty list when it is malformed. */
export function parseClasslessRoutes(value: Uint8Array): DhcpRoute[] {
  const routes: DhcpRoute[] = [];
  let at = 0;
  while (at < value.length && routes.length < 128) {
    const bits = value[at++];
    const significant = (bits + 7) >>> 3;
    if (bits > 32 || at + significant + 4 > value.length) return [];
    let network = 0;
    for (let i = 0; i < significant; i++) network |= value[at + i] << (24 - i * 8);
    at += significant;
    routes.push({
      prefix: Prefix.of(IpAddr.v4(network), bits).network,
      gateway: IpAddr.read(4, value, at),
    });
    at += 4;
  }
  return routes;
}

export function encodeClasslessRoutes(routes: readonly DhcpRoute[]): Uint8Array {
  const bytes: number[] = [];
  for (const { prefix, gateway } of routes) {
    bytes.push(prefix.bits);
    const network = prefix.network.addr.toBytes();
    for (let i = 0; i < (prefix.bits + 7) >>> 3; i++) bytes.push(network[i]);
    bytes.push(...gateway.toBytes());
  }
  return Uint8Array.from(bytes);
}

/** Option 119 (RFC 3397) with the compression of DNS; an empty list when it is malformed. At most 32 names. */
export function parseDomainSearch(value: Uint8Array): string[] {
  const names: string[] = [];
  let at = 0;
  // Every step of a name, pointers included, is paid from one budget: pointers may not loop.
  let budget = 1024;
  while (at < value.length && names.length < 32) {
    let name = '';
    let next = at;
    let resume = -1;
    for (;;) {
      if (next >= value.length || budget-- === 0) return [];
      const size = value[next];
      if (size === 0) {
        next++;
        break;
      }
      if (size >= 0xc0) {
        if (next + 1 >= value.length) return [];
        if (resume < 0) resume = next + 2;
        next = get16(value, next) & 0x3fff;
        continue;
      }
      if (size > 63 || next + 1 + size > value.length || name.length + size > 254) return [];
      if (name !== '') name += '.';
      for (let i = 1; i <= size; i++) name += String.fromCharCode(value[next + i]);
      next += 1 + size;
    }
    at = resume < 0 ? next : resume;
    if (name !== '') names.push(name);
  }
  return names;
}

/** Without compression, which every reader understands. */
export function encodeDomainSearch(names: readonly string[]): Uint8Array {
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

/** Bytes of ASCII text. */
export function asciiBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0) & 0x7f);
}

/** Whether a host can have this IPv4 address: not 0/8, loopback, a group, or in 240/4 (which holds the broadcast). */
export function isHostAddress(address: IpAddr): boolean {
  const first = address.w3 >>> 24;
  return address.family === 4 && first !== 0 && first !== 127 && first < 224;
}
