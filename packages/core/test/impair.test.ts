import { Frame, type FrameHandler, impair, MacAddr, Packet, pipeL2, pipeL3 } from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import { describe, expect, it } from 'vitest';

function seeded(seed: number): () => number {
  let x = seed;
  return () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return (Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) ^ x) >>> 0;
  };
}

function line(options: Parameters<typeof impair>[1]) {
  const clock = new VirtualClock();
  const [near, far] = pipeL3({ accepts: 0 });
  const bad = impair(near, { clock, random: seeded(1), ...options });
  const got: Array<{ at: number; id: number; bytes: Uint8Array }> = [];
  far.setHandler((packet) => {
    got.push({ at: clock.now, id: packet.buf[packet.off + 1], bytes: packet.bytes.slice() });
  });
  const send = (id: number, len = 100) => {
    const buf = new Uint8Array(len);
    buf[0] = 0x45;
    buf[1] = id;
    bad.send(Packet.of(buf));
    buf.fill(0xee); // borrowed bytes are the sender's again
  };
  return { clock, bad, far, got, send };
}

describe('impair', () => {
  it('delays both ways and keeps the order under jitter', () => {
    const { clock, bad, far, got, send } = line({ delay: 20, jitter: 15 });
    for (let i = 0; i < 200; i++) {
      send(i);
      clock.advance(1);
    }
    clock.advance(100);
    expect(got.map(({ id }) => id)).toEqual(Array.from({ length: 200 }, (_, i) => i));
    const delays = got.map(({ at, id }) => at - id);
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(5);
    expect(Math.max(...delays)).toBeLessThan(40);
    expect(new Set(delays.map(Math.round)).size).toBeGreaterThan(5);
    let back = 0;
    bad.setHandler(() => {
      back = clock.now;
    });
    const start = clock.now;
    far.send(Packet.of(new Uint8Array(20)));
    clock.advance(100);
    expect(back - start).toBeGreaterThanOrEqual(5);
  });

  it('loses, duplicates, corrupts and reorders about as often as told, and counts it', () => {
    const { clock, bad, got, send } = line({
      ...{ loss: 0.1, duplicate: 0.1, corrupt: 0.1, reorder: 0.1, delay: 10, limit: 1e6 },
    });
    for (let i = 0; i < 4000; i++) {
      send(i & 0xff);
      clock.advance(1);
    }
    clock.advance(100);
    const { stats } = bad;
    for (const count of [stats.lost, stats.duplicated, stats.corrupted, stats.reordered]) {
      expect(count).toBeGreaterThan(300);
      expect(count).toBeLessThan(500);
    }
    expect(stats.delivered).toBe(4000 - stats.lost + stats.duplicated);
    expect(got.length).toBe(stats.delivered);
    const bits = got.filter(({ bytes }) => {
      let ones = 0;
      for (let i = 2; i < bytes.length; i++) if (bytes[i] !== 0) ones++;
      return ones > 0 || bytes[0] !== 0x45;
    });
    // All but those flipped in the one byte that differs by packet.
    expect(bits.length).toBeGreaterThan(stats.corrupted * 0.95);
    expect(bits.length).toBeLessThanOrEqual(stats.corrupted);
    const overtaken = got.filter(
      ({ id }, i) => i > 0 && ((got[i - 1].id - id) & 0xff) < 20 && got[i - 1].id !== id,
    );
    expect(overtaken.length).toBeGreaterThan(200);
  });

  it('repeats exactly for a seed', () => {
    const run = () => {
      const { clock, got, send } = line({
        loss: 0.2,
        duplicate: 0.2,
        jitter: 5,
        delay: 9,
        random: seeded(9),
      });
      for (let i = 0; i < 100; i++) send(i);
      clock.advance(1000);
      return got.map(({ at, id }) => `${at} ${id}`).join();
    };
    expect(run()).toBe(run());
  });

  it('keeps a bandwidth and a queue limit', () => {
    const { clock, bad, got, send } = line({ bandwidth: 800_000, limit: 5 });
    for (let i = 0; i < 8; i++) send(i, 100);
    expect(bad.stats.dropFull).toBe(3);
    clock.advance(1000);
    expect(got.map(({ at }) => Math.round(at * 1e6) / 1e6)).toEqual([1, 2, 3, 4, 5]);
    send(9);
    clock.advance(0.5);
    expect(got.length).toBe(5);
    clock.advance(1);
    expect(got.length).toBe(6);
  });

  it('drops what is on the way at close, and leaves no timer', () => {
    const { clock, bad, got, send } = line({ delay: 10 });
    send(1);
    send(2);
    bad.close();
    send(3);
    clock.advance(100);
    expect([got.length, bad.stats.dropClosed]).toEqual([0, 3]);
    expect(clock.nextDeadline).toBe(Number.POSITIVE_INFINITY);
  });

  it('stands in front of Ethernet devices too, and a packet that comes back at once is no trouble', () => {
    const clock = new VirtualClock();
    const [near, far] = pipeL2({ accepts: 0 });
    const bad = impair(near, { clock });
    expect([bad.mac, bad.mtu, bad.accepts]).toEqual([near.mac, 1500, 0]);
    let rounds = 0;
    const bounce: FrameHandler = (frame) => {
      if (++rounds < 1000) far.send(frame);
    };
    far.setHandler(bounce);
    bad.setHandler((frame) => bad.send(frame));
    const frame = Frame.of(new Uint8Array(60));
    frame.dst = MacAddr.BROADCAST.value;
    bad.send(frame);
    clock.runUntil(() => rounds === 1000);
    expect(bad.stats.delivered).toBe(1999);
  });

  it('says which option to change', () => {
    const [near] = pipeL3();
    for (const [options, name] of [
      [{ loss: 1.5 }, /loss/],
      [{ corrupt: Number.NaN }, /corrupt/],
      [{ delay: -1 }, /delay/],
      [{ bandwidth: 0 }, /bandwidth/],
      [{ limit: 0 }, /limit/],
    ] as const) {
      expect(() => impair(near, options)).toThrow(name);
    }
  });
});
