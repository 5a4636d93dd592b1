/**
 * Route netlink messages (rtnetlink(7), the kernel's `include/uapi/linux/{netlink,rtnetlink,if_link,if_addr}.h`) as bytes:
 * building requests and reading answers. Nothing here calls the system.
 *
 *      0               4       6       8               12              16
 *     +---------------+-------+-------+---------------+---------------+------------+----------------
 *     | length        | type  | flags | sequence      | port          | fixed part | attributes …
 *     +---------------+-------+-------+---------------+---------------+------------+----------------
 *
 * An attribute is its length (header included) and type in 16 bits each, then the value, padded to 4 bytes. Integers are
 * in the machine's order, which is little-endian wherever this runs; addresses are in the network's.
 */

import { IpAddr, type IpFamily } from '@pktkit/core';

export const Rtm = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  SETLINK: 19,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
} as const;

export const Nlm = {
  REQUEST: 1,
  ACK: 4,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
} as const;

export const AF_INET = 2;
export const AF_INET6 = 10;

export function familyNumber(family: IpFamily): number {
  return family === 4 ? AF_INET : AF_INET6;
}

/** Builds one request, growing as it goes. */
export class NetlinkRequest {
  #buf: Uint8Array = new Uint8Array(256);
  #view: DataView = new DataView(this.#buf.buffer);
  #len = 16;

  constructor(type: number, flags: number) {
    this.#view.setUint16(4, type, true);
    this.#view.setUint16(6, flags | Nlm.REQUEST | Nlm.ACK, true);
  }

  /** The fixed part's fields in order: a byte, 16 or 32 bits wide each. */
  u8(value: number): this {
    this.#room(1);
    this.#buf[this.#len++] = value;
    return this;
  }

  u16(value: number): this {
    this.#room(2);
    this.#view.setUint16(this.#len, value, true);
    this.#len += 2;
    return this;
  }

  u32(value: number): this {
    this.#room(4);
    this.#view.setUint32(this.#len, value, true);
    this.#len += 4;
    return this;
  }

  attr(type: number, value: Uint8Array): this {
    const padded = (value.length + 3) & ~3;
    this.#room(4 + padded);
    this.#view.setUint16(this.#len, 4 + value.length, true);
    this.#view.setUint16(this.#len + 2, type, true);
    this.#buf.set(value, this.#len + 4);
    this.#buf.fill(0, this.#len + 4 + value.length, this.#len + 4 + padded);
    this.#len += 4 + padded;
    return this;
  }

  attrU32(type: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    return this.attr(type, bytes);
  }

  /** With the terminating zero that the kernel expects of names. */
  attrText(type: number, text: string): this {
    const bytes = new TextEncoder().encode(text);
    const terminated = new Uint8Array(bytes.length + 1);
    terminated.set(bytes);
    return this.attr(type, terminated);
  }

  attrAddress(type: number, address: IpAddr): this {
    return this.attr(type, address.toBytes());
  }

  finish(): Uint8Array {
    this.#view.setUint32(0, this.#len, true);
    return this.#buf.slice(0, this.#len);
  }

  #room(bytes: number): void {
    if (this.#len + bytes <= this.#buf.length) return;
    const grown = new Uint8Array(Math.max(this.#buf.length * 2, this.#len + bytes));
    grown.set(this.#buf);
    this.#buf = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** The attributes behind a fixed part of `from` bytes; of several with one type the last counts. */
export function readAttributes(payload: Uint8Array, from: number): Map<number, Uint8Array> {
  const attributes = new Map<number, Uint8Array>();
  for (let at = from; at + 4 <= payload.length; ) {
    const length = payload[at] | (payload[at + 1] << 8);
    if (length < 4 || at + length > payload.length) break;
    // The two top bits of the type are flags (nested, network byte order).
    const type = (payload[at + 2] | (payload[at + 3] << 8)) & 0x3fff;
    attributes.set(type, payload.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return attributes;
}

export function readU32(bytes: Uint8Array | undefined, off = 0): number | undefined {
  if (bytes === undefined || bytes.length < off + 4) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(off, true);
}

export function readText(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return '';
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

export function readAddress(family: number, bytes: Uint8Array | undefined): IpAddr | undefined {
  if (family === AF_INET && bytes?.length === 4) return IpAddr.read(4, bytes);
  if (family === AF_INET6 && bytes?.length === 16) return IpAddr.read(6, bytes);
  return undefined;
}
