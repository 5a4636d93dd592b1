/**
 * Internet addresses and prefixes. On the data path an IPv4 address is an integer and an IPv6 address four 32-bit words
 * read at offsets; these values are for the edges: parsed once, immutable, comparable.
 *
 * Every address has four words `w0 … w3` (signed, as tables store them). IPv4 uses the mapped form of RFC 4291 §2.5.5.2
 * (0, 0, 0xffff, address), so one table of four key words serves both families. An address knows which family it was
 * meant for: `::ffff:192.0.2.1` written as IPv6 stays IPv6.
 */

import { getInt32, put32 } from './bytes.ts';
import { PktkitError } from './errors.ts';

export type IpFamily = 4 | 6;

/** The third word of an IPv4 address in mapped form. */
export const V4_MAPPED_WORD = 0xffff;

export class IpAddr {
  readonly family: IpFamily;
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;

  private constructor(family: IpFamily, w0: number, w1: number, w2: number, w3: number) {
    this.family = family;
    this.w0 = w0 | 0;
    this.w1 = w1 | 0;
    this.w2 = w2 | 0;
    this.w3 = w3 | 0;
  }

  /** 0.0.0.0 */
  static readonly ANY4: IpAddr = IpAddr.v4(0);
  /** :: */
  static readonly ANY6: IpAddr = IpAddr.v6(0, 0, 0, 0);
  /** 255.255.255.255 */
  static readonly BROADCAST4: IpAddr = IpAddr.v4(0xffffffff);

  /** Reads dotted IPv4 (four decimal parts without leading zeros) or IPv6 (RFC 4291 §2.2). Throws `PKT_INVALID_ADDRESS`. */
  static parse(text: string): IpAddr {
    const address = IpAddr.tryParse(text);
    if (address === null) {
      throw new PktkitError(
        'PKT_INVALID_ADDRESS',
        `expected an IP address such as 192.0.2.1 or 2001:db8::1, got ${JSON.stringify(text)}`,
      );
    }
    return address;
  }

  static tryParse(text: string): IpAddr | null {
    if (!text.includes(':')) {
      const v4 = parseV4(text);
      return v4 < 0 ? null : IpAddr.v4(v4);
    }
    const words = parseV6(text);
    return words === null ? null : IpAddr.v6(words[0], words[1], words[2], words[3]);
  }

  static from(address: IpAddr | string): IpAddr {
    return typeof address === 'string' ? IpAddr.parse(address) : address;
  }

  /** From the 32 bits, signed or unsigned. */
  static v4(value: number): IpAddr {
    return new IpAddr(4, 0, 0, V4_MAPPED_WORD, value);
  }

  static v6(w0: number, w1: number, w2: number, w3: number): IpAddr {
    return new IpAddr(6, w0, w1, w2, w3);
  }

  /** Reads 4 or 16 bytes. */
  static read(family: IpFamily, buf: Uint8Array, off = 0): IpAddr {
    if (family === 4) return IpAddr.v4(getInt32(buf, off));
    return IpAddr.v6(
      getInt32(buf, off),
      getInt32(buf, off + 4),
      getInt32(buf, off + 8),
      getInt32(buf, off + 12),
    );
  }

  /** The unsigned 32 bits of an IPv4 address (the last word of an IPv6 one). */
  get v4(): number {
    return this.w3 >>> 0;
  }

  /** 4 or 16. */
  get byteLength(): number {
    return this.family === 4 ? 4 : 16;
  }

  get isUnspecified(): boolean {
    return this.family === 4 ? this.w3 === 0 : (this.w0 | this.w1 | this.w2 | this.w3) === 0;
  }

  get isMulticast(): boolean {
    return this.family === 4 ? this.w3 >>> 28 === 0xe : this.w0 >>> 24 === 0xff;
  }

  /** 255.255.255.255 only; a subnet's own broadcast address is known to its `Prefix`. */
  get isLimitedBroadcast(): boolean {
    return this.family === 4 && this.w3 === -1;
  }

  /** 127.0.0.0/8 or ::1. */
  get isLoopback(): boolean {
    if (this.family === 4) return this.w3 >>> 24 === 127;
    return (this.w0 | this.w1 | this.w2) === 0 && this.w3 === 1;
  }

  /** 169.254.0.0/16 or fe80::/10. */
  get isLinkLocal(): boolean {
    return this.family === 4 ? this.w3 >>> 16 === 0xa9fe : this.w0 >>> 22 === 0x3fa;
  }

  /** True for an IPv6 value within ::ffff:0:0/96. */
  get isV4Mapped(): boolean {
    return this.family === 6 && (this.w0 | this.w1) === 0 && this.w2 === V4_MAPPED_WORD;
  }

  equals(other: IpAddr): boolean {
    return (
      this.family === other.family &&
      this.w3 === other.w3 &&
      this.w2 === other.w2 &&
      this.w1 === other.w1 &&
      this.w0 === other.w0
    );
  }

  /** Negative, zero or positive: IPv4 before IPv6, then by value. */
  compare(other: IpAddr): number {
    return (
      this.family - other.family ||
      (this.w0 >>> 0) - (other.w0 >>> 0) ||
      (this.w1 >>> 0) - (other.w1 >>> 0) ||
      (this.w2 >>> 0) - (other.w2 >>> 0) ||
      (this.w3 >>> 0) - (other.w3 >>> 0)
    );
  }

  /** Compares with the bytes of an address of this family at `off`. */
  matches(buf: Uint8Array, off: number): boolean {
    if (this.family === 4) return getInt32(buf, off) === this.w3;
    return (
      getInt32(buf, off + 12) === this.w3 &&
      getInt32(buf, off + 8) === this.w2 &&
      getInt32(buf, off + 4) === this.w1 &&
      getInt32(buf, off) === this.w0
    );
  }

  /** Writes 4 or 16 bytes. */
  write(buf: Uint8Array, off = 0): void {
    if (this.family === 4) {
      put32(buf, off, this.w3);
      return;
    }
    put32(buf, off, this.w0);
    put32(buf, off + 4, this.w1);
    put32(buf, off + 8, this.w2);
    put32(buf, off + 12, this.w3);
  }

  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.byteLength);
    this.write(bytes);
    return bytes;
  }

  /** The address `n` above this one within its family; wraps. `n` may be negative. */
  plus(n: number): IpAddr {
    if (this.family === 4) return IpAddr.v4(this.w3 + n);
    let value =
      (BigInt(this.w0 >>> 0) << 96n) |
      (BigInt(this.w1 >>> 0) << 64n) |
      (BigInt(this.w2 >>> 0) << 32n) |
      BigInt(this.w3 >>> 0);
    value = BigInt.asUintN(128, value + BigInt(n));
    const word = (shift: bigint) => Number((value >> shift) & 0xffffffffn);
    return IpAddr.v6(word(96n), word(64n), word(32n), word(0n));
  }

  /** IPv6 in the canonical form of RFC 5952. */
  toString(): string {
    return this.family === 4 ? formatV4(this.w3) : formatV6(this.w0, this.w1, this.w2, this.w3);
  }

  toJSON(): string {
    return this.toString();
  }
}

/** An address together with the length of its network prefix: `192.168.1.7/24` is host .7 in network .0/24. */
export class Prefix {
  readonly addr: IpAddr;
  /** 0–32 or 0–128. */
  readonly bits: number;
  readonly #mask: readonly [number, number, number, number];

  private constructor(addr: IpAddr, bits: number) {
    this.addr = addr;
    this.bits = bits;
    const of128 = addr.family === 4 ? bits + 96 : bits;
    this.#mask = [
      wordMask(of128),
      wordMask(of128 - 32),
      wordMask(of128 - 64),
      wordMask(of128 - 96),
    ];
  }

  /** Reads `address/length`; an address alone is the whole address (/32 or /128). */
  static parse(text: string): Prefix {
    const slash = text.indexOf('/');
    const addr = IpAddr.tryParse(slash < 0 ? text : text.slice(0, slash));
    const length = slash < 0 ? '' : text.slice(slash + 1);
    const bits = slash < 0 ? (addr?.family === 4 ? 32 : 128) : Number(length);
    const max = addr?.family === 4 ? 32 : 128;
    if (addr === null || bits > max || (slash >= 0 && !/^(0|[1-9][0-9]{0,2})$/.test(length))) {
      throw new PktkitError(
        'PKT_INVALID_ADDRESS',
        `expected a prefix such as 192.168.1.1/24 or 2001:db8::1/64, got ${JSON.stringify(text)}`,
      );
    }
    return new Prefix(addr, bits);
  }

  static from(prefix: Prefix | string): Prefix {
    return typeof prefix === 'string' ? Prefix.parse(prefix) : prefix;
  }

  static of(addr: IpAddr, bits: number): Prefix {
    const max = addr.family === 4 ? 32 : 128;
    if (!Number.isInteger(bits) || bits < 0 || bits > max) {
      throw new RangeError(`a prefix length of ${addr} is 0 to ${max}, got ${bits}`);
    }
    return new Prefix(addr, bits);
  }

  get family(): IpFamily {
    return this.addr.family;
  }

  /** The mask as four words, in the mapped form that `IpAddr` uses. */
  get mask(): readonly [number, number, number, number] {
    return this.#mask;
  }

  /** The network's first address with the same length. */
  get network(): Prefix {
    const [m0, m1, m2, m3] = this.#mask;
    const { w0, w1, w2, w3 } = this.addr;
    const first =
      this.family === 4 ? IpAddr.v4(w3 & m3) : IpAddr.v6(w0 & m0, w1 & m1, w2 & m2, w3 & m3);
    return new Prefix(first, this.bits);
  }

  /** The last address of the network: for IPv4, its directed broadcast address. */
  get last(): IpAddr {
    const [m0, m1, m2, m3] = this.#mask;
    const { w0, w1, w2, w3 } = this.addr;
    if (this.family === 4) return IpAddr.v4(w3 | ~m3);
    return IpAddr.v6(w0 | ~m0, w1 | ~m1, w2 | ~m2, w3 | ~m3);
  }

  /** The directed broadcast address; null for IPv6 and for /31 and /32, which have none (RFC 3021). */
  get broadcast(): IpAddr | null {
    return this.family === 4 && this.bits < 31 ? this.last : null;
  }

  /** The IPv4 netmask as 255.255.255.0 would be written. */
  get netmask(): IpAddr {
    const [m0, m1, m2, m3] = this.#mask;
    return this.family === 4 ? IpAddr.v4(m3) : IpAddr.v6(m0, m1, m2, m3);
  }

  contains(address: IpAddr): boolean {
    return (
      address.family === this.family &&
      this.containsWords(address.w0, address.w1, address.w2, address.w3)
    );
  }

  /** `contains` for the data path; IPv4 in mapped form. */
  containsWords(w0: number, w1: number, w2: number, w3: number): boolean {
    const mask = this.#mask;
    const a = this.addr;
    return (
      ((w3 ^ a.w3) & mask[3]) === 0 &&
      ((w2 ^ a.w2) & mask[2]) === 0 &&
      ((w1 ^ a.w1) & mask[1]) === 0 &&
      ((w0 ^ a.w0) & mask[0]) === 0
    );
  }

  overlaps(other: Prefix): boolean {
    const shorter = this.bits <= other.bits ? this : other;
    return shorter.contains(shorter === this ? other.addr : this.addr);
  }

  equals(other: Prefix): boolean {
    return this.bits === other.bits && this.addr.equals(other.addr);
  }

  toString(): string {
    return `${this.addr}/${this.bits}`;
  }

  toJSON(): string {
    return this.toString();
  }
}

/** The mask word when `bits` leading bits of this and the following words are set. */
function wordMask(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : -1 << (32 - bits);
}

function formatV4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

function formatV6(w0: number, w1: number, w2: number, w3: number): string {
  // RFC 5952 §5: mapped addresses show their IPv4 part in dotted form.
  if ((w0 | w1) === 0 && w2 === V4_MAPPED_WORD) return `::ffff:${formatV4(w3)}`;
  const groups = [w0, w1, w2, w3].flatMap((word) => [word >>> 16, word & 0xffff]);
  let best = -1;
  let bestLength = 1; // RFC 5952 §4.2.2: one zero group alone is not shortened.
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > bestLength) {
      best = i;
      bestLength = length;
    }
    if (length > 0) i += length - 1;
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  if (best < 0) return hex(groups);
  return `${hex(groups.slice(0, best))}::${hex(groups.slice(best + bestLength))}`;
}

/** Gives -1 for anything but four decimal parts. Leading zeros are refused: some systems read them as octal. */
function parseV4(text: string): number {
  const parts = text.split('.');
  if (parts.length !== 4) return -1;
  let value = 0;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part) || Number(part) > 255) return -1;
    value = value * 256 + Number(part);
  }
  return value;
}

function parseV6(text: string): number[] | null {
  let groupsText = text;
  const tail: number[] = [];
  const lastColon = text.lastIndexOf(':');
  if (text.includes('.')) {
    const v4 = parseV4(text.slice(lastColon + 1));
    if (v4 < 0) return null;
    tail.push(v4 >>> 16, v4 & 0xffff);
    groupsText = text.slice(0, lastColon);
    // `::1.2.3.4` leaves a lone colon behind, which still stands for the run of zeros.
    if (groupsText.endsWith(':')) groupsText += ':';
    if (groupsText === '') return null;
  }
  const halves = groupsText.split('::');
  if (halves.length > 2) return null;
  const head = readGroups(halves[0]);
  const rest = halves.length === 2 ? readGroups(halves[1]) : [];
  if (head === null || rest === null) return null;
  const present = head.length + rest.length + tail.length;
  if (halves.length === 1 ? present !== 8 : present > 7) return null;
  const zeros = new Array<number>(8 - present).fill(0);
  const groups = [...head, ...zeros, ...rest, ...tail];
  return [0, 2, 4, 6].map((i) => (groups[i] << 16) | groups[i + 1]);
}

function readGroups(text: string): number[] | null {
  if (text === '') return [];
  const groups: number[] = [];
  for (const group of text.split(':')) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return null;
    groups.push(Number.parseInt(group, 16));
  }
  return groups;
}
