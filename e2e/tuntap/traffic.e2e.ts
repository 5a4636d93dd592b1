import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import {
  CHECKSUM_PARTIAL,
  get16,
  IpProtocol,
  type Packet,
  pseudoHeaderSum,
  put16,
  SEGMENT_SIZE_MASK,
  sendL3,
  systemClock,
} from '@pktkit/core';
import { bindUdp } from '@pktkit/hostio';
import { type Netns, requireTools, scaled, until } from '@pktkit/testkit';
import type { TunDevice } from '@pktkit/tuntap';
import { TcpStack } from '@pktkit/vtcp';
import { Iperf3Server } from '../../bench/src/peers/iperf3.ts';
import { inNamespace, NEEDS, openTun } from './support.ts';

function stackOn(tun: TunDevice): TcpStack {
  const stack = new TcpStack({
    clock: systemClock,
    output: (packet) => sendL3(tun, packet),
    mtu: tun.mtu,
  });
  tun.setHandler((packet) => {
    if (packet.transport >>> 16 === IpProtocol.TCP) stack.handlePacket(packet);
  });
  return stack;
}

async function iperf3(ns: Netns, ...args: string[]): Promise<number> {
  const seconds = String(scaled(3, 1));
  const { stdout } = await ns.run('iperf3', ['-t', seconds, '-J', ...args]);
  const { end } = JSON.parse(stdout);
  return end.sum_received.bytes;
}

test('TUN-04: iperf3 in the kernel to our sink and from our source, with and without offloads', async (t) => {
  if (!requireTools(t, [...NEEDS.tools, 'iperf3'], { files: NEEDS.files })) return;
  const perPacket: Record<string, number> = {};
  for (const offload of [true, false]) {
    await inNamespace('iperf', async (ns) => {
      const addrs = ['10.66.0.1/24', 'fd66::1/64'];
      const tun = openTun({ netns: ns.name, addrs, offload });
      const stack = stackOn(tun);
      const server = new Iperf3Server(stack);
      for (const [name, args] of Object.entries({
        'v4 in': ['-c', '10.66.0.2'],
        'v4 out': ['-c', '10.66.0.2', '-R'],
        'v6 in': ['-c', 'fd66::2'],
        'v6 out': ['-c', 'fd66::2', '-R', '-P', '4'],
      })) {
        const before = tun.stats;
        const bytes = await iperf3(ns, ...args);
        assert(bytes > 10e6, `${name}: ${bytes} bytes`);
        const after = tun.stats;
        const key = `${name}${offload ? '' : ', no offload'}`;
        perPacket[key] = name.endsWith('in')
          ? (after.readBytes - before.readBytes) / (after.reads - before.reads)
          : (after.writeBytes - before.writeBytes) / (after.writes - before.writes);
        t.diagnostic(
          `${key}: ${(bytes / 1e6).toFixed(0)} MB, ${perPacket[key].toFixed(0)} B a call`,
        );
      }
      server.close();
      assert.equal(tun.stats.dropMalformed, 0);
    });
  }
  // Without offloads no call moves more than the MTU; with them a call moves many segments, both ways, both families.
  for (const name of ['v4 in', 'v4 out', 'v6 in', 'v6 out']) {
    assert(perPacket[`${name}, no offload`] <= 1500, name);
    assert(perPacket[name] > 6000, name);
  }
});

test('curl downloads through TUN, both families, byte for byte', async (t) => {
  if (!requireTools(t, [...NEEDS.tools, 'curl'], { files: NEEDS.files })) {
    return;
  }
  const size = scaled(200, 20) << 20;
  const block = new Uint8Array(1 << 16).map((_, i) => (i * 31 + (i >> 8)) & 0xff);
  const hash = createHash('sha256');
  for (let at = 0; at < size; at += block.length) hash.update(block);
  const expected = hash.digest('hex');
  await inNamespace('curl', async (ns) => {
    const tun = openTun({ netns: ns.name, addrs: ['10.66.0.1/24', 'fd66::1/64'] });
    const stack = stackOn(tun);
    stack.listen({
      port: 80,
      onConnection: (connection) => {
        let left = -1;
        const pump = () => {
          while (left > 0) {
            const at = (size - left) % block.length;
            const n = connection.write(block, at, Math.min(left, block.length - at));
            if (n === 0) return;
            left -= n;
          }
          if (left === 0) connection.shutdown();
        };
        connection.onReadable = () => {
          connection.consume(connection.readable);
          if (left >= 0) return;
          left = size;
          const head = `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\nConnection: close\r\n\r\n`;
          connection.write(new TextEncoder().encode(head));
          pump();
        };
        connection.onWritable = pump;
        connection.onEnd = () => connection.close();
      },
    });
    for (const host of ['10.66.0.2', '[fd66::2]']) {
      const script = `curl -sS -g --max-time 60 http://${host}/ | sha256sum`;
      const { stdout } = await ns.run('sh', ['-c', script], { timeout: 90_000 });
      assert.equal(stdout.split(' ')[0], expected);
    }
  });
});

test('UDP super-segments cross whole, both ways, both families', async (t) => {
  if (!requireTools(t, NEEDS.tools, { files: NEEDS.files })) return;
  await inNamespace('uso', async (ns) => {
    const tun = openTun({ netns: ns.name, addrs: ['10.66.0.1/24', 'fd66::1/64'] });
    const seen: Packet[] = [];
    tun.setHandler((packet) => {
      if (packet.transport >>> 16 === IpProtocol.UDP) seen.push(packet.clone());
    });
    for (const [local, remote] of [
      ['10.66.0.1', '10.66.0.2'],
      ['fd66::1', 'fd66::2'],
    ]) {
      const got: Uint8Array[] = [];
      const socket = await bindUdp({
        io: 'batched',
        netns: ns.name,
        address: local,
        onReceive: (buf, off, len) => got.push(buf.slice(off, off + len)),
      });
      const to = socket.peer(remote, 7000);
      seen.length = 0;
      for (let i = 0; i < 40; i++) socket.send(new Uint8Array(1000).fill(i), 0, 1000, to);
      socket.flush();
      await until(() => seen.length > 0);
      const [packet] = seen;
      assert.equal(packet.offload & SEGMENT_SIZE_MASK, 1000);
      assert.equal(packet.offload & CHECKSUM_PARTIAL, CHECKSUM_PARTIAL);
      const at = packet.transport & 0xffff;
      assert.equal(packet.len, at + 8 + 40_000);
      // Back again with the ports and addresses swapped: the kernel cuts it and its receiver merges or not.
      const { buf } = packet;
      const [from, size] = packet.family === 4 ? [12, 4] : [8, 16];
      const src = buf.slice(from, from + size);
      buf.copyWithin(from, from + size, from + 2 * size);
      buf.set(src, from + size);
      const port = get16(buf, at);
      put16(buf, at, get16(buf, at + 2));
      put16(buf, at + 2, port);
      put16(buf, at + 6, pseudoHeaderSum(buf, 0, IpProtocol.UDP, packet.len - at));
      tun.send(packet);
      await until(() => got.length === 40);
      got.forEach((bytes, i) => {
        assert.deepEqual(bytes, new Uint8Array(1000).fill(i));
      });
      socket.close();
    }
  });
});
