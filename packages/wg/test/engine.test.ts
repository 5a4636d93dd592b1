import { generatePresharedKey } from '@pktkit/wg';
import { describe, expect, it } from 'vitest';
import { countType, pair } from './lab.ts';

describe('handshake', () => {
  it('carries a packet that waited for it, and the answer', () => {
    const { net, toB, received, back, a, b, say, answer } = pair();
    say(7);
    expect(toB.staged).toBe(1);
    net.clock.advance(100);
    expect(received).toEqual([7]);
    answer(8);
    net.clock.advance(100);
    expect(back).toEqual([8]);
    expect(a.stats.handshakes).toBe(1);
    expect(b.stats.handshakes).toBe(1);
    expect(net.log.map(({ bytes }) => bytes.length)).toEqual([148, 92, 160, 160]);
  });

  it('works with a pre-shared key, and not with two different ones', () => {
    const same = pair({}, generatePresharedKey());
    same.say(1);
    same.net.clock.advance(100);
    expect(same.received).toEqual([1]);

    const other = pair({}, generatePresharedKey());
    other.toA.setPresharedKey(generatePresharedKey());
    other.say(1);
    other.net.clock.advance(100);
    expect(other.received).toEqual([]);
    expect(other.a.stats.dropBadHandshake).toBe(1);
  });

  it('ends in a keepalive when there is nothing to send, so that the responder may', () => {
    const { net, toB, toA, a, answer, back } = pair();
    toB.handshake();
    net.clock.advance(100);
    expect(a.stats.keepalivesSent).toBe(1);
    expect(toA.isConnected).toBe(true);
    answer(1);
    net.clock.advance(100);
    expect(back).toEqual([1]);
  });

  it('WG-06: a responder sends nothing with keys that the initiator has not confirmed', () => {
    const { net, toA, toB, b, say, answer, received, back } = pair();
    say(1);
    net.clock.advance(100);
    // A second handshake whose response is lost: b has new keys that a does not know of.
    net.clock.advance(10_000);
    let lost = 0;
    net.filter = ({ bytes }) => bytes[0] !== 2 || lost++ > 0;
    const before = b.stats.responsesSent;
    toB.handshake();
    net.clock.advance(100);
    expect(b.stats.responsesSent).toBe(before + 1);
    expect(lost).toBe(1);
    expect(toA.next).not.toBeNull();
    // Both directions go on with the old keys.
    answer(2);
    say(3);
    net.clock.advance(100);
    expect(back).toEqual([2]);
    expect(received).toEqual([1, 3]);
    expect(toA.next).not.toBeNull();
    // The retry brings a response; the first message with the new keys confirms them.
    net.clock.advance(6_000);
    expect(toA.next).toBeNull();
    answer(4);
    net.clock.advance(100);
    expect(back).toEqual([2, 4]);
  });

  it('survives both ends starting at once', () => {
    const { net, toA, toB, say, answer, received, back } = pair();
    toA.setEndpoint(1);
    say(1);
    answer(2);
    net.clock.advance(100);
    expect(received).toEqual([1]);
    expect(back).toEqual([2]);
    for (let i = 0; i < 10; i++) {
      say(10 + i);
      answer(20 + i);
      net.clock.advance(20);
    }
    expect(received.length).toBe(11);
    expect(back.length).toBe(11);
    expect([toA.isConnected, toB.isConnected]).toEqual([true, true]);
  });

  it('refuses a replayed initiation, and one with an older time stamp', () => {
    const { net, b, say } = pair();
    say(1);
    net.clock.advance(100);
    const first = net.log[0].bytes;
    b.handleDatagram(first.slice(), 0, 148, 9);
    expect(b.stats.dropReplayedInitiation).toBe(1);
    expect(countType(net, 2)).toBe(1);
  });

  it('goes on after one side has forgotten everything', () => {
    const { net, right, toA, toB, say, received, left } = pair();
    say(1);
    net.clock.advance(1000);
    right.removePeer(toA);
    right.addPeer({ publicKey: left.publicKey });
    // Nothing comes back: after fifteen seconds a starts anew.
    say(2);
    net.clock.advance(20_000);
    say(3);
    net.clock.advance(100);
    expect(received).toEqual([1, 3]);
    expect(toB.isConnected).toBe(true);
  });

  it('follows a peer to another endpoint, by authenticated messages only', () => {
    const { net, a, b, toA, atA, say, answer, back } = pair();
    say(1);
    net.clock.advance(100);
    expect(toA.endpoint).toBe(1);
    // Forged from elsewhere: the index is right, the tag is not.
    const forged = net.log.at(-1)?.bytes.slice() as Uint8Array;
    forged[20] ^= 1;
    b.handleDatagram(forged, 0, forged.length, 77);
    expect(toA.endpoint).toBe(1);
    atA.endpoint = 300;
    net.attach(300, (bytes, from) => a.handleDatagram(bytes, 0, bytes.length, from));
    net.detach(1);
    say(2);
    net.clock.advance(100);
    expect(toA.endpoint).toBe(300);
    expect(toA.endpointText).toBe('10.0.1.44:51820');
    expect(b.stats.roamed).toBe(1);
    answer(3);
    net.clock.advance(100);
    expect(back).toEqual([3]);
    expect([...net.holds]).toEqual([
      [2, 1],
      [300, 1],
    ]);
  });
});
