import { randomBytes } from 'node:crypto';
import { IpAddr, systemClock } from '@pktkit/core';
import { bindUdp, tryLibc, type UdpError, type UdpOptions, type UdpSocket } from '@pktkit/hostio';
import { until as wait } from '@pktkit/testkit';
import { afterEach, describe, expect, it } from 'vitest';

const tiers = tryLibc() === null ? (['portable'] as const) : (['portable', 'batched'] as const);

interface Got {
  bytes: Uint8Array;
  from: number;
  tos: number;
}

const until = (condition: () => boolean) => wait(condition, { within: 5000, every: 1 });

const open: UdpSocket[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
});

/** Socket that keeps copies of what it receives. */
async function bind(options: Partial<UdpOptions>): Promise<{ socket: UdpSocket; got: Got[] }> {
  const got: Got[] = [];
  const socket = await bindUdp({
    onReceive: (buf, off, len, from, tos) =>
      got.push({ bytes: buf.slice(off, off + len), from, tos }),
    ...options,
  });
  open.push(socket);
  return { socket, got };
}

for (const io of tiers) {
  describe(`a UDP socket, ${io}`, () => {
    it('carries datagrams of every size unchanged and answers by handle', async () => {
      const server = await bind({ io, address: '127.0.0.1' });
      const client = await bind({ io, address: '127.0.0.1' });
      const to = client.socket.peer('127.0.0.1', server.socket.port);
      const sizes = [0, 1, 2, 63, 64, 65, 1400, 1472, 1473, 9000, 65507];
      const sent = sizes.map((size) => new Uint8Array(randomBytes(size)));
      for (const bytes of sent) {
        const padded = new Uint8Array(bytes.length + 30);
        padded.set(bytes, 7);
        client.socket.send(padded, 7, bytes.length, to);
        padded.fill(0xee);
      }
      await until(() => server.got.length === sizes.length);
      expect(server.got.map(({ bytes }) => bytes)).toEqual(sent);

      const { from } = server.got[0];
      expect(server.got.every((one) => one.from === from)).toBe(true);
      expect(server.socket.formatPeer(from)).toBe(`127.0.0.1:${client.socket.port}`);
      expect(server.socket.peerAddress(from)).toEqual(IpAddr.parse('127.0.0.1'));
      expect(server.socket.peerPort(from)).toBe(client.socket.port);
      server.socket.send(sent[5], 0, sent[5].length, from);
      await until(() => client.got.length === 1);
      expect(client.got[0].bytes).toEqual(sent[5]);
      expect(client.got[0].from).toBe(to);
      const bytes = sizes.reduce((sum, size) => sum + size, 0);
      expect(server.socket.stats).toMatchObject({ received: sizes.length, receivedBytes: bytes });
      expect(client.socket.stats).toMatchObject({ sent: sizes.length, sentBytes: bytes });
    });

    it('keeps the order for each peer when destinations and sizes mix', async () => {
      const servers = await Promise.all([0, 1, 2].map(() => bind({ io, address: '127.0.0.1' })));
      const client = await bind({ io, address: '127.0.0.1' });
      const peers = servers.map(({ socket }) => client.socket.peer('127.0.0.1', socket.port));
      const counts = [0, 0, 0];
      const buf = new Uint8Array(2000);
      for (let i = 0; i < 3000; i++) {
        const which = (i * 7) % 3;
        const size = i % 11 === 0 ? 100 : i % 29 === 0 ? 1900 : 1200;
        new DataView(buf.buffer).setUint32(0, counts[which]++);
        buf.fill(counts[which] & 0xff, 4);
        client.socket.send(buf, 0, size, peers[which]);
        // Real senders do other things, too: the kernel's queues stay short.
        if (i % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
      }
      await until(() => servers.every(({ got }, i) => got.length === counts[i]));
      for (const { got } of servers) {
        got.forEach(({ bytes }, i) => {
          const view = new DataView(bytes.buffer);
          expect(view.getUint32(0)).toBe(i);
          expect(bytes.subarray(4).every((byte) => byte === ((i + 1) & 0xff))).toBe(true);
        });
      }
    });

    it('opens both families at once and shows IPv4 peers as such', async () => {
      const server = await bind({ io });
      expect(server.socket.address.toString()).toBe('::');
      const v4 = await bind({ io, address: '127.0.0.1' });
      const v6 = await bind({ io, address: '::1' });
      v4.socket.send(Uint8Array.of(4), 0, 1, v4.socket.peer('127.0.0.1', server.socket.port));
      v6.socket.send(Uint8Array.of(6), 0, 1, v6.socket.peer('::1', server.socket.port));
      await until(() => server.got.length === 2);
      const names = server.got.map((one) => server.socket.formatPeer(one.from)).sort();
      expect(names).toEqual([`127.0.0.1:${v4.socket.port}`, `[::1]:${v6.socket.port}`].sort());
      for (const { bytes, from } of server.got) server.socket.send(bytes, 0, 1, from);
      await until(() => v4.got.length + v6.got.length === 2);
      expect([v4.got[0].bytes[0], v6.got[0].bytes[0]]).toEqual([4, 6]);
    });

    it('hears only its peer when connected, and is told that nobody listens', async () => {
      const server = await bind({ io, address: '127.0.0.1' });
      const errors: UdpError[] = [];
      const client = await bind({
        io,
        address: '127.0.0.1',
        connect: { address: '127.0.0.1', port: server.socket.port },
        onError: (error) => errors.push(error),
      });
      const { remote } = client.socket;
      const stranger = await bind({ io, address: '127.0.0.1' });
      const toClient = stranger.socket.peer('127.0.0.1', client.socket.port);
      stranger.socket.send(Uint8Array.of(66), 0, 1, toClient);
      client.socket.send(Uint8Array.of(1), 0, 1, remote);
      await until(() => server.got.length === 1);
      server.socket.send(Uint8Array.of(2), 0, 1, server.got[0].from);
      await until(() => client.got.length === 1);
      expect(client.got[0]).toMatchObject({ bytes: Uint8Array.of(2), from: remote });

      server.socket.close();
      await server.socket.closed;
      client.socket.send(Uint8Array.of(3), 0, 1, remote);
      await until(() => errors.length > 0);
      expect(errors[0]).toMatchObject({ code: 'ECONNREFUSED', peer: remote });
      // Not fatal: it works on when somebody listens again.
      const again = await bind({ io, address: '127.0.0.1', port: server.socket.port });
      client.socket.send(Uint8Array.of(4), 0, 1, remote);
      client.socket.send(Uint8Array.of(5), 0, 1, remote);
      await until(() => again.got.length > 0);
    });

    it('delivers within a batch and sends at its end', async () => {
      const server = await bind({ io, address: '127.0.0.1' });
      let held = 0;
      let endings = 0;
      const client = await bindUdp({
        io,
        address: '127.0.0.1',
        onReceive: () => {
          held = systemClock.now;
          systemClock.endOfBatch(() => endings++);
          // Runs when the batch has ended at the earliest.
          expect(endings).toBe(0);
          expect(systemClock.now).toBe(held);
        },
      });
      open.push(client);
      server.socket.send(Uint8Array.of(1), 0, 1, server.socket.peer('127.0.0.1', client.port));
      await until(() => endings === 1);
      expect(held).toBeGreaterThan(0);
    });

    it('goes on when a handler throws', async () => {
      const errors: unknown[] = [];
      const listeners = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.on('uncaughtException', (error) => errors.push(error));
      try {
        let calls = 0;
        const server = await bindUdp({
          io,
          address: '127.0.0.1',
          onReceive: () => {
            calls++;
            throw new Error(`call ${calls}`);
          },
        });
        open.push(server);
        const client = await bind({ io, address: '127.0.0.1' });
        const to = client.socket.peer('127.0.0.1', server.port);
        for (let i = 0; i < 3; i++) client.socket.send(Uint8Array.of(i), 0, 1, to);
        await until(() => errors.length === 3);
        expect(errors.map((error) => (error as Error).message)).toEqual([
          'call 1',
          'call 2',
          'call 3',
        ]);
      } finally {
        process.removeAllListeners('uncaughtException');
        for (const listener of listeners) process.on('uncaughtException', listener);
      }
    });

    it('drops and counts what cannot be sent', async () => {
      const { socket } = await bind({ io, address: '127.0.0.1' });
      const buf = new Uint8Array(70000);
      const to = socket.peer('127.0.0.1', 9);
      socket.send(buf, 0, 65508, to);
      socket.send(buf, 0, 10, to + (1 << 18));
      socket.send(buf, 0, 10, -1);
      socket.close();
      socket.close();
      socket.send(buf, 0, 10, to);
      await socket.closed;
      expect(socket.stats).toMatchObject({
        dropTooLong: 1,
        dropStalePeer: 2,
        dropClosed: 1,
        sent: 0,
      });
    });

    it('sends what is queued before it closes', async () => {
      const server = await bind({ io, address: '127.0.0.1' });
      const client = await bind({ io, address: '127.0.0.1' });
      const to = client.socket.peer('127.0.0.1', server.socket.port);
      for (let i = 0; i < 20; i++) client.socket.send(Uint8Array.of(i), 0, 1, to);
      client.socket.close();
      await until(() => server.got.length === 20);
      expect(server.got.map(({ bytes: [n] }) => n)).toEqual(
        Array.from({ length: 20 }, (_, i) => i),
      );
    });

    it('forgets senders that were not heard lately when the table is full', async () => {
      const server = await bind({ io, address: '127.0.0.1', maxPeers: 4 });
      const kept = server.socket.peer('127.0.0.1', 1);
      const clients = await Promise.all(
        Array.from({ length: 8 }, () => bind({ io, address: '127.0.0.1' })),
      );
      for (const { socket } of clients) {
        socket.send(Uint8Array.of(1), 0, 1, socket.peer('127.0.0.1', server.socket.port));
      }
      await until(() => server.got.length === 8);
      const known = server.got.filter((one) => server.socket.formatPeer(one.from) !== '');
      expect(known.length).toBe(3);
      const gone = server.got.find((one) => !known.includes(one))?.from ?? 0;
      for (const ask of ['peerAddress', 'peerPort'] as const) {
        expect(() => server.socket[ask](gone)).toThrow(/forgotten/);
      }
      expect(server.socket.formatPeer(kept)).toBe('127.0.0.1:1');
      // A handle that was recycled reaches nobody, least of all the new owner of its place.
      for (const { from } of server.got) server.socket.send(Uint8Array.of(2), 0, 1, from);
      await until(() => clients.reduce((sum, { got }) => sum + got.length, 0) === 3);
      expect(server.socket.stats.dropStalePeer).toBe(5);
    });

    it('says what is wrong with its options', async () => {
      const onReceive = () => {};
      await expect(bindUdp({ io, onReceive, port: 70000 })).rejects.toThrow(/port.*65535/);
      await expect(bindUdp({ io, onReceive, address: 'localhost' })).rejects.toThrow(/IP address/);
      const { socket } = await bind({ io, address: '127.0.0.1' });
      await expect(
        bindUdp({ io, onReceive, address: '127.0.0.1', port: socket.port }),
      ).rejects.toMatchObject({ code: 'EADDRINUSE' });
    });
  });
}

describe('the portable tier', () => {
  it('refuses what it cannot do', async () => {
    const options = { io: 'portable', onReceive: () => {}, tos: 46, reusePort: true } as const;
    await expect(bindUdp(options)).rejects.toThrow(/reusePort, tos.*batched/);
    const { socket } = await bind({ io: 'portable', address: '127.0.0.1' });
    expect(() => socket.setMark(7)).toThrow(/mark.*batched/);
  });
});

describe.runIf(tiers.length === 2)('the batched tier', () => {
  it('moves many datagrams in one call each way', async () => {
    const server = await bind({ io: 'batched', address: '127.0.0.1' });
    const client = await bind({ io: 'batched', address: '127.0.0.1' });
    const to = client.socket.peer('127.0.0.1', server.socket.port);
    systemClock.beginBatch();
    for (let i = 0; i < 100; i++) client.socket.send(new Uint8Array(1000).fill(i), 0, 1000, to);
    expect(client.socket.stats.sendCalls).toBe(0);
    systemClock.endBatch();
    expect(client.socket.stats).toMatchObject({ sent: 100, sendCalls: 1 });
    await until(() => server.got.length === 100);
    expect(server.got.every(({ bytes }, i) => bytes.every((byte) => byte === i))).toBe(true);
    expect(server.socket.stats.receiveCalls).toBeLessThan(5);
  });

  it('carries the traffic class both ways, both families', async () => {
    const server = await bind({ io: 'batched' });
    for (const address of ['127.0.0.1', '::1']) {
      server.got.length = 0;
      const client = await bind({ io: 'batched', address, tos: 0x28 });
      const to = client.socket.peer(address, server.socket.port);
      client.socket.send(Uint8Array.of(0), 0, 1, to);
      client.socket.send(Uint8Array.of(1), 0, 1, to, 0x03);
      client.socket.send(Uint8Array.of(2), 0, 1, to, 0xb9);
      await until(() => server.got.length === 3);
      expect(server.got.map(({ tos }) => tos)).toEqual([0x28, 0x03, 0xb9]);
      server.socket.send(Uint8Array.of(3), 0, 1, server.got[0].from, 0x02);
      await until(() => client.got.length === 1);
      expect(client.got[0].tos).toBe(0x02);
    }
  });

  it('answers from the address that was written to', async () => {
    const server = await bind({ io: 'batched' });
    for (const address of ['127.0.0.9', '::1']) {
      server.got.length = 0;
      // Connected: it hears answers from that very address only.
      const client = await bind({
        io: 'batched',
        address: address === '::1' ? '::1' : '127.0.0.1',
        connect: { address, port: server.socket.port },
      });
      client.socket.send(Uint8Array.of(7), 0, 1, client.socket.remote);
      await until(() => server.got.length === 1);
      server.socket.send(Uint8Array.of(8), 0, 1, server.got[0].from);
      await until(() => client.got.length === 1);
    }
  });

  it('tells an unconnected socket which peer does not listen', async () => {
    const errors: UdpError[] = [];
    const server = await bind({ io: 'batched', address: '127.0.0.1' });
    const client = await bind({
      io: 'batched',
      address: '127.0.0.1',
      onError: (error) => errors.push(error),
    });
    const gone = await bind({ io: 'batched', address: '127.0.0.1' });
    const nobody = client.socket.peer('127.0.0.1', gone.socket.port);
    gone.socket.close();
    const somebody = client.socket.peer('127.0.0.1', server.socket.port);
    for (let i = 0; i < 5; i++) {
      client.socket.send(Uint8Array.of(i), 0, 1, nobody);
      client.socket.send(Uint8Array.of(i), 0, 1, somebody);
      client.socket.flush();
    }
    await until(() => errors.length === 5 && server.got.length === 5);
    for (const error of errors)
      expect(error).toEqual({ code: 'ECONNREFUSED', peer: nobody, mtu: 0 });
    expect(client.socket.stats.networkErrors).toBe(5);
  });

  it('spreads flows over the sockets that share a port', async () => {
    const first = await bind({ io: 'batched', address: '127.0.0.1', reusePort: true });
    const { port } = first.socket;
    const second = await bind({ io: 'batched', address: '127.0.0.1', port, reusePort: true });
    for (let i = 0; i < 64; i++) {
      const client = await bind({ io: 'batched', address: '127.0.0.1' });
      client.socket.send(Uint8Array.of(i), 0, 1, client.socket.peer('127.0.0.1', port));
    }
    await until(() => first.got.length + second.got.length === 64);
    expect(first.got.length).toBeGreaterThan(8);
    expect(second.got.length).toBeGreaterThan(8);
  });

  it('shares few send buffers among many sockets', async () => {
    const server = await bind({ io: 'batched', address: '127.0.0.1' });
    const clients = await Promise.all(
      Array.from({ length: 100 }, () => bind({ io: 'batched', address: '127.0.0.1' })),
    );
    systemClock.beginBatch();
    clients.forEach(({ socket }, i) => {
      const to = socket.peer('127.0.0.1', server.socket.port);
      for (let n = 0; n < 3; n++) socket.send(Uint8Array.of(i, n), 0, 2, to);
    });
    systemClock.endBatch();
    await until(() => server.got.length === 300);
    const seen = new Map<number, number>();
    for (const { bytes } of server.got) {
      expect(bytes[1]).toBe(seen.get(bytes[0]) ?? 0);
      seen.set(bytes[0], bytes[1] + 1);
    }
  });
});
