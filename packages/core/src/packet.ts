import { get16, getInt32 } from './bytes.ts';
import { IpAddr, type IpFamily } from './ip.ts';
import { IPV4_HEADER, IPV4_MF, IPV4_OFFSET_MASK, IpProtocol } from './wire/ipv4.ts';
import { IPV6_HEADER, ipv6Transport } from './wire/ipv6.ts';

/**
 * A window on an IPv4 or IPv6 packet.
 *
 * The bytes belong to somebody else and are valid until the handler that received the window returns: `clone()` to
 * keep them. Where bytes enter (a device's edge) `ipLength` validates them once; accessors do not check again.
 */
export class Packet {
  readonly buf: Uint8Array;
  readonly off: number;
  readonly len: number;
  /** See `offload.ts`; 0 for an ordinary packet. */
  readonly offload: number;

  constructor(buf: Uint8Array, off: number, len: number, offload = 0) {
    this.buf = buf;
    this.off = off;
    this.len = len;
    this.offload = offload;
  }

  /** The whole of `bytes` as one packet. */
  static of(bytes: Uint8Array): Packet {
    return new Packet(bytes, 0, bytes.length);
  }

  /** 4 or 6 in a valid packet. */
  get version(): number {
    return this.buf[this.off] >>> 4;
  }

  get family(): IpFamily {
    return this.buf[this.off] >>> 4 === 4 ? 4 : 6;
  }

  /** IPv4 protocol, or the first next-header of IPv6: `transport` walks the chain. */
  get protocol(): IpProtocol {
    return this.buf[this.off + (this.buf[this.off] >>> 4 === 4 ? 9 : 6)];
  }

  /** TTL or hop limit. */
  get ttl(): number {
    return this.buf[this.off + (this.buf[this.off] >>> 4 === 4 ? 8 : 7)];
  }

  /** IPv4 source as signed 32 bits, as tables store it. */
  get src4(): number {
    return getInt32(this.buf, this.off + 12);
  }

  /** IPv4 destination as signed 32 bits. */
  get dst4(): number {
    return getInt32(this.buf, this.off + 16);
  }

  /** A source value for code that is not on the data path. */
  get src(): IpAddr {
    const v4 = this.version === 4;
    return IpAddr.read(v4 ? 4 : 6, this.buf, this.off + (v4 ? 12 : 8));
  }

  /** A destination value for code that is not on the data path. */
  get dst(): IpAddr {
    const v4 = this.version === 4;
    return IpAddr.read(v4 ? 4 : 6, this.buf, this.off + (v4 ? 16 : 24));
  }

  /** IPv4: with options. IPv6: the fixed 40 bytes. */
  get headerLen(): number {
    const first = this.buf[this.off];
    return first >>> 4 === 4 ? (first & 15) * 4 : IPV6_HEADER;
  }

  get payloadOff(): number {
    return this.off + this.headerLen;
  }

  get payloadLen(): number {
    return this.len - this.headerLen;
  }

  /** True for any fragment but an atomic one; its payload need not start with a transport header. */
  get isFragment(): boolean {
    if (this.version === 4) {
      return (get16(this.buf, this.off + 6) & (IPV4_MF | IPV4_OFFSET_MASK)) !== 0;
    }
    return this.transport >>> 16 === IpProtocol.IPV6_FRAGMENT;
  }

  /**
   * The transport protocol and where its header starts: `protocol * 0x10000 + offset from off`. IPv6 extension
   * headers are passed over; -1 when they are malformed.
   */
  get transport(): number {
    const first = this.buf[this.off];
    if (first >>> 4 === 4) return this.buf[this.off + 9] * 0x10000 + (first & 15) * 4;
    return ipv6Transport(this.buf, this.off, this.len);
  }

  /** 224.0.0.0/4 or ff00::/8. */
  get isMulticast(): boolean {
    if (this.version === 4) return this.buf[this.off + 16] >>> 4 === 0xe;
    return this.buf[this.off + 24] === 0xff;
  }

  /** A view for code that is not on the data path. */
  get bytes(): Uint8Array {
    return this.buf.subarray(this.off, this.off + this.len);
  }

  /** A copy that the caller owns. */
  clone(): Packet {
    return new Packet(this.buf.slice(this.off, this.off + this.len), 0, this.len, this.offload);
  }
}

/**
 * Validates a packet where it enters: version, header length and total length against the `len` bytes present.
 * Gives the packet's own length, at most `len` (link padding is behind it), or -1.
 */
export function ipLength(buf: Uint8Array, off: number, len: number): number {
  if (len < IPV4_HEADER) return -1;
  const first = buf[off];
  if (first >>> 4 === 4) {
    const header = (first & 15) * 4;
    const total = get16(buf, off + 2);
    return header < IPV4_HEADER || total < header || total > len ? -1 : total;
  }
  if (first >>> 4 !== 6 || len < IPV6_HEADER) return -1;
  const total = IPV6_HEADER + get16(buf, off + 4);
  return total > len ? -1 : total;
}
