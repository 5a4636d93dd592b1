import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import { Frame, L2Hub } from '@pktkit/core';
import { openPacket, type PacketDevice } from '@pktkit/hostio';
import { type Netns, requireTools, scaled, until, withNetns } from '@pktkit/testkit';
import { breakCall } from '../../packages/hostio/test/faulty-kernel.ts';

const LEFT = ['10.32.0.1', 'fd32::1'];
const RIGHT = ['10.32.0.2', 'fd32::2'];

/** Two hosts, each on a cable to a third namespace, whose two ends are given. */
async function cables(
  offload: boolean,
  body: (left: Netns, right: Netns, ends: [PacketDevice, PacketDevice]) => Promise<void>,
): Promise<void> {
  await withNetns(['left', 'middle', 'right'], async (left, middle, right) => {
    for (const [host, [v4, v6], peerName] of [
      [left, LEFT, 'va'],
      [right, RIGHT, 'vb'],
    ] as const) {
      await host.veth(middle, { peerName, addrs: [`${v4}/24`, `${v6}/64`], offload });
    }
    const [a, b] = ['va', 'vb'].map((name) => openPacket({ interface: name, netns: middle.name }));
    try {
      // Until its queue is set up the kernel drops what goes out on a new link.
      for (const [host, dev] of [
        [left, 'veth0'],
        [right, 'veth0'],
        [middle, 'va'],
        [middle, 'vb'],
      ] as const) {
        await until(async () => {
          const [link] = await host.ipJson<Array<{ operstate: string }>>('link', 'show', dev);
          return link.operstate === 'UP';
        });
      }
      await body(left, right, [a, b]);
    } finally {
      a.close();
      b.close();
    }
  });
}

for (const offload of [true, false]) {
  const how = offload ? 'in super-segments' : 'packet by packet';
  test(`a hub joins two physical networks through AF_PACKET, ${how}`, async (t) => {
    if (!requireTools(t, ['ip', 'ping', 'iperf3', 'ethtool'])) return;
    await cables(offload, async (left, right, [a, b]) => {
      const hub = new L2Hub();
      hub.connectL2(a);
      hub.connectL2(b);
      for (const to of RIGHT) {
        // Until ten are answered, each once.
        const ping = await left.run('ping', ['-c', '10', '-w', '30', '-i', '0.02', to]);
        assert.doesNotMatch(ping.stdout, /duplicates/);
      }
      const server = right.spawn('iperf3', ['-s']);
      await until(async () => {
        const { stdout } = await right.run('ss', ['-Hltn', 'sport = :5201']);
        return stdout.includes('5201');
      });
      for (const to of RIGHT) {
        for (const reverse of [[], ['-R']]) {
          const [from, towards] = reverse.length > 0 ? [b, a] : [a, b];
          const before = { ...from.stats };
          const sent = { ...towards.stats };
          const seconds = String(scaled(2, 1));
          const { stdout } = await left.run('iperf3', ['-c', to, '-t', seconds, '-J', ...reverse]);
          const { bytes } = JSON.parse(stdout).end.sum_received;
          assert(bytes > 5e6, `${bytes} bytes`);
          const frames = from.stats.received - before.received;
          const each = (from.stats.receivedBytes - before.receivedBytes) / frames;
          const calls = from.stats.receiveCalls - before.receiveCalls;
          const out = (towards.stats.sent - sent.sent) / (towards.stats.sendCalls - sent.sendCalls);
          t.diagnostic(
            `${to} ${reverse}: ${(bytes / 1e6).toFixed(0)} MB, ${each.toFixed(0)} B a frame, ` +
              `${(frames / calls).toFixed(1)} frames a call in, ${out.toFixed(1)} out`,
          );
          if (offload) assert(each > 3000, `${each} bytes a frame`);
          else assert(each <= 1514, `${each} bytes a frame`);
        }
      }
      assert.equal(a.stats.dropMalformed + b.stats.dropMalformed, 0);
      await server.stop();
    });
  });
}

test('a packet socket survives what the kernel and its handler do to it', async (t) => {
  if (!requireTools(t, ['ip', 'ethtool'])) return;
  await cables(true, async (left, _right, [device]) => {
    const { EINTR, EINVAL, ENOBUFS } = constants.errno;
    const far = openPacket({ interface: 'veth0', netns: left.name });
    const seen: number[] = [];
    const errors: unknown[] = [];
    device.setHandler((frame) => {
      if (frame.etherType !== 0x88b5) return;
      seen.push(frame.buf[frame.off + 14]);
      if (seen.length === 3) throw new Error('on purpose');
    });
    const send = (from: number, to: number) => {
      for (let n = from; n < to; n++) {
        const bytes = new Uint8Array(60).fill(n);
        bytes.fill(0xff, 0, 6);
        bytes.set([0x88, 0xb5], 12);
        far.send(Frame.of(bytes));
      }
      far.flush();
    };
    const uncaught = (error: unknown) => errors.push(error);
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', uncaught);
    try {
      // A handler that throws costs nobody a frame.
      send(0, 10);
      await until(() => seen.length === 10 && errors.length === 1);
    } finally {
      process.removeListener('uncaughtException', uncaught);
      for (const listener of listeners) process.on('uncaughtException', listener);
    }
    const queue = [EINTR, EINVAL];
    const mend = [
      breakCall('recvmmsg', () => queue.shift() ?? 0),
      breakCall(
        'sendmmsg',
        (() => {
          const faults = [EINTR, ENOBUFS];
          return () => faults.shift() ?? 0;
        })(),
      ),
    ];
    try {
      send(10, 20);
      await until(() => seen.length === 19);
    } finally {
      for (const repair of mend.reverse()) repair();
    }
    // The first of the ten found no room.
    assert.deepEqual(
      seen,
      [...Array(20).keys()].filter((n) => n !== 10),
    );
    assert.deepEqual([far.stats.interrupted, far.stats.dropFull], [1, 1]);
    assert.deepEqual([device.stats.interrupted, device.stats.dropUnreadable], [1, 1]);
    far.close();
    assert.equal(device.stats.linkDown, 0);
  });
});

test('frames that find no room in the kernel are counted', async (t) => {
  if (!requireTools(t, ['ip', 'ethtool'])) return;
  await withNetns(['small'], async (ns) => {
    await ns.ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
    for (const dev of ['v0', 'v1']) await ns.ip('link', 'set', dev, 'up');
    await until(async () => {
      const [link] = await ns.ipJson<Array<{ operstate: string }>>('link', 'show', 'v0');
      return link.operstate === 'UP';
    });
    const small = openPacket({ interface: 'v1', netns: ns.name, receiveBuffer: 8192 });
    const far = openPacket({ interface: 'v0', netns: ns.name });
    let got = 0;
    small.setHandler((frame) => {
      if (frame.etherType === 0x88b5) got++;
    });
    const bytes = new Uint8Array(1000).fill(0xff, 0, 6);
    bytes.set([0x88, 0xb5], 12);
    for (let i = 0; i < 200; i++) far.send(Frame.of(bytes));
    far.flush();
    // The count comes with the next frame that does find room.
    await until(() => {
      far.send(Frame.of(bytes));
      far.flush();
      return small.stats.dropReceiveFull > 0;
    });
    assert(got > 0 && small.stats.dropReceiveFull > 100, `${got}, ${small.stats.dropReceiveFull}`);
    far.close();
    small.close();
  });
});
