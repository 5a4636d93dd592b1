import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dropFrame, Frame, systemClock } from '@pktkit/core';
import { attach, dial, listen, type QemuDevice, type QemuListener } from '@pktkit/qemu';
import { l2DeviceSuite, until } from '@pktkit/testkit';
import { afterEach, describe, expect, it } from 'vitest';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let sockets = 0;
const socketPath = () => join(tmpdir(), `pktkit-qemu-${process.pid}-${sockets++}.sock`);

const frame = (length: number, seed = 1) =>
  Frame.of(Uint8Array.from({ length }, (_, i) => (i * 13 + seed) & 0xff));

async function taken(listener: QemuListener): Promise<QemuDevice> {
  const { value, done } = await listener[Symbol.asyncIterator]().next();
  expect(done).toBe(false);
  return value;
}

/** Both ends of one connection. */
async function pair(options: Parameters<typeof listen>[1] = {}): Promise<[QemuDevice, QemuDevice]> {
  const path = socketPath();
  const listener = await listen({ path }, options);
  const near = await dial({ path }, options);
  const far = await taken(listener);
  cleanups.push(() => {
    near.close();
    far.close();
    return listener.close();
  });
  return [near, far];
}

/** A raw peer: what the device wrote, and a socket to write to it. */
async function rawPeer(): Promise<{ path: string; socket: Promise<Socket> }> {
  const path = socketPath();
  let found: (socket: Socket) => void = () => {};
  const socket = new Promise<Socket>((resolve) => {
    found = resolve;
  });
  const server = createServer((connection) => found(connection));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  cleanups.push(async () => {
    (await socket).destroy();
    server.close();
  });
  return { path, socket };
}

for (const kind of ['unix', 'tcp'] as const) {
  l2DeviceSuite({ describe, it }, `a device over ${kind}`, async () => {
    const listener = await listen(kind === 'unix' ? { path: socketPath() } : { port: 0 });
    const device = await dial(listener.address);
    const far = await taken(listener);
    const received: Uint8Array[] = [];
    far.setHandler((got) => received.push(got.bytes.slice()));
    return {
      device,
      inject: (bytes) => far.send(Frame.of(bytes)),
      received,
      until: async (condition) => {
        await until(condition);
      },
      settle: async () => {
        await far.closed;
      },
      close: async () => {
        far.close();
        await listener.close();
      },
    };
  });
}

describe('QemuDevice', () => {
  it('carries jumbo frames and thousands of small ones in order, in few writes', async () => {
    const [near, far] = await pair({ mtu: 65_535 });
    const sizes = [9014, 65_549, 14, ...Array.from({ length: 3000 }, (_, i) => 60 + (i % 200))];
    let next = 0;
    far.setHandler((got) => {
      expect(got.len).toBe(sizes[next]);
      expect(got.bytes).toEqual(frame(sizes[next], next).bytes);
      next++;
    });
    sizes.forEach((size, i) => {
      near.send(frame(size, i));
    });
    await until(() => next === sizes.length);
    expect(near.stats.framesOut).toBe(sizes.length);
    expect(far.stats.framesIn).toBe(sizes.length);
    expect(near.stats.writes).toBeLessThan(sizes.length / 50);
  });

  it('QEMU-01: a peer that does not read loses frames and blocks nobody', async () => {
    const [near, far] = await pair();
    // Nobody sets a handler on `far`: it does not read.
    const started = performance.now();
    let sent = 0;
    while (near.stats.dropQueueFull === 0 && sent < 100_000) {
      near.send(frame(1514, sent++));
      if (sent % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(near.stats.dropQueueFull).toBe(1);
    expect(near.waiting).toBeLessThanOrEqual(1 << 20);
    for (let i = 0; i < 1000; i++) near.send(frame(1514, i));
    expect(near.stats.dropQueueFull).toBe(1001);
    expect(performance.now() - started).toBeLessThan(5000);
    // Once it reads, everything that was taken arrives whole, and there is room again.
    let seen = 0;
    far.setHandler((got) => {
      expect(got.bytes).toEqual(frame(1514, seen).bytes);
      seen++;
    });
    await until(() => seen === near.stats.framesOut);
    near.send(frame(1514, seen));
    await until(() => seen === near.stats.framesOut);
    expect(near.stats.dropQueueFull).toBe(1001);
  });

  it('QEMU-02: a queue that runs full never cuts a frame: the stream stays in step', async () => {
    const { path, socket } = await rawPeer();
    const device = await dial({ path }, { queueBytes: 200_000 });
    cleanups.push(() => device.close());
    const peer = await socket;
    peer.pause();
    // More in one batch than the kernel and the queue take, in sizes that do not divide anything evenly.
    for (let i = 0; i < 2000; i++) device.send(frame(60 + ((i * 37) % 1454), i & 0xff));
    await until(() => device.stats.dropQueueFull > 0);
    const chunks: Buffer[] = [];
    peer.on('data', (chunk) => chunks.push(chunk));
    peer.resume();
    const expected = device.stats.bytesOut + device.stats.framesOut * 4;
    await until(() => chunks.reduce((sum, chunk) => sum + chunk.length, 0) === expected);
    const stream = Buffer.concat(chunks);
    let frames = 0;
    for (let at = 0; at < stream.length; frames++) at += 4 + stream.readUInt32BE(at);
    expect(frames).toBe(device.stats.framesOut);
    // What is longer than QEMU takes would end the connection: it is not written at all.
    device.send(Frame.of(new Uint8Array(70_000)));
    expect(device.stats.dropTooLong).toBe(1);
    device.send(frame(13));
    expect(device.stats.dropShort).toBe(1);
    await until(() => device.waiting === 0);
    expect(device.connected).toBe(true);
  });

  it('QEMU-03: frames that come before there is a handler wait for it', async () => {
    const [near, far] = await pair();
    for (let i = 0; i < 20; i++) near.send(frame(100, i));
    await until(() => near.waiting === 0);
    await new Promise((resolve) => setImmediate(resolve));
    const seen: Uint8Array[] = [];
    far.setHandler((got) => seen.push(got.bytes.slice()));
    await until(() => seen.length === 20);
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => frame(100, i).bytes));
    // A handler taken away again: dropped and counted.
    far.setHandler(dropFrame);
    near.send(frame(100));
    await until(() => far.stats.dropNoHandler === 1);
  });

  it('QEMU-04: reads whole chunks: many frames a read, in one batch', async () => {
    const { path, socket } = await rawPeer();
    const device = await dial({ path });
    cleanups.push(() => device.close());
    let frames = 0;
    let batches = 0;
    let due = false;
    device.setHandler(() => {
      frames++;
      if (due) return;
      due = true;
      systemClock.endOfBatch(() => {
        batches++;
        due = false;
      });
    });
    const one = Buffer.concat([Buffer.from([0, 0, 0, 60]), frame(60).bytes]);
    (await socket).write(Buffer.concat(Array.from({ length: 5000 }, () => one)));
    await until(() => frames === 5000);
    expect(batches).toBeLessThan(100);
  });

  it('closes when the peer gets out of step, and when it goes away', async () => {
    const bad = await rawPeer();
    const device = await dial({ path: bad.path });
    device.setHandler(() => {});
    (await bad.socket).write(Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 2, 3]));
    await device.closed;
    expect(device.stats.outOfStep).toBe(1);
    device.send(frame(60));
    expect(device.stats.dropClosed).toBe(1);

    const [near, far] = await pair();
    far.setHandler(() => {});
    near.close();
    await near.closed;
    await far.closed;
    expect(far.connected).toBe(false);
  });

  it('goes on with the next frame when a handler throws', async () => {
    const { path, socket } = await rawPeer();
    const device = await dial({ path });
    cleanups.push(() => device.close());
    const errors: unknown[] = [];
    const note = (error: unknown) => errors.push(error);
    const before = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', note);
    let frames = 0;
    device.setHandler(() => {
      if (++frames === 1) throw new Error('boom');
    });
    const one = Buffer.concat([Buffer.from([0, 0, 0, 60]), frame(60).bytes]);
    (await socket).write(Buffer.concat([one, one]));
    await until(() => frames === 2 && errors.length === 1);
    process.removeListener('uncaughtException', note);
    for (const listener of before) process.on('uncaughtException', listener);
    expect(device.stats.handlerErrors).toBe(1);
  });

  it('takes a socket that is connected already', async () => {
    const { path, socket } = await rawPeer();
    const near = await dial({ path });
    const far = attach(await socket);
    cleanups.push(() => near.close());
    const seen: number[] = [];
    far.setHandler((got) => seen.push(got.len));
    near.send(frame(77));
    await until(() => seen.length === 1);
    expect(seen).toEqual([77]);
    far.close();
  });

  it('says what is wrong with options', async () => {
    await expect(listen({ path: '/x'.repeat(60) })).rejects.toThrow(/shorter path/);
    await expect(listen({ port: 70_000 })).rejects.toThrow(/port must be/);
    await expect(listen({ path: 'a', port: 1 } as never)).rejects.toThrow(/not both/);
    await expect(listen({ port: 0 }, { queueBytes: 10 })).rejects.toThrow(/queueBytes/);
    await expect(listen({ port: 0 }, { mtu: 100_000 })).rejects.toThrow(/mtu must be/);
    await expect(listen({ port: 0 }, { maxGuests: 0 })).rejects.toThrow(/maxGuests/);
    await expect(dial({ port: 1 }, { reconnect: 0 })).rejects.toThrow(/reconnect/);
    await expect(dial({ port: 1 })).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await expect(dial({ port: 1 }, { signal: AbortSignal.abort('why') })).rejects.toBe('why');
  });
});
