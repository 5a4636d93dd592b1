import { createHash, randomBytes } from 'node:crypto';
import { createServer, get } from 'node:http';
import type { Duplex } from 'node:stream';
import { IpAddr, Packet, Prefix } from '@pktkit/core';
import { dissectPacket } from '@pktkit/testkit';
import { VClient, type VServer, type VSocket } from '@pktkit/vclient';
import { describe, expect, it } from 'vitest';
import { A4, A6, B4, B6, lone, pair } from './hosts.ts';

function collect(socket: Duplex): { data: () => Buffer; ended: () => boolean } {
  const parts: Buffer[] = [];
  let ended = false;
  socket.on('data', (part: Buffer) => parts.push(part));
  socket.on('end', () => {
    ended = true;
  });
  return { data: () => Buffer.concat(parts), ended: () => ended };
}

function errorOf(socket: VSocket): {
  code: () => string;
  error: () => NodeJS.ErrnoException | null;
} {
  let error: NodeJS.ErrnoException | null = null;
  socket.on('error', (failure: NodeJS.ErrnoException) => {
    error = failure;
  });
  return { code: () => error?.code ?? '', error: () => error };
}

function serve(server: VServer, onSocket: (socket: VSocket) => void): void {
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    onSocket(socket);
  });
}

describe('sockets', () => {
  it.each([
    [A4, B4, 'IPv4'],
    [A6, B6, 'IPv6'],
  ])('connects from %s to %s, with the fields of net.Socket', async (from, host, family) => {
    const { clock, a, b } = pair();
    const server = b.listen({ port: 80 });
    const sockets: VSocket[] = [];
    serve(server, (socket) => sockets.push(socket));
    const socket = a.connect({ host, port: 80 });
    expect(socket).toMatchObject({ connecting: true, pending: true, readyState: 'opening' });
    await clock.runUntilAsync(() => sockets.length === 1 && !socket.connecting);
    expect(socket).toMatchObject({
      connecting: false,
      pending: false,
      readyState: 'open',
      remoteAddress: host,
      remotePort: 80,
      remoteFamily: family,
      localAddress: from,
      localFamily: family,
    });
    expect(sockets[0]).toMatchObject({
      remoteAddress: from,
      remotePort: socket.localPort,
      localAddress: host,
      localPort: 80,
    });
    expect(socket.address()).toEqual({ address: from, family, port: socket.localPort });
    socket.destroy();
    sockets[0].destroy();
  });

  it('carries 32 MiB each way at the same time, with writes queued before the connection', async () => {
    const { clock, a, b } = pair();
    const up = randomBytes(32 << 20);
    const down = randomBytes(32 << 20);
    const hash = (data: Buffer) => createHash('sha1').update(data).digest('hex');
    let received: ReturnType<typeof collect> | null = null;
    serve(b.listen({ port: 80, allowHalfOpen: true }), (socket) => {
      received = collect(socket);
      socket.end(down);
    });
    const socket = a.connect({ host: B4, port: 80, allowHalfOpen: true });
    socket.end(up);
    const here = collect(socket);
    await clock.runUntilAsync(() => here.ended() && received?.ended() === true);
    expect(hash(here.data())).toBe(hash(down));
    expect(hash((received as unknown as ReturnType<typeof collect>).data())).toBe(hash(up));
    expect(socket.bytesRead).toBe(down.length);
    expect(socket.bytesWritten).toBe(up.length);
  });

  it('VCL-01: everything written before end and destroy still arrives', async () => {
    const { clock, a, b } = pair();
    const payload = randomBytes(3 << 20);
    serve(b.listen({ port: 80 }), (socket) => {
      socket.end(payload, () => socket.destroy());
    });
    const socket = a.connect({ host: B4, port: 80 });
    // Nobody reads for a while: the response has to outlive the closed socket.
    await clock.runUntilAsync(() => !socket.connecting);
    clock.advance(5000);
    const here = collect(socket);
    await clock.runUntilAsync(here.ended);
    expect(here.data().equals(payload)).toBe(true);
    await clock.runUntilAsync(() => clock.holds === 1);
  });

  it('VCL-03: a closed port refuses, at once', async () => {
    const { clock, a } = pair();
    for (const host of [B4, B6]) {
      const failed = errorOf(a.connect({ host, port: 81 }));
      await clock.runUntilAsync(() => failed.code() !== '');
      expect(failed.error()).toMatchObject({
        code: 'ECONNREFUSED',
        errno: -111,
        syscall: 'connect',
        address: host,
        port: 81,
        message: `connect ECONNREFUSED ${host}:81`,
      });
      expect(clock.now).toBeLessThan(100);
    }
  });

  it('fails with ENETUNREACH without an address of the family, EADDRNOTAVAIL from a foreign one', async () => {
    const { clock, a } = pair({ addrs: [`${A4}/24`] });
    const six = errorOf(a.connect({ host: B6, port: 80 }));
    const foreign = errorOf(a.connect({ host: B4, port: 80, localAddress: '192.0.2.99' }));
    await clock.runUntilAsync(() => six.code() !== '' && foreign.code() !== '');
    expect(six.code()).toBe('ENETUNREACH');
    expect(foreign.code()).toBe('EADDRNOTAVAIL');
  });

  it('times out: by its own option, and by TCP when nobody answers', async () => {
    const { clock, host } = lone();
    const quick = errorOf(host.connect({ host: B4, port: 80, timeout: 500 }));
    await clock.runUntilAsync(() => quick.code() !== '');
    expect(quick.code()).toBe('ETIMEDOUT');
    expect(clock.now).toBe(500);
    const slow = errorOf(host.connect({ host: B4, port: 80 }));
    await clock.runUntilAsync(() => slow.code() !== '');
    expect(slow.error()).toMatchObject({ code: 'ETIMEDOUT', syscall: 'connect', address: B4 });
    expect(clock.now).toBeGreaterThan(60_000);
  });

  it('obeys a signal before, while and after connecting', async () => {
    const { clock, a, b } = pair();
    serve(b.listen({ port: 80 }), () => {});
    const reason = new Error('enough');
    const before = errorOf(a.connect({ host: B4, port: 80, signal: AbortSignal.abort(reason) }));
    const controller = new AbortController();
    const connecting = a.connect({ host: '192.0.2.77', port: 80, signal: controller.signal });
    const during = errorOf(connecting);
    const connected = a.connect({ host: B4, port: 80, signal: controller.signal });
    const after = errorOf(connected);
    await clock.runUntilAsync(() => !connected.connecting);
    controller.abort(reason);
    await clock.runUntilAsync(() => after.error() !== null && during.error() !== null);
    for (const failed of [before, during, after]) expect(failed.error()).toBe(reason);
    expect(connecting.destroyed).toBe(true);
  });

  it('VCL-01: destroying with unread data resets, as the kernel does', async () => {
    const { clock, a, b } = pair();
    let peer: ReturnType<typeof errorOf> | null = null;
    b.listen({ port: 80 }).on('connection', (socket) => {
      peer = errorOf(socket);
      socket.write('you will not read this');
    });
    const socket = a.connect({ host: B4, port: 80 });
    await clock.runUntilAsync(() => (socket.tcp?.readable ?? 0) > 0);
    socket.destroy();
    await clock.runUntilAsync(() => peer?.code() !== '');
    expect((peer as unknown as ReturnType<typeof errorOf>).code()).toBe('ECONNRESET');
  });

  it('ends the writable side with the readable one, unless half-open is wanted', async () => {
    const { clock, a, b } = pair();
    serve(b.listen({ port: 80 }), (socket) => socket.end('bye'));
    const socket = a.connect({ host: B4, port: 80 });
    collect(socket);
    await clock.runUntilAsync(() => socket.destroyed);
    expect(socket.writableFinished).toBe(true);
  });

  it('back-pressure: a reader that does not read stops the writer', async () => {
    const { clock, a, b } = pair(
      {},
      { tcp: { receiveBuffer: 65536, initialReceiveBuffer: 65536 } },
    );
    let accepted: VSocket | null = null;
    serve(b.listen({ port: 80 }), (socket) => {
      accepted = socket;
    });
    const socket = a.connect({ host: B4, port: 80, tcp: { sendBuffer: 65536 } });
    const payload = randomBytes(2 << 20);
    expect(socket.write(payload)).toBe(false);
    socket.end();
    await clock.runUntilAsync(() => accepted !== null);
    clock.advance(60_000);
    expect(socket.tcp?.info.bytesAcked).toBeLessThan(200_000);
    expect(socket.writableLength).toBeGreaterThan(0);
    const there = collect(accepted as unknown as VSocket);
    await clock.runUntilAsync(there.ended);
    expect(there.data().equals(payload)).toBe(true);
  });

  it('tells idle sockets, and only those', async () => {
    const { clock, a, b } = pair();
    serve(b.listen({ port: 80 }), (socket) => socket.resume());
    const socket = a.connect({ host: B4, port: 80 });
    await clock.runUntilAsync(() => !socket.connecting);
    let idle = 0;
    socket.setTimeout(1000, () => idle++);
    expect(socket.timeout).toBe(1000);
    clock.advance(900);
    socket.write('alive');
    clock.advance(900);
    expect(idle).toBe(0);
    clock.advance(200);
    expect(idle).toBe(1);
    socket.setTimeout(0);
    clock.advance(10_000);
    expect(idle).toBe(1);
    expect(socket.destroyed).toBe(false);
    socket.destroy();
  });

  it('holds the clock while referenced', async () => {
    const { clock, a, b } = pair();
    const server = b.listen({ port: 80 });
    server.unref();
    serve(server, (socket) => socket.unref());
    const socket = a.connect({ host: B4, port: 80 });
    await clock.runUntilAsync(() => !socket.connecting && server.connections === 1);
    expect(clock.holds).toBe(1);
    expect(socket.unref()).toBe(socket);
    expect(clock.holds).toBe(0);
    socket.ref();
    socket.destroy();
    await clock.runUntilAsync(() => clock.holds === 0);
  });

  it('speaks HTTP through an agent, and serves it', async () => {
    const { clock, a, b } = pair();
    const http = createServer((req, res) => res.end(`you asked for ${req.url}`));
    // Without a hint from the server the agent keeps the socket for as long as virtual time likes to run.
    http.keepAliveTimeout = 0;
    b.listen({ port: 80 }).on('connection', (socket) => http.emit('connection', socket));
    const agent = a.agent({ keepAlive: true });
    for (const path of ['/one', '/two']) {
      let body = '';
      let done = false;
      get({ host: B4, port: 80, path, agent }, (res) => {
        res.setEncoding('utf8');
        res.on('data', (part: string) => {
          body += part;
        });
        res.on('end', () => {
          done = true;
        });
      });
      await clock.runUntilAsync(() => done);
      expect(body).toBe(`you asked for ${path}`);
    }
    expect(b.tcp.stats.passiveOpens).toBe(1);
    agent.destroy();
  });

  it('reaches itself', async () => {
    const { clock, host } = lone();
    serve(host.listen({ port: 80 }), (socket) => socket.end('me'));
    for (const name of [A4, A6, '127.0.0.1', '::1']) {
      const here = collect(host.connect({ host: name, port: 80 }));
      await clock.runUntilAsync(here.ended);
      expect(here.data().toString()).toBe('me');
    }
    expect(await clock.settle(host.ping(A4))).toMatchObject({ address: A4 });
  });
});

describe('servers', () => {
  it('VCL-07: the host given to listen is respected, and port 0 takes a free one', async () => {
    const { clock, a, b } = pair();
    const server = b.listen({ host: B4 });
    const { port, address, family } = server.address();
    expect({ address, family }).toEqual({ address: B4, family: 'IPv4' });
    expect(port).toBeGreaterThan(1023);
    serve(server, (socket) => socket.end('four'));
    const four = collect(a.connect({ host: B4, port }));
    await clock.runUntilAsync(four.ended);
    const six = errorOf(a.connect({ host: B6, port }));
    await clock.runUntilAsync(() => six.code() !== '');
    expect(six.code()).toBe('ECONNREFUSED');
    // The same port on the other address is free.
    b.listen({ host: B6, port });
    expect(() => b.listen({ host: B4, port })).toThrow(
      expect.objectContaining({ code: 'EADDRINUSE' }),
    );
    expect(() => b.listen({ host: '192.0.2.99', port: 1 })).toThrow(/EADDRNOTAVAIL/);
    expect(() => b.listen({ port: 70_000 })).toThrow(RangeError);
  });

  it('gives sockets by promise and by iteration, and stops at close', async () => {
    const { clock, a, b } = pair();
    const server = b.listen({ port: 80 });
    const first = server.accept();
    const client = a.connect({ host: B4, port: 80 });
    client.end('x');
    const socket = await clock.settle(first);
    expect(socket?.remoteAddress).toBe(A4);
    const seen: string[] = [];
    const loop = (async () => {
      for await (const next of server) {
        seen.push(next.remoteAddress ?? '');
        next.destroy();
      }
    })();
    a.connect({ host: B6, port: 80 }).on('error', () => {});
    await clock.runUntilAsync(() => seen.length === 1);
    socket?.destroy();
    client.destroy();
    await clock.settle(Promise.all([server.close(), loop]));
    expect(seen).toEqual([A6]);
    expect(server.listening).toBe(false);
    expect(await server.accept()).toBeNull();
    b.listen({ port: 80 });
  });

  it('leaves SYNs unanswered when nobody takes connections, and goes on when somebody does', async () => {
    const { clock, a, b } = pair();
    const server = b.listen({ port: 80, backlog: 2 });
    const clients = Array.from({ length: 2 }, () => a.connect({ host: B4, port: 80 }));
    await clock.runUntilAsync(() => server.connections === 2);
    clients.push(...Array.from({ length: 2 }, () => a.connect({ host: B4, port: 80 })));
    const failures = clients.map(errorOf);
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(200);
    expect(clients.filter((client) => client.connecting)).toHaveLength(2);
    expect(b.tcp.stats.dropSynLimit).toBe(2);
    for (let i = 0; i < 4; i++) expect(await clock.settle(server.accept())).not.toBeNull();
    expect(clients.every((client) => !client.connecting)).toBe(true);
    expect(failures.map((failed) => failed.code())).toEqual(['', '', '', '']);
  });

  it('a connection that is reset while it waits is passed over', async () => {
    const { clock, a, b } = pair();
    const server = b.listen({ port: 80 });
    const rude = a.connect({ host: B4, port: 80 });
    await clock.runUntilAsync(() => server.connections === 1);
    rude.resetAndDestroy();
    await clock.runUntilAsync(() => server.connections === 0);
    const polite = a.connect({ host: B4, port: 80, localPort: 44444 });
    polite.on('error', () => {});
    expect((await clock.settle(server.accept()))?.remotePort).toBe(44444);
  });
});

describe('packets', () => {
  it('VCL-02: bytes behind the IP length are link padding, not payload', async () => {
    const { clock, a, b } = pair();
    const received: Buffer[] = [];
    serve(b.listen({ port: 80 }), (socket) =>
      socket.on('data', (part: Buffer) => received.push(part)),
    );
    a.setHandler((packet) => {
      const padded = new Uint8Array(packet.len + 46);
      padded.set(packet.bytes);
      padded.fill(0x55, packet.len);
      b.send(new Packet(padded, 0, padded.length, packet.offload));
    });
    const socket = a.connect({ host: B4, port: 80 });
    socket.write('abc');
    await clock.runUntilAsync(() => received.length > 0);
    clock.advance(1000);
    expect(Buffer.concat(received).toString()).toBe('abc');
    expect(b.stats.dropMalformed).toBe(0);
  });

  it('VCL-07: packets for other addresses are dropped', async () => {
    const { host, sent } = lone();
    const other = new VClient({ clock: host.clock, addrs: ['192.0.2.9/24'] });
    other.setHandler((packet) => host.send(packet));
    other.ping(IpAddr.parse('192.0.2.50')).catch(() => {});
    other.udp().send(new Uint8Array(3), IpAddr.parse('192.0.2.50'), 9);
    expect(sent).toHaveLength(0);
    expect(host.stats.dropNotOurs).toBe(2);
    other.close();
  });

  it('VCL-08: both families are visible, and connections of a lost address end', async () => {
    const { clock, a, b } = pair();
    expect(a.addrs.map(String)).toEqual([`${A4}/24`, `${A6}/64`]);
    serve(b.listen({ port: 80 }), (socket) => socket.resume());
    const four = a.connect({ host: B4, port: 80 });
    const six = a.connect({ host: B6, port: 80 });
    const lost = errorOf(four);
    await clock.runUntilAsync(() => !four.connecting && !six.connecting);
    a.setAddrs([Prefix.parse('192.0.2.200/24'), Prefix.parse(`${A6}/64`)]);
    await clock.runUntilAsync(() => lost.code() !== '');
    expect(lost.code()).toBe('ECONNABORTED');
    expect(six.destroyed).toBe(false);
    six.write('still here');
    clock.advance(1000);
    expect(six.tcp?.unacknowledged).toBe(0);
    const again = a.connect({ host: B4, port: 80 });
    again.on('error', () => {});
    await clock.runUntilAsync(() => !again.connecting);
    expect(again.localAddress).toBe('192.0.2.200');
  });

  it('VCL-03: a segment for no connection is answered by RST', () => {
    const { clock, host, sent } = lone();
    const other = new VClient({ clock, addrs: [`${B4}/24`] });
    other.setHandler((packet) => host.send(packet));
    other.connect({ host: A4, port: 9 }).on('error', () => {});
    return clock
      .runUntilAsync(() => sent.length > 0)
      .then(() => {
        expect(dissectPacket(sent[0]).tcp).toMatchObject({ srcPort: 9 });
        expect(host.tcp.stats.resetsOut).toBe(1);
        other.close();
      });
  });

  it('close resets connections, frees the clock and refuses further use', async () => {
    const { clock, a, b } = pair();
    serve(b.listen({ port: 80 }), (socket) => socket.resume());
    const open = a.connect({ host: B4, port: 80 });
    const dead = errorOf(a.connect({ host: '192.0.2.77', port: 80 }));
    const udp = a.udp();
    await clock.runUntilAsync(() => !open.connecting);
    a.close();
    a.close();
    await clock.runUntilAsync(() => dead.code() !== '' && open.closed);
    expect(dead.code()).toBe('ECONNABORTED');
    expect(udp.closed).toBe(true);
    expect(() => a.connect({ host: B4, port: 80 })).toThrow(
      expect.objectContaining({ code: 'PKT_CLOSED' }),
    );
    b.close();
    await clock.runUntilAsync(() => clock.holds === 0);
  });
});
