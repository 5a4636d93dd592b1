/**
 * What a packet is expected to look like: a plain object in which every field given must match and every field left
 * out may be anything. Works under any test runner; `matchers.ts` makes vitest matchers of it.
 */

import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { Frame, type Packet } from '@pktkit/core';
import {
  type ArpFields,
  type Dissection,
  dissectFrame,
  dissectPacket,
  type EtherFields,
  type IcmpFields,
  type IpFields,
  type TcpFields,
  type UdpFields,
} from './dissect.ts';

export interface ExpectedPacket extends Partial<IpFields> {
  ether?: Partial<EtherFields> | undefined;
  tcp?: Partial<TcpFields> | undefined;
  udp?: Partial<UdpFields> | undefined;
  icmp?: Partial<IcmpFields> | undefined;
  icmpv6?: Partial<IcmpFields> | undefined;
  /** The bytes behind the innermost known header; a string stands for its UTF-8 bytes. */
  payload?: Uint8Array | string | undefined;
  payloadLength?: number | undefined;
  /** Expect these problems (bad checksums, truncation) instead of none. */
  problems?: readonly string[] | undefined;
}

export interface ExpectedArp extends Partial<ArpFields> {
  ether?: Partial<EtherFields> | undefined;
}

const IP_FIELDS = [
  'version',
  'src',
  'dst',
  'proto',
  'ttl',
  'tos',
  'length',
  'id',
  'df',
  'fragment',
] as const;

/** One line for each way in which the packet differs from what is expected; empty when it matches. */
export function packetMismatches(actual: Packet | Frame, expected: ExpectedPacket): string[] {
  const seen = dissect(actual);
  const out: string[] = [];
  if (!isDeepStrictEqual(seen.problems, [...(expected.problems ?? [])])) {
    out.push(`problems: ${show(seen.problems)}, expected ${show(expected.problems ?? [])}`);
  }
  if (seen.ip === null) {
    out.push('it holds no IP packet');
    return out;
  }
  for (const field of IP_FIELDS) {
    if (expected[field] !== undefined) compare(out, field, seen.ip[field], expected[field]);
  }
  for (const layer of ['ether', 'tcp', 'udp', 'icmp', 'icmpv6'] as const) {
    compareLayer(out, layer, seen[layer], expected[layer]);
  }
  const { payload, payloadLength } = expected;
  if (payload !== undefined) {
    const bytes = typeof payload === 'string' ? new TextEncoder().encode(payload) : payload;
    compare(out, 'payload', Uint8Array.from(seen.payload), Uint8Array.from(bytes));
  }
  if (payloadLength !== undefined) {
    compare(out, 'payloadLength', seen.payload.length, payloadLength);
  }
  return out;
}

export function arpMismatches(actual: Frame, expected: ExpectedArp): string[] {
  const seen = dissectFrame(actual);
  const out: string[] = [...seen.problems];
  if (seen.arp === null) out.push('it holds no ARP message');
  const { ether, ...fields } = expected;
  compareLayer(out, 'arp', seen.arp, fields);
  compareLayer(out, 'ether', seen.ether, ether);
  return out;
}

/** Throws an AssertionError that lists the differences. */
export function assertPacket(actual: Packet | Frame, expected: ExpectedPacket): void {
  const wrong = packetMismatches(actual, expected);
  assert(wrong.length === 0, `${wrong.join('; ')}\n${describePacket(actual)}`);
}

/** One line for people: addresses, ports, flags, length. */
export function describePacket(actual: Packet | Frame): string {
  const { ether, arp, ip, tcp, udp, icmp, icmpv6, payload, problems } = dissect(actual);
  const parts: string[] = [];
  if (ether !== null) parts.push(`${ether.src} > ${ether.dst}`);
  if (arp !== null) {
    parts.push(`ARP ${arp.op} ${arp.senderIp} is at ${arp.senderMac}, asks ${arp.targetIp}`);
  }
  const ports = tcp ?? udp;
  if (ip !== null) {
    const at = (host: string, port?: number) => (port === undefined ? host : `${host}.${port}`);
    parts.push(`${at(ip.src, ports?.srcPort)} > ${at(ip.dst, ports?.dstPort)} proto ${ip.proto}`);
    if (ip.fragment !== null) parts.push(`fragment ${show(ip.fragment)}`);
  }
  if (tcp !== null) parts.push(`[${tcp.flags}] seq ${tcp.seq} ack ${tcp.ack} win ${tcp.window}`);
  const echo = icmp ?? icmpv6;
  if (echo !== null) parts.push(`ICMP type ${echo.type} code ${echo.code}`);
  parts.push(`${payload.length} bytes`, ...problems.map((problem) => `!${problem}`));
  return parts.join(', ');
}

function dissect(actual: Packet | Frame): Dissection {
  return actual instanceof Frame ? dissectFrame(actual) : dissectPacket(actual);
}

function compareLayer(
  out: string[],
  layer: string,
  seen: object | null,
  expected: object | undefined,
): void {
  if (expected === undefined) return;
  if (seen === null) {
    out.push(`it has no ${layer} header`);
    return;
  }
  const fields = seen as Record<string, unknown>;
  for (const [name, value] of Object.entries(expected)) {
    if (value !== undefined) compare(out, `${layer}.${name}`, fields[name], value);
  }
}

function compare(out: string[], name: string, seen: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(seen, expected)) {
    out.push(`${name}: ${show(seen)}, expected ${show(expected)}`);
  }
}

function show(value: unknown): string {
  if (value instanceof Uint8Array) {
    const hex = Buffer.from(value.subarray(0, 48)).toString('hex');
    return `${value.length} bytes ${hex}${value.length > 48 ? '…' : ''}`;
  }
  return JSON.stringify(value) ?? 'undefined';
}
