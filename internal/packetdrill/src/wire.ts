/**
 * Packets as a script sees them, to and from bytes. Written apart from the engine's own codec on purpose: a fault shared by
 * both sides would never show.
 */

import type { TcpOption } from './ast.ts';

export interface FlowAddress {
  /** 4 or 16 bytes. */
  ip: Uint8Array;
  port: number;
}

export type Ecn = 0 | 1 | 2 | 3;

export interface WireTcp {
  source: FlowAddress;
  destination: FlowAddress;
  ecn: Ecn;
  flags: number;
  /** As on the wire, unsigned. */
  seq: number;
  ack: number;
  window: number;
  urgent: number;
  options: TcpOption[];
  payload: number;
}

const TCP = 6;

/** Builds an IP packet with correct checksums; payload bytes are the low bits of their sequence numbers. */
export function buildTcp(packet: WireTcp): Uint8Array {
  const options = buildOptions(packet.options);
  const header = 20 + options.length;
  const tcp = new Uint8Array(header + packet.payload);
  const view = new DataView(tcp.buffer);
  view.setUint16(0, packet.source.port);
  view.setUint16(2, packet.destination.port);
  view.setUint32(4, packet.seq);
  view.setUint32(8, packet.ack);
  tcp[12] = (header / 4) << 4;
  tcp[13] = packet.flags;
  view.setUint16(14, packet.window);
  view.setUint16(18, packet.urgent);
  tcp.set(options, 20);
  for (let i = 0; i < packet.payload; i++) tcp[header + i] = packet.seq + i;
  view.setUint16(16, transportChecksum(packet.source.ip, packet.destination.ip, TCP, tcp));
  return wrapIp(packet.source.ip, packet.destination.ip, TCP, packet.ecn, tcp);
}

/** Puts an IP header of the addresses' family in front. */
export function wrapIp(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  ecn: Ecn,
  payload: Uint8Array,
): Uint8Array {
  const v4 = source.length === 4;
  const header = v4 ? 20 : 40;
  const bytes = new Uint8Array(header + payload.length);
  const view = new DataView(bytes.buffer);
  if (v4) {
    bytes[0] = 0x45;
    bytes[1] = ecn;
    view.setUint16(2, bytes.length);
    bytes[8] = 64;
    bytes[9] = protocol;
    bytes.set(source, 12);
    bytes.set(destination, 16);
    view.setUint16(10, fold(sumBytes(bytes.subarray(0, 20))) ^ 0xffff);
  } else {
    bytes[0] = 0x60;
    bytes[1] = ecn << 4;
    view.setUint16(4, payload.length);
    bytes[6] = protocol;
    bytes[7] = 64;
    bytes.set(source, 8);
    bytes.set(destination, 24);
  }
  bytes.set(payload, header);
  return bytes;
}

/** The complemented checksum over pseudo-header and `transport`, whose own field must be zero. */
export function transportChecksum(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  transport: Uint8Array,
): number {
  const pseudo =
    sumBytes(source) +
    sumBytes(destination) +
    protocol +
    (transport.length >>> 16) +
    (transport.length & 0xffff);
  return fold(pseudo + sumBytes(transport)) ^ 0xffff;
}

/** Reads a TCP packet without fragments or extension headers; null for anything else. Throws when a checksum is wrong. */
export function parseTcp(bytes: Uint8Array): WireTcp | null {
  const v4 = bytes[0] >>> 4 === 4;
  const header = v4 ? (bytes[0] & 15) * 4 : 40;
  if (bytes[v4 ? 9 : 6] !== TCP) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (v4 && fold(sumBytes(bytes.subarray(0, header))) !== 0xffff) {
    throw new Error('an IPv4 header left with a wrong checksum');
  }
  const total = v4 ? view.getUint16(2) : 40 + view.getUint16(4);
  if (total !== bytes.length) {
    throw new Error(`a packet of ${bytes.length} bytes says that it has ${total}`);
  }
  const source = bytes.slice(v4 ? 12 : 8, v4 ? 16 : 24);
  const destination = bytes.slice(v4 ? 16 : 24, v4 ? 20 : 40);
  const tcp = bytes.subarray(header);
  if (transportChecksum(source, destination, TCP, tcp) !== 0) {
    throw new Error('a TCP segment left with a wrong checksum');
  }
  const offset = (tcp[12] >>> 4) * 4;
  return {
    source: { ip: source, port: view.getUint16(header) },
    destination: { ip: destination, port: view.getUint16(header + 2) },
    ecn: ((v4 ? bytes[1] : bytes[1] >>> 4) & 3) as Ecn,
    flags: tcp[13],
    seq: view.getUint32(header + 4),
    ack: view.getUint32(header + 8),
    window: view.getUint16(header + 14),
    urgent: view.getUint16(header + 18),
    options: parseOptions(tcp.subarray(20, offset)),
    payload: tcp.length - offset,
  };
}

export interface WireIcmp {
  type: number;
  code: number;
  mtu: number;
}

/** An ICMP error from `source` to `destination` that quotes the start of a packet sent by `destination`. */
export function buildIcmpError(
  source: Uint8Array,
  destination: Uint8Array,
  error: WireIcmp,
  quoted: Uint8Array,
): Uint8Array {
  const v4 = source.length === 4;
  const quote = quoted.subarray(0, (v4 ? 20 : 40) + 8);
  const icmp = new Uint8Array(8 + quote.length);
  const view = new DataView(icmp.buffer);
  icmp[0] = error.type;
  icmp[1] = error.code;
  // IPv4 has 16 bits for the next-hop MTU (RFC 1191 §4), IPv6 32 (RFC 4443 §3.2).
  if (v4) view.setUint16(6, error.mtu);
  else view.setUint32(4, error.mtu);
  icmp.set(quote, 8);
  const sum = v4 ? fold(sumBytes(icmp)) ^ 0xffff : transportChecksum(source, destination, 58, icmp);
  view.setUint16(2, sum);
  return wrapIp(source, destination, v4 ? 1 : 58, 0, icmp);
}

function buildOptions(options: TcpOption[]): Uint8Array {
  const bytes: number[] = [];
  const word = (value: number) =>
    bytes.push((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
  for (const option of options) {
    switch (option.kind) {
      case 'eol':
        bytes.push(0);
        break;
      case 'nop':
        bytes.push(1);
        break;
      case 'mss':
        bytes.push(2, 4, option.value >>> 8, option.value & 255);
        break;
      case 'wscale':
        bytes.push(3, 3, option.value);
        break;
      case 'sackOK':
        bytes.push(4, 2);
        break;
      case 'sack':
        bytes.push(5, 2 + 8 * option.blocks.length);
        for (const { left, right } of option.blocks) {
          word(left);
          word(right);
        }
        break;
      case 'timestamp':
        bytes.push(8, 10);
        word(option.value ?? 0);
        word(option.echo ?? 0);
        break;
    }
  }
  while (bytes.length % 4 !== 0) bytes.push(0);
  if (bytes.length > 40) throw new RangeError('more than 40 bytes of TCP options');
  return Uint8Array.from(bytes);
}

function parseOptions(bytes: Uint8Array): TcpOption[] {
  const options: TcpOption[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes[at];
    if (kind === 0) {
      options.push({ kind: 'eol' });
      break;
    }
    if (kind === 1) {
      options.push({ kind: 'nop' });
      at++;
      continue;
    }
    const length = bytes[at + 1];
    if (!(length >= 2) || at + length > bytes.length)
      throw new Error('a malformed TCP option left');
    if (kind === 2) options.push({ kind: 'mss', value: view.getUint16(at + 2) });
    else if (kind === 3) options.push({ kind: 'wscale', value: bytes[at + 2] });
    else if (kind === 4) options.push({ kind: 'sackOK' });
    else if (kind === 8) {
      options.push({
        kind: 'timestamp',
        value: view.getUint32(at + 2),
        echo: view.getUint32(at + 6),
      });
    } else if (kind === 5) {
      const blocks: Array<{ left: number; right: number }> = [];
      for (let block = at + 2; block < at + length; block += 8) {
        blocks.push({ left: view.getUint32(block), right: view.getUint32(block + 4) });
      }
      options.push({ kind: 'sack', blocks });
    } else {
      throw new Error(`a TCP option of unknown kind ${kind} left`);
    }
    at += length;
  }
  return options;
}

function sumBytes(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i] << 8 : bytes[i];
  return sum;
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}
