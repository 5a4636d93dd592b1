import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { systemClock } from '@pktkit/core';
import { nodeSockets, type SocketProvider } from '@pktkit/slirp';
import { until, VirtualClock } from '@pktkit/testkit';
import type { VSocket } from '@pktkit/vclient';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeSockets } from './fake-sockets.ts';
import { GATEWAY4, GATEWAY6, GUEST4, join, type Lan, lan, newGuest } from './lan.ts';
import { closedPort, type TcpServer, tcpServer } from './servers.ts';

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
  onConnection: (socket: Socket) => void,
  host?: string,
): Promise<TcpServer> {
  const server = await tcpServer(onConnection, host);
  open.push(server);
  return server;
}

async function failure(socket: VSocket): Promise<NodeJS.ErrnoException> {
  const [error] = await once(socket, 'error').catch((caught) => [caught]);
  return error;
}

/** Everything up to the peer's end. Unlike `for await`, this leaves the other direction open. */
async function readAll(socket: Duplex): Promise<Buffer> {
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  await once(socket, 'end');
  return Buffer.concat(parts);
}

/** In virtual time an event may come before anybody has asked for it. */
async function connected(clock: VirtualClock, socket: VSocket): Promise<void> {
  await clock.runUntilAsync(() => !socket.connecting);
  expect(socket.destroyed).toBe(false);
}

describe('dialling', () => {
  it('SLIRP-01: a black-holed address delays nobody else', async () => {
    const real = nodeSockets();
    let blackHoles = 0;
    const sockets: SocketProvider = {
      ...real,
      dial: (address, port, events, options) => {
        if (address.toString() !== '192.0.2.1') return real.dial(address, port, events, options);
        blackHoles++;
        return {
          write: () => true,
          shutdown: () => {},
          resume: () => {},
          reset: () => {},
          close: () => {},
        };
      },
    };
    const { guest, slirp } = withLan({ sockets });
    const server = await withServer((socket) => socket.end('here'));
    const stuck = Array.from({ length: 20 }, () => guest.connect({ host: '192.0.2.1', port: 80 }));
    for (const socket of stuck) socket.on('error', () => {});
    await until(() => blackHoles === 20);
    const started = performance.now();
    const quick = guest.connect({ host: GATEWAY4, port: server.port });
    expect((await readAll(quick)).toString()).toBe('here');
    expect(performance.now() - started).toBeLessThan(1000);
    expect(stuck.every((socket) => socket.connecting)).toBe(true);
    expect(slirp.stats.tcpDials).toBe(20);
  });

  it('SLIRP-01: a dial that nobody answers is given up, and the guest is told', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { guest, slirp } = withLan({ clock, sockets, dialTimeout: 10_000 });
    const socket = guest.connect({ host: '192.0.2.1', port: 80 });
    const failed = failure(socket);
    await clock.runUntilAsync(() => sockets.streams.length === 1);
    const error = await clock.settle(failed);
    expect(error).toMatchObject({ code: 'EHOSTUNREACH', syscall: 'connect', address: '192.0.2.1' });
    expect(clock.now).toBeGreaterThanOrEqual(10_000);
    expect(clock.now).toBeLessThan(11_000);
    expect(sockets.streams[0].state).toBe('reset');
    expect(slirp.stats).toMatchObject({ tcpTimedOut: 1, tcpDials: 0, tcpFlows: 0 });
  });

  it('answers SYN only after the dial, and swallows its repetitions meanwhile', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { guest } = withLan({ clock, sockets });
    const socket = guest.connect({ host: '192.0.2.1', port: 80 });
    await clock.runUntilAsync(() => sockets.streams.length === 1);
    // Long enough for three retransmissions of the SYN.
    clock.advance(8000);
    expect(sockets.streams).toHaveLength(1);
    expect(socket.connecting).toBe(true);
    sockets.streams[0].events.onConnected();
    await connected(clock, socket);
    expect(socket.remoteAddress).toBe('192.0.2.1');
  });

  it('refuses at once what the destination refuses, in both families', async () => {
    const { guest, slirp } = withLan();
    const port = await closedPort();
    for (const host of [GATEWAY4, GATEWAY6]) {
      const started = performance.now();
      expect(await failure(guest.connect({ host, port }))).toMatchObject({
        code: 'ECONNREFUSED',
        address: host,
        port,
      });
      expect(performance.now() - started).toBeLessThan(500);
    }
    expect(slirp.stats).toMatchObject({ tcpRefused: 2, tcpFlows: 0 });
  });

  it.each([
    ['ENETUNREACH', 'ENETUNREACH'],
    ['EHOSTUNREACH', 'EHOSTUNREACH'],
    ['EACCES', 'EHOSTUNREACH'],
  ])('says by ICMP that a dial failed with %s', async (code, seen) => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { guest, slirp } = withLan({ clock, sockets });
    const failed = failure(guest.connect({ host: '192.0.2.1', port: 80 }));
    await clock.runUntilAsync(() => sockets.streams.length === 1);
    sockets.streams[0].events.onClosed(code);
    expect(await clock.settle(failed)).toMatchObject({ code: seen });
    expect(slirp.stats).toMatchObject({ icmpErrors: 1, tcpFailed: 1, tcpFlows: 0 });
    expect(clock.now).toBeLessThan(3000);
  });

  it('lets the guest try again when this host has run out of descriptors', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { guest } = withLan({ clock, sockets });
    const socket = guest.connect({ host: '192.0.2.1', port: 80 });
    await clock.runUntilAsync(() => sockets.streams.length === 1);
    sockets.streams[0].events.onClosed('EMFILE');
    await clock.runUntilAsync(() => sockets.streams.length === 2);
    sockets.streams[1].events.onConnected();
    await connected(clock, socket);
  });

  it('stops dialling when the guest gives up', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { guest, slirp } = withLan({ clock, sockets });
    const socket = guest.connect({ host: '192.0.2.1', port: 80, localPort: 40000 });
    await clock.runUntilAsync(() => sockets.streams.length === 1);
    sockets.streams[0].events.onConnected();
    await connected(clock, socket);
    socket.resetAndDestroy();
    clock.advance(10);
    expect(sockets.streams[0].state).toBe('reset');
    expect(slirp.stats.tcpFlows).toBe(0);
  });

  it.each([[{ dialsPerNamespace: 4 }], [{ dials: 4 }]])(
    'SLIRP-10: dials are bounded by %o; what is beyond is tried again by the guest',
    async (limits) => {
      const clock = new VirtualClock();
      const sockets = new FakeSockets();
      const { guest, slirp } = withLan({ clock, sockets, limits });
      const clients = Array.from({ length: 6 }, () =>
        guest.connect({ host: '192.0.2.1', port: 80 }),
      );
      for (const client of clients) client.on('error', () => {});
      await clock.runUntilAsync(() => sockets.streams.length === 4);
      clock.advance(500);
      expect(sockets.streams).toHaveLength(4);
      expect(slirp.stats.tcpDials).toBe(4);
      for (const stream of sockets.streams.slice(0, 4)) stream.events.onConnected();
      await clock.runUntilAsync(() => sockets.streams.length === 6);
      for (const stream of sockets.streams.slice(4)) stream.events.onConnected();
      await clock.runUntilAsync(() => clients.every((client) => !client.connecting));
      expect(slirp.stats).toMatchObject({ tcpDials: 0, tcpFlows: 6 });
    },
  );

  it('SLIRP-09: flows are bounded for a namespace and for all', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { guest, slirp } = withLan({
      clock,
      sockets,
      limits: { flowsPerNamespace: 2, flows: 3 },
    });
    const other = newGuest({ clock });
    join(slirp, other);
    for (let i = 0; i < 3; i++) {
      guest.connect({ host: '192.0.2.1', port: 80 }).on('error', () => {});
      other.connect({ host: '192.0.2.1', port: 80 }).on('error', () => {});
    }
    await clock.runUntilAsync(() => sockets.streams.length === 3);
    for (const stream of sockets.streams) stream.events.onConnected();
    clock.advance(5000);
    expect(sockets.streams).toHaveLength(3);
    expect(slirp.stats.tcpFlows).toBe(3);
    expect(slirp.stats.dropFlowLimit + slirp.stats.dropDialLimit).toBeGreaterThan(0);
    other.close();
  });
});

describe('closing', () => {
  it('SLIRP-02: everything the server sent before closing reaches a slow guest', async () => {
    const payload = randomBytes(8 << 20);
    const { guest, slirp } = withLan();
    const server = await withServer((socket) => socket.end(payload));
    const socket = guest.connect({ host: GATEWAY4, port: server.port });
    await once(socket, 'connect');
    // The guest does not read: the rest waits in the server's socket, not in this process.
    await until(() => slirp.stats.tcpBytesDown > 0);
    const hash = createHash('sha256');
    let length = 0;
    for await (const part of socket as AsyncIterable<Buffer>) {
      hash.update(part);
      length += part.length;
      if (length % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(length).toBe(payload.length);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(payload).digest('hex'));
    await until(() => slirp.stats.tcpFlows === 0);
  });

  it('SLIRP-02: the end of the server waits behind what the guest has no room for yet', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { guest, slirp } = withLan(
      { clock, sockets, tcp: { sendBuffer: 16_384 } },
      { tcp: { receiveBuffer: 16_384, initialReceiveBuffer: 16_384 } },
    );
    const socket = guest.connect({ host: '192.0.2.1', port: 80, allowHalfOpen: true });
    await clock.runUntilAsync(() => sockets.streams.length === 1);
    const [stream] = sockets.streams;
    stream.events.onConnected();
    await connected(clock, socket);
    clock.advance(1);
    const payload = randomBytes(65536);
    expect(stream.push(payload)).toBe(true);
    // The rest of it is held, and the socket says that this was all.
    expect(stream.reading).toBe(false);
    stream.events.onEnd();
    clock.advance(5000);
    const parts: Buffer[] = [];
    let ended = false;
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.on('end', () => {
      ended = true;
    });
    await clock.runUntilAsync(() => ended);
    expect(Buffer.concat(parts).equals(payload)).toBe(true);
    // Nothing is read from a socket that has ended.
    expect(stream.reading).toBe(false);
    socket.end();
    await clock.runUntilAsync(() => stream.ended);
    stream.events.onClosed(null);
    await clock.runUntilAsync(() => slirp.stats.tcpFlows === 0);
  });

  it('SLIRP-03: a closed 4-tuple can be used again at once', async () => {
    const { guest, slirp } = withLan();
    const server = await withServer((socket) => socket.end('bye'));
    for (let round = 0; round < 5; round++) {
      const socket = guest.connect({ host: GATEWAY4, port: server.port, localPort: 45678 });
      expect((await readAll(socket)).toString()).toBe('bye');
      if (!socket.closed) await once(socket, 'close');
      await until(() => slirp.stats.tcpFlows === 0, { every: 1 });
    }
    expect(slirp.stats.tcpOpened).toBe(5);
  });

  it('half-closes in both directions', async () => {
    const { guest } = withLan();
    const server = await withServer((socket) => {
      void readAll(socket).then((all) => socket.end(`got ${all.length}`));
    });
    const up = guest.connect({ host: GATEWAY4, port: server.port, allowHalfOpen: true });
    up.end(Buffer.alloc(300_000));
    expect((await readAll(up)).toString()).toBe('got 300000');

    const seen: string[] = [];
    const quiet = await withServer((socket) => {
      socket.end('first');
      socket.on('data', (data) => seen.push(data.toString()));
    });
    const down = guest.connect({ host: GATEWAY4, port: quiet.port, allowHalfOpen: true });
    expect((await readAll(down)).toString()).toBe('first');
    down.end('after your FIN');
    await until(() => seen.join('') === 'after your FIN');
  });

  it('SLIRP-14: RST stays RST, both ways', async () => {
    const { guest, slirp } = withLan();
    const server = await withServer((socket) => {
      socket.once('data', () => socket.resetAndDestroy());
    });
    const victim = guest.connect({ host: GATEWAY4, port: server.port });
    victim.write('go');
    expect(await failure(victim)).toMatchObject({ code: 'ECONNRESET', syscall: 'read' });

    const errors: string[] = [];
    const listening = await withServer((socket) => {
      socket.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code ?? ''));
      socket.resume();
    });
    const rude = guest.connect({ host: GATEWAY4, port: listening.port });
    await once(rude, 'connect');
    await until(() => listening.sockets.size === 1);
    rude.resetAndDestroy();
    await until(() => errors.length === 1);
    expect(errors).toEqual(['ECONNRESET']);
    await until(() => slirp.stats.tcpFlows === 0);
  });
});

describe('back-pressure', () => {
  it('holds the server back while the guest does not read', async () => {
    let written = 0;
    const { guest } = withLan(
      { tcp: { sendBuffer: 256 << 10 } },
      { tcp: { receiveBuffer: 256 << 10 } },
    );
    const server = await withServer((socket) => {
      const chunk = Buffer.alloc(65536);
      const more = () => {
        while (!socket.destroyed && socket.write(chunk)) written += chunk.length;
        written += chunk.length;
      };
      socket.on('drain', more);
      more();
    });
    const socket = guest.connect({ host: GATEWAY4, port: server.port });
    await once(socket, 'connect');
    let last = -1;
    // Quiet for a while: nothing moves any more.
    await until(
      () => {
        const same = written === last;
        last = written;
        return same;
      },
      { every: 200 },
    );
    const stuckAt = written;
    // Kernel buffers on loopback take several MiB; an endless queue would take everything.
    expect(stuckAt).toBeLessThan(32 << 20);
    let read = 0;
    for await (const part of socket as AsyncIterable<Buffer>) {
      read += part.length;
      if (read > stuckAt + (1 << 20)) break;
    }
    expect(written).toBeGreaterThan(stuckAt);
  });

  it('holds the guest back while the server does not read', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { guest } = withLan({
      clock,
      sockets,
      tcp: { receiveBuffer: 131_072, initialReceiveBuffer: 131_072 },
    });
    const socket = guest.connect({ host: '192.0.2.1', port: 80 });
    await clock.runUntilAsync(() => sockets.streams.length === 1);
    const [stream] = sockets.streams;
    stream.fast = false;
    stream.events.onConnected();
    await connected(clock, socket);
    const payload = randomBytes(4 << 20);
    socket.end(payload);
    for (let i = 0; i < 50; i++) {
      clock.advance(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
    // One lent piece, and a closed window.
    expect(stream.received).toHaveLength(0);
    expect(stream.lent?.length).toBeGreaterThan(0);
    expect(socket.tcp?.info.bytesAcked).toBeLessThan(300_000);
    await clock.runUntilAsync(() => {
      stream.drain();
      return stream.ended;
    });
    expect(stream.received.equals(payload)).toBe(true);
  });

  it('does not read from the host before the guest is there', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { guest } = withLan({ clock, sockets });
    const socket = guest.connect({ host: '192.0.2.1', port: 80 });
    await clock.runUntilAsync(() => sockets.streams.length === 1);
    expect(sockets.streams[0].reading).toBe(false);
    sockets.streams[0].events.onConnected();
    await connected(clock, socket);
    clock.advance(1);
    expect(sockets.streams[0].reading).toBe(true);
  });
});

describe('namespaces', () => {
  it('keeps guests with the same address apart', async () => {
    const { slirp, guest } = withLan();
    const other = newGuest();
    open.push(other);
    join(slirp, other);
    const server = await withServer((socket) => socket.on('data', (data) => socket.end(data)));
    const texts = await Promise.all(
      [guest, other].map(async (client, i) => {
        const socket = client.connect({ host: GATEWAY4, port: server.port, localPort: 50000 });
        socket.write(`guest ${i}`);
        return (await readAll(socket)).toString();
      }),
    );
    expect(texts).toEqual(['guest 0', 'guest 1']);
  });

  it('SLIRP-09: leaving resets every flow on both sides, of both families, and frees all', async () => {
    const { slirp } = withLan();
    const other = newGuest();
    open.push(other);
    const { leave } = join(slirp, other);
    const errors: string[] = [];
    const onConnection = (socket: Socket) => {
      socket.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code ?? ''));
      socket.resume();
    };
    const four = await withServer(onConnection);
    const six = await withServer(onConnection, '::1');
    const sockets = [
      other.connect({ host: GATEWAY4, port: four.port }),
      other.connect({ host: GATEWAY6, port: six.port }),
    ];
    const failures = Promise.all(sockets.map(failure));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const udp = other.udp({ remote: { address: GATEWAY6, port: six.port } });
    udp.send(new Uint8Array(4));
    await until(() => four.sockets.size + six.sockets.size === 2);
    expect(slirp.stats).toMatchObject({ tcpFlows: 2, udpMappings: 1 });
    leave();
    expect(slirp.stats).toMatchObject({ tcpFlows: 0, udpMappings: 0, tcpDials: 0 });
    expect((await failures).map((error) => error.code)).toEqual(['ECONNRESET', 'ECONNRESET']);
    await until(() => errors.length === 2);
    expect(errors).toEqual(['ECONNRESET', 'ECONNRESET']);
  });

  it('close frees the clock and every socket', async () => {
    const { slirp, guest, close } = lan();
    const server = await withServer((socket) => socket.resume());
    const socket = guest.connect({ host: GATEWAY4, port: server.port });
    socket.on('error', () => {});
    await once(socket, 'connect');
    close();
    await until(() => server.sockets.size === 0);
    expect(slirp.stats.tcpFlows).toBe(0);
    slirp.close();
    expect(systemClock.now).toBeGreaterThan(0);
  });
});

describe('listeners', () => {
  it('SLIRP-11: a listener takes only what is for slirp itself', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    const { slirp, guest } = withLan({ clock, sockets, hostLoopback: false });
    const accepted: string[] = [];
    slirp.listen({
      port: 80,
      onConnection: (connection) => accepted.push(connection.local.toString()),
    });
    for (const host of [GATEWAY4, GATEWAY6]) {
      await connected(clock, guest.connect({ host, port: 80 }));
    }
    expect(accepted).toEqual([GATEWAY4, GATEWAY6]);
    guest.connect({ host: '192.0.2.1', port: 80 }).on('error', () => {});
    await clock.runUntilAsync(() => sockets.streams.length === 1);
    expect(sockets.streams[0]).toMatchObject({ address: '192.0.2.1', port: 80 });
    expect(accepted).toHaveLength(2);
    // Neither does it serve other namespaces.
    const other = newGuest({ clock });
    join(slirp, other);
    const refused = failure(other.connect({ host: GATEWAY4, port: 80 }));
    expect(await clock.settle(refused)).toMatchObject({ code: 'ECONNREFUSED' });
    expect(() => slirp.listen({ port: 81, address: '192.0.2.1', onConnection: () => {} })).toThrow(
      /its own addresses/,
    );
    expect(() => slirp.listen({ port: 80, onConnection: () => {} })).toThrow(
      expect.objectContaining({ code: 'EADDRINUSE' }),
    );
    other.close();
  });

  it('SLIRP-13: a port of the host leads to a server of the guest', async () => {
    const { slirp, guest } = withLan();
    const server = guest.listen({ port: 8080 });
    server.on('connection', (socket) => {
      socket.on('error', () => {});
      socket.on('data', (data) => socket.end(`guest heard ${data} from ${socket.remoteAddress}`));
    });
    const forward = await slirp.forward({ port: 0, to: GUEST4, toPort: 8080 });
    const client = connect(forward.port, '127.0.0.1');
    client.write('hello');
    expect((await readAll(client)).toString()).toBe(`guest heard hello from ${GATEWAY4}`);
    expect(slirp.stats.forwarded).toBe(1);
    await expect(
      slirp.forward({ port: forward.port, to: GUEST4, toPort: 8080 }),
    ).rejects.toMatchObject({ code: 'EADDRINUSE' });
    forward.close();
    const late = connect(forward.port, '127.0.0.1');
    const [error] = await once(late, 'error').catch((caught) => [caught]);
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('SLIRP-13: a forward to a port that the guest refuses resets the outside', async () => {
    const { slirp } = withLan();
    const forward = await slirp.forward({ port: 0, to: GUEST4, toPort: 8081 });
    const client = connect(forward.port, '127.0.0.1');
    const [error] = await once(client, 'error').catch((caught) => [caught]);
    expect(error).toMatchObject({ code: 'ECONNRESET' });
    await until(() => slirp.stats.tcpFlows === 0);
  });
});
