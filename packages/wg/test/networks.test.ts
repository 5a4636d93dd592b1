import {
  type Disconnect,
  disconnect,
  dropPacket,
  L2Hub,
  type L3Device,
  Packet,
  Prefix,
} from '@pktkit/core';
import {
  generatePrivateKey,
  onEthernet,
  type Peer,
  type PeerDevice,
  PeerNetworks,
  type PeerRequest,
  WireGuard,
} from '@pktkit/wg';
import { describe, expect, it } from 'vitest';
import { ipv4, Net, tagOf } from './lab.ts';

/** Notes which devices are attached, and what they bring. */
class Networks {
  readonly attached: PeerDevice[] = [];
  readonly seen: Array<[PeerDevice, number]> = [];
  disconnected = 0;

  connectL3(device: L3Device): Disconnect {
    const peerDevice = device as PeerDevice;
    this.attached.push(peerDevice);
    device.setHandler((packet) => this.seen.push([peerDevice, tagOf(packet)]));
    return disconnect(() => {
      this.disconnected++;
      this.attached.splice(this.attached.indexOf(peerDevice), 1);
      device.setHandler(dropPacket);
    });
  }
}

function client(net: Net, endpoint: number, serverKey: Uint8Array): WireGuard {
  return new WireGuard(net.engine({ endpoint }), {
    privateKey: generatePrivateKey(),
    peers: [{ publicKey: serverKey, endpoint: 1, allowedIps: ['0.0.0.0/0'] }],
  });
}

describe('peer networks', () => {
  it('two peers with one inner address have networks of their own', () => {
    const net = new Net();
    const connector = new Networks();
    const server = new PeerNetworks(net.engine({ endpoint: 1 }), {
      privateKey: generatePrivateKey(),
      connector,
    });
    const clients = [10, 11].map((endpoint) => client(net, endpoint, server.identity.publicKey));
    const got = clients.map((device) => {
      const tags: number[] = [];
      device.setHandler((packet) => tags.push(tagOf(packet)));
      server.addPeer({ publicKey: device.identity.publicKey });
      return tags;
    });
    clients.forEach((device, i) => {
      device.send(Packet.of(ipv4('10.0.0.2', '192.0.2.1', 40, 100 + i)));
    });
    net.clock.advance(100);
    expect(connector.seen.map(([, tag]) => tag).sort()).toEqual([100, 101]);
    for (const [device, tag] of connector.seen) {
      device.send(Packet.of(ipv4('192.0.2.1', '10.0.0.2', 40, tag + 100)));
    }
    net.clock.advance(100);
    expect(got).toEqual([[200], [201]]);
  });

  it('WG-11: a device is there while its peer is, and everything is freed after', () => {
    const net = new Net();
    const connector = new Networks();
    const engine = net.engine({ endpoint: 1 });
    const events: string[] = [];
    const server = new PeerNetworks(engine, {
      privateKey: generatePrivateKey(),
      connector,
      events: {
        onSessionEnd: () => events.push('end'),
        onRemoved: () => events.push('removed'),
      },
    });
    const device = client(net, 10, server.identity.publicKey);
    const peer = server.addPeer({ publicKey: device.identity.publicKey });
    expect(connector.attached.length).toBe(0);
    device.send(Packet.of(ipv4('10.0.0.2', '192.0.2.1', 40)));
    net.clock.advance(100);
    expect(server.devices).toEqual(connector.attached);
    expect(connector.attached.length).toBe(1);
    // The client is gone: three times the reject time later nothing is left of it but its configuration.
    net.clock.advance(600_000);
    expect(connector.attached.length).toBe(0);
    expect(server.devices).toEqual([]);
    expect(engine.sessionCount).toBe(0);
    expect(server.deviceOf(peer)).toBeUndefined();
    expect(events).toEqual(['end']);
    // It comes back.
    device.send(Packet.of(ipv4('10.0.0.2', '192.0.2.1', 40)));
    net.clock.advance(100);
    expect(connector.attached.length).toBe(1);
    expect(net.holds.get(10)).toBe(1);
    server.removePeer(peer);
    expect(connector.attached.length).toBe(0);
    expect(connector.disconnected).toBe(2);
    expect(net.holds.get(10)).toBeUndefined();
    expect(engine.sessionCount).toBe(0);
    expect(events).toEqual(['end', 'end', 'removed']);
    device.send(Packet.of(ipv4('10.0.0.2', '192.0.2.1', 40)));
    net.clock.advance(100);
    expect(connector.attached.length).toBe(0);
    device.close();
    server.close();
    expect(net.clock.nextDeadline).toBe(Number.POSITIVE_INFINITY);
  });

  it('WG-11: a peer with an expiry is removed by itself', () => {
    const net = new Net();
    const connector = new Networks();
    const engine = net.engine({ endpoint: 1 });
    const server = new PeerNetworks(engine, { privateKey: generatePrivateKey(), connector });
    const device = client(net, 10, server.identity.publicKey);
    server.addPeer({ publicKey: device.identity.publicKey, expiresIn: 60_000 });
    for (let i = 0; i < 100; i++) {
      device.send(Packet.of(ipv4('10.0.0.2', '192.0.2.1', 40, i)));
      net.clock.advance(1000);
    }
    expect(connector.seen.length).toBe(60);
    expect(server.identity.peers.size).toBe(0);
    expect(connector.attached.length).toBe(0);
    expect(engine.sessionCount).toBe(0);
  });

  it('WG-10: on an Ethernet every peer has its own MAC and answers for its own address alone', () => {
    const net = new Net();
    const hub = new L2Hub();
    const { clock } = net;
    const server = new PeerNetworks(net.engine({ endpoint: 1 }), {
      privateKey: generatePrivateKey(),
      connector: onEthernet(hub, { clock, ipv6: false }),
      addressesOf: (peer) => [Prefix.parse(`192.168.1.${peer.data}/24`)],
    });
    const clients = [2, 3, 4].map((host) => {
      const device = client(net, 10 + host, server.identity.publicKey);
      server.addPeer({ publicKey: device.identity.publicKey, data: host, endpoint: 10 + host });
      const got: number[] = [];
      device.setHandler((packet) => {
        // Not the switch's word that nobody has .77.
        if (packet.protocol === 17) got.push(tagOf(packet));
      });
      return { device, got, host };
    });
    for (const { device, host } of clients) {
      device.send(Packet.of(ipv4(`192.168.1.${host}`, '192.168.1.77', 40)));
    }
    net.clock.advance(1000);
    // Peer to peer through the switch.
    for (const { device, host } of clients) {
      for (const other of clients) {
        if (other.host === host) continue;
        const packet = ipv4(
          `192.168.1.${host}`,
          `192.168.1.${other.host}`,
          40,
          host * 10 + other.host,
        );
        device.send(Packet.of(packet));
      }
    }
    net.clock.advance(5000);
    expect(clients.map(({ got }) => got.sort())).toEqual([
      [32, 42],
      [23, 43],
      [24, 34],
    ]);
    expect(server.devices.length).toBe(3);
    server.close();
    expect(() => onEthernet(hub).connectL3({ addrs: [] } as unknown as L3Device)).toThrow(
      /address of its own/,
    );
  });
});

describe('several identities on one port', () => {
  it('WG-12: each has its peers, and one peer may know both', () => {
    const net = new Net();
    const engine = net.engine({ endpoint: 1 });
    const home = new WireGuard(engine, { privateKey: generatePrivateKey() });
    const work = new WireGuard(engine, { privateKey: generatePrivateKey() });
    const got: string[] = [];
    home.setHandler((packet) => got.push(`home ${tagOf(packet)}`));
    work.setHandler((packet) => got.push(`work ${tagOf(packet)}`));
    // One private key at the other end, configured with both.
    const privateKey = generatePrivateKey();
    const toHome = new WireGuard(net.engine({ endpoint: 10 }), {
      privateKey,
      peers: [{ publicKey: home.identity.publicKey, endpoint: 1, allowedIps: ['0.0.0.0/0'] }],
    });
    const toWork = new WireGuard(net.engine({ endpoint: 11 }), {
      privateKey,
      peers: [{ publicKey: work.identity.publicKey, endpoint: 1, allowedIps: ['0.0.0.0/0'] }],
    });
    for (const device of [home, work]) {
      device.addPeer({ publicKey: toHome.identity.publicKey, allowedIps: ['10.0.0.0/24'] });
    }
    toHome.send(Packet.of(ipv4('10.0.0.2', '192.0.2.1', 40, 1)));
    toWork.send(Packet.of(ipv4('10.0.0.2', '192.0.2.1', 40, 2)));
    net.clock.advance(100);
    expect(got.sort()).toEqual(['home 1', 'work 2']);
    // Indices are unique over both.
    const indices = [home, work].map((device) => [...device.peers.values()][0].current?.localIndex);
    expect(new Set(indices).size).toBe(2);
    expect(engine.sessionCount).toBe(2);
    // Both directions, each through its own session.
    const back: string[] = [];
    toHome.setHandler((packet) => back.push(`home ${tagOf(packet)}`));
    toWork.setHandler((packet) => back.push(`work ${tagOf(packet)}`));
    home.send(Packet.of(ipv4('192.0.2.1', '10.0.0.2', 40, 3)));
    work.send(Packet.of(ipv4('192.0.2.1', '10.0.0.2', 40, 4)));
    net.clock.advance(100);
    expect(back.sort()).toEqual(['home 3', 'work 4']);
  });

  it('WG-12: identities come and go at run time, also from a callback, and late ones lack nothing', () => {
    const net = new Net();
    const engine = net.engine({ endpoint: 1 });
    const first = new WireGuard(engine, {
      privateKey: generatePrivateKey(),
      events: {
        onHandshake: () => {
          second = new WireGuard(engine, {
            privateKey: secondKey,
            events: { onUnknownPeer: (request) => asked.push(request) },
          });
        },
      },
    });
    const secondKey = generatePrivateKey();
    const asked: PeerRequest[] = [];
    let second: WireGuard | undefined;
    const device = client(net, 10, first.identity.publicKey);
    first.addPeer({ publicKey: device.identity.publicKey, allowedIps: ['10.0.0.2/32'] });
    device.send(Packet.of(ipv4('10.0.0.2', '192.0.2.1', 40, 1)));
    net.clock.advance(100);
    expect(engine.identities.length).toBe(2);
    const later = client(net, 11, (second as WireGuard).identity.publicKey);
    later.send(Packet.of(ipv4('10.0.0.3', '192.0.2.1', 40, 2)));
    net.clock.advance(100);
    expect(asked.length).toBe(1);
    const got: number[] = [];
    second?.setHandler((packet) => got.push(tagOf(packet)));
    const peer = asked[0].accept();
    if (peer === null || second === undefined) throw new Error('not accepted');
    second.allowIp(peer, '10.0.0.3/32');
    net.clock.advance(100);
    expect(got).toEqual([2]);
    first.close();
    expect(engine.identities).toEqual([second.identity]);
    expect(() => new WireGuard(engine, { privateKey: secondKey })).toThrow(/already/);
    expect(engine.sessionCount).toBe(1);
    const third = new WireGuard(engine, { privateKey: generatePrivateKey() });
    expect(() => third.identity.setPrivateKey(secondKey)).toThrow(/already/);
    second.identity.setPrivateKey(secondKey);
  });

  it('a peer may be removed from any callback', () => {
    for (const event of ['onHandshake', 'onEndpoint', 'onPacket'] as const) {
      const net = new Net();
      const engine = net.engine({ endpoint: 1 });
      const remove = (peer: Peer) => identity.removePeer(peer);
      const identity = engine.addIdentity({
        privateKey: generatePrivateKey(),
        ...(event === 'onPacket' ? { onPacket: remove } : { events: { [event]: remove } }),
      });
      const device = client(net, 10, identity.publicKey);
      identity.addPeer({ publicKey: device.identity.publicKey });
      device.send(Packet.of(ipv4('10.0.0.2', '192.0.2.1', 40, 1)));
      net.clock.advance(20_000);
      expect(identity.peers.size, event).toBe(0);
      expect(engine.sessionCount, event).toBe(0);
      expect(net.holds.get(10), event).toBeUndefined();
    }
  });
});

describe('a peer that was removed', () => {
  it('holds nothing of the one that came after it, and gives nothing to it', () => {
    const net = new Net();
    const identity = net.engine({ endpoint: 1 }).addIdentity({ privateKey: generatePrivateKey() });
    const [first, second] = [generatePrivateKey(), generatePrivateKey()];
    const gone = identity.addPeer({ publicKey: first, presharedKey: first, endpoint: 10 });
    identity.removePeer(gone);
    const peer = identity.addPeer({ publicKey: second, presharedKey: second });
    expect(gone.publicKey).toEqual(first);
    expect(gone.presharedKey).toEqual(new Uint8Array(32));
    gone.setPresharedKey(first);
    gone.setEndpoint(10);
    gone.setPersistentKeepalive(25);
    gone.handshake();
    gone.send(Packet.of(ipv4('10.0.0.1', '10.0.0.2', 40)));
    net.clock.advance(60_000);
    expect(peer.presharedKey).toEqual(second);
    expect(peer.publicKey).toEqual(second);
    expect(net.holds.size).toBe(0);
    expect(net.log.length).toBe(0);
    expect(net.clock.nextDeadline).toBe(Number.POSITIVE_INFINITY);
  });

  it('was never there when its options are wrong', () => {
    const engine = new Net().engine({ endpoint: 1 }, { limits: { peers: 1 } });
    const identity = engine.addIdentity({ privateKey: generatePrivateKey() });
    const publicKey = generatePrivateKey();
    for (const wrong of [
      { presharedKey: new Uint8Array(31) },
      { persistentKeepalive: 65_536 },
      { expiresIn: Number.NaN },
    ]) {
      expect(() => identity.addPeer({ publicKey, ...wrong })).toThrow(/32 bytes|65535|NaN/);
      expect(identity.peers.size).toBe(0);
    }
    const peer = identity.addPeer({ publicKey });
    expect(() => peer.setPresharedKey(new Uint8Array(64))).toThrow(/32 bytes, got 64/);
    expect(() => identity.addPeer({ publicKey: generatePrivateKey() })).toThrow(/limits.peers/);
  });
});

describe('one private key for another', () => {
  it('ends all sessions; peers must know the new public key', () => {
    const net = new Net();
    const server = new WireGuard(net.engine({ endpoint: 1 }), { privateKey: generatePrivateKey() });
    const device = client(net, 10, server.identity.publicKey);
    server.addPeer({ publicKey: device.identity.publicKey, allowedIps: ['10.0.0.2/32'] });
    const got: number[] = [];
    server.setHandler((packet) => got.push(tagOf(packet)));
    device.send(Packet.of(ipv4('10.0.0.2', '192.0.2.1', 40, 1)));
    net.clock.advance(100);
    server.identity.setPrivateKey(generatePrivateKey());
    device.send(Packet.of(ipv4('10.0.0.2', '192.0.2.1', 40, 2)));
    net.clock.advance(20_000);
    expect(got).toEqual([1]);
    device.addPeer({
      publicKey: server.identity.publicKey,
      endpoint: 1,
      allowedIps: ['0.0.0.0/0'],
    });
    device.send(Packet.of(ipv4('10.0.0.2', '192.0.2.1', 40, 3)));
    net.clock.advance(100);
    expect(got).toEqual([1, 3]);
  });
});
