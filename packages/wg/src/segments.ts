/**
 * Takes a super-segment apart while it is sealed: every wire segment is written, with its own headers and full checksums,
 * right where the cipher takes it from. So 64 KiB cross the device once.
 *
 * What changes from segment to segment: the IP lengths and identification, the TCP sequence number, the flags that belong
 * to the first (CWR, RFC 3168 §6.1.2) or the last (FIN, PSH), and the checksums, whose constant part is summed once.
 */

import {
  combine,
  copyAndSum,
  copyBytes,
  get16,
  get32,
  IPV6_HEADER,
  IpProtocol,
  type Packet,
  pseudoHeaderSum,
  put16,
  put32,
  SEGMENT_SIZE_MASK,
  sum,
} from '@pktkit/core';

const TCP_HEADER = 20;
const UDP_HEADER = 8;
const FIN_PSH = 0x09;
const CWR = 0x80;

export class SegmentWriter {
  #buf: Uint8Array = new Uint8Array(0);
  #off = 0;
  #payload = 0;
  #size = 0;
  #count = 0;
  #headers = 0;
  #transport = 0;
  #isTcp = false;
  #isV4 = false;
  /** Constant part of the transport checksum: pseudo-header without length, header without what changes. */
  #constant = 0;
  #ipConstant = 0;
  #id = 0;
  #sequence = 0;
  #flagsWord = 0;

  /** Segments of the packet begun. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of the largest segment with its headers. */
  get largest(): number {
    return this.#headers + Math.min(this.#size, this.#payload);
  }

  /** Reads the headers of a super-segment; false when they are not those of whole TCP or UDP. */
  begin(packet: Packet): boolean {
    const { buf, off, len, transport } = packet;
    if (transport < 0 || packet.isFragment) return false;
    const protocol = transport >>> 16;
    const at = transport & 0xffff;
    this.#isTcp = protocol === IpProtocol.TCP;
    if (!this.#isTcp && protocol !== IpProtocol.UDP) return false;
    if (at + (this.#isTcp ? TCP_HEADER : UDP_HEADER) > len) return false;
    const header = this.#isTcp ? (buf[off + at + 12] >>> 4) * 4 : UDP_HEADER;
    if (header < UDP_HEADER || (this.#isTcp && header < TCP_HEADER) || at + header > len) {
      return false;
    }
    this.#buf = buf;
    this.#off = off;
    this.#transport = at;
    this.#headers = at + header;
    this.#payload = len - this.#headers;
    this.#size = packet.offload & SEGMENT_SIZE_MASK;
    this.#count = Math.max(1, Math.ceil(this.#payload / this.#size));
    this.#isV4 = buf[off] >>> 4 === 4;
    if (this.#isV4) {
      this.#id = get16(buf, off + 4);
      // All but total length, identification and checksum.
      const skipped = get16(buf, off + 2) + this.#id + get16(buf, off + 10);
      this.#ipConstant = minus(sum(buf, off, at), skipped);
    }
    const head = off + at;
    const all = combine(sum(buf, head, header), pseudoHeaderSum(buf, off, protocol, 0));
    if (this.#isTcp) {
      this.#sequence = get32(buf, head + 4);
      this.#flagsWord = get16(buf, head + 12);
      const { sequence, flagsWord } = { sequence: this.#sequence, flagsWord: this.#flagsWord };
      const skipped = (sequence >>> 16) + (sequence & 0xffff) + flagsWord + get16(buf, head + 16);
      this.#constant = minus(all, skipped);
    } else {
      this.#constant = minus(all, get16(buf, head + 4) + get16(buf, head + 6));
    }
    return true;
  }

  /** Writes segment `i` to `out[at …]` and gives its length. */
  write(i: number, out: Uint8Array, at: number): number {
    const headers = this.#headers;
    const from = i * this.#size;
    const chunk = Math.min(this.#size, this.#payload - from);
    const total = headers + chunk;
    copyBytes(out, at, this.#buf, this.#off, headers);
    const body = copyAndSum(out, at + headers, this.#buf, this.#off + headers + from, chunk);
    if (this.#isV4) {
      const id = (this.#id + i) & 0xffff;
      put16(out, at + 2, total);
      put16(out, at + 4, id);
      put16(out, at + 10, ~fold(this.#ipConstant + total + id));
    } else {
      put16(out, at + 4, total - IPV6_HEADER);
    }
    const head = at + this.#transport;
    const length = total - this.#transport;
    if (this.#isTcp) {
      const sequence = (this.#sequence + from) >>> 0;
      let flagsWord = this.#flagsWord;
      if (i > 0) flagsWord &= ~CWR;
      if (i < this.#count - 1) flagsWord &= ~FIN_PSH;
      put32(out, head + 4, sequence);
      put16(out, head + 12, flagsWord);
      const changed = (sequence >>> 16) + (sequence & 0xffff) + flagsWord + length;
      put16(out, head + 16, ~fold(this.#constant + changed + body));
    } else {
      put16(out, head + 4, length);
      // The length counts twice: in the header and in the pseudo-header.
      const check = ~fold(this.#constant + length * 2 + body) & 0xffff;
      put16(out, head + 6, check === 0 ? 0xffff : check);
    }
    return total;
  }

  /** Lets the caller's buffer go. */
  end(): void {
    this.#buf = NOTHING;
  }
}

const NOTHING = new Uint8Array(0);

/** Ones-complement subtraction of a sum of up to four words. */
function minus(total: number, skipped: number): number {
  return fold(total + (~fold(skipped) & 0xffff));
}

function fold(total: number): number {
  const once = (total & 0xffff) + (total >>> 16);
  return (once & 0xffff) + (once >>> 16);
}
