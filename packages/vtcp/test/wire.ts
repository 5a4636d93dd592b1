/** A stack with a scripted peer: segments in by hand, segments out as plain objects, time by hand. */

import { CHECKSUM_TRUSTED, get16, getInt32, IpAddr, Packet, put16, put32 } from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import { type TcpConnection, TcpStack, type TcpStackOptions } from '../src/index.ts';
import { seeded } from './link.ts';

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;
export const URG = 32;
export const ECE = 64;
export const CWR = 128;

export const LOCAL: IpAddr = IpAddr.parse('192.0.2.1');
export const REMOTE: IpAddr = IpAddr.parse('198.51.100.7');

export interface Out {
  time: number;
  flags: number;
  /** Relative to the initial sequence numbers. */
  seq: number;
  ack: number;
  rawSeq: number;
  rawAck: number;
  window: number;
  len: number;
  data: Uint8Array;
  mss: number;
  scale: number;
  sackOk: boolean;
  ts: [number, number] | null;
  sack: [number, number][];
  ecn: number;
  ipLen: number;
  srcPort: number;
  dstPort: number;
}

export interface In {
  flags?: number;
  /** Relative to the peer's initial sequence number. */
  seq?: number;
  /** Relative to ours. */
  ack?: number;
  window?: number;
  data?: Uint8Array | number;
  mss?: number;
  scale?: number;
  sackOk?: boolean;
  ts?: [number, number];
  sack?: [number, number][];
  ecn?: number;
  srcPort?: number;
  dstPort?: number;
  src?: IpAddr;
  /** Options as they are, instead of those above. */
  rawOptions?: number[];
}

export const ISS = 0x7ffffff0 | 0;
export const PEER_ISS = -1000;

export class Wire {
  readonly clock: VirtualClock = new VirtualClock();
  readonly stack: TcpStack;
  readonly out: Out[] = [];
  iss = ISS;
  peerIss = PEER_ISS;
  remotePort = 4000;
  localPort = 80;
  onPacket: (packet: Packet) => void = () => {};
  /** While false, what is sent is shown to `onPacket` and not kept in `out`. */
  keeps = true;

  constructor(options: Partial<TcpStackOptions> = {}) {
    this.stack = new TcpStack({
      clock: this.clock,
      random: seeded(1),
      isn: () => ISS,
      timestampOffset: 1000,
      offload: 0,
      output: (packet) => {
        this.onPacket(packet);
        if (this.keeps) this.out.push(this.parse(packet));
      },
      ...options,
    });
    this.clock.advance(10_000);
  }

  parse(packet: Packet): Out {
    const { buf, off, len } = packet;
    const tcp = off + (packet.version === 4 ? 20 : 40);
    const header = (buf[tcp + 12] >>> 4) * 4;
    const rawSeq = getInt32(buf, tcp + 4);
    const rawAck = getInt32(buf, tcp + 8);
    const o: Out = {
      time: this.clock.now,
      flags: buf[tcp + 13],
      seq: (rawSeq - this.iss) | 0,
      ack: (rawAck - this.peerIss) | 0,
      rawSeq,
      rawAck,
      window: get16(buf, tcp + 14),
      len: off + len - tcp - header,
      data: buf.slice(tcp + header, off + len),
      mss: 0,
      scale: -1,
      sackOk: false,
      ts: null,
      sack: [],
      ecn: packet.version === 4 ? buf[off + 1] & 3 : (buf[off + 1] >>> 4) & 3,
      ipLen: len,
      srcPort: get16(buf, tcp),
      dstPort: get16(buf, tcp + 2),
    };
    for (let at = tcp + 20; at < tcp + header; ) {
      const kind = buf[at];
      if (kind === 1) {
        at++;
        continue;
      }
      if (kind === 0) break;
      const size = buf[at + 1];
      if (kind === 2) o.mss = get16(buf, at + 2);
      else if (kind === 3) o.scale = buf[at + 2];
      else if (kind === 4) o.sackOk = true;
      else if (kind === 8) o.ts = [getInt32(buf, at + 2), getInt32(buf, at + 6)];
      else if (kind === 5) {
        for (let b = at + 2; b < at + size; b += 8) {
          o.sack.push([
            (getInt32(buf, b) - this.peerIss) | 0,
            (getInt32(buf, b + 4) - this.peerIss) | 0,
          ]);
        }
      }
      at += size;
    }
    return o;
  }

  build(s: In): Packet {
    const options: number[] = [];
    const word = (n: number) => [(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
    if (s.rawOptions !== undefined) options.push(...s.rawOptions);
    else {
      if (s.mss !== undefined) options.push(2, 4, s.mss >> 8, s.mss & 255);
      if (s.sackOk) options.push(1, 1, 4, 2);
      if (s.ts !== undefined) options.push(1, 1, 8, 10, ...word(s.ts[0]), ...word(s.ts[1]));
      if (s.scale !== undefined) options.push(1, 3, 3, s.scale);
      if (s.sack !== undefined && s.sack.length > 0) {
        options.push(1, 1, 5, 2 + 8 * s.sack.length);
        for (const [from, to] of s.sack)
          options.push(...word(this.iss + from), ...word(this.iss + to));
      }
    }
    while (options.length % 4 !== 0) options.push(0);
    const data =
      typeof s.data === 'number' ? new Uint8Array(s.data) : (s.data ?? new Uint8Array(0));
    const header = 20 + options.length;
    const total = 20 + header + data.length;
    const buf = new Uint8Array(total);
    buf[0] = 0x45;
    buf[1] = s.ecn ?? 0;
    put16(buf, 2, total);
    buf[8] = 64;
    buf[9] = 6;
    put32(buf, 12, (s.src ?? REMOTE).v4);
    put32(buf, 16, LOCAL.v4);
    put16(buf, 20, s.srcPort ?? this.remotePort);
    put16(buf, 22, s.dstPort ?? this.localPort);
    put32(buf, 24, (this.peerIss + (s.seq ?? 0)) | 0);
    put32(buf, 28, s.ack === undefined ? 0 : (this.iss + s.ack) | 0);
    buf[32] = header << 2;
    buf[33] = s.flags ?? ACK;
    put16(buf, 34, s.window ?? 65535);
    buf.set(options, 40);
    buf.set(data, 20 + header);
    return new Packet(buf, 0, total, CHECKSUM_TRUSTED);
  }

  /** Delivers segments as one batch, and gives what was sent in answer. */
  inject(...segments: In[]): Out[] {
    const from = this.out.length;
    this.clock.beginBatch();
    for (const segment of segments) this.stack.handlePacket(this.build(segment));
    this.clock.endBatch();
    return this.out.slice(from);
  }

  /** Runs the clock on and gives what was sent meanwhile. */
  wait(milliseconds: number): Out[] {
    const from = this.out.length;
    this.clock.advance(milliseconds);
    return this.out.slice(from);
  }

  /** What an application call makes the stack send. */
  after(call: () => void): Out[] {
    const from = this.out.length;
    call();
    this.clock.flush();
    return this.out.slice(from);
  }

  /** A connection that a peer has opened to our port. */
  accept(syn: In = {}, options: object = {}, rtt = 0): TcpConnection {
    let accepted: TcpConnection | null = null;
    const listener = this.stack.listen({
      port: this.localPort,
      options,
      onConnection: (c) => {
        accepted = c;
      },
    });
    this.inject({ flags: SYN, mss: 1460, ...syn });
    this.clock.advance(rtt);
    const shape: In = { seq: 1, ack: 1 };
    if (syn.ts !== undefined) shape.ts = [syn.ts[0] + 1, this.out.at(-1)?.ts?.[0] ?? 0];
    this.inject({ ...shape, window: syn.window ?? 65535 });
    listener.close();
    if (accepted === null) throw new Error('the handshake did not complete');
    return accepted;
  }

  /** A connection that we have opened. */
  connect(synAck: In = {}, options: object = {}): TcpConnection {
    this.remotePort = 80;
    this.localPort = 1234;
    const c = this.stack.connect({
      local: LOCAL,
      localPort: 1234,
      remote: REMOTE,
      remotePort: 80,
      options,
    });
    this.clock.flush();
    const ts =
      synAck.ts !== undefined
        ? { ts: [synAck.ts[0], this.out.at(-1)?.ts?.[0] ?? 0] as [number, number] }
        : {};
    this.inject({ flags: SYN | ACK, seq: 0, ack: 1, mss: 1460, ...synAck, ...ts });
    return c;
  }
}

export interface Watch {
  events: string[];
  error: unknown;
}

/** Notes the events of a connection. */
export function watch(c: TcpConnection): Watch {
  const w: Watch = { events: [], error: undefined };
  c.onConnected = () => w.events.push('connected');
  c.onReadable = () => w.events.push('readable');
  c.onWritable = () => w.events.push('writable');
  c.onEnd = () => w.events.push('end');
  c.onClosed = (error) => {
    w.events.push(`closed ${error === null ? 'clean' : error.code}`);
    w.error = error;
  };
  return w;
}

export function bytes(n: number, from = 0): Uint8Array {
  return Uint8Array.from({ length: n }, (_, i) => (from + i) & 255);
}
