import { describe, expect, it } from 'vitest';
import type { TcpConnection, TcpStackStats } from '../src/index.ts';
import { seeded } from './link.ts';
import { ACK, bytes, FIN, type In, ISS, LOCAL, REMOTE, RST, SYN, Wire } from './wire.ts';

/** Segments per state; `VTCP_FUZZ=1000000` is the long run. */
const ROUNDS = Number(process.env.VTCP_FUZZ ?? 4000);

type Maker = (w: Wire) => TcpConnection;

/** A connection in each state, made by the segments that lead there. */
const STATES: Record<string, Maker> = {
  'SYN-SENT': (w) => {
    w.remotePort = 80;
    w.localPort = 1234;
    const c = w.stack.connect({ local: LOCAL, localPort: 1234, remote: REMOTE, remotePort: 80 });
    w.clock.flush();
    return c;
  },
  'SYN-RECEIVED': (w) => {
    const c = STATES['SYN-SENT'](w);
    w.inject({ flags: SYN, mss: 1460, sackOk: true, scale: 3 });
    return c;
  },
  ESTABLISHED: (w) => {
    const c = w.accept({ sackOk: true, scale: 3, ts: [1, 0] });
    c.write(bytes(20_000));
    w.clock.flush();
    return c;
  },
  'FIN-WAIT-1': (w) => {
    const c = STATES.ESTABLISHED(w);
    c.shutdown();
    w.clock.flush();
    return c;
  },
  'FIN-WAIT-2': (w) => {
    const c = w.accept({ sackOk: true });
    c.shutdown();
    w.clock.flush();
    w.inject({ seq: 1, ack: 2 });
    return c;
  },
  'CLOSE-WAIT': (w) => {
    const c = STATES.ESTABLISHED(w);
    w.inject({ flags: ACK | FIN, seq: 1, ack: 1, ts: [5, 0] });
    return c;
  },
  CLOSING: (w) => {
    const c = STATES['FIN-WAIT-1'](w);
    w.inject({ flags: ACK | FIN, seq: 1, ack: 1, ts: [5, 0] });
    return c;
  },
  'LAST-ACK': (w) => {
    const c = STATES['CLOSE-WAIT'](w);
    c.shutdown();
    w.clock.flush();
    return c;
  },
  'TIME-WAIT': (w) => {
    const c = STATES['FIN-WAIT-2'](w);
    w.inject({ flags: ACK | FIN, seq: 1, ack: 2 });
    return c;
  },
};

/** Mostly near what is expected, sometimes anywhere: that is where the branches are. */
function segment(random: () => number): In {
  const pick = <T>(...of: T[]): T => of[random() % of.length];
  const near = () =>
    pick(0, 1, 2, 100, 1461, 20_001, 20_002, 65_536, -1, -100_000, random() | 0, (2 ** 31) | 0) +
    (random() % 3);
  const s: In = {
    flags: pick(ACK, ACK, ACK, ACK | 8, ACK | FIN, SYN, SYN | ACK, RST, RST | ACK, random() & 255),
    seq: near(),
    ack: near(),
    window: pick(0, 1, 1000, 65_535),
    data: pick(0, 0, 0, 1, 100, 1460, 5000),
    ecn: random() & 3,
  };
  if (random() % 2 === 0)
    s.ts = [pick(1, 2, 10, 1000, random() | 0), pick(0, 11_000, random() | 0)];
  if (random() % 3 === 0) {
    s.sack = Array.from({ length: 1 + (random() % 3) }, () => [near(), near()] as [number, number]);
  }
  if (((s.flags ?? 0) & SYN) !== 0) {
    s.mss = pick(0, 1, 536, 1460, 65_535);
    s.scale = pick(0, 7, 14, 255);
    s.sackOk = pick(true, false);
  }
  if (random() % 16 === 0)
    s.rawOptions = Array.from({ length: random() % 40 }, () => random() & 255);
  return s;
}

describe('hostile segments in every state', () => {
  for (const [state, make] of Object.entries(STATES)) {
    it(`${state}: nothing throws, grows without bound, or answers for ever`, () => {
      const random = seeded(state.length * 7919);
      let done = 0;
      while (done < ROUNDS) {
        const w = new Wire({ defaults: { receiveBuffer: 60_000, sendBuffer: 60_000 } });
        const c = make(w);
        expect(c.state).toBe(state);
        let sent = w.out.length;
        const run = Math.min(400, ROUNDS - done);
        for (let i = 0; i < run; i++) {
          w.inject(segment(random));
          if (random() % 8 === 0) w.wait(random() % 700);
          if (random() % 16 === 0) c.write(bytes(500));
          if (random() % 16 === 0) c.read(new Uint8Array(700));
          // The receive window's promise, and one answer (with its retransmissions) per segment.
          expect(c.readable).toBeLessThanOrEqual(60_000);
          expect(w.out.length - sent).toBeLessThan(220);
          expect(c.info.inFlight).toBeGreaterThanOrEqual(0);
          sent = w.out.length;
        }
        done += run;
        c.abort();
        w.wait(200_000);
        expect(w.stack.connections).toBe(0);
        expect((w.stack as unknown as { pages: { used: number } }).pages.used).toBe(0);
      }
    });
  }

  it('bytes that are no segment at all are counted and forgotten', () => {
    const w = new Wire();
    w.accept();
    const random = seeded(99);
    for (let i = 0; i < ROUNDS; i++) {
      const packet = w.build(segment(random));
      const { buf } = packet;
      for (let n = random() % 4; n > 0; n--) buf[20 + (random() % (buf.length - 20))] = random();
      const cut = buf.subarray(0, 20 + (random() % (buf.length - 19)));
      w.clock.beginBatch();
      w.stack.handlePacket(
        new (packet.constructor as typeof import('@pktkit/core').Packet)(
          cut,
          0,
          cut.length,
          packet.offload,
        ),
      );
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
      return new (inner.constructor as typeof import('@pktkit/core').Packet)(buf, 0, buf.length);
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
