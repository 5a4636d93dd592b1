/**
 * Structure-aware hostile segments for a connection that stays in one state. What is sent at it is chosen around what
 * the connection itself expects just now, because that is where the branches are; when a segment has moved it on, a new
 * connection takes its place. After every segment the promises are looked at: see `Target.check`.
 */

import { CHECKSUM_TRUSTED, get16, getInt32, Packet, put16, put32 } from '@pktkit/core';
import type { Connection } from '../src/connection.ts';
import { LOST, RETRANSMITTED, SACKED } from '../src/scoreboard.ts';
import { seqDiff, seqGt, seqLe, seqMax } from '../src/seq.ts';
import { pair, seeded } from './link.ts';
import { ACK, FIN, LOCAL, REMOTE, RST, SYN, Wire } from './wire.ts';

const BUFFER = 60_000;
/** Four pages of 64 KiB: two buffers of 60,000 bytes, each of which may lie across a page's end. */
const MAX_PAGES = 4 << 16;
/** In answer to one segment: a full window of retransmissions at most, never a conversation. */
const MAX_ANSWERS = 100;

/** The peer's byte at a sequence number, and ours: any shift, loss or repetition shows. Twice, so that a run never wraps. */
const PATTERN = new Uint8Array(2 << 16);
for (let i = 0, x = 0x9e3779b9; i < 1 << 16; i++) {
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  PATTERN[i] = PATTERN[i + (1 << 16)] = x;
}

function matches(seq: number, bytes: Uint8Array): boolean {
  const at = seq & 0xffff;
  return Buffer.compare(PATTERN.subarray(at, at + bytes.length), bytes) === 0;
}

/** How each state is reached, on ports that have not been used yet. */
export const STATES: Readonly<Record<string, (t: Target) => void>> = {
  'SYN-SENT': (t) => t.dial(),
  'SYN-RECEIVED': (t) => {
    t.dial();
    t.wire.inject({ flags: SYN, mss: 1460, sackOk: true, scale: 3 });
  },
  ESTABLISHED: (t) => {
    t.accept();
    t.write(20_000);
  },
  'FIN-WAIT-1': (t) => {
    STATES.ESTABLISHED(t);
    t.shutdown();
  },
  'FIN-WAIT-2': (t) => {
    t.accept();
    t.shutdown();
    t.wire.inject({ seq: 1, ack: 2, ts: t.ts });
  },
  'CLOSE-WAIT': (t) => {
    STATES.ESTABLISHED(t);
    t.wire.inject({ flags: ACK | FIN, seq: 1, ack: 1, ts: t.ts });
  },
  CLOSING: (t) => {
    STATES['FIN-WAIT-1'](t);
    t.wire.inject({ flags: ACK | FIN, seq: 1, ack: 1, ts: t.ts });
  },
  'LAST-ACK': (t) => {
    STATES['CLOSE-WAIT'](t);
    t.shutdown();
  },
  'TIME-WAIT': (t) => {
    STATES['FIN-WAIT-2'](t);
    t.wire.inject({ flags: ACK | FIN, seq: 1, ack: 2, ts: t.ts });
  },
};

/** Those that an acknowledgement of everything ends: most segments must not carry it, or the state is hardly tried. */
const LEFT_BY_ACK = ['SYN-SENT', 'SYN-RECEIVED', 'FIN-WAIT-1', 'CLOSING', 'LAST-ACK'];

/** A stack, and the connection in it that is shot at now. */
class Target {
  wire!: Wire;
  c!: Connection;
  /** Segments sent since the last look. */
  answers = 0;
  /** Right edge that the peer has been told, by what went over the wire. */
  edge = 0;
  problem: string | null = null;
  #port = 0;
  #written = 0;
  #withTs = true;

  renew(): void {
    this.wire = new Wire({
      defaults: { receiveBuffer: BUFFER, sendBuffer: BUFFER },
      limits: { timeWait: 64 },
    });
    this.wire.onPacket = (packet) => this.#onPacket(packet);
    this.#port = 0;
  }

  begin(state: string, withTs: boolean): void {
    const { wire } = this;
    wire.keeps = true;
    wire.out.length = 0;
    this.#port = (this.#port % 60_000) + 1;
    this.#written = 0;
    this.#withTs = withTs;
    STATES[state](this);
    wire.keeps = false;
    this.answers = 0;
    if (this.c.state !== state) throw new Error(`${this.c.state} was reached instead of ${state}`);
  }

  get ts(): [number, number] {
    return [5, 0];
  }

  dial(): void {
    const { wire } = this;
    wire.remotePort = 80;
    wire.localPort = this.#port;
    this.edge = 0;
    this.c = wire.stack.connect({
      local: LOCAL,
      localPort: this.#port,
      remote: REMOTE,
      remotePort: 80,
      options: { timestamps: this.#withTs },
    }) as Connection;
    wire.clock.flush();
  }

  accept(): void {
    const { wire } = this;
    wire.remotePort = this.#port;
    wire.localPort = 80;
    const ts: { ts?: [number, number] } = this.#withTs ? { ts: [1, 0] } : {};
    this.c = wire.accept({ sackOk: true, scale: 3, ...ts }) as Connection;
    this.edge = this.c.rcvAdv;
  }

  /** Bytes of the pattern by their own sequence number. */
  write(length: number): void {
    const at = (this.c.iss + 1 + this.#written) & 0xffff;
    this.#written += this.c.write(PATTERN, at, Math.min(length, PATTERN.length - at));
    this.wire.clock.flush();
  }

  shutdown(): void {
    this.c.shutdown();
    this.wire.clock.flush();
  }

  read(length: number): void {
    const { c } = this;
    while (length > 0 && c.readable > 0) {
      const view = c.peek();
      const part = view.length > length ? view.subarray(0, length) : view;
      if (!matches(c.receive.readSeq, part)) this.problem = 'what is read is not what was sent';
      c.consume(part.length);
      length -= part.length;
    }
    this.wire.clock.flush();
  }

  inject(packet: Packet): void {
    const { clock, stack } = this.wire;
    clock.beginBatch();
    stack.handlePacket(packet);
    clock.endBatch();
  }

  /** What is promised whatever arrives. Gives what is broken. */
  check(thorough: boolean): string | null {
    const { c } = this;
    if (this.problem !== null) return this.problem;
    if (this.answers > MAX_ANSWERS) return `${this.answers} answers to one segment`;
    this.answers = 0;
    // VTCP-09: not a byte past the window that went over the wire.
    if (c.irs !== 0 && seqGt(c.receive.highest, seqMax(this.edge, c.rcvNxt)))
      return `bytes up to ${seqDiff(c.receive.highest, this.edge)} past the window`;
    if (c.readable > BUFFER) return `${c.readable} bytes to read`;
    if (c.unacknowledged > BUFFER) return `${c.unacknowledged} bytes to send`;
    if (c.stack.pages.used > MAX_PAGES) return `${c.stack.pages.used} bytes of pages`;
    if (c.inFlight < 0) return `${c.inFlight} bytes in flight`;
    if (!(c.cc.cwnd >= c.mss && c.cc.cwnd < 1e9)) return `a window of ${c.cc.cwnd}`;
    return thorough ? this.#recount() : null;
  }

  /** The scoreboard's sums against what its records say. */
  #recount(): string | null {
    const { board, una, nxt } = this.c;
    const sums = { sacked: 0, lost: 0, again: 0 };
    let at = una;
    for (let i = 0; i < board.length; i++) {
      const { seq, end, flags } = board.at(i);
      if (seq !== at || !seqGt(end, seq)) return `record ${i} does not follow the one before`;
      if ((flags & SACKED) !== 0) sums.sacked += seqDiff(end, seq);
      if ((flags & LOST) !== 0) sums.lost += seqDiff(end, seq);
      if ((flags & RETRANSMITTED) !== 0) sums.again += seqDiff(end, seq);
      at = end;
    }
    if (board.length > 0 && at !== nxt) return 'the records do not reach what was sent';
    const { sackedBytes, lostBytes, retransmittedBytes } = board;
    return sums.sacked !== sackedBytes ||
      sums.lost !== lostBytes ||
      sums.again !== retransmittedBytes
      ? `sums are ${sackedBytes}, ${lostBytes}, ${retransmittedBytes}, not ${Object.values(sums)}`
      : null;
  }

  #onPacket({ buf, off, len }: Packet): void {
    this.answers++;
    const tcp = off + 20;
    // The connection of a SYN-ACK is not known yet; its window is taken up by `accept`.
    if (this.c === undefined || get16(buf, tcp) !== this.c.localPort) return;
    if (get16(buf, tcp + 2) !== this.c.remotePort) return;
    const flags = buf[tcp + 13];
    if ((flags & RST) !== 0) return;
    const { c } = this;
    const ack = getInt32(buf, tcp + 8);
    const window = get16(buf, tcp + 14);
    const scale = c.scaleOn && (flags & SYN) === 0 ? c.rcvScale : 0;
    if ((flags & ACK) !== 0) {
      const edge = (ack + window * 2 ** scale) | 0;
      if (this.edge === 0 || seqGt(edge, this.edge)) this.edge = edge;
    }
    const data = tcp + (buf[tcp + 12] >>> 4) * 4;
    const length = off + len - data;
    if (length === 0) return;
    const seq = getInt32(buf, tcp + 4);
    // VTCP-07: a segment, sent for the first time or again, carries the bytes of its own sequence number.
    if (!matches(seq, buf.subarray(data, data + length))) this.problem = 'wrong bytes were sent';
  }
}

/** Hostile segments around what a connection expects, written into one buffer. */
export class Attacker {
  readonly #random: () => number;
  readonly #leaves: boolean;
  readonly #buf = new Uint8Array(40 + 40 + 20_000);

  constructor(random: () => number, state: string) {
    this.#random = random;
    this.#leaves = LEFT_BY_ACK.includes(state);
  }

  segment(w: Wire, c: Connection): Packet {
    const random = this.#random;
    const buf = this.#buf;
    const flags = this.#flags();
    const seq = this.#seq(c);
    let at = 40;
    const kind = random() % 16;
    if (kind === 0) for (let n = random() % 40; n > 0; n--) buf[at++] = random();
    else at = this.#options(c, flags, at);
    while (at % 4 !== 0) buf[at++] = random() & 1;
    const dataAt = (seq + (flags & SYN ? 1 : 0)) & 0xffff;
    const length = this.#length();
    buf.set(PATTERN.subarray(dataAt, dataAt + length), at);
    const total = at + length;
    buf[0] = 0x45;
    buf[1] = random() & 3;
    put16(buf, 2, total);
    put32(buf, 4, 0);
    buf[8] = 64;
    buf[9] = 6;
    put32(buf, 12, REMOTE.v4);
    put32(buf, 16, LOCAL.v4);
    put16(buf, 20, w.remotePort);
    put16(buf, 22, w.localPort);
    put32(buf, 24, seq);
    put32(buf, 28, this.#ack(c));
    buf[32] = ((at - 20) << 2) | (random() & 3);
    buf[33] = flags;
    put16(buf, 34, this.#window());
    put32(buf, 36, random());
    return new Packet(buf, 0, total, CHECKSUM_TRUSTED);
  }

  #flags(): number {
    const n = this.#random() % 64;
    if (n < 40) return ACK | (n & 8);
    if (n < 44) return ACK | FIN;
    if (n < 48) return SYN;
    if (n < 51) return SYN | ACK;
    if (n < 55) return RST;
    if (n < 57) return RST | ACK;
    return this.#random() & 255;
  }

  /** A little to either side, or not at all. */
  #jitter(): number {
    const random = this.#random;
    switch (random() & 7) {
      case 0:
        return 1;
      case 1:
        return -1;
      case 2:
        return (random() % 3000) - 1500;
      case 3:
        return (random() % 140_000) - 70_000;
      default:
        return 0;
    }
  }

  #seq(c: Connection): number {
    const random = this.#random;
    const n = random() & 15;
    if (n < 7) return (c.rcvNxt + this.#jitter()) | 0;
    if (n < 9) return (c.rcvAdv + this.#jitter()) | 0;
    if (n < 11) return (c.receive.highest + this.#jitter()) | 0;
    if (n < 13) return (c.rcvNxt + (random() % BUFFER)) | 0;
    if (n < 14) return (c.irs + this.#jitter()) | 0;
    if (n < 15) return (c.rcvNxt + 2 ** 31 + this.#jitter()) | 0;
    return random() | 0;
  }

  #ack(c: Connection): number {
    const random = this.#random;
    const n = random() & 15;
    if (n < 6) return c.una;
    if (n < 9) return (c.una + (random() % Math.max(1, seqDiff(c.nxt, c.una)))) | 0;
    if (n < 11) return (c.una + this.#jitter()) | 0;
    if (n < 13 && (!this.#leaves || random() % 16 === 0)) return c.nxt;
    if (n < 14) return (c.nxt + 1 + (random() % 70_000)) | 0;
    if (n < 15) return (c.una + 2 ** 31 + this.#jitter()) | 0;
    return random() | 0;
  }

  #window(): number {
    const random = this.#random;
    const n = random() & 7;
    return n === 0
      ? 0
      : n === 1
        ? 1
        : n === 2
          ? random() % 3000
          : n < 5
            ? random() & 0xffff
            : 0xffff;
  }

  #length(): number {
    const random = this.#random;
    const n = random() & 15;
    return n < 8 ? 0 : n < 10 ? 1 : n < 12 ? random() % 200 : n < 15 ? 1448 : random() % 20_000;
  }

  #options(c: Connection, flags: number, from: number): number {
    const random = this.#random;
    const buf = this.#buf;
    let at = from;
    if ((flags & SYN) !== 0) {
      if (random() & 3) {
        put32(buf, at, (2 << 24) | (4 << 16) | (random() & 1 ? 1460 : random() & 0xffff));
        at += 4;
      }
      if (random() & 1) {
        put32(buf, at, (1 << 24) | (3 << 16) | (3 << 8) | (random() & 1 ? 7 : random() & 255));
        at += 4;
      }
      if (random() & 1) {
        put32(buf, at, 0x01010402);
        at += 4;
      }
    }
    if (c.tsOn ? random() % 16 !== 0 : random() % 8 === 0) {
      put32(buf, at, 0x0101080a);
      const n = random() & 15;
      put32(buf, at + 4, n < 12 ? c.tsRecent + (n & 1) : n < 14 ? c.tsRecent - n : random());
      const m = random() & 7;
      put32(buf, at + 8, m < 6 ? c.timestamp() - (random() % 1000) : m === 6 ? 0 : random());
      at += 12;
    }
    if ((flags & SYN) === 0 && random() % 3 === 0) {
      const count = 1 + (random() % (at > 40 ? 3 : 4));
      put32(buf, at, 0x01010500 | (2 + 8 * count));
      at += 4;
      for (let i = 0; i < 2 * count; i++, at += 4) put32(buf, at, this.#sackEdge(c));
    }
    return at;
  }

  /** RFC 2018 blocks within what is in flight, on its edges, far beyond it, and turned around as chance has it. */
  #sackEdge(c: Connection): number {
    const random = this.#random;
    const n = random() & 15;
    const flight = Math.max(1, seqDiff(c.nxt, c.una));
    if (n < 8) return (c.una + (random() % flight)) | 0;
    // On the boundaries of our segments.
    if (n < 12) return (c.una + (random() % (1 + Math.ceil(flight / c.mss))) * c.mss) | 0;
    if (n < 14) return (c.nxt + this.#jitter()) | 0;
    if (n < 15) return (c.una + this.#jitter()) | 0;
    return random() | 0;
  }
}

export interface FuzzReport {
  /** Segments that arrived in the state asked for. */
  segments: number;
  /** Connections that were used up. */
  connections: number;
}

/** `rounds` hostile segments for connections in `state`. Throws when a promise is broken. */
export function fuzzState(state: string, rounds: number, seed: number): FuzzReport {
  const random = seeded(seed);
  const target = new Target();
  const attacker = new Attacker(random, state);
  const report = { segments: 0, connections: 0 };
  while (report.segments < rounds) {
    target.renew();
    // A stack lives for so many; then it must be empty.
    const until = Math.min(rounds, report.segments + 4000);
    while (report.segments < until) {
      target.begin(state, random() % 4 !== 0);
      report.connections++;
      shoot(target, attacker, random, state, report, until);
      target.c.abort();
      target.wire.clock.flush();
    }
    const { clock, stack } = target.wire;
    clock.advance(200_000);
    const left = stack.connections;
    const used = (stack as unknown as { pages: { used: number } }).pages.used;
    if (left !== 0 || used !== 0) throw new Error(`${left} connections and ${used} bytes are left`);
  }
  return report;
}

/** At one connection, for as long as it stays in the state, and a little longer: the next state is reached as well. */
function shoot(
  target: Target,
  attacker: Attacker,
  random: () => number,
  state: string,
  report: FuzzReport,
  until: number,
): void {
  const { wire, c } = target;
  let beyond = random() & 3;
  while (report.segments < until) {
    const index = report.segments;
    if (c.state === state) report.segments++;
    else if (beyond-- <= 0) return;
    target.inject(attacker.segment(wire, c));
    const broken = target.check((index & 31) === 0);
    if (broken !== null) throw new Error(`${state}, segment ${index}: ${broken}`);
    const chance = random() & 127;
    if (chance < 8) wire.clock.advance(random() % 700);
    else if (chance < 14) target.write(500);
    else if (chance < 20) target.read(700);
    else if (chance < 24) target.read(BUFFER);
    // Time may send many; that is no answer to a segment.
    if (chance < 24) target.answers = 0;
  }
}

/** What two engines may say to each other because of one forged segment, at one moment: no conversation. */
const MAX_EXCHANGE = 100;

/**
 * An attacker between two engines who knows everything shoots at both (VTCP-14): whatever they come to believe of each
 * other, they fall silent at once.
 */
export function fuzzPair(rounds: number, seed: number): FuzzReport {
  const random = seeded(seed);
  const report = { segments: 0, connections: 0 };
  const shooter = new Attacker(random, 'ESTABLISHED');
  while (report.segments < rounds) {
    const p = pair({}, seed + report.connections, {}, {});
    let said = 0;
    const count = () => {
      if (++said > MAX_EXCHANGE) throw new Error(`a conversation after segment ${report.segments}`);
      return false;
    };
    p.ab.filter = p.ba.filter = count;
    let server: Connection | null = null;
    p.b.listen({
      port: 80,
      onConnection: (c) => {
        server = c as Connection;
      },
    });
    const client = p.a.connect({ local: LOCAL, remote: REMOTE, remotePort: 80 }) as Connection;
    p.clock.advance(1);
    report.connections++;
    const ends: Array<[Connection, typeof p.a]> = [
      [client, p.a],
      [server as unknown as Connection, p.b],
    ];
    for (let i = 0; i < 200 && report.segments < rounds; i++) {
      const [c, stack] = ends[random() & 1];
      const address = { remotePort: c.remotePort, localPort: c.localPort } as Wire;
      const packet = shooter.segment(address, c);
      put32(packet.buf, 12, c.remote.v4);
      put32(packet.buf, 16, c.local.v4);
      report.segments++;
      said = 0;
      p.clock.beginBatch();
      stack.handlePacket(packet);
      p.clock.endBatch();
      p.clock.advance(0);
      // Time may send more.
      said = Number.NEGATIVE_INFINITY;
      const chance = random() & 63;
      if (chance === 0) c.shutdown();
      else if (chance < 4) c.write(PATTERN, 0, random() % 3000);
      else if (chance < 8) p.clock.advance(random() % 1000);
    }
    if (seqLe(client.nxt, client.iss)) throw new Error('sequence numbers ran backwards');
    client.abort();
    (server as unknown as Connection).abort();
    p.clock.advance(300_000);
    if (p.a.connections + p.b.connections !== 0) throw new Error('connections are left');
  }
  return report;
}
