import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { IpAddr } from '@pktkit/core';
import { until, VirtualClock } from '@pktkit/testkit';
import * as dnsPacket from 'dns-packet';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeSockets } from './fake-sockets.ts';
import { GATEWAY4, GATEWAY6, GUEST4, type Lan, lan } from './lan.ts';
import { udpServer } from './servers.ts';

const open: Array<{ close(): void }> = [];

afterEach(() => {
  for (const thing of open.splice(0).reverse()) thing.close();
});

function withLan(...args: Parameters<typeof lan>): Lan {
  const made = lan(...args);
  open.push(made);
  return made;
}

async function withServer(
  ...args: Parameters<typeof udpServer>
): Promise<Awaited<ReturnType<typeof udpServer>>> {
  const server = await udpServer(...args);
  open.push(server);
  return server;
}

const address = (text: string) => IpAddr.parse(text);

describe('mappings', () => {
  it('carries datagrams both ways, in both families', async () => {
    const { guest, slirp } = withLan();
    for (const [host, gateway] of [
      ['127.0.0.1', GATEWAY4],
      ['::1', GATEWAY6],
    ]) {
      const server = await withServer(
        (message, reply) => reply(Buffer.from(`re: ${message}`)),
        host,
      );
      const socket = guest.udp({ remote: { address: gateway, port: server.port } });
      socket.send(Buffer.from('hello'));
      const message = await socket.receive();
      expect(Buffer.from(message.data).toString()).toBe('re: hello');
      expect(message.address.toString()).toBe(gateway);
      expect(message.port).toBe(server.port);
    }
    expect(slirp.stats).toMatchObject({ udpUp: 2, udpDown: 2, udpMappings: 2 });
  });

  it('SLIRP-05: two destinations see the same source, and either may answer from any port', async () => {
    const { guest } = withLan();
    const ports: number[] = [];
    const first = await withServer((_message, _reply, port) => ports.push(port));
    const second = await withServer((_message, _reply, port) => ports.push(port));
    const socket = guest.udp();
    socket.send(new Uint8Array(1), address(GATEWAY4), first.port);
    socket.send(new Uint8Array(1), address(GATEWAY4), second.port);
    await until(() => ports.length === 2);
    expect(ports[0]).toBe(ports[1]);
    // As TFTP does: the answer comes from a port that the guest has never written to.
    const third = createSocket('udp4');
    open.push({ close: () => third.close() });
    third.send('from elsewhere', ports[0], '127.0.0.1');
    const message = await socket.receive();
    expect(Buffer.from(message.data).toString()).toBe('from elsewhere');
    expect(message.port).toBe(third.address().port);
  });

  it('SLIRP-05: hears nobody that it has not written to, unless told', async () => {
    for (const [udpFiltering, port, heard] of [
      ['address-dependent', 999, true],
      ['address-and-port', 999, false],
      ['endpoint-independent', 999, true],
    ] as const) {
      const clock = new VirtualClock();
      const sockets = new FakeSockets();
      const { guest, slirp } = withLan({ clock, sockets, udpFiltering });
      const socket = guest.udp();
      socket.send(new Uint8Array(1), address('192.0.2.1'), 53);
      clock.flush();
      const [host] = sockets.sockets;
      host.events.onMessage(new Uint8Array(3), '192.0.2.1', port);
      expect(socket.stats.received).toBe(heard ? 1 : 0);
      host.events.onMessage(new Uint8Array(3), '192.0.2.2', 53);
      expect(socket.stats.received).toBe(
        udpFiltering === 'endpoint-independent' ? 2 : heard ? 1 : 0,
      );
      expect(slirp.stats.dropUdpFiltered).toBe(2 - socket.stats.received);
    }
  });

  it('SLIRP-05: empty datagrams go both ways', async () => {
    const { guest } = withLan();
    let empty = 0;
    const server = await withServer((message, reply) => {
      if (message.length === 0) empty++;
      reply(new Uint8Array(0));
    });
    const socket = guest.udp({ remote: { address: GATEWAY4, port: server.port } });
    socket.send(new Uint8Array(0));
    expect((await socket.receive()).data.length).toBe(0);
    expect(empty).toBe(1);
  });

  it.each([
    ['127.0.0.1', GATEWAY4],
    ['::1', GATEWAY6],
  ])(
    'SLIRP-05: datagrams larger than the MTU go in fragments both ways (%s)',
    async (host, gateway) => {
      const { guest, slirp } = withLan();
      const server = await withServer((message, reply) => reply(message), host);
      const socket = guest.udp({ remote: { address: gateway, port: server.port } });
      for (const size of [1473, 9000, 65_000]) {
        const payload = Uint8Array.from({ length: size }, (_, i) => (i * 7) & 255);
        socket.send(payload);
        const { data } = await socket.receive();
        expect(Buffer.compare(data, payload)).toBe(0);
      }
      expect(slirp.stats.fragmentsOut).toBeGreaterThan(50);
      expect(slirp.stats.reassembled).toBe(3);
      expect(guest.stats.reassembled).toBe(3);
    },
  );

  it('SLIRP-04: a refused datagram does not end the mapping', async () => {
    const { guest, slirp } = withLan();
    const probe = await udpServer(() => {});
    const { port } = probe;
    probe.close();
    await once(probe.socket, 'close');
    const socket = guest.udp();
    for (let i = 0; i < 5; i++) {
      socket.send(new Uint8Array(8), address(GATEWAY4), port);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const server = await withServer(
      (_message, reply) => reply(Buffer.from('now I am here')),
      '127.0.0.1',
      port,
    );
    socket.send(new Uint8Array(8), address(GATEWAY4), server.port);
    const { data } = await socket.receive();
    expect(Buffer.from(data).toString()).toBe('now I am here');
    expect(slirp.stats.udpMappings).toBe(1);
  });

  it('SLIRP-04: an error of the host is told to the guest, and the mapping lives on', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { guest, slirp } = withLan({ clock, sockets });
    const errors: string[] = [];
    const socket = guest.udp({
      remote: { address: '192.0.2.1', port: 7 },
      onError: (error) => errors.push((error as NodeJS.ErrnoException).code ?? ''),
    });
    socket.send(new Uint8Array(8));
    sockets.sockets[0].events.onError('ENETUNREACH', '192.0.2.1', 7);
    sockets.sockets[0].events.onError('ECONNREFUSED', '192.0.2.1', 7);
    expect(errors).toEqual(['ENETUNREACH', 'ECONNREFUSED']);
    sockets.sockets[0].events.onMessage(new Uint8Array(2), '192.0.2.1', 7);
    expect(socket.stats.received).toBe(1);
    expect(slirp.stats).toMatchObject({ udpErrors: 2, udpMappings: 1 });
    expect(sockets.sockets).toHaveLength(1);
  });

  it('SLIRP-04: a mapping whose socket cannot be bound goes, and the next datagram tries again', async () => {
    const { guest, slirp } = withLan({ from: ['192.0.2.77'] });
    const socket = guest.udp();
    for (let round = 1; round <= 2; round++) {
      socket.send(new Uint8Array(1), address(GATEWAY4), 9);
      await until(() => slirp.stats.udpErrors === round);
      expect(slirp.stats.udpMappings).toBe(0);
    }
  });

  it('forgets idle mappings: after two minutes, sooner when they only asked a name server', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { guest, slirp } = withLan({ clock, sockets });
    guest.udp().send(new Uint8Array(1), address('192.0.2.1'), 53);
    const other = guest.udp();
    other.send(new Uint8Array(1), address('192.0.2.1'), 123);
    clock.advance(30_000);
    expect(sockets.sockets.map((socket) => socket.closed)).toEqual([true, false]);
    clock.advance(85_000);
    expect(sockets.sockets[1].closed).toBe(false);
    clock.advance(10_000);
    expect(sockets.sockets[1].closed).toBe(true);
    expect(slirp.stats.udpMappings).toBe(0);
    other.send(new Uint8Array(1), address('192.0.2.1'), 123);
    expect(sockets.sockets).toHaveLength(3);
  });

  it('SLIRP-09: mappings and the peers of one are bounded', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { guest, slirp } = withLan({
      clock,
      sockets,
      limits: { mappingsPerNamespace: 3, peersPerMapping: 2 },
    });
    const many = guest.udp();
    for (let i = 1; i <= 5; i++) many.send(new Uint8Array(1), address(`192.0.2.${i}`), 9);
    sockets.sockets[0].events.onMessage(new Uint8Array(1), '192.0.2.1', 9);
    expect(slirp.stats.dropUdpFiltered).toBe(1);
    sockets.sockets[0].events.onMessage(new Uint8Array(1), '192.0.2.5', 9);
    expect(many.stats.received).toBe(1);
    for (let i = 0; i < 5; i++) {
      clock.advance(10);
      guest.udp().send(new Uint8Array(1), address('192.0.2.1'), 9);
    }
    expect(slirp.stats).toMatchObject({ udpMappings: 3, dropMappingLimit: 3 });
    expect(sockets.sockets.filter((socket) => !socket.closed)).toHaveLength(3);
    expect(sockets.sockets[0].closed).toBe(true);
  });

  it('SLIRP-13: a UDP port of the host leads to a guest, with answers to each peer', async () => {
    const { slirp, guest } = withLan();
    const server = guest.udp({
      port: 5353,
      onMessage: ({ data, address: from, port }) =>
        server.send(Buffer.from(`re: ${Buffer.from(data)}`), from, port),
    });
    const forward = await slirp.forward({ port: 0, to: GUEST4, toPort: 5353, protocol: 'udp' });
    const answers: string[] = [];
    for (const name of ['one', 'two']) {
      const client = createSocket('udp4');
      open.push({ close: () => client.close() });
      client.on('message', (message) => answers.push(`${name} ${message}`));
      client.send(name, forward.port, '127.0.0.1');
    }
    await until(() => answers.length === 2);
    expect(answers.sort()).toEqual(['one re: one', 'two re: two']);
    await expect(
      slirp.forward({ port: forward.port, to: GUEST4, protocol: 'udp' }),
    ).rejects.toMatchObject({ code: 'EADDRINUSE' });
    forward.close();
  });
});

describe('DNS on the gateway', () => {
  function query(id: number, name: string): Uint8Array {
    return dnsPacket.encode({ type: 'query', id, flags: 0x100, questions: [{ type: 'A', name }] });
  }

  function answerTo(message: Uint8Array, data: string): Uint8Array {
    const asked = dnsPacket.decode(Buffer.from(message));
    return dnsPacket.encode({
      type: 'response',
      id: asked.id,
      flags: 0x180,
      questions: asked.questions,
      answers: [{ type: 'A', name: asked.questions?.[0].name ?? '', ttl: 60, data }],
    });
  }

  it('asks the host’s name servers one after the other, with an id of its own', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    sockets.servers = [
      { address: '192.0.2.53', port: 53 },
      { address: '2001:db8::53', port: 53 },
    ];
    const { guest, slirp } = withLan({ clock, sockets });
    const answers: dnsPacket.DecodedPacket[] = [];
    const socket = guest.udp({
      remote: { address: GATEWAY4, port: 53 },
      onMessage: ({ data }) => answers.push(dnsPacket.decode(Buffer.from(data))),
    });
    socket.send(query(7, 'example.test'));
    // The repetition of a question that is under way asks nobody.
    socket.send(query(7, 'example.test'));
    expect(sockets.sockets).toHaveLength(1);
    clock.advance(2000);
    expect(sockets.sockets[0].closed).toBe(true);
    expect(sockets.sockets[1].options.connect).toMatchObject({ address: '2001:db8::53' });
    const [{ bytes }] = sockets.sockets[1].sent;
    const forged = answerTo(bytes, '6.6.6.6');
    forged[0] ^= 1;
    sockets.sockets[1].events.onMessage(forged, '2001:db8::53', 53);
    sockets.sockets[1].events.onMessage(
      answerTo(query((bytes[0] << 8) | bytes[1], 'other.test'), '6.6.6.6'),
      '2001:db8::53',
      53,
    );
    expect(answers).toHaveLength(0);
    sockets.sockets[1].events.onMessage(answerTo(bytes, '192.0.2.80'), '2001:db8::53', 53);
    expect(answers).toHaveLength(1);
    expect(answers[0]).toMatchObject({ id: 7, answers: [{ data: '192.0.2.80' }] });
    expect(sockets.sockets.every((host) => host.closed)).toBe(true);
    expect(slirp.stats).toMatchObject({ dnsQueries: 1, dnsAnswers: 1, dropDnsLimit: 1 });
  });

  it('says SERVFAIL when no name server answers, at once when there is none', async () => {
    for (const servers of [[], [{ address: '192.0.2.53', port: 53 }]]) {
      const clock = new VirtualClock();
      const sockets = new FakeSockets();
      sockets.servers = servers;
      const { guest, slirp } = withLan({ clock, sockets });
      const answers: dnsPacket.DecodedPacket[] = [];
      const socket = guest.udp({
        remote: { address: GATEWAY4, port: 53 },
        onMessage: ({ data }) => answers.push(dnsPacket.decode(Buffer.from(data))),
      });
      socket.send(query(9, 'example.test'));
      clock.advance(servers.length * 2000);
      expect(answers).toHaveLength(1);
      expect(answers[0]).toMatchObject({ id: 9, type: 'response', rcode: 'SERVFAIL' });
      expect(answers[0].questions?.[0].name).toBe('example.test');
      expect(slirp.stats.dnsFailed).toBe(1);
    }
  });

  it('is bounded, and answers no answers', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    sockets.servers = [{ address: '192.0.2.53', port: 53 }];
    const { guest, slirp } = withLan({ clock, sockets, limits: { dnsQueries: 4 } });
    const socket = guest.udp({ remote: { address: GATEWAY4, port: 53 } });
    for (let id = 0; id < 10; id++) socket.send(query(id, 'example.test'));
    expect(sockets.sockets).toHaveLength(4);
    expect(slirp.stats.dropDnsLimit).toBe(6);
    socket.send(answerTo(query(1, 'example.test'), '192.0.2.1'));
    socket.send(new Uint8Array(5));
    expect(slirp.stats.dropMalformed).toBe(2);
  });

  it('resolves through real sockets, by TCP too', async () => {
    const { createServer } = await import('node:net');
    const dns = await withServer((message, reply) => {
      const asked = dnsPacket.decode(message);
      // Cut, so that the guest has to come back by TCP.
      reply(
        dnsPacket.encode({
          type: 'response',
          id: asked.id,
          flags: 0x0380,
          questions: asked.questions,
        }),
      );
    });
    const tcp = createServer((socket) => {
      socket.on('data', (data) => {
        const answer = answerTo(data.subarray(2), '192.0.2.80');
        const framed = Buffer.alloc(2 + answer.length);
        framed.writeUInt16BE(answer.length);
        framed.set(answer, 2);
        socket.write(framed);
      });
      socket.on('error', () => {});
    });
    tcp.listen(dns.port, '127.0.0.1');
    await once(tcp, 'listening');
    open.push({ close: () => tcp.close() });
    const sockets = await import('@pktkit/slirp').then(({ nodeSockets }) => nodeSockets());
    const { guest } = withLan({
      sockets: { ...sockets, resolvers: () => [{ address: '127.0.0.1', port: dns.port }] },
      hostLoopback: false,
    });
    const found = await guest.resolve('example.test', { family: 4 });
    expect(found.map(String)).toEqual(['192.0.2.80']);
    expect(guest.resolver.stats.tcpFallbacks).toBe(1);
  });
});
