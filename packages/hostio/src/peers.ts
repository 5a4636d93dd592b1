/**
 * The addresses that a socket talks to, as small integers. A handle is a place in a bounded table and the number of times
 * that the place has been given out, so that a handle kept too long is noticed and never reaches somebody else.
 *
 *     bit 29 … 18       bit 17 … 0
 *     +---------------+------------------+
 *     | generation    | record           |
 *     +---------------+------------------+
 */

import { networkInterfaces } from 'node:os';
import { FlowTable, IpAddr, PktkitError, V4_MAPPED_WORD } from '@pktkit/core';

const RECORD_BITS = 18;
const RECORD_MASK = (1 << RECORD_BITS) - 1;
const GENERATION_MASK = 0xfff;

/** Places looked at for one to recycle, so that a flood of new senders costs a bounded amount each. */
const SEARCH = 32;

export class PeerTable {
  readonly #table: FlowTable;
  #generation: Uint16Array = new Uint16Array(64);
  /** How often `retain` was called more than `release`. */
  #retained: Uint32Array = new Uint32Array(64);
  /** Heard or written to since the search last came by. */
  #recent: Uint8Array = new Uint8Array(64);
  #hand = 0;
  /** Handles made so far: tells `intern` that made one from `intern` that found one. */
  created = 0;

  constructor(capacity: number) {
    this.#table = new FlowTable({ capacity });
  }

  get size(): number {
    return this.#table.size;
  }

  /** Records are below this; arrays kept beside the table need so many places. */
  get limit(): number {
    return this.#table.limit;
  }

  /** The handle for address words (IPv4 in mapped form), port and zone; -1 when every place is retained. */
  intern(w0: number, w1: number, w2: number, w3: number, port: number, zone: number): number {
    const table = this.#table;
    let record = table.find(w0, w1, w2, w3, zone, 0, 0, 0, port, 0);
    if (record < 0) {
      record = table.insert(w0, w1, w2, w3, zone, 0, 0, 0, port, 0);
      if (record < 0) {
        if (!this.#recycle()) return -1;
        record = table.insert(w0, w1, w2, w3, zone, 0, 0, 0, port, 0);
      }
      this.#fresh(record);
    } else {
      this.#recent[record] = 1;
    }
    return (this.#generation[record] << RECORD_BITS) | record;
  }

  /** The record of a handle that is still good, else -1. */
  record(handle: number): number {
    const record = handle & RECORD_MASK;
    if (
      handle < 0 ||
      handle >>> RECORD_BITS !== this.#generation[record] ||
      !this.#table.has(record)
    ) {
      return -1;
    }
    this.#recent[record] = 1;
    return record;
  }

  retain(handle: number): void {
    const record = this.record(handle);
    if (record >= 0) this.#retained[record]++;
  }

  release(handle: number): void {
    const record = this.record(handle);
    if (record >= 0 && this.#retained[record] > 0) this.#retained[record]--;
  }

  /** Of a handle. */
  portOf(handle: number): number {
    const record = this.record(handle);
    if (record < 0) throw new PktkitError('PKT_CLOSED', 'the peer has been forgotten');
    return this.port(record);
  }

  /** Word 0 to 3 of a record's address. */
  word(record: number, index: number): number {
    return this.#table.keyWord(record, index);
  }

  zone(record: number): number {
    return this.#table.keyWord(record, 4);
  }

  port(record: number): number {
    return this.#table.keyWord(record, 8);
  }

  address(handle: number): IpAddr {
    const record = this.record(handle);
    if (record < 0) throw new PktkitError('PKT_CLOSED', 'the peer has been forgotten');
    return addressOf(
      this.word(record, 0),
      this.word(record, 1),
      this.word(record, 2),
      this.word(record, 3),
    );
  }

  format(handle: number): string {
    const record = this.record(handle);
    if (record < 0) return '';
    const address = this.address(handle);
    const zone = this.zone(record);
    const port = this.port(record);
    if (address.family === 4) return `${address}:${port}`;
    return zone === 0 ? `[${address}]:${port}` : `[${address}%${zone}]:${port}`;
  }

  #fresh(record: number): void {
    if (record >= this.#generation.length) {
      const size = this.#generation.length * 2;
      this.#generation = grown(new Uint16Array(size), this.#generation);
      this.#retained = grown(new Uint32Array(size), this.#retained);
      this.#recent = grown(new Uint8Array(size), this.#recent);
    }
    this.#generation[record] = (this.#generation[record] + 1) & GENERATION_MASK;
    this.#retained[record] = 0;
    // Not yet: a flood of senders that are heard once goes before those that are heard again.
    this.#recent[record] = 0;
    this.created++;
  }

  /** Second chance: takes the first place that is not retained and was not used since the hand last came by. */
  #recycle(): boolean {
    const { limit } = this.#table;
    let fallback = -1;
    for (let i = 0; i < SEARCH; i++) {
      const record = this.#hand;
      this.#hand = record + 1 >= limit ? 0 : record + 1;
      if (this.#retained[record] > 0) continue;
      if (this.#recent[record] === 0) return this.#table.remove(record);
      this.#recent[record] = 0;
      if (fallback < 0) fallback = record;
    }
    return fallback >= 0 && this.#table.remove(fallback);
  }
}

/** The place that a handle names, for callers that know it to be good. */
export function recordOf(handle: number): number {
  return handle & RECORD_MASK;
}

function grown<T extends Uint8Array | Uint16Array | Uint32Array>(to: T, from: T): T {
  to.set(from);
  return to;
}

/** From words; the mapped form is IPv4. */
function addressOf(w0: number, w1: number, w2: number, w3: number): IpAddr {
  if ((w0 | w1) === 0 && w2 === V4_MAPPED_WORD) return IpAddr.v4(w3);
  return IpAddr.v6(w0, w1, w2, w3);
}

/** An address with an optional zone: `fe80::1%eth0` or `fe80::1%3`. */
export function parseZoned(address: IpAddr | string): { addr: IpAddr; zone: number } {
  if (typeof address !== 'string') return { addr: address, zone: 0 };
  const percent = address.indexOf('%');
  if (percent < 0) return { addr: IpAddr.parse(address), zone: 0 };
  const name = address.slice(percent + 1);
  const addr = IpAddr.parse(address.slice(0, percent));
  if (/^[0-9]+$/.test(name)) return { addr, zone: Number(name) };
  const zone = networkInterfaces()[name]?.find((entry) => entry.family === 'IPv6')?.scopeid;
  if (zone === undefined) {
    throw new PktkitError(
      'PKT_INVALID_ADDRESS',
      `there is no interface ${JSON.stringify(name)} with IPv6 for the zone of ${address}`,
    );
  }
  return { addr, zone };
}
