import { random32 } from '@pktkit/core';
import { type Engine, formatKey } from '@pktkit/wg';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { signMessage } from '../src/cookie.ts';
import { Noise } from '../src/noise.ts';
import { countType, type Net, type Pair, pair, testProvider } from './lab.ts';

function lastData(net: Net, to: number): Uint8Array {
  const found = net.log.filter(({ bytes, to: at }) => bytes[0] === 4 && at === to).at(-1);
  if (found === undefined) throw new Error('no data message');
  return found.bytes.slice();
}

/** A valid initiation of somebody who knows b's public key and has a key of their own. */
function stranger(p: Pair): () => Uint8Array {
  const provider = testProvider();
  const noise = new Noise(provider);
  const ours = provider.x25519KeyPair();
  const theirs = p.right.publicKey;
  const theirKey = provider.x25519PublicKey(theirs);
  const shared = new Uint8Array(32);
  ours.agree(shared, 0, theirKey);
  let stamp = 0;
  return () => {
    const message = new Uint8Array(148);
    const timestamp = new Uint8Array(12);
    new DataView(timestamp.buffer).setUint32(8, ++stamp);
    noise.writeInitiation(message, 0, random32(), ours, theirs, theirKey, shared, timestamp);
    signMessage(noise, theirs, null, message, 0, 148);
    return message;
  };
}

function give(engine: Engine, bytes: Uint8Array, from: number): void {
  engine.handleDatagram(bytes, 0, bytes.length, from);
}

describe('forgery', () => {
  it('WG-04: a forged counter does not move the replay window', () => {
    const { net, b, say, received } = pair();
    say(1);
    net.clock.advance(100);
    const forged = lastData(net, 2);
    const view = new DataView(forged.buffer);
    for (const high of [0, 1, 0x7fffffff, 0xfffffffe]) {
      view.setUint32(8, 0xfffffff0, true);
      view.setUint32(12, high, true);
      give(b, forged.slice(), 1);
    }
    expect(b.stats.dropBadTag).toBe(4);
    say(2);
    net.clock.advance(100);
    expect(received).toEqual([1, 2]);
  });

  it('a replayed data message is dropped and counted', () => {
    const { net, b, say, received } = pair();
    say(1);
    net.clock.advance(100);
    give(b, lastData(net, 2), 1);
    expect(b.stats.dropReplay).toBe(1);
    expect(received).toEqual([1]);
  });

  it('a forged response or cookie does not spoil the handshake that waits for the real one', () => {
    const { net, a, say, received } = pair();
    let forged = false;
    net.filter = ({ bytes, to }) => {
      if (bytes[0] === 2 && to === 1 && !forged) {
        forged = true;
        for (const at of [20, 50, 70]) {
          const bad = bytes.slice();
          bad[at] ^= 1;
          give(a, bad, 5);
        }
        const cookie = new Uint8Array(64);
        cookie[0] = 3;
        cookie.set(bytes.subarray(8, 12), 4);
        give(a, cookie, 5);
      }
      return true;
    };
    say(1);
    net.clock.advance(100);
    expect(forged).toBe(true);
    expect(a.stats.dropBadMac1).toBe(3);
    expect(a.stats.dropBadCookie).toBe(1);
    expect(received).toEqual([1]);
  });

  it('a response to the right index but with another key is refused, and the handshake goes on', () => {
    const { net, a, left, say, received } = pair();
    const noise = new Noise(testProvider());
    let done = false;
    net.filter = ({ bytes, to }) => {
      if (bytes[0] === 2 && to === 1 && !done) {
        done = true;
        const bad = bytes.slice();
        bad[44] ^= 1;
        signMessage(noise, left.publicKey, null, bad, 0, 92);
        give(a, bad, 5);
        expect(a.stats.dropBadHandshake).toBe(1);
      }
      return true;
    };
    say(1);
    net.clock.advance(100);
    expect(received).toEqual([1]);
  });
});

describe('flood', () => {
  it('WG-08: under a flood from many addresses cookies are asked for, and a live tunnel loses nothing', () => {
    const p = pair();
    const { net, b, say, received, toB } = p;
    say(0);
    net.clock.advance(100);
    const make = stranger(p);
    const before = b.sessionCount;
    const message = make();
    for (let i = 1; i <= 200; i++) {
      // 20,000 a second, each from another address.
      for (let k = 0; k < 100; k++) give(b, message.slice(), 1000 + ((i * 100 + k) & 0x3fff));
      say(i);
      net.clock.advance(5);
    }
    net.clock.advance(100);
    expect(received).toEqual(Array.from({ length: 201 }, (_, i) => i));
    expect(b.isUnderLoad).toBe(true);
    expect(b.stats.cookiesSent).toBeGreaterThan(15_000);
    // Work was done for what the rate admits, and nothing is kept.
    expect(b.stats.initiationsReceived).toBeLessThan(2000);
    expect(b.sessionCount).toBe(before);
    // A rekey in the middle of it: the honest initiator answers the cookie.
    net.clock.advance(5_000);
    for (let i = 0; i < 400; i++) give(b, message.slice(), 1000 + i);
    const handshakes = b.stats.handshakes;
    toB.handshake();
    for (let i = 0; i < 1300; i++) {
      for (let k = 0; k < 20; k++) give(b, message.slice(), 1000 + ((i * 20 + k) & 0x3fff));
      net.clock.advance(5);
    }
    expect(p.a.stats.cookiesReceived).toBeGreaterThan(0);
    expect(b.stats.handshakes).toBe(handshakes + 1);
  });

  it('WG-08: even with cookies, one address gets no more than its rate', () => {
    const p = pair({ limits: { handshakeRate: 10, handshakeBurst: 2 } });
    const { net, b } = p;
    const noise = new Noise(testProvider());
    const make = stranger(p);
    const cookies = new Map<number, Uint8Array>();
    const at = 50;
    net.attach(at, () => {});
    // Get a cookie as an attacker at a real address would.
    const first = make();
    for (let i = 0; i < 5; i++) give(b, first.slice(), at);
    const reply = net.log.filter(({ bytes, to }) => bytes[0] === 3 && to === at)[0].bytes;
    const cookie = new Uint8Array(16);
    const opener = testProvider().xchacha20poly1305(
      noise.labelledKey('cookie--', p.right.publicKey),
    );
    const mac1 = first.slice(116, 132);
    expect(opener.open(cookie, 0, reply, 32, 16, reply, 8, mac1, 0, 16)).toBe(true);
    cookies.set(at, cookie);
    const before = b.stats.initiationsReceived;
    for (let i = 0; i < 200; i++) {
      const message = make();
      signMessage(noise, p.right.publicKey, cookie, message, 0, 148);
      give(b, message, at);
      net.clock.advance(5);
    }
    // One second: five at once and twenty more.
    const worked = b.stats.initiationsReceived - before;
    expect(worked).toBeGreaterThanOrEqual(20);
    expect(worked).toBeLessThanOrEqual(26);
    expect(b.stats.dropRateLimited).toBe(200 - worked);
    // WG-07: the cookie is of no use at another port or address: that gets a cookie of its own.
    const sent = b.stats.cookiesSent;
    const message = make();
    signMessage(noise, p.right.publicKey, cookie, message, 0, 148);
    give(b, message.slice(), 51);
    expect(b.stats.cookiesSent).toBe(sent + 1);
    // Nor after the secret has changed.
    net.clock.advance(121_000);
    for (let i = 0; i < 10; i++) give(b, make(), 60);
    const late = b.stats.cookiesSent;
    give(b, message.slice(), at);
    expect(b.stats.cookiesSent).toBe(late + 1);
  });

  it('WG-07: cookies are bound to the port as well as to the address', () => {
    const p = pair({ limits: { handshakeRate: 1, handshakeBurst: 1 } });
    const { b, net } = p;
    const make = stranger(p);
    // The lab gives every endpoint an address; here one address has two ports.
    const sources = new Map([
      [70, [10, 0, 0, 70, 0, 1]],
      [71, [10, 0, 0, 70, 0, 2]],
    ]);
    b.link.describe = (endpoint, out, off) => {
      out.set(sources.get(endpoint) ?? [0, 0, 0, 0, 0, 0], off);
      return 6;
    };
    const first = make();
    for (let i = 0; i < 3; i++) give(b, first.slice(), 70);
    const reply = net.log.filter(({ bytes }) => bytes[0] === 3)[0].bytes;
    const noise = new Noise(testProvider());
    const opener = testProvider().xchacha20poly1305(
      noise.labelledKey('cookie--', p.right.publicKey),
    );
    const cookie = new Uint8Array(16);
    opener.open(cookie, 0, reply, 32, 16, reply, 8, first.slice(116, 132), 0, 16);
    const message = make();
    signMessage(noise, p.right.publicKey, cookie, message, 0, 148);
    const received = b.stats.initiationsReceived;
    give(b, message.slice(), 71);
    expect(b.stats.initiationsReceived).toBe(received);
    give(b, message.slice(), 70);
    expect(b.stats.initiationsReceived).toBe(received + 1);
  });

  it('WG-08: initiations of one peer are taken at most every 20 ms', () => {
    const { net, b, toB, left, right } = pair();
    const noise = new Noise(testProvider());
    const provider = testProvider();
    const ours = provider.x25519KeyPair(left.exportPrivateKey());
    const theirKey = provider.x25519PublicKey(right.publicKey);
    const shared = new Uint8Array(32);
    ours.agree(shared, 0, theirKey);
    const timestamp = new Uint8Array(12).fill(0x40);
    for (let i = 0; i < 50; i++) {
      const message = new Uint8Array(148);
      timestamp[11] = i;
      noise.writeInitiation(message, 0, i, ours, right.publicKey, theirKey, shared, timestamp);
      signMessage(noise, right.publicKey, null, message, 0, 148);
      give(b, message, 1);
      net.clock.advance(2);
    }
    expect(b.stats.responsesSent).toBe(5);
    expect(b.stats.dropInitiationFlood).toBe(45);
    expect(b.sessionCount).toBeLessThanOrEqual(2);
    expect(toB.isConnected).toBe(false);
  });

  it('WG-08: responses under load need a cookie as well', () => {
    const p = pair({ limits: { handshakeRate: 1, handshakeBurst: 1 } });
    const { net, a, b, say, received } = p;
    const back = stranger({ ...p, right: p.left } as Pair);
    // a is flooded before its response comes.
    net.filter = ({ bytes, to }) => {
      if (bytes[0] === 2 && to === 1) for (let i = 0; i < 5; i++) give(a, back(), 90 + i);
      return true;
    };
    say(1);
    net.clock.advance(100);
    expect(received).toEqual([]);
    expect(a.stats.cookiesSent).toBeGreaterThan(3);
    expect(b.stats.cookiesReceived).toBe(1);
    net.filter = () => true;
    net.clock.advance(12_000);
    expect(received).toEqual([1]);
  });
});

describe('hostile bytes', () => {
  it('never throws, never answers and keeps the tunnel, whatever comes in whatever state', () => {
    const word = fc.uint8Array({ minLength: 0, maxLength: 300 });
    const typed = fc
      .tuple(fc.constantFrom(1, 2, 3, 4, 5), fc.constantFrom(148, 92, 64, 32, 48, 31, 149), word)
      .map(([type, length, bytes]) => {
        const message = new Uint8Array(length);
        message.set(bytes.subarray(0, length));
        message.set([type, 0, 0, 0]);
        return message;
      });
    const mutated = fc.record({
      which: fc.nat(),
      flips: fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { maxLength: 4 }),
      cut: fc.integer({ min: -20, max: 20 }),
    });
    const input = fc.oneof(word, typed, mutated);
    fc.assert(
      fc.property(fc.array(input, { maxLength: 40 }), fc.nat(6), (inputs, stage) => {
        const { net, a, b, say, answer, received, toB } = pair();
        if (stage > 0) say(1);
        if (stage > 1) net.clock.advance(5);
        if (stage > 2) net.clock.advance(10);
        if (stage > 3) net.clock.advance(10);
        if (stage > 4) answer(2);
        if (stage > 5) net.clock.advance(125_000);
        const log = net.log.map(({ bytes }) => bytes);
        for (const one of inputs) {
          let bytes: Uint8Array;
          if (one instanceof Uint8Array) {
            bytes = one;
          } else {
            const base = log.length === 0 ? new Uint8Array(148) : log[one.which % log.length];
            bytes = new Uint8Array(Math.max(0, base.length + one.cut));
            bytes.set(base.subarray(0, bytes.length));
            // MAC2 counts only under load: with it alone changed, an initiation is still a valid one.
            const span = base[0] === 1 ? 132 : base.length;
            for (const [at, mask] of one.flips) {
              if (at % span < bytes.length) bytes[at % span] ^= mask;
            }
            // An unchanged message is a replay, which is another test.
            if (bytes.length === base.length && bytes.every((byte, i) => byte === base[i])) {
              bytes[0] ^= 0x80;
            }
          }
          give(a, bytes.slice(), 8);
          give(b, bytes.slice(), 8);
        }
        net.clock.advance(100);
        say(1000);
        net.clock.advance(6_000);
        expect(received.at(-1)).toBe(1000);
        expect(toB.endpoint).toBe(2);
        expect(a.sessionCount + b.sessionCount).toBeLessThan(10);
        expect(net.log.filter(({ to }) => to === 8)).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it('drops by name what is malformed', () => {
    const { b, net, say } = pair();
    say(1);
    net.clock.advance(100);
    const { stats } = b;
    const lengths = [
      [1, 147],
      [1, 149],
      [2, 93],
      [3, 63],
      [4, 31],
      [0, 100],
      [5, 148],
    ];
    for (const [type, length] of lengths) {
      const message = new Uint8Array(length);
      message[0] = type;
      give(b, message, 9);
    }
    const reserved = lastData(net, 2);
    reserved[2] = 1;
    give(b, reserved, 9);
    expect(stats.dropMalformed).toBe(lengths.length + 1);
    const unknown = lastData(net, 2);
    unknown[5] ^= 0xff;
    give(b, unknown, 9);
    expect(stats.dropUnknownIndex).toBe(1);
    expect(countType(net, 4)).toBe(1);
  });
});

describe('unknown peers', () => {
  it('are told once with proof of their key, and may be accepted later', () => {
    const { net, right, toA, b, say, received, left } = pair();
    right.removePeer(toA);
    const asked: string[] = [];
    let accept: (() => unknown) | undefined;
    right.events = {
      onUnknownPeer: (request) => {
        asked.push(request.id, request.from);
        accept = () => request.accept({ data: 'ann' });
      },
    };
    say(1);
    net.clock.advance(6_000);
    expect(asked).toEqual([formatKey(left.publicKey), '10.0.0.1:51820']);
    expect(b.stats.dropUnknownPeer).toBe(2);
    expect(countType(net, 2)).toBe(0);
    accept?.();
    net.clock.advance(100);
    expect(received).toEqual([1]);
    expect(right.peer(left.publicKey)?.data).toBe('ann');
    expect(net.holds.get(1)).toBe(1);
  });

  it('wait in a bounded place, and not for ever', () => {
    const p = pair({ limits: { approvals: 3 } });
    const { right, b, net, left } = p;
    const requests: Array<{ accept(): unknown }> = [];
    right.events = { onUnknownPeer: (request) => requests.push(request) };
    const makers = Array.from({ length: 5 }, () => stranger(p));
    for (const make of makers) give(b, make(), 40);
    expect(requests.length).toBe(3);
    net.clock.advance(15_000);
    expect(requests[0].accept()).toBeNull();
    give(b, makers[4](), 41);
    expect(requests.length).toBe(4);
    expect(requests[3].accept()).not.toBeNull();
    expect(right.peers.size).toBe(2);
    expect(left.peers.size).toBe(1);
    b.removeIdentity(right);
    expect([...net.holds.keys()]).toEqual([2]);
  });

  it('a key of small order is refused as a peer that can never be reached', () => {
    const { left, a, net } = pair();
    const peer = left.addPeer({ publicKey: new Uint8Array(32), endpoint: 2 });
    peer.handshake();
    net.clock.advance(100_000);
    expect(net.log.length).toBe(0);
    expect(a.stats.dropBadHandshake).toBeGreaterThan(0);
    expect(a.sessionCount).toBe(0);
  });
});
