/**
 * ICMP error messages about a packet (RFC 792, RFC 1812 §4.3, RFC 4443 §2.4): what may be answered, with what, and how
 * often.
 */

import { copyBytes, get16, put16 } from './bytes.ts';
import { checksum, transportChecksum } from './checksum.ts';
import type { Clock } from './clock.ts';
import type { IpAddr } from './ip.ts';
import type { Packet } from './packet.ts';
import { ICMP_CHECKSUM, ICMP_HEADER, isError, write as writeIcmp } from './wire/icmp.ts';
import { ICMPV6_CHECKSUM, ICMPV6_HEADER, isError as isErrorV6 } from './wire/icmpv6.ts';
import { IPV4_HEADER, IPV4_OFFSET_MASK, IpProtocol, writeIpv4 } from './wire/ipv4.ts';
import { IPV6_HEADER, writeIpv6 } from './wire/ipv6.ts';

/** RFC 1812 §4.3.2.3: as much of the packet as fits into 576 bytes. */
const MAX_V4 = 576;
/** RFC 4443 §2.4 (c): as much as fits into the minimum MTU. */
const MAX_V6 = 1280;
/** Larger than either; what a buffer for `writeIcmpError` must hold. */
export const MAX_ICMP_ERROR: number = MAX_V6;

/**
 * Whether a packet may be answered with an ICMP error at all: never another error, never a later fragment, never what was
 * sent to or by more than one (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)). `tooBig` marks "packet too big", which answers IPv6
 * multicast too.
 */
export function mayAnswerWithError(packet: Packet, tooBig = false): boolean {
  const { buf, off, len } = packet;
  const { transport } = packet;
  if (transport < 0) return false;
  const protocol = transport >>> 16;
  const at = off + (transport & 0xffff);
  if (packet.version === 4) {
    if ((get16(buf, off + 6) & IPV4_OFFSET_MASK) !== 0) return false;
    const src = packet.src4;
    const dst = packet.dst4;
    if (src === 0 || src >>> 24 === 127 || src >>> 28 >= 0xe) return false;
    if (dst >>> 28 >= 0xe) return false;
    return protocol !== IpProtocol.ICMP || (at < off + len && !isError(buf[at]));
  }
  if (protocol === IpProtocol.IPV6_FRAGMENT) {
    if ((get16(buf, at + 2) & 0xfff8) !== 0) return false;
    // The first fragment: its transport header may be looked at.
    const first = at + 8;
    if (buf[at] === IpProtocol.ICMPV6 && (first >= off + len || isErrorV6(buf[first])))
      return false;
  }
  if (buf[off + 8] === 0xff || isZero16(buf, off + 8)) return false;
  if (packet.isMulticast && !tooBig) return false;
  return protocol !== IpProtocol.ICMPV6 || (at < off + len && !isErrorV6(buf[at]));
}

/**
 * Writes an error about `packet` into `out` and gives its length, or 0 when none may be sent. `source` is the address of
 * whoever answers, of the packet's family; `rest` the second word of the ICMP header (an MTU, a pointer).
 */
export function writeIcmpError(
  out: Uint8Array,
  outOff: number,
  packet: Packet,
  source: IpAddr,
  type: number,
  code: number,
  rest = 0,
): number {
  const { buf, off, len } = packet;
  if (packet.version === 4) {
    if (source.family !== 4 || !mayAnswerWithError(packet)) return 0;
    const quoted = Math.min(len, MAX_V4 - IPV4_HEADER - ICMP_HEADER);
    const total = IPV4_HEADER + ICMP_HEADER + quoted;
    // RFC 1812 §4.3.2.5: precedence internetwork control.
    writeIpv4(out, outOff, total, IpProtocol.ICMP, source.w3, packet.src4, 64, 0, 0, 0xc0);
    const at = outOff + IPV4_HEADER;
    writeIcmp(out, at, type, code, rest);
    copyBytes(out, at + ICMP_HEADER, buf, off, quoted);
    put16(out, at + ICMP_CHECKSUM, checksum(out, at, ICMP_HEADER + quoted));
    return total;
  }
  if (source.family !== 6 || !mayAnswerWithError(packet, type === 2)) return 0;
  const quoted = Math.min(len, MAX_V6 - IPV6_HEADER - ICMPV6_HEADER);
  const message = ICMPV6_HEADER + quoted;
  writeIpv6(out, outOff, message, IpProtocol.ICMPV6, source, packet.src);
  const at = outOff + IPV6_HEADER;
  writeIcmp(out, at, type, code, rest);
  copyBytes(out, at + ICMPV6_HEADER, buf, off, quoted);
  const check = transportChecksum(out, outOff, IpProtocol.ICMPV6, at, message);
  put16(out, at + ICMPV6_CHECKSUM, check);
  return IPV6_HEADER + message;
}

/** How often errors go out (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)): a token bucket. */
export class ErrorLimiter {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  /** 100 a second and 50 at once unless told. */
  constructor(clock: Clock, perSecond = 100, burst = 50) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#at = clock.now;
  }

  take(): boolean {
    const { now } = this.#clock;
    this.#tokens = Math.min(
      this.#burst,
      this.#tokens + ((now - this.#at) * this.#perSecond) / 1000,
    );
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

function isZero16(buf: Uint8Array, off: number): boolean {
  for (let i = 0; i < 16; i++) if (buf[off + i] !== 0) return false;
  return true;
}
