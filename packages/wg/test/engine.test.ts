import { Packet } from '@pktkit/core';
import { describe, expect, it } from 'vitest';
import { formatKey, generatePrivateKey, type Identity, type Peer } from '../src/index.ts';
import { ipv4, Net, tagOf } from './lab.ts';

export function pair(net = new Net()) {
  const atA = { endpoint: 1 };
  const atB = { endpoint: 2 };
  const a = net.engine(atA);
  const b = net.engine(atB);
  const received: number[] = [];
  const back: number[] = [];
  const left: Identity = a.addIdentity({
    privateKey: generatePrivateKey(),
    onPacket: (_peer, packet) => back.push(tagOf(packet)),
  });
  const right: Identity = b.addIdentity({
    privateKey: generatePrivateKey(),
    onPacket: (_peer, packet) => received.push(tagOf(packet)),
  });
  const toB: Peer = left.addPeer({ publicKey: right.publicKey, endpoint: 2 });
  const toA: Peer = right.addPeer({ publicKey: formatKey(left.publicKey) });
  return { net, a, b, left, right, toA, toB, received, back, atA, atB };
}

describe('handshake', () => {
  it('carries a packet that waited for it, and the answer', () => {
    const { net, toA, toB, received, back, a, b } = pair();
    toB.send(Packet.of(ipv4('10.1.0.1', '10.1.0.2', 100, 7)));
    expect(toB.staged).toBe(1);
    net.clock.advance(100);
    expect(received).toEqual([7]);
    toA.send(Packet.of(ipv4('10.1.0.2', '10.1.0.1', 100, 8)));
    net.clock.advance(100);
    expect(back).toEqual([8]);
    expect(a.stats.handshakes).toBe(1);
    expect(b.stats.handshakes).toBe(1);
    expect(net.log.map(({ bytes }) => bytes.length)).toEqual([148, 92, 160, 160]);
  });
});
