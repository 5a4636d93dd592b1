/**
 * QEMU's stream netdev: frames into a unix socket, a TCP stream between two of our stacks across one, and a real guest's
 * TCP through it and our slirp to the host's loopback. QEMU's own user network carries the same guest's in the same run.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { adapt, connectL2, Frame, serve, systemClock } from '@pktkit/core';
import { dial, listen, type QemuDevice } from '@pktkit/qemu';
import { Slirp } from '@pktkit/slirp';
import { bootGuest, requireTools, spawn as spawnProgram } from '@pktkit/testkit';
import { VClient } from '@pktkit/vclient';
import { type Bench, type Measurement, median } from './harness.ts';

/** Frames of one batch: what a burst of TCP or a read of a TAP brings. */
const BATCH = 64;
const FRAMES = 200_000;
const BYTES = 256 << 20;
const ROUNDS = 7;

interface Peer {
  readonly path: string;
  stop(): Promise<void>;
}

let peers = 0;

async function startPeer(role: 'discard' | 'host'): Promise<Peer> {
  const path = join(tmpdir(), `pktkit-bench-${process.pid}-${peers++}.sock`);
  const file = fileURLToPath(new URL('peers/qemu.ts', import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, file, role, path], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  await once(child.stdout, 'data');
  return {
    path,
    async stop() {
      child.stdin.end();
      await exited;
      rmSync(path, { force: true });
    },
  };
}

/** Asleep meanwhile: the peer needs the processor. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 1));

async function room(device: QemuDevice, waiting: number): Promise<void> {
  while (device.waiting > waiting) await pause();
}

/** Processor time of this process, its system calls included, in milliseconds. Waiting for the reader costs none. */
function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Nanoseconds and bytes per frame. */
async function sendFrames(): Promise<{ ns: number; bytes: number }> {
  const peer = await startPeer('discard');
  const device = await dial({ path: peer.path });
  const frame = Frame.of(new Uint8Array(1514));
  const burst = () => {
    systemClock.beginBatch();
    for (let i = 0; i < BATCH; i++) device.send(frame);
    systemClock.endBatch();
  };
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const started = processorTime();
    for (let sent = 0; sent < FRAMES; sent += BATCH) {
      burst();
      await room(device, 512 << 10);
    }
    await room(device, 0);
    times.push(((processorTime() - started) * 1e6) / FRAMES);
  }
  if (device.stats.dropQueueFull > 0) throw new Error('frames were dropped: the figure is void');
  const used = () => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const growth: number[] = [];
  for (let i = 0; i < 15; i++) {
    await room(device, 0);
    globalThis.gc?.();
    const before = used();
    for (let batch = 0; batch < 4; batch++) burst();
    growth.push((used() - before) / (4 * BATCH));
  }
  device.close();
  await peer.stop();
  return { ns: median(times), bytes: Math.max(0, median(growth)) };
}

/** Megabytes a second of one TCP stream, MTU 1500, each stack in a process of its own. */
async function stream(): Promise<number> {
  const peer = await startPeer('host');
  const client = new VClient({ addrs: ['10.0.0.1/24'] });
  const device = await dial({ path: peer.path });
  const card = adapt(client, { ipv6: false });
  connectL2(card, device);
  const socket = client.connect({ host: '10.0.0.2', port: 9 });
  await once(socket, 'connect');
  const chunk = new Uint8Array(256 << 10);
  const rates: number[] = [];
  for (let round = 0; round < 5; round++) {
    const started = performance.now();
    for (let sent = 0; sent < BYTES; sent += chunk.length) {
      if (!socket.write(chunk)) await once(socket, 'drain');
    }
    while (socket.writableLength > 0) await pause();
    rates.push(BYTES / 1000 / (performance.now() - started));
  }
  socket.destroy();
  card.close();
  client.close();
  device.close();
  await peer.stop();
  return median(rates);
}

type Direction = 'up' | 'down';

/** Where a guest finds the host's loopback, with QEMU's user network as with ours. */
const GATEWAY = '10.0.2.2';
const GUEST_TOOLS = ['busybox', 'cpio', 'iperf3', 'qemu-system-x86_64'];
const GUEST_RUNS = 3;

/** Megabits a second that arrived, by the receiver's account: the median of runs of one guest. Up is guest to host. */
async function throughGuest(netdev: string, direction: Direction): Promise<number> {
  const port = '5298';
  const server = spawnProgram('iperf3', ['-s', '-B', '127.0.0.1', '-p', port, '--forceflush']);
  const reverse = direction === 'down' ? '-R' : '';
  const script = `
ip addr add 10.0.2.15/24 dev eth0
ip route add default via ${GATEWAY}
for i in $(seq ${GUEST_RUNS}); do iperf3 -c ${GATEWAY} -p ${port} -t 4 -O 1 -f m ${reverse}; done
`;
  try {
    await server.waitFor(/listening/);
    const guest = await bootGuest({ netdev, script, programs: ['iperf3'] });
    try {
      await guest.waitFor(/guest: script done/, 120_000);
      const rates = [...guest.stdout.matchAll(/([\d.]+) Mbits\/sec\s+receiver/g)];
      if (rates.length !== GUEST_RUNS) throw new Error(`iperf3 failed: ${guest.describe()}`);
      return median(rates.map(([, rate]) => Number(rate)));
    } finally {
      await guest.stop();
    }
  } finally {
    await server.stop();
  }
}

/** Through our netdev and our user-mode NAT, both in this process. */
async function throughOurs(direction: Direction): Promise<number> {
  const path = join(tmpdir(), `pktkit-bench-${process.pid}-guest.sock`);
  const slirp = new Slirp({ addrs: [`${GATEWAY}/24`], hostLoopback: true });
  const gateway = adapt(slirp, { ipv6: false });
  const listener = await listen({ path });
  const serving = serve(listener, { connectL2: (guest) => connectL2(guest, gateway) });
  try {
    const netdev = `stream,id=n0,server=off,addr.type=unix,addr.path=${path}`;
    return await throughGuest(netdev, direction);
  } finally {
    await listener.close();
    await serving;
    gateway.close();
    slirp.close();
  }
}

async function besideUserNetwork(id: string, direction: Direction): Promise<Measurement[]> {
  if (!requireTools({ name: id, skip: () => {} }, GUEST_TOOLS, { root: false })) return [];
  const unit = 'Mbit/s';
  const ours = await throughOurs(direction);
  const theirs = await throughGuest('user,id=n0', direction);
  return [
    { id, value: ours, unit, bytesPerOp: null },
    { id: `${id}@qemu-user`, value: theirs, unit, bytesPerOp: null },
  ];
}

export const benches: readonly Bench[] = [
  {
    id: 'qemu.send',
    unit: 'ns',
    measure: async () => {
      const { ns, bytes } = await sendFrames();
      return [{ id: 'qemu.send', value: ns, unit: 'ns', bytesPerOp: bytes }];
    },
  },
  {
    id: 'qemu.tcp',
    unit: 'MB/s',
    measure: async () => {
      return [{ id: 'qemu.tcp', value: await stream(), unit: 'MB/s', bytesPerOp: null }];
    },
  },
  ...(['up', 'down'] as const).map((direction) => {
    const id = `qemu.guest.tcp.${direction}`;
    return { id, unit: 'Mbit/s', measure: () => besideUserNetwork(id, direction) };
  }),
];
