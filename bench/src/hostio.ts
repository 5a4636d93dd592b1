/** The host's UDP sockets: throughput and latency of both tiers over loopback, one Node process each side. */

import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { bindUdp, type UdpSocket } from '@pktkit/hostio';
import type { Bench, Measurement } from './harness.ts';

type Tier = 'batched' | 'portable';

/** Milliseconds before and while datagrams are counted. */
const WARM_UP = 1000;
const MEASURE = 2000;
const ROUND_TRIPS = 20_000;

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

interface Peer {
  readonly port: number;
  stop(): Promise<void>;
}

async function startPeer(role: 'flood' | 'echo', tier: Tier, port = 0): Promise<Peer> {
  const path = fileURLToPath(new URL('peers/udp.ts', import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, path, role, tier, String(port)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const [line] = await once(child.stdout, 'data');
  return {
    port: Number(line),
    async stop() {
      child.stdin.end();
      await exited;
    },
  };
}

/** Millions of datagrams received in a second while the peer sends as fast as it can. */
async function throughput(tier: Tier): Promise<number> {
  let received = 0;
  const socket = await bindUdp({
    io: tier,
    address: '127.0.0.1',
    onReceive: () => {
      received++;
    },
  });
  const rate = await floodRate(tier, socket.port, () => received);
  socket.close();
  return rate;
}

/** What a plain `node:dgram` socket hears of the same flood: all that the portable tier is built on. */
async function throughputDgram(): Promise<number> {
  let received = 0;
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
  socket.on('message', () => {
    received++;
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const rate = await floodRate('portable', socket.address().port, () => received);
  socket.close();
  return rate;
}

/** Has a peer flood a port, and reads how many arrive once it is in full swing. */
async function floodRate(tier: Tier, port: number, received: () => number): Promise<number> {
  const peer = await startPeer('flood', tier, port);
  await sleep(WARM_UP);
  const before = received();
  const started = performance.now();
  await sleep(MEASURE);
  const rate = (received() - before) / (performance.now() - started) / 1000;
  await peer.stop();
  return rate;
}

interface Latency {
  median: number;
  p99: number;
}

function latency(times: Float64Array): Latency {
  times.sort();
  const at = (share: number) => times[Math.floor(times.length * share)] * 1000;
  return { median: at(0.5), p99: at(0.99) };
}

/** Microseconds from a send to the answer of another process, one datagram at a time. */
async function roundTrip(tier: Tier): Promise<Latency> {
  const times = new Float64Array(ROUND_TRIPS);
  const peer = await startPeer('echo', tier);
  let done = -1000;
  let sentAt = 0;
  const buf = new Uint8Array(64);
  let finish = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const socket: UdpSocket = await bindUdp({
    io: tier,
    address: '127.0.0.1',
    onReceive: () => {
      const now = performance.now();
      if (done >= 0) times[done] = now - sentAt;
      if (++done === ROUND_TRIPS) return finish();
      sentAt = now;
      socket.send(buf, 0, 64, to);
    },
  });
  const to = socket.peer('127.0.0.1', peer.port);
  sentAt = performance.now();
  socket.send(buf, 0, 64, to);
  await finished;
  socket.close();
  await peer.stop();
  return latency(times);
}

/** The same with plain `node:dgram` at our end, against the portable peer. */
async function roundTripDgram(): Promise<Latency> {
  const times = new Float64Array(ROUND_TRIPS);
  const peer = await startPeer('echo', 'portable');
  const socket = createSocket('udp4');
  const buf = new Uint8Array(64);
  let done = -1000;
  let sentAt = 0;
  await new Promise<void>((resolve) => {
    const send = () => {
      sentAt = performance.now();
      socket.send(buf, peer.port, '127.0.0.1');
    };
    socket.on('message', () => {
      if (done >= 0) times[done] = performance.now() - sentAt;
      if (++done === ROUND_TRIPS) resolve();
      else send();
    });
    send();
  });
  socket.close();
  await peer.stop();
  return latency(times);
}

const measured = (id: string, value: number, unit: string): Measurement => ({
  id,
  value,
  unit,
  bytesPerOp: null,
});

export const benches: readonly Bench[] = [
  {
    id: 'hostio.udp.batched',
    unit: 'Mpps',
    measure: async () => [measured('hostio.udp.batched', await throughput('batched'), 'Mpps')],
  },
  {
    id: 'hostio.udp.portable',
    unit: 'Mpps',
    measure: async () => [
      measured('hostio.udp.portable', await throughput('portable'), 'Mpps'),
      measured('hostio.udp.portable@dgram', await throughputDgram(), 'Mpps'),
    ],
  },
  {
    id: 'hostio.udp.rtt',
    unit: 'µs',
    async measure() {
      const ours = await roundTrip('batched');
      const dgram = await roundTripDgram();
      return [
        measured('hostio.udp.rtt', ours.median, 'µs'),
        measured('hostio.udp.rtt@dgram', dgram.median, 'µs'),
        measured('hostio.udp.rtt.p99', ours.p99, 'µs'),
        measured('hostio.udp.rtt.p99@dgram', dgram.p99, 'µs'),
      ];
    },
  },
];
