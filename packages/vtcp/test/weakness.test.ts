import { Accept, type Packet } from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import { describe, expect, it } from 'vitest';
import { type TcpConnection, TcpStack } from '../src/index.ts';
import { pair } from './link.ts';
import { A, B, pattern, runTransfer, Sink, Source } from './transfer.ts';
import { ACK, bytes, FIN, PSH, RST, SYN, Wire, watch } from './wire.ts';

const MODERN = { sackOk: true, ts: [500, 0] as [number, number], scale: 7 };

describe('sending and closing', () => {
  it('VTCP-01: close flushes everything before the FIN', () => {
    const result = runTransfer({ link: { delay: 20, rate: 50e6 }, up: 900_000, down: 700_000 });
    expect(result.upIntact && result.downIntact).toBe(true);

    // And in CLOSE-WAIT, with a window that lets only a part out at a time.
    const w = new Wire();
    const c = w.accept({ window: 2000 });
    c.write(bytes(5000));
    w.clock.flush();
    w.inject({ flags: ACK | FIN, seq: 1, ack: 1, window: 2000 });
    c.shutdown();
    w.clock.flush();
    const got = new Map<number, number>();
    let acked = 1;
    for (let i = 0; i < 20 && acked < 5002; i++) {
      for (const o of w.out) if (o.len > 0 || (o.flags & FIN) !== 0) got.set(o.seq, o.len);
      const fin = w.out.find((o) => (o.flags & FIN) !== 0);
      if (fin) expect(fin.seq + fin.len).toBe(5001);
      while (got.has(acked)) acked += got.get(acked) || 1;
      if (fin && acked === fin.seq + fin.len) acked++;
      w.inject({ seq: 2, ack: acked, window: 2000 });
      w.wait(300);
    }
    expect(acked).toBe(5002);
    expect(c.state).toBe('CLOSED');
    expect(c.error).toBeNull();
  });

  it('VTCP-02: lost data and a lost FIN are sent again at their own sequence numbers after close', () => {
    const w = new Wire();
    const c = w.accept();
    const seen = watch(c);
    const first = w.after(() => {
      c.write(bytes(3000));
      c.close();
    });
    expect(first.map((o) => [o.seq, o.len, o.flags & FIN])).toEqual([
      [1, 1460, 0],
      [1461, 1460, 0],
      [2921, 80, FIN],
    ]);
    // Everything was lost: the timeout begins at the front, and partial acknowledgements go on from there.
    const again = w.wait(1500);
    expect(again[0].seq).toBe(1);
    const more = w.inject({ seq: 1, ack: 1461 });
    expect(more.some((o) => o.seq === 1461)).toBe(true);
    w.inject({ seq: 1, ack: 2921 });
    w.wait(5000);
    const fins = w.out.filter((o) => (o.flags & FIN) !== 0);
    expect(fins.length).toBeGreaterThan(1);
    for (const fin of fins) expect(fin.seq + fin.len).toBe(3001);
    // Simultaneous close: in CLOSING our FIN is still retransmitted (LAST-ACK and FIN-WAIT-1 alike).
    w.inject({ flags: ACK | FIN, seq: 1, ack: 2921 });
    expect(c.state).toBe('CLOSING');
    const inClosing = w.wait(120_000).filter((o) => (o.flags & FIN) !== 0);
    expect(inClosing.length).toBeGreaterThan(0);
    w.inject({ seq: 2, ack: 3002 });
    expect(c.state).toBe('TIME-WAIT');
    expect(seen.events.at(-1)).toBe('closed clean');
  });

  it('VTCP-03: a write larger than the send buffer takes what fits and goes on by itself', () => {
    const result = runTransfer({
      link: { delay: 5 },
      up: 3_000_000,
      options: { sendBuffer: 100_000 },
    });
    expect(result.upIntact).toBe(true);
    const w = new Wire({ defaults: { sendBuffer: 1000 } });
    const c = w.accept();
    expect(c.write(bytes(50_000))).toBe(1000);
    w.clock.flush();
    expect(w.out.some((o) => o.len === 1000)).toBe(true);
  });

  it('VTCP-04: reading opens the window at once, and the news restarts the sender at once', () => {
    // Our reader was slow: its window is shut, then it reads.
    const w = new Wire();
    const c = w.accept({}, { receiveBuffer: 8000, initialReceiveBuffer: 8000 });
    for (let at = 1; at < 8001; at += 1000) w.inject({ seq: at, ack: 1, data: 1000 });
    expect(w.out.at(-1)?.window).toBe(0);
    const update = w.after(() => c.read(new Uint8Array(8000)));
    expect(update).toHaveLength(1);
    expect(update[0].window).toBe(8000);
    // The peer was slow: a window update alone lets the next segment out, without a timer.
    const s = new Wire();
    const d = s.accept({ window: 1000 });
    s.after(() => d.write(bytes(3000)));
    s.inject({ seq: 1, ack: 1001, window: 0 });
    const sent = s.inject({ seq: 1, ack: 1001, window: 5000 });
    expect(sent.map((o) => [o.seq, o.len])).toEqual([
      [1001, 1460],
      [2461, 540],
    ]);
  });
});

describe('loss recovery', () => {
  it('VTCP-05: data and window updates are no duplicate acknowledgements', () => {
    const w = new Wire({ defaults: { sack: false } });
    const c = w.accept();
    w.after(() => c.write(bytes(8000)));
    const { cwnd } = c.info;
    // A download whose acknowledgement number stands still, and window updates.
    for (let i = 0; i < 10; i++) w.inject({ seq: 1 + i * 100, ack: 1, data: 100 });
    for (let i = 0; i < 10; i++) w.inject({ seq: 1001, ack: 1, window: 40_000 + i });
    expect(c.info.duplicateAcks).toBe(0);
    expect(c.info.cwnd).toBe(cwnd);
    expect(c.info.fastRecoveries).toBe(0);
    // The real thing is noticed.
    for (let i = 0; i < 3; i++) w.inject({ seq: 1001, ack: 1, window: 40_009 });
    expect(c.info.fastRecoveries).toBe(1);
  });

  for (const sack of [false, true]) {
    it(`VTCP-06: several losses in one window cost one reduction and no timeout (SACK ${sack})`, () => {
      let dropped = 0;
      const result = runTransfer({
        link: { delay: 20 },
        up: 400_000,
        options: { sack },
        prepare: ({ ab }) => {
          ab.filter = (p, i) => {
            // Four segments of one window.
            if (p.len < 1000 || ![30, 32, 34, 36].includes(i)) return false;
            dropped++;
            return true;
          };
        },
      });
      expect(dropped).toBe(4);
      expect(result.upIntact).toBe(true);
      expect(result.info.timeouts).toBe(0);
      expect(result.info.fastRecoveries).toBe(1);
      expect(result.info.retransmits).toBe(4);
    });
  }

  it('VTCP-07: a retransmission carries the bytes of its own sequence number; SACK lies change nothing', () => {
    const w = new Wire();
    const c = w.accept(MODERN);
    const data = bytes(10_000);
    w.after(() => c.write(data));
    const ts = [600, 1000] as [number, number];
    const lies: [number, number][][] = [
      [[1, 2000]], // covers SND.UNA
      [[50_000, 60_000]], // beyond SND.NXT
      [[3000, 2000]], // turned around
      [[-5000, 500_000]], // around everything
      [[0x7ffffff0, -0x7ffffff0]],
    ];
    for (const sack of lies) w.inject({ seq: 1, ack: 1, sack, ts });
    w.wait(3000);
    for (const o of w.out) {
      if (o.len === 0) continue;
      expect(o.data).toEqual(data.subarray(o.seq - 1, o.seq - 1 + o.len));
    }
    // The receiver has nothing (it lied, or has thrown it away): everything is sent again until it arrives.
    let acked = 1;
    for (let round = 0; round < 40 && acked < 10_001; round++) {
      const from = w.out.length;
      w.wait(2000);
      for (const o of w.out.slice(from)) if (o.seq === acked) acked += o.len;
      w.inject({ seq: 1, ack: acked, ts: [700 + round, w.out.at(-1)?.ts?.[0] ?? 0] });
    }
    expect(acked).toBe(10_001);
  });

  it('VTCP-07: a SACK block that reaches past what was sent counts for nothing', () => {
    const w = new Wire();
    const c = w.accept({ sackOk: true });
    w.after(() => c.write(bytes(3 * 1460)));
    w.inject({ seq: 1, ack: 1, sack: [[1461, 4382]] });
    expect(c.info.sacked).toBe(0);
    w.inject({ seq: 1, ack: 1, sack: [[1461, 4381]] });
    expect(c.info.sacked).toBe(2920);
  });

  it('VTCP-08: SACK by default, newest block first, adjacent ones merged, D-SACK for what came twice', () => {
    const w = new Wire();
    w.accept(MODERN);
    const ts = [600, 1000] as [number, number];
    const put = (seq: number, data: number) => w.inject({ seq, ack: 1, data, ts }).at(-1)?.sack;
    expect(put(1001, 500)).toEqual([[1001, 1501]]);
    expect(put(3001, 500)).toEqual([
      [3001, 3501],
      [1001, 1501],
    ]);
    expect(put(1501, 500)).toEqual([
      [1001, 2001],
      [3001, 3501],
    ]);
    expect(put(5001, 500)).toEqual([
      [5001, 5501],
      [1001, 2001],
      [3001, 3501],
    ]);
    // Twice: first the duplicate, then the block that holds it.
    expect(put(3001, 500)?.slice(0, 2)).toEqual([
      [3001, 3501],
      [5001, 5501],
    ]);
    // Below what is acknowledged.
    put(1, 1000);
    expect(put(1, 1000)?.[0]).toEqual([1, 1001]);
  });
});

describe('windows and options', () => {
  it('VTCP-09: not a byte past the window is kept, whatever a sender does', () => {
    const w = new Wire();
    const c = w.accept({}, { receiveBuffer: 4000, initialReceiveBuffer: 4000 });
    for (let at = 1; at < 40_000; at += 500) w.inject({ seq: at, ack: 1, data: 500 });
    expect(c.readable).toBe(4000);
    w.inject({ seq: 4001, ack: 1, data: 1 });
    w.inject({ seq: 3901, ack: 1, data: 1000 });
    expect(c.readable).toBe(4000);
    expect(w.stack.stats.dropWindow).toBeGreaterThan(0);
    // Single bytes do not widen it through the rounding of the scale.
    const s = new Wire();
    const d = s.accept({ scale: 7 }, { receiveBuffer: 1 << 20, initialReceiveBuffer: 4000 });
    for (let at = 1; at < 9000; at++) s.inject({ seq: at, ack: 1, data: 1 });
    expect(d.readable).toBeLessThanOrEqual(4000);
  });

  it('VTCP-10: a window in a SYN is not scaled, and an old segment does not change it', () => {
    const w = new Wire();
    const c = w.connect({ ...MODERN, window: 1000 });
    expect(c.info.sendWindow).toBe(1000);
    expect(w.out[0].window).toBe(65535);
    const ts = [600, 1010] as [number, number];
    w.inject({ seq: 1, ack: 1, window: 100, ts });
    expect(c.info.sendWindow).toBe(12_800);
    w.inject({ seq: 101, ack: 1, window: 10, data: 100, ts });
    expect(c.info.sendWindow).toBe(1280);
    // An older segment arrives late.
    w.inject({ seq: 1, ack: 1, window: 200, data: 100, ts });
    expect(c.info.sendWindow).toBe(1280);
    // On passive open the window of the SYN holds until the ACK.
    const s = new Wire();
    const d = s.accept({ ...MODERN, window: 500 });
    expect(d.info.sendWindow).toBe(500 << 7);
  });

  it('VTCP-11: a SYN-ACK grants only what the SYN offered', () => {
    const plain = new Wire();
    plain.accept();
    const answer = plain.out.find((o) => (o.flags & SYN) !== 0);
    expect(answer).toMatchObject({ scale: -1, sackOk: false, ts: null, mss: 1460 });
    const modern = new Wire();
    modern.accept(MODERN);
    const full = modern.out.find((o) => (o.flags & SYN) !== 0);
    expect(full?.sackOk).toBe(true);
    expect(full?.scale).toBeGreaterThanOrEqual(0);
    expect(full?.ts?.[1]).toBe(500);
    const off = new Wire({ defaults: { windowScale: false, sack: false, timestamps: false } });
    off.accept(MODERN);
    expect(off.out[0]).toMatchObject({ scale: -1, sackOk: false, ts: null });
  });

  it('VTCP-12: options are deducted from the segment size, and a tiny one is not believed', () => {
    const w = new Wire({ mtu: 1500 });
    const c = w.accept(MODERN);
    w.after(() => c.write(bytes(20_000)));
    expect(Math.max(...w.out.map((o) => o.ipLen))).toBe(1500);
    expect(c.info.mss).toBe(1448);
    const tiny = new Wire();
    const d = tiny.accept({ mss: 1 });
    expect(d.info.mss).toBe(64);
    const none = new Wire();
    none.stack.listen({ port: 81, onConnection: () => {} });
    none.localPort = 81;
    none.inject({ flags: SYN });
    none.inject({ seq: 1, ack: 1 });
    expect(none.out[0].mss).toBe(1460);
  });
});

describe('endings', () => {
  it('VTCP-13: every end has its cause, and half-close works', () => {
    // Refused.
    const refused = pair();
    const r = refused.a.connect({ local: A, remote: B, remotePort: 9 });
    const seen = watch(r);
    refused.clock.advance(100);
    expect(seen.events).toEqual(['closed ECONNREFUSED']);
    // Nobody there.
    const silent = pair({ loss: 1 });
    const t = watch(silent.a.connect({ local: A, remote: B, remotePort: 9 }));
    silent.clock.advance(400_000);
    expect(t.events).toEqual(['closed ETIMEDOUT']);
    // Reset in the middle; what had arrived can still be read.
    const m = new Wire();
    const c = m.accept();
    const reset = watch(c);
    m.inject({ seq: 1, ack: 1, data: 10 }, { flags: RST, seq: 11 });
    expect(reset.events).toEqual(['readable', 'closed ECONNRESET']);
    expect(c.read(new Uint8Array(99))).toBe(10);
    expect(c.write(bytes(1))).toBe(0);
    // Data that nobody acknowledges.
    const d = new Wire({ defaults: { retries: 3 } });
    const lost = d.accept();
    const timeout = watch(lost);
    d.after(() => lost.write(bytes(10)));
    d.wait(60_000);
    expect(timeout.events).toEqual(['closed ETIMEDOUT']);
    // Our own abort.
    const a = new Wire();
    const aborted = a.accept();
    const own = watch(aborted);
    const out = a.after(() => aborted.abort());
    expect(out.map((o) => o.flags & RST)).toEqual([RST]);
    expect(own.events).toEqual(['closed ECONNABORTED']);
    // Half-close: our side has ended, the peer's goes on.
    const h = new Wire();
    const half = h.accept();
    const both = watch(half);
    h.after(() => half.shutdown());
    h.inject({ seq: 1, ack: 2 });
    h.inject({ seq: 1, ack: 2, data: 500 });
    expect(half.state).toBe('FIN-WAIT-2');
    expect(half.readable).toBe(500);
    h.inject({ flags: ACK | FIN, seq: 501, ack: 2 });
    expect(both.events).toEqual(['readable']);
    h.after(() => half.consume(500));
    expect(both.events).toEqual(['readable', 'end', 'closed clean']);
  });

  it('VTCP-14: two ends never keep each other busy after a simultaneous close, on a synchronous pipe or a slow one', () => {
    for (const delay of [-1, 0, 10]) {
      const clock = new VirtualClock();
      let packets = 0;
      let depth = 0;
      let deepest = 0;
      const stacks: TcpStack[] = [];
      const to = (other: number) => (packet: Packet) => {
        packets++;
        if (delay < 0) {
          depth++;
          deepest = Math.max(deepest, depth);
          stacks[other].handlePacket(packet);
          depth--;
        } else {
          const copy = packet.clone();
          clock.timer(() => stacks[other].handlePacket(copy)).arm(clock.now + delay);
        }
      };
      stacks.push(new TcpStack({ clock, output: to(1) }), new TcpStack({ clock, output: to(0) }));
      let b: TcpConnection | null = null;
      stacks[1].listen({
        port: 80,
        onConnection: (c) => {
          b = c;
        },
      });
      const a = stacks[0].connect({ local: A, remote: B, remotePort: 80 });
      clock.advance(100);
      clock.beginBatch();
      a.close();
      (b as TcpConnection | null)?.close();
      clock.endBatch();
      clock.advance(200_000);
      expect(packets).toBeLessThan(16);
      expect(deepest).toBeLessThanOrEqual(1);
      expect(a.state).toBe('CLOSED');
      expect(stacks[0].connections + stacks[1].connections).toBe(0);
    }
  });

  it('VTCP-14: a pure acknowledgement in TIME-WAIT or CLOSING is not answered', () => {
    const w = new Wire();
    const c = w.accept();
    w.after(() => c.shutdown());
    w.inject({ flags: ACK | FIN, seq: 1, ack: 1 });
    expect(c.state).toBe('CLOSING');
    w.wait(100);
    expect(w.inject({ seq: 2, ack: 1 })).toEqual([]);
    w.inject({ seq: 2, ack: 2 });
    expect(c.state).toBe('TIME-WAIT');
    w.wait(1000);
    expect(w.inject({ seq: 2, ack: 2 })).toEqual([]);
  });

  it('VTCP-15: FIN-WAIT-2 ends after close, and data for nobody is answered by RST', () => {
    const w = new Wire();
    const c = w.accept();
    w.after(() => c.close());
    w.inject({ seq: 1, ack: 2 });
    expect(c.state).toBe('FIN-WAIT-2');
    w.wait(61_000);
    expect(w.stack.connections).toBe(0);
    const s = new Wire();
    const d = s.accept();
    s.after(() => d.close());
    s.inject({ seq: 1, ack: 2 });
    const answer = s.inject({ seq: 1, ack: 2, data: 100 });
    expect(answer.map((o) => o.flags & RST)).toEqual([RST]);
    expect(d.readable).toBe(0);
    // Unread data at close.
    const u = new Wire();
    const e = u.accept();
    u.inject({ seq: 1, ack: 1, data: 100 });
    expect(u.after(() => e.close()).map((o) => o.flags & RST)).toEqual([RST]);
  });
});

describe('timers and attackers', () => {
  it('VTCP-16: window probes take no data, go on beside keepalive, and invalid segments do not feed it', () => {
    const w = new Wire({ defaults: { keepAlive: { idle: 1000, interval: 1000, count: 3 } } });
    const c = w.accept({ window: 1000 });
    w.after(() => c.write(bytes(3000)));
    w.inject({ seq: 1, ack: 1001, window: 0 });
    const probes = w.wait(10_000);
    expect(probes.length).toBeGreaterThan(2);
    for (const probe of probes) expect([probe.seq, probe.len]).toEqual([1000, 0]);
    expect(c.info.unsent).toBe(2000);
    // Keepalive on an idle connection: answered probes count for nothing, invalid segments neither.
    const k = new Wire({ defaults: { keepAlive: { idle: 1000, interval: 1000, count: 3 } } });
    const idle = k.accept();
    const seen = watch(idle);
    expect(k.wait(1500).map((o) => [o.seq, o.len])).toEqual([[0, 0]]);
    k.inject({ seq: 1, ack: 1 });
    k.wait(500);
    expect(seen.events).toEqual([]);
    for (let i = 0; i < 10; i++) {
      k.wait(1000);
      k.inject({ seq: 900_000, ack: 1 });
    }
    expect(seen.events).toEqual(['closed ETIMEDOUT']);
  });

  it('VTCP-17: challenge ACKs are limited, old acknowledgements refused, timestamps not the wall clock', () => {
    const w = new Wire({ challengeAcks: 10 });
    const c = w.accept(MODERN);
    const seen = watch(c);
    let answers = 0;
    for (let i = 0; i < 200; i++) {
      answers += w.inject({ flags: RST, seq: 100 + i, ts: [600, 0] }).length;
      answers += w.inject({ flags: SYN, seq: 100 + i, ts: [600, 0] }).length;
    }
    expect(answers).toBeLessThanOrEqual(10);
    expect(answers).toBeGreaterThan(0);
    expect(seen.events).toEqual([]);
    // RFC 5961 §5: an acknowledgement far below SND.UNA takes nothing along.
    w.wait(2000);
    w.inject({ seq: 1, ack: -10_000_000, data: 10, ts: [700, 0] });
    expect(c.readable).toBe(0);
    expect(w.stack.stats.dropAck).toBeGreaterThan(0);
    // PAWS: an old timestamp is dropped; one out of order does not move the echo.
    w.inject({ seq: 11, ack: 1, data: 10, ts: [90_000, 0] });
    w.inject({ seq: 1, ack: 1, data: 10, ts: [800, 0] });
    expect(c.readable).toBe(20);
    w.inject({ seq: 21, ack: 1, data: 10, ts: [400, 0] });
    expect(c.readable).toBe(20);
    expect(w.stack.stats.dropPaws).toBe(1);
    // Two connections do not share a timestamp clock, and neither is the wall's.
    const offsets = new Set<number>();
    for (let i = 0; i < 4; i++) {
      const s = new Wire({ timestampOffset: undefined, random: undefined });
      s.accept(MODERN);
      offsets.add(s.out[0].ts?.[0] ?? 0);
      expect(Math.abs((s.out[0].ts?.[0] ?? 0) - (s.clock.wall | 0))).toBeGreaterThan(100_000);
    }
    expect(offsets.size).toBe(4);
  });

  it('VTCP-18: what comes back while a connection sends is answered in the same batch', () => {
    const clock = new VirtualClock();
    let b: TcpStack;
    const a: TcpStack = new TcpStack({ clock, output: (p) => b.handlePacket(p) });
    b = new TcpStack({ clock, output: (p) => a.handlePacket(p) });
    const up = new Source(2_000_000);
    const sink = new Sink();
    b.listen({
      port: 80,
      onConnection: (c) => {
        c.onReadable = () => sink.drain(c);
        c.onEnd = () => c.close();
      },
    });
    const c = a.connect({ local: A, remote: B, remotePort: 80 });
    let closed = false;
    c.onConnected = () => up.pump(c);
    c.onWritable = () => up.pump(c);
    c.onClosed = () => {
      closed = true;
    };
    // No time passes: nothing may wait for a timer.
    clock.flush();
    expect(sink.got).toBe(2_000_000);
    expect(sink.intact).toBe(true);
    expect(closed).toBe(true);
    expect(clock.now).toBe(0);
  });

  it('VTCP-18: an answer that arrives while the connection itself is sending wakes it again', () => {
    const w = new Wire({ defaults: { sendBuffer: 5000 } });
    const c = w.accept();
    const seen = watch(c);
    w.onPacket = (packet) => {
      const { seq, len } = w.parse(packet);
      if (len > 0) w.stack.handlePacket(w.build({ seq: 1, ack: seq + len }));
    };
    w.after(() => c.write(bytes(8000)));
    expect(seen.events).toEqual(['writable']);
    expect(c.unacknowledged).toBe(0);
  });

  it('VTCP-19: the modern repertoire is there and on by default', () => {
    const w = new Wire({ defaults: { ecn: true } });
    const c = w.connect({ ...MODERN, flags: SYN | ACK | 64 });
    const { info } = c;
    expect(info).toMatchObject({
      congestionControl: 'cubic',
      sack: true,
      timestamps: true,
      ecn: true,
      sendScale: 7,
    });
    expect(info.cwnd).toBe(10 * 1448);
    // Delayed ACK, Nagle and its switch, tail loss probe, TIME-WAIT reuse, urgent data passed over, window tuning.
    const ts = [600, 1010] as [number, number];
    for (let i = 0; i < 40; i++) w.inject({ seq: 1 + i, ack: 1, data: 1, ts });
    w.wait(100);
    expect(w.inject({ seq: 41, ack: 1, data: 1, ts })).toEqual([]);
    expect(w.wait(45)).toHaveLength(1);
    expect(w.after(() => c.write(bytes(10)))).toHaveLength(1);
    expect(w.after(() => c.write(bytes(10)))).toHaveLength(0);
    expect(w.after(() => c.setNoDelay(true))).toHaveLength(1);
    expect(w.wait(1000).length).toBeGreaterThan(0);
    expect(c.info.tailLossProbes).toBe(1);
    expect(w.inject({ flags: ACK | PSH | 32, seq: 42, ack: 21, data: 5, ts }).length).toBeLessThan(
      2,
    );
    expect(c.readable).toBe(46);
    const tuned = runTransfer({ link: { delay: 20 }, up: 8_000_000 });
    expect(tuned.info.sendWindow).toBeGreaterThan(1 << 20);
  });

  it('VTCP-20: segments cost no buffers, records or timers of their own', () => {
    const { a, b, clock } = pair({}, 1, { offload: Accept.CHECKSUM });
    let timers = 0;
    const make = clock.timer.bind(clock);
    clock.timer = (callback) => {
      timers++;
      return make(callback);
    };
    const sink = new Uint8Array(65536);
    const chunk = new Uint8Array(65536);
    pattern(0, chunk, chunk.length);
    b.listen({
      port: 80,
      onConnection: (c) => {
        c.onReadable = () => {
          while (c.read(sink) > 0);
        };
      },
    });
    const c = a.connect({ local: A, remote: B, remotePort: 80 });
    clock.advance(10);
    for (let i = 0; i < 50; i++) {
      c.write(chunk);
      clock.advance(1);
    }
    const { pages, boards } = a as unknown as {
      pages: { used: number };
      boards: { records: unknown[] };
    };
    const records = boards.records.length;
    const before = timers;
    for (let i = 0; i < 200; i++) {
      c.write(chunk);
      clock.advance(1);
    }
    expect(c.info.bytesAcked).toBe(250 * 65536);
    expect(timers).toBe(before);
    expect(boards.records.length).toBe(records);
    // An idle connection holds no buffer at all.
    expect(pages.used).toBe(0);
  });
});
