import { Packet } from '@pktkit/core';
import { describe, expect, it } from 'vitest';
import { type TcpTraceEvent, traceLine } from '../src/index.ts';
import { pair } from './link.ts';
import { A, B, runTransfer } from './transfer.ts';
import {
  ACK,
  bytes,
  CWR,
  ECE,
  FIN,
  ISS,
  LOCAL,
  PSH,
  REMOTE,
  RST,
  SYN,
  URG,
  Wire,
  watch,
} from './wire.ts';

const MODERN = { sackOk: true, ts: [500, 0] as [number, number], scale: 7 };

describe('RFC 9293', () => {
  it('§3.5 figure 7: simultaneous open', () => {
    const w = new Wire();
    w.remotePort = 80;
    w.localPort = 1234;
    const c = w.stack.connect({ local: LOCAL, localPort: 1234, remote: REMOTE, remotePort: 80 });
    const seen = watch(c);
    w.clock.flush();
    const answer = w.inject({ flags: SYN, mss: 1460 });
    expect(c.state).toBe('SYN-RECEIVED');
    expect(answer.map((o) => [o.flags, o.seq, o.ack])).toEqual([[SYN | ACK, 0, 1]]);
    w.inject({ flags: SYN | ACK, seq: 0, ack: 1 });
    expect(c.state).toBe('ESTABLISHED');
    expect(seen.events).toEqual(['connected']);
    w.inject({ seq: 1, ack: 1, data: 5 });
    expect(c.readable).toBe(5);
  });

  it('a lost SYN makes us careful: RFC 6298 §5.7, RFC 6928 §2', () => {
    const dial = (waits: number, timestamps: boolean) => {
      const w = new Wire({ defaults: { timestamps } });
      w.remotePort = 80;
      w.localPort = 1234;
      const c = w.stack.connect({ local: LOCAL, localPort: 1234, remote: REMOTE, remotePort: 80 });
      w.wait(waits);
      const ts = w.out.at(-1)?.ts;
      w.wait(30);
      w.inject({
        ...{ flags: SYN | ACK, seq: 0, ack: 1, mss: 1460 },
        ...(ts ? { ts: [500, ts[0]] as [number, number] } : {}),
      });
      const { srtt, rto, cwnd, mss } = c.info;
      return { srtt, rto, segments: cwnd / mss };
    };
    expect(dial(10, false)).toEqual({ srtt: 40, rto: 240, segments: 10 });
    expect(dial(1000, false)).toEqual({ srtt: 0, rto: 3000, segments: 10 });
    expect(dial(3000, false)).toEqual({ srtt: 0, rto: 3000, segments: 1 });
    // The echo says which SYN was answered.
    expect(dial(3000, true)).toEqual({ srtt: 30, rto: 230, segments: 1 });
  });

  it('two stacks that dial each other at the same moment become one connection', () => {
    const { a, b, clock } = pair({ delay: 5 });
    const x = a.connect({ local: A, localPort: 1000, remote: B, remotePort: 2000 });
    const y = b.connect({ local: B, localPort: 2000, remote: A, remotePort: 1000 });
    clock.advance(100);
    expect([x.state, y.state]).toEqual(['ESTABLISHED', 'ESTABLISHED']);
    x.write(bytes(10));
    clock.advance(100);
    expect(y.readable).toBe(10);
  });

  it('§3.10.7.1: a segment for nobody is answered by RST, a RST by nothing', () => {
    const w = new Wire();
    expect(w.inject({ flags: SYN, seq: 5 })).toMatchObject([
      { flags: RST | ACK, rawSeq: 0, ack: 6 },
    ]);
    expect(w.inject({ flags: ACK, seq: 5, ack: 77, data: 3 })).toMatchObject([
      { flags: RST, seq: 77 },
    ]);
    expect(w.inject({ flags: RST, seq: 5 })).toEqual([]);
  });

  it('§3.10.7.2: data on a SYN waits for the handshake', () => {
    const w = new Wire();
    let read = 0;
    w.stack.listen({
      port: 80,
      onConnection: (c) => {
        c.onReadable = () => {
          read = c.read(new Uint8Array(99));
        };
      },
    });
    const answer = w.inject({ flags: SYN, mss: 1460, data: 20 });
    expect(answer[0].ack).toBe(21);
    expect(read).toBe(0);
    w.inject({ seq: 21, ack: 1 });
    expect(read).toBe(20);
  });

  it('§3.8.5: urgent data is data like any other', () => {
    const w = new Wire();
    const c = w.accept();
    w.inject({ flags: ACK | URG | PSH, seq: 1, ack: 1, data: 10 });
    expect(c.readable).toBe(10);
  });

  it('a FIN in front of missing data waits for it; data behind a FIN is refused', () => {
    const w = new Wire();
    const c = w.accept();
    const seen = watch(c);
    w.inject({ flags: ACK | FIN, seq: 101, ack: 1, data: 50 });
    expect(c.state).toBe('ESTABLISHED');
    w.inject({ seq: 151, ack: 1, data: 50 });
    w.inject({ seq: 1, ack: 1, data: 100 });
    expect(c.state).toBe('CLOSE-WAIT');
    expect(c.readable).toBe(150);
    w.after(() => c.consume(150));
    expect(seen.events).toEqual(['readable', 'end']);
  });

  it('TIME-WAIT: a newer SYN begins anew at once, an older one does not; RST does not end it (RFC 1337)', () => {
    const w = new Wire();
    const c = w.accept(MODERN);
    w.after(() => c.shutdown());
    w.inject({ flags: ACK | FIN, seq: 1, ack: 2, ts: [600, 0] });
    expect(c.state).toBe('TIME-WAIT');
    w.stack.listen({ port: 80, onConnection: () => {} });
    w.inject({ flags: RST, seq: 2 });
    expect(c.state).toBe('TIME-WAIT');
    expect(w.inject({ flags: SYN, seq: -50, ts: [400, 0] }).filter((o) => o.flags & SYN)).toEqual(
      [],
    );
    const answer = w.inject({ flags: SYN, seq: -50, mss: 1460, ts: [700, 0] });
    expect(answer.map((o) => o.flags)).toEqual([SYN | ACK]);
    // Ahead of everything the old connection had sent.
    expect(answer[0].seq).toBeGreaterThan(2);
    expect(w.stack.stats.timeWaitReused).toBe(1);
  });

  it('a retransmitted FIN in TIME-WAIT is acknowledged, and the stay ends by itself', () => {
    const w = new Wire();
    const c = w.accept();
    w.after(() => c.shutdown());
    w.inject({ flags: ACK | FIN, seq: 1, ack: 2 });
    expect(w.inject({ flags: ACK | FIN, seq: 1, ack: 2 })).toMatchObject([{ flags: ACK, ack: 2 }]);
    w.wait(61_000);
    expect(c.state).toBe('CLOSED');
    expect(w.inject({ flags: ACK | FIN, seq: 1, ack: 2 })).toMatchObject([{ flags: RST }]);
  });
});

describe('loss detection and recovery', () => {
  it('RFC 5682: a timeout that was only a delay is taken back', () => {
    const w = new Wire({ defaults: { tailLossProbe: false } });
    const c = w.accept({ sackOk: true }, { timestamps: false });
    w.after(() => c.write(bytes(30_000)));
    const { cwnd } = c.info;
    w.wait(250);
    expect(c.info.recovery).toBe('loss');
    // The acknowledgements of the originals arrive after all.
    w.inject({ seq: 1, ack: 1461 });
    w.inject({ seq: 1, ack: 4381 });
    w.inject({ seq: 1, ack: 14_601 });
    expect(c.info.spuriousRecoveries).toBe(1);
    expect(c.info.cwnd).toBeGreaterThanOrEqual(cwnd);
  });

  it('RFC 3522: an echo older than the retransmission takes a recovery back', () => {
    const w = new Wire();
    const c = w.accept(MODERN);
    w.after(() => c.write(bytes(14_480)));
    const { cwnd } = c.info;
    const sentTs = w.out.at(-1)?.ts?.[0] as number;
    w.wait(20);
    for (let i = 1; i <= 3; i++) {
      w.inject({ seq: 1, ack: 1, sack: [[1449, 1449 + 1448 * i]], ts: [510 + i, sentTs] });
    }
    expect(c.info.recovery).toBe('recovery');
    w.wait(20);
    w.inject({ seq: 1, ack: 1449 + 1448 * 3, ts: [530, sentTs] });
    expect(c.info.recovery).toBe('open');
    expect(c.info.spuriousRecoveries).toBe(1);
    expect(c.info.cwnd).toBeGreaterThanOrEqual(cwnd);
  });

  it('RFC 8985: three segments beyond a hole repair it at once, and the last segment by a probe', () => {
    const w = new Wire();
    const c = w.accept(MODERN, {}, 40);
    w.after(() => c.write(bytes(14_480)));
    w.wait(40);
    const ts = (n: number) => [510 + n, w.out.at(-1)?.ts?.[0] as number] as [number, number];
    w.inject({ seq: 1, ack: 1, sack: [[1449, 2897]], ts: ts(1) });
    const repaired = w.inject({ seq: 1, ack: 1, sack: [[1449, 5793]], ts: ts(2) });
    expect(repaired[0]).toMatchObject({ seq: 1, len: 1448 });
    let count = 0;
    const result = runTransfer({
      link: { delay: 20 },
      up: 20_000,
      prepare: ({ ab }) => {
        // The last two of fourteen, the FIN among them.
        ab.filter = (p) => p.len > 100 && (++count === 13 || count === 14);
      },
    });
    expect(result.info.tailLossProbes).toBe(1);
    expect(result.info.timeouts).toBe(0);
  });

  it('RFC 8985 §6.2: what was sent again in the same instant as what was delivered is not lost again', () => {
    const w = new Wire();
    const c = w.accept({ sackOk: true });
    w.after(() => c.write(bytes(4 * 1460)));
    // No time passes: a path in memory. The count of transmissions, not the clock, tells what left later.
    const again = w.inject({ seq: 1, ack: 1, sack: [[1461, 5841]] });
    expect(again.map((o) => [o.seq, o.len])).toEqual([[1, 1460]]);
    for (let i = 0; i < 20; i++) expect(w.inject({ seq: 1, ack: 1 })).toEqual([]);
    expect(c.info.retransmits).toBe(1);
  });

  it('RFC 6675: with RACK switched off counting does it', () => {
    const result = runTransfer({
      link: { delay: 20 },
      up: 300_000,
      options: { rack: false },
      prepare: ({ ab }) => {
        ab.filter = (p, i) => p.len > 1000 && (i === 25 || i === 27);
      },
    });
    expect(result.info).toMatchObject({ timeouts: 0, fastRecoveries: 1, retransmits: 2 });
  });

  it('RFC 2018 §8: a receiver that reneges gets everything again', () => {
    const w = new Wire();
    const c = w.accept({ sackOk: true }, { timestamps: false });
    w.after(() => c.write(bytes(7300)));
    w.inject({ seq: 1, ack: 1, sack: [[1461, 7301]] });
    // It now has only what it acknowledges.
    let acked = 1461;
    for (let i = 0; i < 20 && acked < 7301; i++) {
      const before = w.out.length;
      w.inject({ seq: 1, ack: acked });
      w.wait(3000);
      for (const o of w.out.slice(before)) if (o.seq === acked) acked += o.len;
    }
    expect(acked).toBe(7301);
  });

  it('RFC 6937: the window arrives at ssthresh without a silence', () => {
    const w = new Wire({ defaults: { congestionControl: 'newreno', initialCwnd: 20 } });
    const c = w.accept({ sackOk: true }, { timestamps: false });
    w.wait(10);
    w.after(() => c.write(bytes(100_000)));
    w.wait(50);
    const sent: number[] = [];
    for (let i = 2; i <= 20; i++) {
      sent.push(w.inject({ seq: 1, ack: 1, sack: [[1461, 1 + 1460 * i]] }).length);
    }
    const total = sent.reduce((a, b) => a + b, 0);
    // One lost: half of the window's 19 deliveries let something out, spread evenly.
    expect(total).toBeGreaterThanOrEqual(9);
    expect(total).toBeLessThanOrEqual(12);
    expect(Math.max(...sent)).toBeLessThanOrEqual(2);
    w.inject({ seq: 1, ack: 1 + 1460 * 20 });
    expect(c.info.cwnd).toBe(c.info.ssthresh);
  });

  it('RFC 3168: a mark is echoed until CWR, and an echo reduces once a window without retransmission', () => {
    const w = new Wire({ defaults: { ecn: true } });
    const c = w.accept({ flags: SYN | ECE | CWR });
    expect(c.info.ecn).toBe(true);
    expect(w.inject({ seq: 1, ack: 1, data: 100, ecn: 3 })[0].flags & ECE).toBe(ECE);
    w.wait(50);
    expect(w.inject({ seq: 101, ack: 1, data: 100 }).concat(w.wait(50))[0].flags & ECE).toBe(ECE);
    const out = w.inject({ flags: ACK | CWR, seq: 201, ack: 1, data: 100 }).concat(w.wait(50));
    expect(out[0].flags & ECE).toBe(0);
    const data = w.after(() => c.write(bytes(14_600)));
    expect(data.every((o) => o.ecn === 2)).toBe(true);
    const { cwnd } = c.info;
    w.inject({ flags: ACK | ECE, seq: 301, ack: 1461 });
    w.inject({ flags: ACK | ECE, seq: 301, ack: 14_601 });
    expect(c.info.ssthresh).toBe(Math.floor(cwnd * 0.7));
    expect(c.info.retransmits).toBe(0);
    const next = w.after(() => c.write(bytes(1460)));
    expect(next[0].flags & CWR).toBe(CWR);
  });

  it('RFC 5681 §4.1: after an idle period the window begins small again', () => {
    const result = runTransfer({ link: { delay: 20 }, up: 2_000_000 });
    const w = new Wire();
    const c = w.accept(MODERN);
    for (let i = 0, at = 1; i < 8; i++) {
      w.after(() => c.write(bytes(40_000)));
      at = Math.max(...w.out.map((o) => o.seq + o.len));
      w.wait(10);
      w.inject({ seq: 1, ack: at, ts: [600 + i, w.out.at(-1)?.ts?.[0] as number] });
    }
    for (let i = 0; c.unacknowledged > 0; i++) {
      const at = Math.max(...w.out.map((o) => o.seq + o.len));
      w.inject({ seq: 1, ack: at, ts: [700 + i, w.out.at(-1)?.ts?.[0] as number] });
    }
    expect(c.info.cwnd).toBeGreaterThan(20 * 1448);
    w.wait(10_000);
    w.after(() => c.write(bytes(100)));
    expect(c.info.cwnd).toBe(10 * 1448);
    expect(result.upIntact).toBe(true);
  });
});

describe('path MTU', () => {
  it('RFC 4821: a black hole is found without ICMP, and the full size again when it is gone', () => {
    const link = { delay: 30, mtu: 1200 };
    const result = runTransfer({ link, up: 8_000_000 });
    expect(result.upIntact).toBe(true);
    expect(result.info.pathMtu).toBeGreaterThan(1064);
    expect(result.info.pathMtu).toBeLessThanOrEqual(1200);
  });

  it('RFC 1191: segments in flight are sent again in smaller pieces at once', () => {
    const w = new Wire();
    const c = w.accept();
    w.after(() => c.write(bytes(2920)));
    const inner = new Uint8Array(56);
    inner.set([0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 10, 9, 8, 7, ...LOCAL.toBytes()]);
    inner.set([3, 4, 0, 0, 0, 0, 1000 >> 8, 1000 & 255], 20);
    inner.set(
      [0x45, 0, 5, 220, 0, 0, 64, 0, 64, 6, 0, 0, ...LOCAL.toBytes(), ...REMOTE.toBytes()],
      28,
    );
    inner.set([0, 80, 4000 >> 8, 4000 & 255], 48);
    new DataView(inner.buffer).setInt32(52, (ISS + 1) | 0);
    const out = w.after(() => w.stack.handleIcmp(new Packet(inner, 0, 56)));
    expect(out.map((o) => [o.seq, o.len])).toEqual([
      [1, 960],
      [961, 500],
      [1461, 960],
      [2421, 500],
    ]);
  });
});

describe('a window that stays shut', () => {
  const shut = (close: boolean) => {
    const w = new Wire();
    const c = w.accept({ window: 1000 });
    w.after(() => c.write(bytes(3000)));
    w.inject({ seq: 1, ack: 1001, window: 0 });
    if (close) w.after(() => c.close());
    for (let i = 0; i < 400; i++) {
      w.wait(2000);
      w.inject({ seq: 1, ack: 1001, window: 0 });
    }
    return c;
  };

  it('is waited for while the peer answers', () => {
    expect(shut(false).state).toBe('ESTABLISHED');
  });

  it('does not keep a closed connection for ever, even if the peer answers', () => {
    expect(shut(true).state).toBe('CLOSED');
  });
});

describe('the stack', () => {
  it('SYN cookies: under a flood honest clients connect, with their options; forged ACKs do not', () => {
    const w = new Wire({ isn: undefined, limits: { halfOpen: 8 } });
    let accepted = 0;
    w.stack.listen({
      port: 80,
      backlog: 4,
      onConnection: (c) => {
        accepted++;
        expect(c.info).toMatchObject({ sack: true, timestamps: true, sendScale: 7, peerMss: 1380 });
        // When the cookie was sent nobody knows: that is no measure of the path.
        expect(c.info).toMatchObject({ srtt: 0, rto: 1000 });
      },
    });
    for (let i = 0; i < 2000; i++)
      w.inject({ flags: SYN, seq: i * 7, srcPort: 10_000 + i, mss: 1460 });
    expect(w.stack.connections).toBe(4);
    expect(w.stack.stats.synCookiesSent).toBe(1996);
    const [answer] = w.inject({ flags: SYN, seq: 0, srcPort: 9, mss: 1400, ...MODERN });
    w.iss = answer.rawSeq;
    w.inject({ seq: 1, ack: 1, srcPort: 9, ts: [510, answer.ts?.[0] as number] });
    expect(accepted).toBe(1);
    for (let i = 0; i < 1000; i++) w.inject({ seq: 1, ack: 1 + i * 99_991, srcPort: 30_000 + i });
    expect(accepted).toBe(1);
    // Neither another address's, nor after two minutes.
    w.wait(200_000);
    w.inject({ seq: 1, ack: 1, srcPort: 9, ts: [510, 0] });
    expect(accepted).toBe(1);
  });

  it('a SynRequest is answered later; its duplicates are swallowed; a RST or time cancels it', () => {
    const requests: import('../src/index.ts').SynRequest[] = [];
    const w = new Wire({ onSyn: (request) => requests.push(request), synRequestTimeout: 5000 });
    expect(w.inject({ flags: SYN, mss: 1460 })).toEqual([]);
    w.inject({ flags: SYN, mss: 1460 });
    expect(requests).toHaveLength(1);
    const [request] = requests;
    expect(request.remote.equals(REMOTE)).toBe(true);
    const answer = w.after(() => request.accept());
    expect(answer.map((o) => o.flags)).toEqual([SYN | ACK]);
    expect(request.accept()).toBeNull();
    w.inject({ flags: SYN, srcPort: 4001 });
    expect(w.after(() => requests[1].reject())).toMatchObject([{ flags: RST | ACK, ack: 1 }]);
    let cancelled = 0;
    w.inject({ flags: SYN, srcPort: 4002 });
    requests[2].onCancel = () => cancelled++;
    w.inject({ flags: RST, seq: 1, srcPort: 4002 });
    w.inject({ flags: SYN, srcPort: 4003 });
    requests[3].onCancel = () => cancelled++;
    w.wait(6000);
    expect(cancelled).toBe(2);
    expect(requests[3].pending).toBe(false);
  });

  it('the limits hold: connections, TIME-WAIT entries, requests', () => {
    const { a, b, clock } = pair({}, 1, { limits: { connections: 3, timeWait: 2 } });
    b.listen({ port: 80, onConnection: (c) => (c.onEnd = () => c.close()) });
    const open = () => a.connect({ local: A, remote: B, remotePort: 80 });
    const list = [open(), open(), open()];
    expect(open).toThrow(/limit of 3/);
    clock.advance(10);
    for (const c of list) c.close();
    clock.advance(10);
    expect(a.stats.timeWaitEvicted).toBe(1);
    expect(() => a.listen({ port: 0, onConnection: () => {} })).toThrow(RangeError);
    b.listen({ port: 81, onConnection: () => {} });
    expect(() => b.listen({ port: 81, onConnection: () => {} })).toThrow(/listener/);
  });

  it('the limit of buffered bytes holds against data behind gaps on many connections; readers go on', () => {
    const limit = 1 << 20;
    const w = new Wire({ limits: { bufferedBytes: limit } });
    const { pages } = w.stack as unknown as { pages: { used: number } };
    const list = Array.from({ length: 100 }, (_, i) => {
      w.remotePort = 4000 + i;
      return w.accept({ sackOk: true });
    });
    // Behind a gap, so that nobody can read it: each takes a page of 64 KiB.
    for (let i = 0; i < list.length; i++) {
      w.inject({ seq: 30_001, ack: 1, data: 1460, srcPort: 4000 + i });
      expect(pages.used).toBeLessThanOrEqual(limit);
    }
    expect(w.stack.stats.dropMemory).toBe(100 - 16);
    const last = list[99];
    w.inject({ seq: 1, ack: 1, data: 1460, srcPort: 4099 });
    expect(last.read(new Uint8Array(2000))).toBe(1460);
    for (const c of list) c.abort();
    w.wait(1);
    expect(pages.used).toBe(0);
  });

  it('RFC 6056: ephemeral ports differ, and a local one that is taken is refused', () => {
    const { a } = pair();
    const ports = new Set<number>();
    for (let i = 0; i < 100; i++) {
      const { localPort } = a.connect({ local: A, remote: B, remotePort: 80 });
      expect(localPort).toBeGreaterThanOrEqual(32768);
      ports.add(localPort);
    }
    expect(ports.size).toBe(100);
    a.connect({ local: A, localPort: 5, remote: B, remotePort: 80 });
    expect(() => a.connect({ local: A, localPort: 5, remote: B, remotePort: 80 })).toThrow(
      /already/,
    );
  });

  it('IPv6, user timeout, cork, pacing and tracing', () => {
    expect(runTransfer({ link: { delay: 5 }, up: 200_000, down: 100_000, v6: true })).toMatchObject(
      {
        upIntact: true,
        downIntact: true,
      },
    );
    const w = new Wire({ defaults: { userTimeout: 3000 } });
    const c = w.accept();
    const seen = watch(c);
    w.after(() => c.write(bytes(10)));
    w.wait(4000);
    expect(seen.events).toEqual(['closed ETIMEDOUT']);
    const k = new Wire();
    const corked = k.accept();
    corked.setCork(true);
    expect(k.after(() => corked.write(bytes(100)))).toEqual([]);
    expect(k.after(() => corked.setCork(false))).toMatchObject([{ len: 100 }]);
    const paced = runTransfer({
      link: { delay: 20, rate: 50e6, queue: 64 << 10 },
      up: 1_000_000,
      options: { pacing: true },
    });
    expect(paced.upIntact).toBe(true);
    const lines: string[] = [];
    const onTrace = (event: TcpTraceEvent) => lines.push(traceLine(event));
    runTransfer({ up: 1000, a: { onTrace } });
    expect(lines.length).toBeGreaterThan(6);
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ flow: expect.any(String) });
  });
});
