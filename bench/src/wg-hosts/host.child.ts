/**
 * One end of a measured tunnel, in a process of its own: `host.child.ts JSON`. It writes `ready PORT` when it listens, takes
 * the other end's port from standard input, and writes its results as lines of JSON.
 */

import { createInterface } from 'node:readline';
import { connectL3, get32, Packet, put32, systemClock } from '@pktkit/core';
import { openTun } from '@pktkit/tuntap';
import type { WireGuard } from '@pktkit/wg';
import { listen } from '@pktkit/wg/node';

export interface HostConfig {
  role: 'tun' | 'source' | 'sink' | 'ping' | 'echo';
  privateKey: string;
  peerKey: string;
  /** The other end's outer address. */
  peerAddress: string;
  port: number;
  netns?: string;
  addr?: string;
  name?: string;
  seconds?: number;
}

const config = JSON.parse(process.argv[2]) as HostConfig;
const port = await listen({ port: config.port, netns: config.netns });
const tun =
  config.role === 'tun'
    ? openTun({ netns: config.netns, name: config.name, mtu: 1420, addrs: [config.addr as string] })
    : null;
const device = port.device({ privateKey: config.privateKey, coalesce: tun?.accepts ?? 0 });
const peer = port.addPeer(device, { publicKey: config.peerKey, allowedIps: ['0.0.0.0/0'] });
if (tun !== null) connectL3(device, tun);
process.stdout.write(`ready ${port.listenPort}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  await port.setEndpoint(peer, `${config.peerAddress}:${line}`);
  // Not more than the queue for a handshake holds is sent before there is a session.
  if (config.role === 'source' || config.role === 'ping') {
    peer.handshake();
    while (!peer.isConnected) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  if (config.role === 'source') source(device);
  if (config.role === 'sink') sink(device);
  if (config.role === 'ping') ping(device);
  if (config.role === 'echo') device.setHandler((packet) => device.send(packet));
}
process.exit(0);

/** A packet of 1400 bytes from host 1 to host 2 or back. */
function packetOf(len: number): Packet {
  const bytes = new Uint8Array(96 + len + 64);
  bytes.set([0x45, 0, len >>> 8, len & 255, 0, 0, 0, 0, 64, 253], 96);
  bytes.set([10, 0, 0, 1, 10, 0, 0, 2], 108);
  return new Packet(bytes, 96, len);
}

/** Keeps a window of messages on the way; the sink says how far it has come. */
function source(out: WireGuard): void {
  const WINDOW = 2048;
  const packet = packetOf(1400);
  const started = performance.now();
  const until = started + (config.seconds as number) * 1000;
  let sent = 0;
  let acknowledged = 0;
  let stopped = false;
  const pump = () => {
    if (stopped) return;
    systemClock.beginBatch();
    while (sent - acknowledged < WINDOW) {
      put32(packet.buf, packet.off + 20, ++sent);
      out.send(packet);
    }
    systemClock.endBatch();
    if (performance.now() < until) return;
    stopped = true;
    setTimeout(() => process.stdout.write(`${JSON.stringify({ sent })}\n`), 500);
  };
  out.setHandler((answer) => {
    acknowledged = Math.max(acknowledged, get32(answer.buf, answer.off + 20));
    if (sent - acknowledged < WINDOW / 2) pump();
  });
  // Lost answers must not end it.
  const again = setInterval(() => {
    if (stopped) clearInterval(again);
    else if (sent - acknowledged >= WINDOW) acknowledged = sent - WINDOW / 2;
    pump();
  }, 20);
  pump();
}

function sink(from: WireGuard): void {
  const answer = packetOf(64);
  let received = 0;
  let bytes = 0;
  let first = 0;
  let last = 0;
  from.setHandler((packet) => {
    const { now } = systemClock;
    if (received === 0) first = now;
    last = now;
    received++;
    bytes += packet.len;
    if ((received & 127) !== 0) return;
    put32(answer.buf, answer.off + 20, get32(packet.buf, packet.off + 20));
    from.send(answer);
  });
  setTimeout(
    () => {
      const result = { received, rate: bytes / (last - first) / 1000, lost: peer.stats.lost };
      process.stdout.write(`${JSON.stringify(result)}\n`);
    },
    (config.seconds as number) * 1000 + 1500,
  );
}

function ping(out: WireGuard): void {
  const packet = packetOf(100);
  const times: number[] = [];
  let at = 0;
  const count = 20_000;
  out.setHandler(() => {
    times.push(performance.now() - at);
    if (times.length === count) {
      times.sort((a, b) => a - b);
      process.stdout.write(`${JSON.stringify({ median: times[count >> 1] * 1000 })}\n`);
      return;
    }
    at = performance.now();
    out.send(packet);
  });
  at = performance.now();
  out.send(packet);
}
