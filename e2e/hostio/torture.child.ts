/**
 * Opens, floods and closes descriptors while every turn forces a collection: an address whose memory was collected, an
 * event for a descriptor that is gone or a double close shows as a crash or as wrong bytes. Run with `--expose-gc`.
 */

import { readdirSync } from 'node:fs';
import { Frame, Packet } from '@pktkit/core';
import { bindUdp, openPacket, type UdpSocket } from '@pktkit/hostio';
import { openTap, openTun } from '@pktkit/tuntap';
import { heldArenas } from '../../packages/hostio/src/arena.ts';

const gc = (globalThis as { gc?: (options?: { type: 'minor' }) => void }).gc;
if (gc === undefined) throw new Error('run with --expose-gc');
const [total, netns] = [Number(process.argv[2]), process.argv[3]];
const WAVE = 501;

let wrong = 0;
let received = 0;
let errors = 0;

/** Every datagram says what it holds. */
function check(buf: Uint8Array, off: number, len: number): void {
  received++;
  for (let i = 1; i < len; i += 97) if (buf[off + i] !== buf[off]) wrong++;
}

/** `size` is a multiple of three, so that both families find each other. */
async function wave(size: number): Promise<void> {
  const sockets: UdpSocket[] = [];
  for (let i = 0; i < size; i++) {
    const socket: UdpSocket = await bindUdp({
      io: 'batched',
      address: i % 3 === 0 ? '::1' : '127.0.0.1',
      onReceive: (buf, off, len, from) => {
        check(buf, off, len);
        // Garbage of all kinds between two deliveries of one batch.
        if (received % 128 === 0) gc?.({ type: 'minor' });
        if (received % 5 === 0) socket.send(buf, off, len, from);
        // Some close with deliveries of the same batch still to come, some close their neighbour.
        if (received % 997 === 0) socket.close();
        if (received % 1499 === 0) sockets[(i + 1) % sockets.length].close();
      },
      onError: () => errors++,
    });
    sockets.push(socket);
  }
  for (let round = 0; round < 3; round++) {
    sockets.forEach((socket, i) => {
      const target = sockets[(i + 3) % size];
      const to = socket.peer(target.address, target.port);
      const payload = new Uint8Array(200 + (i % 1200)).fill(i & 0xff);
      for (let n = 0; n < 8; n++) socket.send(payload, 0, payload.length, to);
      socket.releasePeer(to);
    });
    gc?.();
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
  for (const socket of sockets) socket.close();
}

/** Devices flooded both ways, closed by hand or with their interface. */
async function devices(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const device = i % 2 === 0 ? openTun({ netns }) : openTap({ netns });
    const far = openPacket({ interface: device.name, netns });
    let back = 0;
    far.setHandler(() => back++);
    device.setHandler(() => gc?.({ type: 'minor' }));
    const bytes = new Uint8Array(1400).fill(i);
    bytes.set([0x45, 0, 1400 >> 8, 1400 & 255]);
    for (let n = 0; n < 50; n++) {
      if ('mac' in device) device.send(Frame.of(bytes));
      else device.send(Packet.of(bytes));
      far.send(Frame.of(bytes));
    }
    gc?.();
    await new Promise((resolve) => setImmediate(resolve));
    if (i % 3 === 0) far.close();
    device.close();
    await new Promise((resolve) => setImmediate(resolve));
    // With its interface the packet socket has gone by itself, unless it was closed before.
    await far.closed;
  }
}

// What the thread keeps for good (the shared buffers) is made by the first of each kind.
await wave(21);
await devices(2);
const descriptors = readdirSync('/proc/self/fd').length;
const arenas = heldArenas();
for (let opened = 0; opened < total; opened += WAVE) await wave(WAVE);
await devices(20);
gc();
await new Promise((resolve) => setTimeout(resolve, 20));
console.log(
  JSON.stringify({
    wrong,
    received,
    descriptors: readdirSync('/proc/self/fd').length - descriptors,
    arenas: Math.max(0, heldArenas() - arenas - 16),
    rss: Math.round(process.memoryUsage().rss / 2 ** 20),
    errors,
  }),
);
