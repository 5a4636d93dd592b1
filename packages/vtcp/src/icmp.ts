/** ICMP errors about our own segments: which flow they quote, and what they mean (RFC 5927 on how far to believe them). */

import { get16, get32, getInt32, IpProtocol, type Packet } from '@pktkit/core';
import type { Connection } from './connection.ts';
import type { FlowKey } from './flow.ts';
import { onPacketTooBig } from './mtu.ts';
import { seqGe, seqLe } from './seq.ts';
import { SYN_SENT } from './state.ts';

export type IcmpMeaning = 'too-big' | 'refused' | 'host' | 'net' | 'none';

/** The error's content; one is refilled. */
export interface IcmpError {
  meaning: IcmpMeaning;
  /** Of `too-big`; 0 when an old router did not say (RFC 1191 §4). */
  mtu: number;
  seq: number;
}

/** Reads an ICMP or ICMPv6 error that quotes a TCP segment of ours; fills `key` and gives null for anything else. */
export function quotedFlow(packet: Packet, key: FlowKey): IcmpError | null {
  const { buf, off, len } = packet;
  const transport = packet.transport;
  if (transport < 0) return null;
  const at = off + (transport & 0xffff);
  const end = off + len;
  const protocol = transport >>> 16;
  if (end - at < 8) return null;
  const quoted = at + 8;
  const error: IcmpError = { meaning: 'none', mtu: 0, seq: 0 };
  if (protocol === IpProtocol.ICMP && packet.version === 4) {
    meaningV4(error, buf, at);
    if (error.meaning === 'none' || end - quoted < 20 || buf[quoted] >>> 4 !== 4) return null;
    const header = (buf[quoted] & 15) * 4;
    if (header < 20 || buf[quoted + 9] !== IpProtocol.TCP) return null;
    // Eight bytes of the segment at least: ports and sequence number. A later fragment has others there.
    if (end - quoted < header + 8 || (get16(buf, quoted + 6) & 0x1fff) !== 0) return null;
    key.family = 4;
    key.l0 = key.l1 = key.r0 = key.r1 = 0;
    key.l2 = key.r2 = 0xffff;
    key.l3 = getInt32(buf, quoted + 12);
    key.r3 = getInt32(buf, quoted + 16);
    readTcp(error, key, buf, quoted + header);
    return error;
  }
  if (protocol === IpProtocol.ICMPV6 && packet.version === 6) {
    meaningV6(error, buf, at);
    if (error.meaning === 'none' || end - quoted < 48 || buf[quoted] >>> 4 !== 6) return null;
    // We send no extension headers.
    if (buf[quoted + 6] !== IpProtocol.TCP) return null;
    key.family = 6;
    key.l0 = getInt32(buf, quoted + 8);
    key.l1 = getInt32(buf, quoted + 12);
    key.l2 = getInt32(buf, quoted + 16);
    key.l3 = getInt32(buf, quoted + 20);
    key.r0 = getInt32(buf, quoted + 24);
    key.r1 = getInt32(buf, quoted + 28);
    key.r2 = getInt32(buf, quoted + 32);
    key.r3 = getInt32(buf, quoted + 36);
    readTcp(error, key, buf, quoted + 40);
    return error;
  }
  return null;
}

function readTcp(error: IcmpError, key: FlowKey, buf: Uint8Array, at: number): void {
  key.ports = (get16(buf, at) << 16) | get16(buf, at + 2);
  error.seq = getInt32(buf, at + 4);
}

/** RFC 792, RFC 1122 §3.2.2.1. */
function meaningV4(error: IcmpError, buf: Uint8Array, at: number): void {
  const type = buf[at];
  const code = buf[at + 1];
  // Time exceeded and parameter problems are soft and say nothing that a timeout does not.
  if (type !== 3) return;
  if (code === 4) {
    error.meaning = 'too-big';
    error.mtu = get16(buf, at + 6);
  } else if (code === 2 || code === 3) {
    error.meaning = 'refused';
  } else {
    error.meaning = code === 0 || code === 6 || code === 9 || code === 11 ? 'net' : 'host';
  }
}

/** RFC 4443 §3. */
function meaningV6(error: IcmpError, buf: Uint8Array, at: number): void {
  const type = buf[at];
  const code = buf[at + 1];
  if (type === 2) {
    error.meaning = 'too-big';
    error.mtu = Math.min(65535, get32(buf, at + 4));
  } else if (type === 1) {
    if (code === 4) error.meaning = 'refused';
    else error.meaning = code === 0 ? 'net' : 'host';
  }
}

/** Acts on an error about a connection; false when it quotes nothing that is in flight. */
export function takeIcmpError(c: Connection, error: IcmpError): boolean {
  // RFC 5927 §4: who cannot see the connection cannot guess this.
  if (!(seqGe(error.seq, c.una) && seqLe(error.seq, c.nxt))) return false;
  if (error.meaning === 'too-big') {
    // RFC 1191 §5: a router that does not say makes us guess.
    onPacketTooBig(c, error.mtu === 0 ? Math.floor(c.pathMtu * 0.75) : error.mtu);
    return true;
  }
  const code =
    error.meaning === 'refused'
      ? 'ECONNREFUSED'
      : error.meaning === 'net'
        ? 'ENETUNREACH'
        : 'EHOSTUNREACH';
  // RFC 5461: hard while opening, later a hint for when the retransmissions run out.
  if (c.stateNumber === SYN_SENT) c.fail(code, 'ICMP unreachable');
  else if (code !== 'ECONNREFUSED') c.softError = code;
  return true;
}
