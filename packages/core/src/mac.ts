/** Ethernet addresses: a 48-bit integer on the data path, an immutable value at the edges. */

import { get16, get32, put16, put32 } from './bytes.ts';
import { PktkitError } from './errors.ts';
import { type Random32, random32 } from './random.ts';

export class MacAddr {
  /** The 48 bits as an unsigned integer, first byte most significant: exact in a double, usable as a `Map` key. */
  readonly value: number;

  private constructor(value: number) {
    this.value = value;
  }

  static readonly BROADCAST: MacAddr = new MacAddr(0xffffffffffff);
  static readonly ZERO: MacAddr = new MacAddr(0);

  /** Accepts `02:00:5e:10:00:01`, `02-00-…`, `0200.5e10.0001` and twelve plain digits. */
  static parse(text: string): MacAddr {
    const pairs = /^(?:[0-9a-f]{2}([:-]))(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}$/i;
    const dotted = /^[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}$/i;
    if (!pairs.test(text) && !dotted.test(text) && !/^[0-9a-f]{12}$/i.test(text)) {
      throw new PktkitError(
        'PKT_INVALID_ADDRESS',
        `expected an Ethernet address such as 02:00:00:00:00:01, got ${JSON.stringify(text)}`,
      );
    }
    return new MacAddr(Number.parseInt(text.replace(/[:.-]/g, ''), 16));
  }

  static from(address: MacAddr | string): MacAddr {
    return typeof address === 'string' ? MacAddr.parse(address) : address;
  }

  static fromNumber(value: number): MacAddr {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffffffff) {
      throw new RangeError(`an Ethernet address is an integer of 48 bits, got ${value}`);
    }
    return new MacAddr(value);
  }

  /** Reads six bytes. */
  static read(buf: Uint8Array, off = 0): MacAddr {
    return new MacAddr(readMac(buf, off));
  }

  /** A random unicast address with the locally-administered bit set (IEEE 802 §8.4). */
  static random(random: Random32 = random32): MacAddr {
    const first = ((random() & 0xfc) | 0x02) * 2 ** 40;
    return new MacAddr(first + (random() & 0xff) * 2 ** 32 + random());
  }

  get isBroadcast(): boolean {
    return this.value === 0xffffffffffff;
  }

  /** True for broadcast too: the group bit is set. */
  get isMulticast(): boolean {
    return (Math.floor(this.value / 2 ** 40) & 1) === 1;
  }

  equals(other: MacAddr): boolean {
    return this.value === other.value;
  }

  write(buf: Uint8Array, off = 0): void {
    writeMac(buf, off, this.value);
  }

  toString(): string {
    const digits = this.value.toString(16).padStart(12, '0');
    return digits.replace(/..(?!$)/g, '$&:');
  }

  toJSON(): string {
    return this.toString();
  }
}

/** Six bytes as an unsigned 48-bit integer. */
export function readMac(buf: Uint8Array, off: number): number {
  return get16(buf, off) * 0x100000000 + get32(buf, off + 2);
}

export function writeMac(buf: Uint8Array, off: number, mac: number): void {
  put16(buf, off, Math.floor(mac / 0x100000000));
  put32(buf, off + 2, mac % 0x100000000);
}
