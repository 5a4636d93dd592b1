/**
 * Puts consecutive TCP segments of a batch together to super-segments, so that what is behind the tunnel handles 64 KiB at
 * once instead of 1400 bytes: the counterpart of `segments.ts`, and what a kernel calls GRO.
 *
 * A segment is appended when nothing of its flow is lost by it: same addresses, ports, options, acknowledgement and window;
 * next in sequence; no flags but ACK and PSH; right checksums. Every other packet of the flow sends out first what was
 * collected, so that a flow keeps its order. Flows are independent of each other.
 */

import {
  Accept,
  CHECKSUM_PARTIAL,
  CHECKSUM_TRUSTED,
  checksum,
  copyBytes,
  equalBytes,
  get16,
  get32,
  getInt32,
  HEADROOM,
  IPV4_HEADER,
  IPV6_HEADER,
  IpProtocol,
  ipv4ChecksumOk,
  Packet,
  pool,
  pseudoHeaderSum,
  put16,
  TAILROOM,
  verifyTransport,
} from '@pktkit/core';

/** Flows that are collected at the same time. */
const SLOTS = 16;
const MAX_PACKET = 65535;
const TCP_HEADER = 20;
const PSH = 0x08;
/** Of the byte with the flags: all but ACK and PSH must be off. */
const OTHER_FLAGS = 0xe7;
const ACK = 0x10;

interface Flow {
  buf: Uint8Array;
  /** The packet begins at `HEADROOM`. */
  len: number;
  ipHeader: number;
  headers: number;
  segment: number;
  nextSequence: number;
  segments: number;
}

export class Coalescer {
  /** `Accept` bits of the device behind; what it does not take is passed on as it comes. */
  accepts: number = 0;
  readonly #emit: (packet: Packet) => void;
  #flows: Flow[] = [];

  constructor(emit: (packet: Packet) => void) {
    this.#emit = emit;
  }

  /** Something waits for `flush`. */
  get isPending(): boolean {
    return this.#flows.length > 0;
  }

  push(packet: Packet): void {
    const { buf, off, len } = packet;
    const v4 = buf[off] >>> 4 === 4;
    const ipHeader = v4 ? IPV4_HEADER : IPV6_HEADER;
    // Packets with IP options or extension headers are rare, and fragments have no ports.
    const plain = v4
      ? buf[off] === 0x45 && buf[off + 9] === IpProtocol.TCP && (get16(buf, off + 6) & 0x3fff) === 0
      : buf[off + 6] === IpProtocol.TCP;
    if (!plain || len < ipHeader + TCP_HEADER) {
      this.#emit(packet);
      return;
    }
    const tcp = off + ipHeader;
    const headers = ipHeader + (buf[tcp + 12] >>> 4) * 4;
    const payload = len - headers;
    const at = this.#find(buf, off, ipHeader);
    const flags = buf[tcp + 13];
    const wanted = (this.accepts & (v4 ? Accept.TSO4 : Accept.TSO6)) !== 0;
    const mergeable =
      wanted &&
      headers >= ipHeader + TCP_HEADER &&
      payload > 0 &&
      (flags & OTHER_FLAGS) === 0 &&
      (flags & ACK) !== 0 &&
      (buf[tcp + 12] & 0x0f) === 0 &&
      (!v4 || ipv4ChecksumOk(buf, off)) &&
      verifyTransport(buf, off, IpProtocol.TCP, tcp, len - ipHeader);
    if (!mergeable) {
      if (at >= 0) this.#finish(at);
      this.#emit(packet);
      return;
    }
    if (at >= 0) {
      const flow = this.#flows[at];
      if (this.#continues(flow, buf, off, ipHeader, headers, payload)) {
        copyBytes(flow.buf, HEADROOM + flow.len, buf, off + headers, payload);
        flow.len += payload;
        flow.segments++;
        flow.nextSequence = (flow.nextSequence + payload) | 0;
        flow.buf[HEADROOM + ipHeader + 13] |= flags & PSH;
        if ((flags & PSH) !== 0 || payload < flow.segment) this.#finish(at);
        return;
      }
      this.#finish(at);
    }
    if ((flags & PSH) !== 0) {
      // The sender has nothing more to say at the moment.
      this.#emit(new Packet(buf, off, len, CHECKSUM_TRUSTED));
      return;
    }
    this.#start(buf, off, len, ipHeader, headers, payload);
  }

  /** Sends out everything collected. */
  flush(): void {
    while (this.#flows.length > 0) this.#finish(0);
  }

  #start(
    buf: Uint8Array,
    off: number,
    len: number,
    ipHeader: number,
    headers: number,
    payload: number,
  ): void {
    if (this.#flows.length === SLOTS) this.#finish(0);
    const own = pool.take(HEADROOM + MAX_PACKET + TAILROOM);
    copyBytes(own, HEADROOM, buf, off, len);
    this.#flows.push({
      buf: own,
      len,
      ipHeader,
      headers,
      segment: payload,
      nextSequence: (getInt32(buf, off + ipHeader + 4) + payload) | 0,
      segments: 1,
    });
  }

  /** The flow with these addresses and ports, or -1. */
  #find(buf: Uint8Array, off: number, ipHeader: number): number {
    const flows = this.#flows;
    for (let i = 0; i < flows.length; i++) {
      const flow = flows[i];
      if (
        flow.ipHeader === ipHeader &&
        getInt32(flow.buf, HEADROOM + ipHeader) === getInt32(buf, off + ipHeader) &&
        sameAddresses(flow.buf, HEADROOM, buf, off, ipHeader)
      ) {
        return i;
      }
    }
    return -1;
  }

  #continues(
    flow: Flow,
    buf: Uint8Array,
    off: number,
    ipHeader: number,
    headers: number,
    payload: number,
  ): boolean {
    const own = flow.buf;
    const tcp = off + ipHeader;
    const ownTcp = HEADROOM + ipHeader;
    return (
      getInt32(buf, tcp + 4) === flow.nextSequence &&
      headers === flow.headers &&
      payload <= flow.segment &&
      flow.len + payload <= MAX_PACKET &&
      // Acknowledgement, window, options.
      get32(buf, tcp + 8) === get32(own, ownTcp + 8) &&
      get16(buf, tcp + 14) === get16(own, ownTcp + 14) &&
      equalBytes(
        buf,
        tcp + TCP_HEADER,
        own,
        ownTcp + TCP_HEADER,
        headers - ipHeader - TCP_HEADER,
      ) &&
      sameHeader(own, buf, off, ipHeader)
    );
  }

  #finish(at: number): void {
    const [flow] = this.#flows.splice(at, 1);
    const { buf, len, ipHeader, segments } = flow;
    let offload = CHECKSUM_TRUSTED;
    if (segments > 1) {
      if (ipHeader === IPV4_HEADER) {
        put16(buf, HEADROOM + 2, len);
        put16(buf, HEADROOM + 10, 0);
        put16(buf, HEADROOM + 10, checksum(buf, HEADROOM, IPV4_HEADER));
      } else {
        put16(buf, HEADROOM + 4, len - IPV6_HEADER);
      }
      const pseudo = pseudoHeaderSum(buf, HEADROOM, IpProtocol.TCP, len - ipHeader);
      put16(buf, HEADROOM + ipHeader + 16, pseudo);
      offload |= flow.segment | CHECKSUM_PARTIAL;
    }
    this.#emit(new Packet(buf, HEADROOM, len, offload));
    pool.give(buf);
  }
}

function sameAddresses(
  a: Uint8Array,
  aOff: number,
  b: Uint8Array,
  bOff: number,
  ipHeader: number,
): boolean {
  return ipHeader === IPV4_HEADER
    ? getInt32(a, aOff + 12) === getInt32(b, bOff + 12) &&
        getInt32(a, aOff + 16) === getInt32(b, bOff + 16)
    : equalBytes(a, aOff + 8, b, bOff + 8, 32);
}

/** Type of service, flow label, don't-fragment and hop limit: one header has to stand for all. */
function sameHeader(own: Uint8Array, buf: Uint8Array, off: number, ipHeader: number): boolean {
  if (ipHeader === IPV4_HEADER) {
    return (
      buf[off + 1] === own[HEADROOM + 1] &&
      buf[off + 6] === own[HEADROOM + 6] &&
      buf[off + 8] === own[HEADROOM + 8]
    );
  }
  return getInt32(buf, off) === getInt32(own, HEADROOM) && buf[off + 7] === own[HEADROOM + 7];
}
