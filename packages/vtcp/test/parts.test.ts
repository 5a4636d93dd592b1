import type { Packet } from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { highSpeedDecrease, highSpeedIncrease } from '../src/congestion/highspeed.ts';
import type { Connection } from '../src/connection.ts';
import {
  ACK,
  buildSegment,
  Endpoints,
  FlowKey,
  PSH,
  Segment,
  SipHash,
  TcpStack,
} from '../src/index.ts';
import { PagedBuffer, PagePool } from '../src/paged-buffer.ts';
import { RangeSet } from '../src/range-set.ts';
import { RttEstimator } from '../src/rto.ts';
import { Covered, NOTHING_IN_FLIGHT, ScoreboardPool } from '../src/scoreboard.ts';
import { seqDiff, seqGt, seqLt } from '../src/seq.ts';
import { TimerPool } from '../src/timer-pool.ts';
import { A, A6, B, B6 } from './transfer.ts';

describe('sequence numbers', () => {
  it('compare across the wrap', () => {
    expect(seqLt(0xfffffff0 | 0, 5)).toBe(true);
    expect(seqGt(5, 0xfffffff0 | 0)).toBe(true);
    expect(seqDiff(5, 0xfffffff0 | 0)).toBe(21);
    expect(seqLt(0x7fffffff, 0x80000000 | 0)).toBe(true);
  });
});

it('SipHash-2-4 gives the reference implementation’s values (vectors_sip64 of its repository)', () => {
  const hash = SipHash.withKey(0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c);
  const words = Int32Array.of(0x03020100, 0x07060504);
  const of = (count: number) => {
    const low = hash.hash(words, count) >>> 0;
    return [(hash.high >>> 0).toString(16), low.toString(16)];
  };
  expect(of(0)).toEqual(['726fdb47', 'dd0e0e31']);
  expect(of(1)).toEqual(['cf2794e0', '277187b7']);
  expect(of(2)).toEqual(['93f5f579', '9a932462']);
});

it('HighSpeed follows the table of RFC 3649 appendix B', () => {
  for (const [w, a, b] of [
    [38, 1, 0.5],
    [118, 2, 0.44],
    [221, 3, 0.41],
    [347, 4, 0.38],
    [1058, 8, 0.33],
  ]) {
    // The table rounds the response function's exponent; the formula of §5 does not.
    expect(Math.abs(highSpeedIncrease(w) - a)).toBeLessThan(0.05 * a + 0.1);
    expect(Math.abs(highSpeedDecrease(w) - b)).toBeLessThan(0.006);
  }
});

it('RFC 6298: the first sample, the next ones, and the doubling', () => {
  const rtt = new RttEstimator(1000, 200, 60_000);
  expect(rtt.rto).toBe(1000);
  rtt.sample(100, 0, 1);
  expect([rtt.srtt, rtt.rttvar, rtt.rto]).toEqual([100, 50, 300]);
  rtt.sample(180, 0, 1);
  expect([rtt.srtt, rtt.rttvar, rtt.rto]).toEqual([110, 57.5, 340]);
  rtt.backoff = 3;
  expect(rtt.rto).toBe(2720);
  rtt.backoff = 20;
  expect(rtt.rto).toBe(60_000);
});

it('a range set is the same as a slow set of numbers, across the wrap', () => {
  const step = fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 12 }), fc.boolean());
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const base = 0x7fffffe0 | 0;
      const set = new RangeSet(1000);
      const slow = new Set<number>();
      let floor = 0;
      for (const [from, length, trim] of steps) {
        if (trim) {
          floor = Math.max(floor, from);
          set.trim((base + floor) | 0);
          for (const n of slow) if (n < floor) slow.delete(n);
        } else if (from >= floor) {
          set.add((base + from) | 0, (base + from + length) | 0);
          for (let n = from; n < from + length; n++) slow.add(n);
        }
      }
      const seen: number[] = [];
      let last = -1;
      for (const { start, end } of set.ranges) {
        const at = seqDiff(start, base);
        expect(at).toBeGreaterThan(last);
        last = seqDiff(end, base);
        for (let n = at; n < last; n++) seen.push(n);
      }
      expect(seen).toEqual([...slow].sort((a, b) => a - b));
    }),
  );
});

it('a paged buffer keeps every byte, gives memory back, and owns none when empty', () => {
  const step = fc.tuple(fc.integer({ min: 1, max: 90_000 }), fc.integer({ min: 0, max: 120_000 }));
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      const pool = new PagePool(1 << 30);
      const base = 0x7fff0000 | 0;
      const buffer = new PagedBuffer(pool, base);
      let head = 0;
      let tail = 0;
      const byte = (n: number) => (n ^ (n >>> 8) ^ (n >>> 16)) & 255;
      for (const [add, remove] of steps) {
        const bytes = Uint8Array.from({ length: add }, (_, i) => byte(tail + i));
        buffer.write((base + tail) | 0, bytes, 0, add);
        tail += add;
        const n = Math.min(remove, tail - head);
        const out = new Uint8Array(n);
        buffer.copyTo((base + head) | 0, out, 0, n);
        expect(out.every((value, i) => value === byte(head + i))).toBe(true);
        head += n;
        if (head === tail) buffer.reset((base + tail) | 0);
        else buffer.release((base + head) | 0);
        expect(pool.used).toBeLessThanOrEqual(tail - head + 2 * 65_536);
      }
      buffer.reset(0);
      expect(pool.used).toBe(0);
    }),
    { numRuns: 30 },
  );
});

it('a scoreboard that goes from one connection to another remembers nothing of the first', () => {
  const pool = new ScoreboardPool();
  const covered = new Covered();
  const first = pool.take(0);
  for (let i = 0; i < 20; i++) first.push(i * 1000, (i + 1) * 1000, i, 0);
  covered.reset(first);
  first.sack(5000, 9000, 1000, covered);
  first.markLost(first.at(2));
  first.markLost(first.at(1));
  first.markRetransmitted(first.at(1), 30);
  first.acknowledge(20_000, covered);
  pool.give(first);
  const board = pool.take(77);
  expect(board).toBe(first);
  expect([board.length, board.oldest, board.first, board.highestSacked]).toEqual([
    0,
    null,
    null,
    0,
  ]);
  expect([board.sackedBytes, board.sackedCount, board.lostBytes]).toEqual([0, 0, 0]);
  expect([board.retransmittedBytes, board.hasLost, board.nextLost()]).toEqual([0, false, -1]);
  // The same sequence numbers are new here, and so are the loss of the lowest and the order of transmission.
  for (let i = 0; i < 20; i++) board.push(i * 1000, (i + 1) * 1000, 50 + i, 0);
  expect(board.at(0).order).toBe(78);
  covered.reset(board);
  board.sack(5000, 9000, 1000, covered);
  expect([covered.sacked, covered.newestOrder, covered.reordered]).toEqual([4000, 86, false]);
  board.markLost(board.at(0));
  expect(board.nextLost()).toBe(0);
  expect(NOTHING_IN_FLIGHT.length).toBe(0);
});

it('an idle connection has neither scoreboard, timer nor buffer of its own, a busy one has', () => {
  const clock = new VirtualClock();
  const a: TcpStack = new TcpStack({ clock, output: (packet) => b.handlePacket(packet) });
  const b: TcpStack = new TcpStack({ clock, output: (packet) => late.push(packet.clone()) });
  const late: Packet[] = [];
  const deliver = () => {
    for (const packet of late.splice(0)) a.handlePacket(packet);
    clock.flush();
  };
  const accepted: Connection[] = [];
  b.listen({ port: 80, onConnection: (c) => accepted.push(c as Connection) });
  const sender = a.connect({ local: A, remote: B, remotePort: 80 }) as Connection;
  clock.flush();
  deliver();
  const [receiver] = accepted;
  sender.write(new Uint8Array(5000));
  clock.flush();
  // Its acknowledgement is on the way.
  expect(sender.board.length).toBeGreaterThan(0);
  expect(sender.timer).not.toBeNull();
  expect(a.pages.used).toBeGreaterThan(0);
  receiver.consume(receiver.readable);
  clock.advance(100);
  deliver();
  clock.advance(100);
  for (const end of [sender, receiver]) {
    expect(end.board).toBe(NOTHING_IN_FLIGHT);
    expect(end.timer).toBeNull();
  }
  expect(a.pages.used + b.pages.used).toBe(0);
});

it('a timer that goes from one connection to another fires for the second alone', () => {
  const clock = new VirtualClock();
  let made = 0;
  const make = clock.timer.bind(clock);
  clock.timer = (callback) => {
    made++;
    return make(callback);
  };
  const fired: Array<[Connection, number]> = [];
  const pool = new TimerPool(clock, (c) => fired.push([c, clock.now]));
  const [one, two] = [{ timer: null }, { timer: null }] as unknown as Connection[];
  pool.arm(one, 10);
  pool.arm(one, Number.POSITIVE_INFINITY);
  expect(one.timer).toBe(null);
  pool.arm(two, 20);
  clock.advance(15);
  expect(fired).toEqual([]);
  pool.arm(one, 18);
  clock.advance(15);
  expect(fired).toEqual([
    [one, 18],
    [two, 20],
  ]);
  expect(made).toBe(2);
});

for (const [family, local, remote] of [
  ['IPv4', A, B],
  ['IPv6', A6, B6],
] as const) {
  it(`a segment built by hand is read back with a right checksum over ${family}`, async () => {
    const { verifyTransport } = await import('@pktkit/core');
    const key = new FlowKey();
    key.set(local, 1000, remote, 2000);
    const payload = Uint8Array.from({ length: 1001 }, (_, i) => i);
    const fields = { seq: -5, ack: 7, flags: ACK | PSH, window: 99, tsVal: 3, tsEcr: 4 };
    const packet = buildSegment(new Endpoints(key), fields, payload, 0, payload.length);
    const at = packet.transport & 0xffff;
    const { buf, off, len } = packet;
    expect(verifyTransport(buf, off, 6, off + at, len - at)).toBe(true);
    const segment = new Segment();
    expect(segment.parse(buf, off + at, len - at)).toBe(true);
    expect(segment).toMatchObject({
      srcPort: 1000,
      dstPort: 2000,
      seq: -5,
      ack: 7,
      flags: ACK | PSH,
      window: 99,
      dataLen: 1001,
      tsVal: 3,
      tsEcr: 4,
    });
  });
}
