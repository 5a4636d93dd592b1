import { IpAddr } from '@pktkit/core';
import { Slirp } from '@pktkit/slirp';
import { VirtualClock } from '@pktkit/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeSockets } from './fake-sockets.ts';
import { GATEWAY4, newGuest } from './lan.ts';

const open: Array<{ close(): void }> = [];

afterEach(() => {
  for (const thing of open.splice(0).reverse()) thing.close();
});

/** A guest back to back with slirp, and every buffer in which slirp has handed it a packet. */
function watched() {
  const clock = new VirtualClock();
  const sockets = new FakeSockets();
  const slirp = new Slirp({ addrs: [`${GATEWAY4}/24`], clock, sockets });
  const guest = newGuest({ clock });
  open.push(slirp, guest);
  const buffers = new Set<ArrayBufferLike>();
  let packets = 0;
  slirp.setHandler((packet) => {
    packets++;
    buffers.add(packet.buf.buffer);
    guest.send(packet);
  });
  guest.setHandler((packet) => slirp.send(packet));
  return { clock, sockets, slirp, guest, buffers, count: () => packets };
}

async function connect(net: ReturnType<typeof watched>) {
  const { clock, sockets, guest } = net;
  const socket = guest.connect({ host: '192.0.2.1', port: 80 });
  await clock.runUntilAsync(() => sockets.streams.length === 1);
  const [stream] = sockets.streams;
  stream.events.onConnected();
  await clock.runUntilAsync(() => !socket.connecting);
  return { socket, stream };
}

describe('SLIRP-15: a packet costs no buffer of its own', () => {
  it('datagrams for guests are built in pooled ones', () => {
    const { clock, sockets, guest, buffers, count } = watched();
    const socket = guest.udp({ onMessage: () => {} });
    socket.send(new Uint8Array(1), IpAddr.parse('192.0.2.1'), 9);
    clock.flush();
    const [host] = sockets.sockets;
    const { address, port } = host.sent[0];
    for (let i = 0; i < 1000; i++) host.events.onMessage(new Uint8Array(1400), address, port);
    expect(socket.stats.received).toBe(1000);
    expect(count()).toBe(1000);
    expect(buffers.size).toBeLessThan(5);
  });

  it('so are segments for guests', async () => {
    const net = watched();
    const { socket, stream } = await connect(net);
    let received = 0;
    socket.on('data', (part: Buffer) => {
      received += part.length;
    });
    const size = 16 << 20;
    let pushed = 0;
    const chunk = new Uint8Array(65536);
    await net.clock.runUntilAsync(() => {
      while (pushed < size && stream.push(chunk)) pushed += chunk.length;
      return received === size;
    });
    expect(net.count()).toBeGreaterThan(200);
    expect(net.buffers.size).toBeLessThan(20);
  });

  it('what guests send is lent to the host’s socket where it was received', async () => {
    const net = watched();
    const { socket, stream } = await connect(net);
    const lent = new Set<ArrayBufferLike>();
    let writes = 0;
    let received = 0;
    stream.write = (bytes) => {
      writes++;
      received += bytes.length;
      lent.add(bytes.buffer);
      return true;
    };
    const size = 16 << 20;
    socket.end(new Uint8Array(size));
    await net.clock.runUntilAsync(() => received === size);
    expect(writes).toBeGreaterThan(200);
    expect(lent.size).toBeLessThan(20);
  });
});
