/** TCP between the kernel and a stack of ours through TUN, with iperf3 as the kernel's program. Needs root and iperf3. */

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Packet, sendL3, systemClock } from '@pktkit/core';
import { openTun } from '@pktkit/tuntap';
import { TcpStack } from '@pktkit/vtcp';
import type { Bench, Measurement } from './harness.ts';
import { Iperf3Server } from './peers/iperf3.ts';

const SECONDS = 3;

/** Gbit/s that arrived at the receiver, by iperf3's own account. */
async function throughput(reverse: boolean): Promise<number> {
  const netns = `pktkit-bench-${process.pid}`;
  execFileSync('ip', ['netns', 'add', netns]);
  try {
    const tun = openTun({ netns, addrs: ['10.66.0.1/24'], mtu: 1500 });
    const stack = new TcpStack({
      clock: systemClock,
      output: (packet: Packet) => sendL3(tun, packet),
      mtu: 1500,
    });
    tun.setHandler((packet) => {
      if (packet.transport >>> 16 === 6) stack.handlePacket(packet);
    });
    const server = new Iperf3Server(stack);
    const args = ['-c', '10.66.0.2', '-t', String(SECONDS), '-O', '1', '-J'];
    if (reverse) args.push('-R');
    const child = spawn('ip', ['netns', 'exec', netns, 'iperf3', ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
    });
    await once(child, 'close');
    server.close();
    tun.close();
    const { end, error } = JSON.parse(text);
    if (error !== undefined) throw new Error(`iperf3: ${error}`);
    return (reverse ? end.sum_received : end.sum_sent).bits_per_second / 1e9;
  } finally {
    execFileSync('ip', ['netns', 'del', netns]);
  }
}

const bench = (id: string, reverse: boolean): Bench => ({
  id,
  unit: 'Gbit/s',
  async measure(): Promise<Measurement[]> {
    return [{ id, value: await throughput(reverse), unit: 'Gbit/s', bytesPerOp: null }];
  },
});

export const benches: readonly Bench[] = [
  bench('tuntap.tcp.in', false),
  bench('tuntap.tcp.out', true),
];
