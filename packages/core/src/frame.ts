import { get16 } from './bytes.ts';
import { readMac, writeMac } from './mac.ts';
import { Packet } from './packet.ts';
import { ETHERNET_HEADER, EtherType, ethernetHeaderLength, VLAN_TAG } from './wire/ethernet.ts';

/**
 * A window on an Ethernet frame without its check sequence.
 *
 * The bytes belong to somebody else and are valid until the handler that received the window returns: `clone()` to
 * keep them. Whoever makes a window promises that it holds a whole header (`Frame.isValid`); accessors do not check.
 */
export class Frame {
  readonly buf: Uint8Array;
  readonly off: number;
  readonly len: number;
  /** See `offload.ts`; 0 for an ordinary frame. */
  readonly offload: number;

  constructor(buf: Uint8Array, off: number, len: number, offload = 0) {
    this.buf = buf;
    this.off = off;
    this.len = len;
    this.offload = offload;
  }

  /** The whole of `bytes` as one frame. */
  static of(bytes: Uint8Array): Frame {
    return new Frame(bytes, 0, bytes.length);
  }

  static isValid(len: number): boolean {
    return len >= ETHERNET_HEADER;
  }

  /** 48-bit integer. */
  get dst(): number {
    return readMac(this.buf, this.off);
  }

  set dst(mac: number) {
    writeMac(this.buf, this.off, mac);
  }

  /** 48-bit integer. */
  get src(): number {
    return readMac(this.buf, this.off + 6);
  }

  set src(mac: number) {
    writeMac(this.buf, this.off + 6, mac);
  }

  /** The group bit: true for multicast and broadcast. */
  get isGroup(): boolean {
    return (this.buf[this.off] & 1) === 1;
  }

  get isBroadcast(): boolean {
    return this.dst === 0xffffffffffff;
  }

  /** The type behind any tags. A value below 0x600 is an 802.3 length (IEEE 802.3 §3.2.6). */
  get etherType(): EtherType {
    const { buf, off } = this;
    if (!mayBeTag(buf[off + 12])) return get16(buf, off + 12);
    return get16(buf, off + ethernetHeaderLength(buf, off, this.len) - 2);
  }

  /** 14, and 4 more for each of up to two tags. */
  get headerLen(): number {
    const { buf, off } = this;
    if (!mayBeTag(buf[off + 12])) return ETHERNET_HEADER;
    return ethernetHeaderLength(buf, off, this.len);
  }

  /** The outer tag's 12-bit VLAN identifier, or -1 without a tag. */
  get vlan(): number {
    const type = get16(this.buf, this.off + 12);
    const tagged = type === EtherType.VLAN || type === EtherType.QINQ;
    if (!tagged || this.len < ETHERNET_HEADER + VLAN_TAG) return -1;
    return get16(this.buf, this.off + 14) & 0xfff;
  }

  get payloadOff(): number {
    return this.off + this.headerLen;
  }

  get payloadLen(): number {
    return this.len - this.headerLen;
  }

  /** The payload as a packet window on the same bytes, padding included. */
  payload(): Packet {
    const header = this.headerLen;
    return new Packet(this.buf, this.off + header, this.len - header, this.offload);
  }

  /** A view for code that is not on the data path. */
  get bytes(): Uint8Array {
    return this.buf.subarray(this.off, this.off + this.len);
  }

  /** A copy that the caller owns. */
  clone(): Frame {
    return new Frame(this.buf.slice(this.off, this.off + this.len), 0, this.len, this.offload);
  }
}

/** Whether a type that begins with this byte may be a tag's (0x8100, 0x88a8): one byte tells for nearly every frame. */
function mayBeTag(first: number): boolean {
  return first === 0x81 || first === 0x88;
}
