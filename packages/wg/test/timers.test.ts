import { Packet } from '@pktkit/core';
import { generatePrivateKey } from '@pktkit/wg';
import { describe, expect, it } from 'vitest';
import { countType, ipv4, pair } from './lab.ts';

describe('timers', () => {
  it('WG-01: traffic goes on over many rekeys, without a lost packet, whoever sends', () => {
    for (const mode of ['initiator', 'responder', 'both'] as const) {
      const { net, a, b, say, answer, received, back, toB } = pair();
      toB.handshake();
      net.clock.advance(1000);
      const ticks = 600;
      for (let i = 0; i < ticks; i++) {
        if (mode !== 'responder') say(i);
        if (mode !== 'initiator') answer(i);
        net.clock.advance(1000);
      }
      const all = Array.from({ length: ticks }, (_, i) => i);
      if (mode !== 'responder') expect(received).toEqual(all);
      if (mode !== 'initiator') expect(back).toEqual(all);
      // Ten minutes: five times 120 seconds (165 where the initiator only receives).
      const handshakes = a.stats.handshakes;
      expect(handshakes).toBe(b.stats.handshakes);
      expect(handshakes).toBeGreaterThanOrEqual(mode === 'responder' ? 4 : 5);
      expect(handshakes).toBeLessThanOrEqual(7);
    }
  });

  it('WG-01: a tunnel idle for an hour starts again with the first packet, from either side', () => {
    const { net, toA, say, answer, received, back } = pair();
    say(1);
    net.clock.advance(3_600_000);
    expect(toA.isConnected).toBe(false);
    answer(2);
    net.clock.advance(100);
    expect(back).toEqual([2]);
    net.clock.advance(3_600_000);
    say(3);
    net.clock.advance(100);
    expect(received).toEqual([1, 3]);
  });

  it('WG-02: tries a handshake every five seconds with jitter, for ninety, then gives up', () => {
    const { net, toB, a } = pair();
    let unreachable = 0;
    toB.identity.events = { onUnreachable: () => unreachable++ };
    net.detach(2);
    const times: number[] = [];
    net.filter = () => {
      times.push(net.clock.now);
      return false;
    };
    toB.send(Packet.of(ipv4('10.1.0.1', '10.1.0.2', 100, 1)));
    net.clock.advance(300_000);
    expect(unreachable).toBe(1);
    // The first, and eighteen more.
    expect(times.length).toBe(19);
    const gaps = times.slice(1).map((time, i) => time - times[i]);
    for (const gap of gaps) {
      expect(gap).toBeGreaterThanOrEqual(5000);
      expect(gap).toBeLessThanOrEqual(5334);
    }
    expect(new Set(gaps).size).toBeGreaterThan(10);
    expect(toB.staged).toBe(0);
    expect(a.stats.dropQueue).toBe(1);
    expect(a.sessionCount).toBe(0);
    // The next packet begins anew.
    toB.send(Packet.of(ipv4('10.1.0.1', '10.1.0.2', 100, 1)));
    expect(times.length).toBe(20);
  });

  it('WG-02: keeps packets while a handshake is lost, and sends them in order', () => {
    const { net, say, received, toB } = pair();
    let dropped = 0;
    net.filter = ({ bytes }) => bytes[0] !== 1 || dropped++ >= 2;
    for (let i = 0; i < 50; i++) say(i);
    net.clock.advance(20_000);
    expect(received).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(toB.staged).toBe(0);
  });

  it('WG-02: bounds the queue by number, per peer, and by bytes over all peers', () => {
    const { net, toB, a, received } = pair({ limits: { stagedPackets: 4 } });
    net.filter = () => false;
    for (let i = 0; i < 10; i++) toB.send(Packet.of(ipv4('10.1.0.1', '10.1.0.2', 100, i)));
    expect(toB.staged).toBe(4);
    expect(a.stats.dropQueue).toBe(6);
    net.filter = () => true;
    net.clock.advance(6_000);
    expect(received).toEqual([6, 7, 8, 9]);

    const small = pair({ limits: { stagedBytes: 300 } });
    small.net.filter = () => false;
    const second = small.left.addPeer({ publicKey: generatePrivateKey(), endpoint: 3 });
    for (let i = 0; i < 5; i++) small.say(i);
    expect(small.toB.staged).toBe(2);
    second.send(Packet.of(ipv4('10.1.0.1', '10.1.0.2', 100, 1)));
    expect(second.staged).toBe(0);
    expect(small.a.stats.dropQueue).toBe(4);
  });

  it('WG-02: answers data with a keepalive after ten seconds, and only then', () => {
    const { net, say, b, received } = pair();
    say(1);
    net.clock.advance(9_900);
    expect(b.stats.keepalivesSent).toBe(0);
    net.clock.advance(200);
    expect(b.stats.keepalivesSent).toBe(1);
    net.clock.advance(60_000);
    expect(b.stats.keepalivesSent).toBe(1);
    expect(received).toEqual([1]);
    // A keepalive is not answered, and starts no handshake.
    expect(countType(net, 1)).toBe(1);
  });

  it('WG-02: starts a handshake when fifteen seconds bring no answer to data', () => {
    const { net, say } = pair();
    say(1);
    net.clock.advance(20_000);
    net.filter = ({ from }) => from === 1;
    const from = net.log.length;
    say(2);
    net.clock.advance(14_900);
    expect(countType(net, 1, from)).toBe(0);
    net.clock.advance(600);
    expect(countType(net, 1, from)).toBe(1);
  });

  it('WG-02: sends persistent keepalives at their interval, and from the start', () => {
    const { net, toB, a, toA } = pair();
    toB.setPersistentKeepalive(25);
    net.clock.advance(100);
    expect(toA.isConnected).toBe(true);
    const before = a.stats.keepalivesSent;
    net.clock.advance(100_000);
    expect(a.stats.keepalivesSent - before).toBe(4);
    // For hours: handshakes as well, so that the tunnel is open all the time.
    net.clock.advance(7_200_000);
    expect(toA.isConnected).toBe(true);
    toB.setPersistentKeepalive(0);
    const sent = a.stats.sent;
    net.clock.advance(600_000);
    expect(a.stats.sent - sent).toBeLessThan(3);
  });

  it('WG-02: a persistent keepalive survives a peer that is gone for an hour', () => {
    const { net, toB, toA, atB } = pair();
    toB.setPersistentKeepalive(25);
    net.clock.advance(1000);
    net.filter = () => false;
    net.clock.advance(3_600_000);
    expect(toB.isConnected).toBe(false);
    net.filter = () => true;
    net.clock.advance(60_000);
    expect([toB.isConnected, toA.isConnected, atB.endpoint]).toEqual([true, true, 2]);
  });

  it('an initiator that only receives renews before its keys end', () => {
    const { net, toB, answer, back, a } = pair();
    toB.handshake();
    net.clock.advance(163_000);
    answer(1);
    net.clock.advance(100);
    expect(a.stats.initiationsSent).toBe(1);
    net.clock.advance(3_000);
    answer(2);
    net.clock.advance(100);
    expect(a.stats.initiationsSent).toBe(2);
    answer(3);
    net.clock.advance(30_000);
    expect(back).toEqual([1, 2, 3]);
    expect(a.stats.handshakes).toBe(2);
  });

  it('refuses keys after 180 seconds, in both directions', () => {
    const { net, toB, toA, a, b, say, received } = pair();
    say(1);
    net.clock.advance(179_000);
    expect(toB.isConnected).toBe(true);
    const data = net.log.filter(({ bytes }) => bytes[0] === 4).at(-1)?.bytes as Uint8Array;
    net.clock.advance(1_100);
    expect(toB.isConnected).toBe(false);
    expect(toA.isConnected).toBe(false);
    const engine = net.log.filter(({ bytes }) => bytes[0] === 4).at(-1)?.to === 2 ? b : a;
    engine.handleDatagram(data.slice(), 0, data.length, 1);
    expect(engine.stats.dropExpiredKey).toBe(1);
    expect(received).toEqual([1]);
  });

  it('renews after 2^60 messages and refuses the last 2^13 counters', () => {
    const { net, toB, a, say, received } = pair();
    say(1);
    net.clock.advance(10_000);
    const session = toB.current;
    if (session === null) throw new Error('no session');
    session.sendHigh = 2 ** 28;
    session.sendLow = 1;
    say(2);
    expect(a.stats.initiationsSent).toBe(2);
    net.clock.advance(10_000);
    const next = toB.current;
    if (next === null || next === session) throw new Error('no new session');
    next.sendHigh = 0xffffffff;
    next.sendLow = 0xffffdffe;
    say(3);
    expect(next.isSpent).toBe(true);
    say(4);
    expect(toB.staged).toBe(1);
    net.clock.advance(10_000);
    expect(received).toEqual([1, 2, 3, 4]);
  });

  it('erases all keys after three times the reject time, and lets go of the endpoint index', () => {
    const { net, toA, toB, a, b, say } = pair();
    let ended = 0;
    toA.identity.events = { onSessionEnd: () => ended++ };
    say(1);
    net.clock.advance(539_000);
    expect(b.sessionCount).toBe(1);
    net.clock.advance(12_000);
    expect(b.sessionCount).toBe(0);
    expect(a.sessionCount).toBe(0);
    expect(ended).toBe(1);
    expect([toA.current, toA.previous, toA.next, toB.current]).toEqual([null, null, null, null]);
    // And nothing more will ever happen by itself.
    expect(net.clock.nextDeadline).toBe(Number.POSITIVE_INFINITY);
  });

  it('WG-03: however many handshakes there were, no more indices are in use than after the first', () => {
    // One peer: the table holds four, and would be full after four handshakes.
    const { net, toB, a, b } = pair({ limits: { peers: 1 } });
    for (let i = 0; i < 1000; i++) {
      toB.handshake();
      net.clock.advance(5_001);
      expect(a.sessionCount).toBeLessThanOrEqual(3);
      expect(b.sessionCount).toBeLessThanOrEqual(3);
    }
    expect(b.stats.handshakes).toBe(1000);
    expect(a.stats.dropLimit + b.stats.dropLimit).toBe(0);
  });
});
