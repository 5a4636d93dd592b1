/** Queries and what their answers say, on top of `dns-packet`. */

import { IpAddr } from '@pktkit/core';
import * as dnsPacket from 'dns-packet';

/** Types that the resolver asks for by itself; `query` takes any that `dns-packet` knows. */
export type RecordType = dnsPacket.RecordType;

/** Response codes of RFC 1035 §4.1.1 that matter here. */
export const Rcode = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3 } as const;

/** Answers above this size are cut by servers: it passes every path unfragmented (DNS flag day 2020). */
const UDP_PAYLOAD = 1232;
/** What goes without EDNS0 (RFC 1035 §4.2.1). */
const TRUNCATED = 0x0200;
const RESPONSE = 0x8000;

export function encodeQuery(id: number, name: string, type: RecordType, edns: boolean): Uint8Array {
  const encoded = dnsPacket.encode({
    type: 'query',
    id,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type, name, class: 'IN' }],
    ...(edns
      ? {
          additionals: [
            {
              type: 'OPT',
              name: '.',
              udpPayloadSize: UDP_PAYLOAD,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ],
        }
      : {}),
  });
  return new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.length);
}

export interface Answer {
  rcode: number;
  truncated: boolean;
  /** The answer section. */
  records: dnsPacket.Answer[];
  /** Seconds that a negative answer may be kept (RFC 2308 §5); 0 when it does not say. */
  negativeTtl: number;
}

/** Reads a message if it is the answer to this very query: id, direction and question must agree. Never throws. */
export function decodeAnswer(
  message: Uint8Array,
  id: number,
  name: string,
  type: RecordType,
): Answer | null {
  if (message.length < 12) return null;
  const flags = (message[2] << 8) | message[3];
  if (((message[0] << 8) | message[1]) !== id || (flags & RESPONSE) === 0) return null;
  let packet: dnsPacket.DecodedPacket;
  try {
    packet = dnsPacket.decode(Buffer.from(message.buffer, message.byteOffset, message.length));
  } catch {
    return null;
  }
  const question = packet.questions?.[0];
  const rcode = flags & 15;
  // Some servers answer "format error" without repeating a question they could not read (RFC 6891 §7).
  const bare = rcode === Rcode.FORMERR && packet.questions?.length === 0;
  if (
    !bare &&
    (question === undefined || !sameName(question.name, name) || question.type !== type)
  ) {
    return null;
  }
  const soa = packet.authorities?.find((record) => record.type === 'SOA');
  return {
    rcode,
    truncated: (flags & TRUNCATED) !== 0,
    records: packet.answers ?? [],
    negativeTtl: soa?.type === 'SOA' ? Math.min(soa.ttl ?? 0, soa.data.minimum ?? 0) : 0,
  };
}

/** What an answer says about a name's addresses. */
export interface Chain {
  addresses: IpAddr[];
  /** The alias to go on with when the answer stops at one; null when it does not. */
  next: string | null;
  /** Seconds: the least of all records used. */
  ttl: number;
}

/** Follows aliases within one answer from `name`; records that do not belong to the chain are not believed. */
export function followChain(
  records: readonly dnsPacket.Answer[],
  name: string,
  type: RecordType,
): Chain {
  let at = name;
  let ttl = Number.POSITIVE_INFINITY;
  const seen = new Set<string>();
  for (;;) {
    const addresses: IpAddr[] = [];
    let alias: string | null = null;
    for (const record of records) {
      if (!('name' in record) || !sameName(record.name, at)) continue;
      if (record.type === type && (record.type === 'A' || record.type === 'AAAA')) {
        const address = IpAddr.tryParse(record.data);
        if (address === null) continue;
        addresses.push(address);
        ttl = Math.min(ttl, record.ttl ?? 0);
      } else if (record.type === 'CNAME' && alias === null) {
        alias = record.data;
        ttl = Math.min(ttl, record.ttl ?? 0);
      }
    }
    if (addresses.length > 0 || alias === null || seen.has(alias.toLowerCase())) {
      return { addresses, next: addresses.length > 0 || at === name ? null : at, ttl };
    }
    seen.add(alias.toLowerCase());
    at = alias;
  }
}

function sameName(a: string, b: string): boolean {
  return a.replace(/\.$/, '').toLowerCase() === b.replace(/\.$/, '').toLowerCase();
}

/** Whether a name can be asked for: labels of 1 to 63 bytes, 253 in all (RFC 1035 §2.3.4). */
export function isAskable(name: string): boolean {
  const bare = name.replace(/\.$/, '');
  if (bare.length === 0 || bare.length > 253) return false;
  return bare.split('.').every((label) => label.length > 0 && Buffer.byteLength(label) <= 63);
}
