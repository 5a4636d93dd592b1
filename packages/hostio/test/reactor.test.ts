import { systemClock } from '@pktkit/core';
import { bindUdp, reactorStats, tryLibc, type UdpSocket } from '@pktkit/hostio';
import { until as wait } from '@pktkit/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { breakCall } from './faulty-kernel.ts';

const until = (condition: () => boolean) => wait(condition, { within: 20_000, every: 1 });

const open: UdpSocket[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
});

async function bind(onReceive: (bytes: number) => void): Promise<UdpSocket> {
  const socket = await bindUdp({
    io: 'batched',
    address: '127.0.0.1',
    // Beyond what one turn delivers.
    receiveBuffer: 16 << 20,
    onReceive: (_buf, _off, len) => onReceive(len),
  });
  open.push(socket);
  return socket;
}

/** Fills a socket's queue in the kernel, without a turn of the event loop. */
function flood(from: UdpSocket, to: UdpSocket, datagrams: number, size: number): void {
  const peer = from.peer('127.0.0.1', to.port);
  const buf = new Uint8Array(size);
  for (let i = 0; i < datagrams; i++) from.send(buf, 0, size, peer);
  from.flush();
  from.releasePeer(peer);
}

describe.runIf(tryLibc() !== null)('the reactor', () => {
  it('serves everybody in turn: a deep queue does not hold up the others', async () => {
    const order: string[] = [];
    const sender = await bind(() => {});
    const deep = await bind(() => order.push('deep'));
    // Short datagrams of changing lengths, which the kernel does not merge: the calls are what is limited.
    const many = await bind(() => order.push('many'));
    const few = await bind(() => order.push('few'));
    flood(sender, deep, 4000, 1000);
    for (let i = 0; i < 1000; i++) flood(sender, many, 1, 1 + (i % 2));
    flood(sender, few, 1, 1);
    await until(() => order.includes('few'));
    const place = order.indexOf('few');
    const before = order.slice(0, place);
    expect(before.filter((who) => who === 'deep').length).toBeLessThan(2000);
    expect(before.filter((who) => who === 'many').length).toBeLessThan(200);
  });

  it('comes round to more ready descriptors than one call tells of', async () => {
    const rounds: number[] = [];
    const sender = await bind(() => {});
    const sockets = await Promise.all(
      Array.from({ length: 200 }, (_, i) => bind(() => rounds.push(i))),
    );
    // More for the first ones than they may deliver at a time.
    sockets.forEach((socket, i) => {
      for (let n = 0; n < (i < 64 ? 150 : 1); n++) flood(sender, socket, 1, 1 + (n % 2));
    });
    await until(() => rounds.length === 64 * 150 + 136);
    // Each of the last has been heard before any of the first was heard to the end.
    const latest = Math.max(...sockets.slice(64).map((_, i) => rounds.indexOf(64 + i)));
    const counts = new Map<number, number>();
    for (const who of rounds.slice(0, latest)) counts.set(who, (counts.get(who) ?? 0) + 1);
    for (let i = 0; i < 64; i++) expect(counts.get(i)).toBeLessThan(150);
  });

  it('lets the event loop run while traffic never ends', async () => {
    const socket: UdpSocket = await bindUdp({
      io: 'batched',
      address: '127.0.0.1',
      onReceive: (buf, off, len, from) => socket.send(buf, off, len, from),
    });
    open.push(socket);
    for (let i = 0; i < 8; i++) flood(socket, socket, 1, 100 + i);
    let timers = 0;
    const timer = setInterval(() => timers++, 1);
    await until(() => timers > 20);
    clearInterval(timer);
    expect(socket.stats.received).toBeGreaterThan(100);
  });

  it('delivers one wake-up as one batch of the clock', async () => {
    const seen: number[] = [];
    let endings = 0;
    const sockets = await Promise.all(
      [0, 1, 2].map(() =>
        bind(() => {
          seen.push(systemClock.now);
          systemClock.endOfBatch(() => endings++);
          expect(endings).toBe(0);
        }),
      ),
    );
    const sender = await bind(() => {});
    for (const socket of sockets) flood(sender, socket, 2, 10);
    await until(() => endings === 6);
    expect(new Set(seen).size).toBe(1);
  });

  it('delivers nothing to a descriptor that a neighbour has closed in the same wake-up', async () => {
    const heard: number[] = [];
    const sockets: UdpSocket[] = await Promise.all(
      [0, 1, 2].map((i) =>
        bind(() => {
          heard.push(i);
          for (const socket of sockets) socket.close();
        }),
      ),
    );
    const sender = await bind(() => {});
    for (const socket of sockets) flood(sender, socket, 3, 10);
    const done = await bind(() => heard.push(9));
    flood(sender, done, 1, 10);
    await until(() => heard.includes(9));
    expect(heard.filter((who) => who !== 9).length).toBe(1);
  });

  it('starts again after everything was closed, and fails cleanly when it cannot', async () => {
    for (const socket of open.splice(0)) socket.close();
    const mend = breakCall('epollCreate1', () => 24);
    await expect(bind(() => {})).rejects.toMatchObject({ code: 'EMFILE' });
    mend();
    let heard = 0;
    const again = await bind(() => heard++);
    const { wakeups } = reactorStats();
    flood(again, again, 1, 1);
    await until(() => heard === 1);
    expect(reactorStats().wakeups).toBeGreaterThan(wakeups);
  });
});
