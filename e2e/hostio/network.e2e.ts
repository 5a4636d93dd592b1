import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { type Frame, Frame as FrameClass, IpAddr } from '@pktkit/core';
import { bindUdp, openPacket, type UdpError, type UdpOptions } from '@pktkit/hostio';
import {
  type L2Rig,
  l2DeviceSuite,
  missingRequirements,
  Netns,
  requireTools,
  until,
  withNetns,
} from '@pktkit/testkit';

const LEFT = '10.31.0.1';
const RIGHT = '10.31.0.2';

/** Two namespaces joined by a veth pair. */
async function pair(body: (left: Netns, right: Netns) => Promise<void>, mtu = 1500): Promise<void> {
  await withNetns(['left', 'right'], async (left, right) => {
    await left.veth(right, {
      addrs: [`${LEFT}/24`, 'fd31::1/64'],
      peerAddrs: [`${RIGHT}/24`, 'fd31::2/64'],
      mtu,
      offload: true,
    });
    await body(left, right);
  });
}

const bind = (netns: Netns, options: Partial<UdpOptions>) =>
  bindUdp({ io: 'batched', netns: netns.name, onReceive: () => {}, ...options });

if (missingRequirements({ tools: ['ip'] }).length === 0) {
  /** A veth end held by the device, the other by a second one. */
  const rig = async (): Promise<L2Rig> => {
    const ns = await Netns.create({ label: 'packet' });
    const other = await Netns.create({ label: 'packet' });
    await ns.veth(other);
    // The kernel sets a new link's queue up a little later, and drops what is sent before.
    for (const end of [ns, other]) {
      await until(async () => {
        const [link] = await end.ipJson<Array<{ operstate: string }>>('link', 'show', 'veth0');
        return link.operstate === 'UP';
      });
    }
    const device = openPacket({ interface: 'veth0', netns: ns.name });
    const far = openPacket({ interface: 'veth0', netns: other.name });
    const received: Uint8Array[] = [];
    far.setHandler((frame) => received.push(frame.bytes.slice()));
    return {
      device,
      received,
      inject(bytes) {
        far.send(FrameClass.of(bytes));
        far.flush();
      },
      until: (condition) => until(condition, { every: 1 }).then(() => {}),
      settle: () => new Promise((resolve) => setTimeout(resolve, 50)),
      async close() {
        far.close();
        await ns.close();
        await other.close();
      },
    };
  };
  l2DeviceSuite({ describe, it }, 'a packet socket on a veth', rig);
}

test('a packet socket keeps VLAN tags, a link that goes down and one that goes for good', async (t) => {
  if (!requireTools(t, ['ip', 'ping'])) return;
  await pair(async (left, right) => {
    const device = openPacket({ interface: 'veth0', netns: left.name });
    const frames: Frame[] = [];
    device.setHandler((frame) => frames.push(frame.clone()));
    // The kernel takes the outer tag out of a frame that arrives, and says so beside it.
    const far = openPacket({ interface: 'veth0', netns: right.name });
    const tagged = new Uint8Array(80).map((_, at) => at);
    tagged.fill(0xff, 0, 6);
    tagged.set([0x81, 0x00, 0xa0, 42, 0x88, 0xb5], 12);
    const doubly = tagged.slice();
    doubly.set([0x88, 0xa8, 0x00, 7, 0x81, 0x00, 0x00, 42, 0x88, 0xb5], 12);
    for (const bytes of [tagged, doubly]) far.send(FrameClass.of(bytes));
    far.flush();
    await until(() => frames.filter(({ vlan }) => vlan >= 0).length === 2);
    const [one, two] = frames.filter(({ vlan }) => vlan >= 0);
    assert.deepEqual([...one.bytes], [...tagged]);
    assert.deepEqual([...two.bytes], [...doubly]);
    far.close();
    assert.equal(
      device.mac.toString(),
      /link\/ether (\S+)/.exec(await left.ip('link', 'show', 'veth0'))?.[1],
    );

    // Down and up again is survived, deleted ends it.
    await left.ip('link', 'set', 'veth0', 'down');
    await until(() => device.stats.linkDown === 1);
    await left.ip('link', 'set', 'veth0', 'up');
    frames.length = 0;
    await right.run('ping', ['-c', '1', '-W', '1', '10.31.0.99'], { check: false });
    await until(() => frames.length > 0);
    await left.ip('link', 'delete', 'veth0');
    await device.closed;
    device.send(one);
    assert.equal(device.stats.dropClosed, 1);
    assert.throws(() => openPacket({ interface: 'nosuch0' }), { code: 'ENODEV' });
  });
});

test('longer than the path: reported with its MTU, or sent in fragments', async (t) => {
  if (!requireTools(t, ['ip'])) return;
  await pair(async (left, right) => {
    const sizes: number[] = [];
    const server = await bind(right, { onReceive: (_buf, _off, len) => sizes.push(len) });
    for (const [mine, theirs, overhead] of [
      [LEFT, RIGHT, 28],
      ['fd31::1', 'fd31::2', 48],
    ] as const) {
      const errors: UdpError[] = [];
      const strict = await bind(left, {
        address: mine,
        dontFragment: true,
        onError: (error) => errors.push(error),
      });
      const to = strict.peer(theirs, server.port);
      strict.send(new Uint8Array(1600), 0, 1600, to);
      strict.send(new Uint8Array(1400 - overhead), 0, 1400 - overhead, to);
      strict.flush();
      await until(() => errors.length > 0 && sizes.length === 1);
      assert.deepEqual(errors, [{ code: 'EMSGSIZE', peer: to, mtu: 1400 }]);
      // Alone, too: said once, and not tried for ever.
      strict.send(new Uint8Array(1600), 0, 1600, to);
      strict.flush();
      assert.deepEqual(errors[1], { code: 'EMSGSIZE', peer: to, mtu: 1400 });
      assert.equal(errors.length, 2);
      assert.equal(strict.stats.dropSendError, 2);
      assert.equal(strict.stats.networkErrors, 0);
      strict.close();

      // The same lengths again and again, which a segmented send would refuse.
      sizes.length = 0;
      const free = await bind(left, { address: mine });
      const peer = free.peer(theirs, server.port);
      for (let i = 0; i < 10; i++) free.send(new Uint8Array(3000), 0, 3000, peer);
      for (let i = 0; i < 10; i++) free.send(new Uint8Array(1000), 0, 1000, peer);
      free.flush();
      await until(() => sizes.length === 20);
      assert.deepEqual(sizes.slice(0, 10), new Array(10).fill(3000));
      assert.equal(free.stats.gsoFallbacks, 1);
      for (let i = 0; i < 10; i++) free.send(new Uint8Array(3000), 0, 3000, peer);
      free.flush();
      await until(() => sizes.length === 30);
      assert.equal(free.stats.gsoFallbacks, 1, 'the limit of the route is remembered');
      sizes.length = 0;
      free.close();
    }
    server.close();
  }, 1400);
});

test('link-local peers by their zone, and an answer from the address written to', async (t) => {
  if (!requireTools(t, ['ip'])) return;
  await pair(async (left, right) => {
    await right.ip('addr', 'add', '10.31.0.77/24', 'dev', 'veth0');
    const server = await bind(right, {
      onReceive: (buf, off, len, from) => server.send(buf, off, len, from),
    });
    const answers: string[] = [];
    const client = await bind(left, {
      onReceive: (_buf, _off, _len, from) => answers.push(client.formatPeer(from)),
    });
    client.send(Uint8Array.of(1), 0, 1, client.peer('10.31.0.77', server.port));
    await until(() => answers.length === 1);
    assert.equal(answers[0], `10.31.0.77:${server.port}`);

    const [link] = await right.ipJson<
      Array<{ addr_info: Array<{ family: string; scope: string; local: string }> }>
    >('addr', 'show', 'dev', 'veth0');
    const local = link.addr_info.find(
      ({ scope, family }) => scope === 'link' && family === 'inet6',
    );
    const [{ ifindex }] = await left.ipJson<Array<{ ifindex: number }>>('link', 'show', 'veth0');
    const to = client.peer(`${local?.local}%${ifindex}`, server.port);
    client.send(Uint8Array.of(1), 0, 1, to);
    await until(() => answers.length === 2);
    assert.equal(answers[1], `[${local?.local}%${ifindex}]:${server.port}`);
    assert(client.peerAddress(to).equals(IpAddr.parse(`${local?.local}`)));

    // Its address gone, the server answers from another instead of not at all.
    await right.ip('addr', 'del', '10.31.0.77/24', 'dev', 'veth0');
    server.send(Uint8Array.of(2), 0, 1, server.peer(LEFT, client.port));
    await until(() => answers.length === 3);
    assert.equal(answers[2], `${RIGHT}:${server.port}`);
    client.close();
    server.close();
  });
});

test('marks what it sends: a routing rule by mark holds for it, from the option and from a change', async (t) => {
  if (!requireTools(t, ['ip'])) return;
  await pair(async (left, right) => {
    for (const family of ['-4', '-6']) {
      await left.ip(family, 'rule', 'add', 'fwmark', '0xca6c', 'prohibit');
    }
    const got: number[] = [];
    const server = await bind(right, { onReceive: (buf, off) => got.push(buf[off]) });
    const errors: string[] = [];
    const client = await bind(left, { mark: 0xca6c, onError: ({ code }) => errors.push(code) });
    try {
      for (const [i, address] of [RIGHT, 'fd31::2'].entries()) {
        const to = client.peer(address, server.port);
        const send = (tag: number) => client.send(Uint8Array.of(tag), 0, 1, to);
        client.setMark(0xca6c);
        send(1);
        client.flush();
        assert.equal(client.stats.dropSendError, 2 * i + 1);
        // What waits goes with the mark that it was sent with.
        client.setMark(0xffffffff);
        send(2);
        client.setMark(0xca6c);
        send(3);
        client.flush();
        await until(() => got.length === i + 1);
        assert.equal(client.stats.dropSendError, 2 * i + 2);
      }
      assert.deepEqual(got, [2, 2]);
      assert.deepEqual(new Set(errors), new Set(['EACCES']));
      assert.throws(() => client.setMark(-1), /mark: expected 0 to 4294967295, got -1/);
    } finally {
      client.close();
      server.close();
    }
    assert.throws(() => client.setMark(0), /closed/);
  });
});

test('an interface that goes under a socket is reported, not fatal', async (t) => {
  if (!requireTools(t, ['ip'])) return;
  await pair(async (left, right) => {
    const errors: UdpError[] = [];
    let got = 0;
    const server = await bind(right, { onReceive: () => got++ });
    const client = await bind(left, { onError: (error) => errors.push(error) });
    const to = client.peer(RIGHT, server.port);
    client.send(Uint8Array.of(1), 0, 1, to);
    await until(() => got === 1);
    await left.ip('link', 'set', 'veth0', 'down');
    client.send(Uint8Array.of(1), 0, 1, to);
    await until(() => errors.length === 1);
    assert.equal(errors[0].code, 'ENETUNREACH');
    assert.equal(errors[0].peer, to);
    assert.equal(client.stats.dropSendError, 1);
    await left.ip('link', 'set', 'veth0', 'up');
    client.send(Uint8Array.of(1), 0, 1, to);
    await until(() => got === 2);
    client.close();
    server.close();
  });
});

test('a full kernel queue is waited for, in order, and what does not fit is counted', async (t) => {
  if (!requireTools(t, ['ip'])) return;
  await pair(async (left, right) => {
    const shape = ['rate', '80mbit', 'burst', '16kb', 'latency', '10s'];
    await left.run('tc', ['qdisc', 'add', 'dev', 'veth0', 'root', 'tbf', ...shape]);
    const got: number[] = [];
    const server = await bind(right, {
      onReceive: (buf, off) => got.push(buf[off] * 256 + buf[off + 1]),
    });
    const client = await bind(left, { sendBuffer: 40_000 });
    const to = client.peer(RIGHT, server.port);
    const buf = new Uint8Array(1000);
    const send = (from: number, until: number) => {
      for (let n = from; n < until; n++) {
        buf.set([n >> 8, n & 255]);
        client.send(buf, 0, buf.length, to);
      }
      client.flush();
    };
    // Within the 512 KiB that wait: nothing is lost though the kernel takes 40 kB at a time.
    send(0, 250);
    assert(client.stats.sent < 250, 'the kernel had no room');
    await until(() => got.length === 250);
    assert.deepEqual(
      got,
      Array.from({ length: 250 }, (_, n) => n),
    );
    assert.equal(client.stats.dropSendFull, 0);

    got.length = 0;
    send(0, 2000);
    await until(() => client.stats.sent - 250 + client.stats.dropSendFull === 2000);
    await until(() => got.length === client.stats.sent - 250);
    assert(client.stats.dropSendFull > 1000);
    assert(got.every((n, i) => i === 0 || n > got[i - 1]));

    // Closed with a queue: what does not leave at once is counted, too.
    const before = client.stats.dropSendFull;
    send(0, 250);
    const queued = 250 - (client.stats.sent - 250 - got.length);
    client.close();
    assert.equal(client.stats.dropSendFull - before, queued);
    server.close();
  });
});
