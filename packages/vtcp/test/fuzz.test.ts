import { Packet } from '@pktkit/core';
import { describe, expect, it } from 'vitest';
import type { Connection } from '../src/connection.ts';
import type { TcpStackStats } from '../src/index.ts';
import { Attacker, fuzzPair, fuzzState, STATES } from './fuzz.ts';
import { seeded } from './link.ts';
import { ACK, bytes, FIN, ISS, LOCAL, REMOTE, RST, SYN, Wire } from './wire.ts';

/** Segments per state; the run with a million is fuzz.script.ts. */
const ROUNDS = 20_000;

describe('hostile segments in every state', () => {
  for (const state of Object.keys(STATES)) {
    it(`${state}: nothing throws, grows without bound, or answers for ever`, () => {
      const report = fuzzState(state, ROUNDS, 1);
      expect(report.segments).toBe(ROUNDS);
      // They were spent on the state, not on making connections.
      expect(report.connections).toBeLessThan(ROUNDS / 8);
    });
  }

  it('VTCP-14: two engines with an attacker between them fall silent at once', () => {
    expect(fuzzPair(ROUNDS, 1).segments).toBe(ROUNDS);
  });

  it('bytes that are no segment at all are counted and forgotten', () => {
    const w = new Wire();
    const c = w.accept() as Connection;
    const random = seeded(99);
    const attacker = new Attacker(random, 'ESTABLISHED');
    for (let i = 0; i < ROUNDS; i++) {
      const { buf, len, offload } = attacker.segment(w, c);
      for (let n = random() % 4; n > 0; n--) buf[20 + (random() % (len - 20))] = random();
      const cut = 20 + (random() % (len - 19));
      w.clock.beginBatch();
      w.stack.handlePacket(new Packet(buf, 0, cut, offload));
      w.clock.endBatch();
    }
    expect(w.stack.stats.dropMalformed).toBeGreaterThan(0);
  });
});

describe('an attacker who does not see the connection', () => {
  it('cannot reset, inject or close it from the middle of the sequence space', () => {
    const w = new Wire();
    const c = w.accept({ sackOk: true, ts: [1000, 0], scale: 7 });
    const closed: unknown[] = [];
    c.onClosed = (error) => closed.push(error);
    const random = seeded(4242);
    for (let i = 0; i < ROUNDS; i++) {
      const flags = [RST, RST | ACK, SYN, SYN | ACK, ACK, ACK | FIN][random() % 6];
      const seq = random() | 0;
      const inWindow = (seq >>> 0) - 1 < 200_000;
      // An acknowledgement number that is right by chance would be a guess of 2^-32 times the window's share.
      const ack = random() | 0;
      if (seq === 1 || (inWindow && ack <= 1 && ack > -70_000)) continue;
      w.inject({ flags, seq, ack, data: flags === ACK ? 10 : 0 });
    }
    expect(closed).toEqual([]);
    expect(c.state).toBe('ESTABLISHED');
    expect(c.readable).toBe(0);
    const { stats } = w.stack as { stats: TcpStackStats };
    expect(stats.challengeAcks).toBeLessThanOrEqual(200);
  });

  it('cannot refuse, cut or shrink it with ICMP that quotes nothing in flight', () => {
    const w = new Wire();
    const c = w.accept();
    w.after(() => c.write(bytes(1000)));
    const quote = (seq: number, type: number, code: number, mtu: number) => {
      const inner = w.build({ seq: 0, ack: 0 });
      const buf = new Uint8Array(28 + 28);
      buf.set([0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 10, 9, 8, 7, ...LOCAL.toBytes()]);
      buf.set([type, code, 0, 0, 0, 0, mtu >> 8, mtu & 255], 20);
      buf.set(inner.buf.subarray(0, 12), 28);
      buf.set([...LOCAL.toBytes(), ...REMOTE.toBytes()], 40);
      // Ours to the peer: ports and sequence number.
      buf.set([w.localPort >> 8, w.localPort & 255, w.remotePort >> 8, w.remotePort & 255], 48);
      new DataView(buf.buffer).setInt32(52, (ISS + seq) | 0);
      return new Packet(buf, 0, buf.length);
    };
    for (let seq = 2000; seq < 2 ** 31; seq += 9_999_991) {
      expect(w.stack.handleIcmp(quote(seq, 3, 4, 600))).toBe(true);
      w.stack.handleIcmp(quote(seq, 3, 3, 0));
    }
    expect(c.info.pathMtu).toBe(1500);
    expect(c.state).toBe('ESTABLISHED');
    expect(w.stack.stats.dropIcmp).toBeGreaterThan(200);
    // The genuine one works, down to a bound.
    w.stack.handleIcmp(quote(1, 3, 4, 900));
    expect(c.info.pathMtu).toBe(900);
    w.stack.handleIcmp(quote(1, 3, 4, 68));
    expect(c.info.pathMtu).toBe(552);
  });
});
