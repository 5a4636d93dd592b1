import { constants } from 'node:os';
import { systemClock } from '@pktkit/core';
import { bindUdp, tryLibc, type UdpError, type UdpOptions, type UdpSocket } from '@pktkit/hostio';
import { until as wait } from '@pktkit/testkit';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { heldArenas } from '../src/arena.ts';
import { MAX_BATCHES, MAX_BLOCKED } from '../src/send-batches.ts';
import { breakCall, type Fault } from './faulty-kernel.ts';

const { EAGAIN, EINTR, EIO, EMSGSIZE, ENOBUFS, EPERM, ENOPROTOOPT } = constants.errno;
const SOL_UDP = 17;

const until = (condition: () => boolean) => wait(condition, { within: 20_000, every: 1 });

const open: UdpSocket[] = [];
const broken: Array<() => void> = [];
const breaks = (name: Parameters<typeof breakCall>[0], fault: Fault) => {
  broken.push(breakCall(name, fault));
};
const mend = () => {
  for (const repair of broken.splice(0).reverse()) repair();
};
afterEach(() => {
  mend();
  for (const socket of open.splice(0)) socket.close();
});

async function bind(options: Partial<UdpOptions> = {}): Promise<UdpSocket> {
  const socket = await bindUdp({
    io: 'batched',
    address: '127.0.0.1',
    onReceive: () => {},
    ...options,
  });
  open.push(socket);
  return socket;
}

async function receiver(): Promise<{ socket: UdpSocket; got: Uint8Array[] }> {
  const got: Uint8Array[] = [];
  const socket = await bind({ onReceive: (buf, off, len) => got.push(buf.slice(off, off + len)) });
  return { socket, got };
}

/** Fails so many calls, then none. */
const first = (calls: number, errno: number): Fault => {
  let left = calls;
  return () => (left-- > 0 ? errno : 0);
};

describe.runIf(tryLibc() !== null)('a kernel that fails', () => {
  it('EINTR: interrupted calls are made again, nothing is lost', async () => {
    const { socket: server, got } = await receiver();
    const client = await bind();
    const to = client.peer('127.0.0.1', server.port);
    let calls = 0;
    const everySecond = () => (calls++ % 2 === 0 ? EINTR : 0);
    breaks('sendmmsg', everySecond);
    breaks('recvmmsg', everySecond);
    breaks('recvmsg', everySecond);
    for (let i = 0; i < 100; i++) {
      client.send(Uint8Array.of(i), 0, 1, to);
      if (i % 3 === 0) client.flush();
    }
    await until(() => got.length === 100);
    expect(got.map(([n]) => n)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(client.stats.interrupted).toBeGreaterThan(10);
    expect(server.stats.interrupted).toBeGreaterThan(0);
  });

  it('ENOBUFS: dropped and counted, the next are sent', async () => {
    const { socket: server, got } = await receiver();
    const errors: UdpError[] = [];
    const client = await bind({ onError: (error) => errors.push(error) });
    const to = client.peer('127.0.0.1', server.port);
    breaks('sendmmsg', first(1, ENOBUFS));
    for (let i = 0; i < 3; i++) client.send(new Uint8Array(10), 0, 10, to);
    // Longer: a run of its own.
    client.send(new Uint8Array(20), 0, 20, to);
    client.flush();
    await until(() => got.length === 1);
    expect(client.stats).toMatchObject({ dropSendFull: 3, dropSendError: 0, sent: 1 });
    expect(errors).toEqual([]);
  });

  it('EAGAIN: what waits is sent when there is room, in order', async () => {
    const { socket: server, got } = await receiver();
    const client = await bind();
    const to = client.peer('127.0.0.1', server.port);
    let calls = 0;
    breaks('sendmmsg', () => (calls++ < 20 ? EAGAIN : 0));
    for (let i = 0; i < 200; i++) {
      const size = i % 10 === 9 ? 9 : 5;
      client.send(new Uint8Array(size).fill(i), 0, size, to);
      if (i === 100) client.flush();
    }
    await until(() => got.length === 200);
    expect(got.map(([n]) => n)).toEqual(Array.from({ length: 200 }, (_, i) => i));
    expect(calls).toBeGreaterThan(20);
    expect(client.stats.dropSendFull).toBe(0);
  });

  it('EIO: a device that cannot segment gets datagrams, and that is counted', async () => {
    const { socket: server, got } = await receiver();
    const client = await bind();
    const to = client.peer('127.0.0.1', server.port);
    const messages: number[] = [];
    const fault = first(1, EIO);
    breaks('sendmmsg', (_fd, _address, count) => {
      messages.push(count);
      return fault();
    });
    const send = (from: number) => {
      for (let i = 0; i < 10; i++) client.send(new Uint8Array(1000).fill(from + i), 0, 1000, to);
      client.flush();
    };
    send(0);
    await until(() => got.length === 10);
    // One message of ten segments; then ten of one; and from then on no segments any more.
    expect(messages).toEqual([1, ...new Array(10).fill(1)]);
    messages.length = 0;
    send(10);
    await until(() => got.length === 20);
    expect(messages).toEqual([10]);
    got.forEach((bytes, i) => {
      expect(bytes).toEqual(new Uint8Array(1000).fill(i));
    });
    expect(client.stats).toMatchObject({ gsoFallbacks: 1, sent: 20, dropSendError: 0 });
  });

  it('a datagram that is refused and answered with an ICMP error is given up in the end', async () => {
    const gone = await bind();
    const { socket: server, got } = await receiver();
    const codes: string[] = [];
    const client = await bind({ onError: ({ code }) => codes.push(code) });
    const nobody = client.peer('127.0.0.1', gone.port);
    const somebody = client.peer('127.0.0.1', server.port);
    gone.close();
    const real = tryLibc()?.sendmmsg as Fault;
    for (const copies of [1, 3]) {
      codes.length = 0;
      let calls = 0;
      // As a firewall with REJECT does: it says no, and the answer comes as from a far host.
      breaks('sendmmsg', (...args) => {
        if (++calls > 1000) return 0;
        real(...args);
        return EPERM;
      });
      for (let i = 0; i < copies; i++) client.send(Uint8Array.of(1), 0, 1, nobody);
      client.flush();
      mend();
      expect(calls).toBeLessThan(100);
      expect(codes.at(-1)).toBe('EPERM');
      client.send(Uint8Array.of(copies), 0, 1, somebody);
      await until(() => got.at(-1)?.[0] === copies);
    }
    expect(client.stats).toMatchObject({ dropSendError: 4, sent: 2 });
  });

  it('no UDP_SEGMENT, no UDP_GRO: works, and says so in the counters', async () => {
    breaks('setsockopt', (_fd, level) => (level === SOL_UDP ? ENOPROTOOPT : 0));
    const { socket: server, got } = await receiver();
    const client = await bind();
    mend();
    const to = client.peer('127.0.0.1', server.port);
    const messages: number[] = [];
    breaks('sendmmsg', (_fd, _address, count) => {
      messages.push(count);
      return 0;
    });
    for (let i = 0; i < 100; i++) client.send(new Uint8Array(1000).fill(i), 0, 1000, to);
    client.flush();
    await until(() => got.length === 100);
    got.forEach((bytes, i) => {
      expect(bytes).toEqual(new Uint8Array(1000).fill(i));
    });
    expect(messages).toEqual([64, 36]);
    expect(client.stats).toMatchObject({ gsoFallbacks: 1, groFallbacks: 1, sent: 100 });
    // A sender that does segment is heard, too: the kernel takes its segments apart.
    const other = await bind();
    for (let i = 0; i < 10; i++) {
      other.send(new Uint8Array(500).fill(i), 0, 500, other.peer('127.0.0.1', server.port));
    }
    await until(() => got.length === 110);
    expect(other.stats).toMatchObject({ gsoFallbacks: 0, groFallbacks: 0, sendCalls: 1 });
  });

  it('bounds the batches of sockets that wait, and lets the others go on', async () => {
    const { socket: server, got } = await receiver();
    const free = await bind();
    const waiting = await Promise.all(Array.from({ length: 100 }, () => bind()));
    const warm = free.peer('127.0.0.1', server.port);
    free.send(Uint8Array.of(0, 0), 0, 2, warm);
    await until(() => got.length === 1);
    const arenas = heldArenas();
    let isFull = true;
    let calls = 0;
    breaks('sendmmsg', () => {
      calls++;
      return isFull ? EAGAIN : 0;
    });
    systemClock.beginBatch();
    waiting.forEach((socket, i) => {
      socket.send(Uint8Array.of(1, i), 0, 2, socket.peer('127.0.0.1', server.port));
    });
    // Those beyond the bound have tried alone; nobody that waits was tried again for them.
    expect(calls).toBe(100);
    expect(heldArenas() - arenas).toBeLessThanOrEqual(MAX_BLOCKED + 1);
    const dropped = waiting.filter(({ stats }) => stats.dropSendFull === 1);
    expect(dropped.length).toBe(100 - MAX_BLOCKED);
    expect(waiting.every(({ stats }) => stats.sent === 0)).toBe(true);
    // One that the kernel has room for sends, though no batch is left for it.
    isFull = false;
    for (let i = 0; i < 10; i++) free.send(Uint8Array.of(2, i), 0, 2, warm);
    expect(free.stats).toMatchObject({ sent: 11, dropSendFull: 0 });
    systemClock.endBatch();
    await until(() => got.length === 1 + 10 + MAX_BLOCKED);
    expect(got.filter(([kind]) => kind === 2).map(([, n]) => n)).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
    ]);
    const expected = waiting.flatMap(({ stats }, i) => (stats.dropSendFull === 0 ? [i] : []));
    const arrived = got.filter(([kind]) => kind === 1).map(([, n]) => n);
    expect(arrived.sort((a, b) => a - b)).toEqual(expected);
    // What was made beyond the usual goes.
    expect(heldArenas() - arenas).toBeLessThanOrEqual(MAX_BATCHES + 1);
  });

  it('closed by its handler of errors in the middle of a flush: nobody shares a batch', async () => {
    const { socket: server, got } = await receiver();
    const codes: string[] = [];
    const doomed = await bind({
      onError: ({ code }) => {
        codes.push(code);
        doomed.close();
      },
    });
    const others = [await bind(), await bind()];
    breaks('sendmmsg', first(1, EPERM));
    const to = doomed.peer('127.0.0.1', server.port);
    for (const size of [5, 6, 7]) doomed.send(new Uint8Array(size).fill(99), 0, size, to);
    doomed.flush();
    expect(codes).toEqual(['EPERM']);
    expect(doomed.stats).toMatchObject({ dropSendError: 1, dropSendFull: 2, sent: 0 });
    systemClock.beginBatch();
    for (let i = 0; i < 20; i++) {
      others.forEach((socket, which) => {
        const peer = socket.peer('127.0.0.1', server.port);
        socket.send(Uint8Array.of(which, i), 0, 2, peer);
      });
    }
    systemClock.endBatch();
    await until(() => got.length === 40);
    for (const which of [0, 1]) {
      const mine = got.filter(([w]) => w === which).map(([, n]) => n);
      expect(mine).toEqual(Array.from({ length: 20 }, (_, i) => i));
      expect(others[which].stats.sent).toBe(20);
    }
  });

  it('a handler of errors may send at once: into runs of the flush that goes on, and new ones', async () => {
    const servers = [await receiver(), await receiver()];
    const socket = await bind({
      onError: () => {
        socket.send(new Uint8Array(8).fill(2), 0, 8, peers[0]);
        for (let i = 3; i < 6; i++) socket.send(new Uint8Array(8).fill(i), 0, 8, peers[1]);
      },
    });
    const peers = servers.map((server) => socket.peer('127.0.0.1', server.socket.port));
    breaks('sendmmsg', first(1, EPERM));
    socket.send(new Uint8Array(4).fill(0), 0, 4, peers[1]);
    socket.send(new Uint8Array(8).fill(1), 0, 8, peers[0]);
    socket.flush();
    await until(() => servers[0].got.length >= 2 && servers[1].got.length >= 3);
    const eight = (...fills: number[]) => fills.map((fill) => new Uint8Array(8).fill(fill));
    expect(servers[0].got).toEqual(eight(1, 2));
    expect(servers[1].got).toEqual(eight(3, 4, 5));
    expect(socket.stats).toMatchObject({ sent: 5, dropSendError: 1 });
  });

  it('a handler of errors may use, or close, the very socket that its flush made room for', async () => {
    for (const what of ['send', 'close'] as const) {
      const { socket: server, got } = await receiver();
      const late = await bind();
      const to = late.peer('127.0.0.1', server.port);
      const holders = await Promise.all(
        Array.from({ length: MAX_BATCHES }, () =>
          bind({
            onError: () => {
              if (what === 'send') late.send(Uint8Array.of(1), 0, 1, to);
              else late.close();
            },
          }),
        ),
      );
      systemClock.beginBatch();
      for (const socket of holders) {
        socket.send(Uint8Array.of(9), 0, 1, socket.peer('127.0.0.1', server.port));
      }
      breaks('sendmmsg', first(1, EPERM));
      late.send(Uint8Array.of(2), 0, 1, to);
      systemClock.endBatch();
      mend();
      await until(() => got.filter(([n]) => n === 9).length === MAX_BATCHES - 1);
      if (what === 'send') {
        await until(() => got.length === MAX_BATCHES + 1);
        expect(got.filter(([n]) => n !== 9)).toEqual([Uint8Array.of(1), Uint8Array.of(2)]);
        expect(late.stats.sent).toBe(2);
      } else {
        expect(late.stats).toMatchObject({ sent: 0, dropClosed: 1 });
      }
    }
  });

  // More than have a batch at a time.
  const SOCKETS = 24;

  it('whatever fails and whatever handlers do meanwhile, bytes stay whole and every datagram is accounted for', async () => {
    const errnos = [EAGAIN, EINTR, EIO, ENOBUFS, EPERM, EPERM, EMSGSIZE, 0, 0, 0];
    const act = fc.record({
      what: fc.constantFrom('send', 'send', 'send', 'send', 'flush', 'close'),
      who: fc.nat(SOCKETS - 1),
      to: fc.nat(2),
      size: fc.constantFrom(8, 8, 8, 100, 100, 60_000),
      copies: fc.integer({ min: 1, max: 70 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(act, { minLength: 5, maxLength: 40 }), { minLength: 3, maxLength: 6 }),
        fc.array(fc.array(act, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 8 }),
        fc.array(fc.constantFrom(...errnos), { minLength: 5, maxLength: 100 }),
        async (rounds, reactions, faults) => {
          let wrong = 0;
          const latest = new Map<number, number>();
          const servers = await Promise.all(
            [0, 1, 2].map((index) =>
              bind({
                onReceive: (buf, off, len, from) => {
                  // Sender, receiver, number of the datagram; then its number all over.
                  const view = new DataView(buf.buffer, buf.byteOffset + off, len);
                  const sender = view.getUint8(0);
                  const number = view.getUint32(2);
                  if (view.getUint8(1) !== index || len < 8) wrong++;
                  if (servers[index].peerPort(from) !== sockets[sender].port) wrong++;
                  for (let at = 6; at < len; at++) if (buf[off + at] !== (number & 0xff)) wrong++;
                  const key = sender * 3 + index;
                  if (number <= (latest.get(key) ?? -1)) wrong++;
                  latest.set(key, number);
                },
              }),
            ),
          );
          let reaction = 0;
          let depth = 0;
          let number = 0;
          const sends = new Array(SOCKETS).fill(0);
          const sockets: UdpSocket[] = [];
          const perform = ({ what, who, to, size, copies }: (typeof rounds)[0][0]) => {
            const socket = sockets[who];
            if (what === 'flush') socket.flush();
            else if (what === 'close') socket.close();
            else if (what === 'send') {
              const peer = peers[who][to];
              for (let i = 0; i < (size > 1000 ? 3 : copies); i++) {
                const bytes = new Uint8Array(size).fill(number & 0xff);
                bytes[0] = who;
                bytes[1] = to;
                new DataView(bytes.buffer).setUint32(2, number++);
                sends[who]++;
                socket.send(bytes, 0, size, peer);
              }
            }
          };
          for (let i = 0; i < SOCKETS; i++) {
            sockets.push(
              await bind({
                maxPeers: 4,
                onError: () => {
                  if (depth > 3) return;
                  depth++;
                  reactions[reaction++ % reactions.length].forEach(perform);
                  depth--;
                },
              }),
            );
          }
          const peers = sockets.map((socket) =>
            servers.map((server) => socket.peer('127.0.0.1', server.port)),
          );
          let call = 0;
          breaks('sendmmsg', () => faults[call++] ?? 0);
          for (const acts of rounds) {
            systemClock.beginBatch();
            acts.forEach(perform);
            systemClock.endBatch();
          }
          const settled = () =>
            sockets.every(({ stats }, i) => {
              const { sent, dropSendFull, dropSendError, dropClosed, dropStalePeer } = stats;
              return sent + dropSendFull + dropSendError + dropClosed + dropStalePeer === sends[i];
            });
          await until(settled);
          const total = sockets.reduce((sum, { stats }) => sum + stats.sent, 0);
          await until(
            () =>
              servers.reduce(
                (sum, { stats }) => sum + stats.received + stats.dropReceiveFull,
                0,
              ) === total,
          );
          mend();
          for (const socket of open.splice(0)) socket.close();
          expect(wrong).toBe(0);
        },
      ),
      { numRuns: 40 },
    );
  });
});
