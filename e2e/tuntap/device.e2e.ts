import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { constants } from 'node:os';
import { describe, it, test } from 'node:test';
import {
  checksum,
  Frame,
  get16,
  IpProtocol,
  Packet,
  Prefix,
  put16,
  transportChecksum,
} from '@pktkit/core';
import { openPacket } from '@pktkit/hostio';
import {
  l2DeviceSuite,
  l3DeviceSuite,
  missingRequirements,
  Netns,
  requireTools,
  until,
} from '@pktkit/testkit';
import type { TunDevice } from '@pktkit/tuntap';
import { breakCall } from '../../packages/hostio/test/faulty-kernel.ts';
import { inNamespace, interfaces, NEEDS, openTap, openTun, tapRig, tunRig } from './support.ts';

if (missingRequirements(NEEDS).length === 0) {
  l3DeviceSuite({ describe, it }, 'a TUN device', tunRig(true));
  l3DeviceSuite({ describe, it }, 'a TUN device without offloads', tunRig(false));
  l2DeviceSuite({ describe, it }, 'a TAP device', tapRig(true));
  l2DeviceSuite({ describe, it }, 'a TAP device without offloads', tapRig(false));
}

/** Turns echo requests of both families into answers: addresses swapped, type and checksum changed. */
function answerPings(tun: TunDevice): { seen: number } {
  const count = { seen: 0 };
  tun.setHandler((packet) => {
    const { transport } = packet;
    const protocol = transport >>> 16;
    const at = transport & 0xffff;
    const echo = packet.family === 4 ? IpProtocol.ICMP : IpProtocol.ICMPV6;
    const [request, reply] = packet.family === 4 ? [8, 0] : [128, 129];
    if (protocol !== echo || packet.buf[packet.off + at] !== request) return;
    count.seen++;
    const answer = packet.clone();
    const { buf } = answer;
    const [src, dst, size] = packet.family === 4 ? [12, 16, 4] : [8, 24, 16];
    const from = buf.slice(src, src + size);
    buf.copyWithin(src, dst, dst + size);
    buf.set(from, dst);
    buf[at] = reply;
    put16(buf, at + 2, 0);
    const len = answer.len - at;
    const sum =
      packet.family === 4 ? checksum(buf, at, len) : transportChecksum(buf, 0, protocol, at, len);
    put16(buf, at + 2, sum);
    tun.send(answer);
  });
  return count;
}

test('the kernel pings through TUN, both families, up to the MTU', async (t) => {
  if (!requireTools(t, [...NEEDS.tools, 'ping'])) return;
  await inNamespace('ping', async (ns) => {
    const tun = openTun({ netns: ns.name, addrs: ['10.77.0.1/24', 'fd77::1/64'], mtu: 1400 });
    const pings = answerPings(tun);
    for (const to of ['10.77.0.2', 'fd77::2']) {
      // Until twenty are answered: ping alone would not wait for one that a busy machine delays.
      await ns.run('ping', ['-c', '20', '-w', '30', '-i', '0.01', '-s', '1300', to]);
    }
    assert(pings.seen >= 40);
    assert.equal(tun.stats.dropMalformed, 0);
    tun.close();
  });
});

test('TUN-02: close frees descriptor and interface at once, with a read pending and nothing arriving', async (t) => {
  if (!requireTools(t, [...NEEDS.tools])) return;
  await inNamespace('close', async (ns) => {
    const before = readdirSync('/proc/self/fd').length;
    for (const open of [openTun, openTap]) {
      for (let i = 0; i < 20; i++) {
        const device = open({ netns: ns.name, addrs: ['10.77.0.1/24'] });
        device.setHandler(() => {});
        // The reactor is asleep on it now.
        await new Promise((resolve) => setTimeout(resolve, 2));
        const path = `/proc/self/fd`;
        const started = performance.now();
        device.close();
        assert(performance.now() - started < 5000, 'close does not wait for a packet');
        assert.equal(device.isOpen, false);
        await device.closed;
        assert.equal(readdirSync(path).length <= before + 1, true, 'its descriptor is closed');
        // The very next device may get the same name and number: nothing of the old one is left.
        assert.deepEqual(await interfaces(ns), ['lo']);
      }
    }
  });
});

test('TUN-03: an interface deleted under the device ends it, with a reason and no exception', async (t) => {
  if (!requireTools(t, [...NEEDS.tools])) return;
  await inNamespace('deleted', async (ns) => {
    for (const open of [openTun, openTap]) {
      const device = open({ netns: ns.name, name: 'gone0' });
      device.setHandler(() => {});
      await ns.ip('link', 'delete', 'gone0');
      await device.closed;
      assert.equal(device.isOpen, false);
      assert.equal(device.stats.ended, 'EBADFD');
      device.close();
      assert.throws(() => device.link(), { code: 'PKT_CLOSED' });
    }
    const tun = openTun({ netns: ns.name, name: 'gone1', addrs: ['10.1.0.1/24'] });
    // Down is not gone: nothing can be read or written meanwhile, and it works again afterwards.
    tun.setUp(false);
    const packet = Packet.of(new Uint8Array([0x45, 0, 0, 20, ...new Uint8Array(16)]));
    tun.send(packet);
    assert.equal(tun.stats.dropRefused, 1);
    tun.setUp(true);
    tun.send(packet);
    assert.equal(tun.stats.writes, 1);
    assert(tun.isOpen);
    tun.close();
  });
});

test('TUN-03: a read or write that fails costs at most its packet', async (t) => {
  if (!requireTools(t, [...NEEDS.tools])) return;
  await inNamespace('faults', async (ns) => {
    const { EAGAIN, EINTR, EINVAL, ENOBUFS } = constants.errno;
    for (const offload of [true, false]) {
      const tun = openTun({ netns: ns.name, addrs: ['10.77.0.1/24'], offload });
      const far = openPacket({ interface: tun.name, netns: ns.name });
      const back: number[] = [];
      const seen: number[] = [];
      far.setHandler((frame) => {
        if (frame.buf[frame.off + 9] === 253) back.push(frame.buf[frame.off + 20]);
      });
      tun.setHandler((packet) => {
        if (packet.protocol === 253) seen.push(packet.buf[packet.off + 20]);
      });
      const packet = (n: number) => {
        const bytes = new Uint8Array(40).fill(n);
        // For an experiment (RFC 3692 §2.1), so that nobody answers.
        bytes.set([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 253, 0, 0, 10, 77, 0, 2, 10, 77, 0, 1]);
        return bytes;
      };
      const reads = [EINTR, EINVAL];
      const writes = [EINTR, ENOBUFS, 0, EAGAIN];
      const mend = [
        breakCall('read', () => reads.shift() ?? 0),
        breakCall('write', () => writes.shift() ?? 0),
      ];
      try {
        for (let n = 0; n < 6; n++) {
          tun.send(Packet.of(packet(n)));
          far.send(Frame.of(packet(n)));
        }
        far.flush();
        await until(() => seen.length === 6 && back.length === 4);
      } finally {
        for (const repair of mend.reverse()) repair();
      }
      assert.deepEqual(seen, [0, 1, 2, 3, 4, 5]);
      assert.deepEqual(back, [1, 3, 4, 5]);
      const { interrupted, dropFull, dropUnreadable, dropRefused, ended } = tun.stats;
      assert.deepEqual(
        { interrupted, dropFull, dropUnreadable, dropRefused, ended },
        { interrupted: 2, dropFull: 2, dropUnreadable: 1, dropRefused: 0, ended: '' },
      );
      far.close();
      tun.close();
    }
  });
});

test('a device closed from its own handler brings nothing more', async (t) => {
  if (!requireTools(t, [...NEEDS.tools, 'ping'])) return;
  await inNamespace('selfclose', async (ns) => {
    const tap = openTap({ netns: ns.name, addrs: ['10.77.0.1/24'] });
    let calls = 0;
    tap.setHandler(() => {
      calls++;
      tap.close();
    });
    // An ARP request at once, more after seconds.
    await ns.run('ping', ['-c', '1', '-W', '1', '10.77.0.2'], { check: false });
    await tap.closed;
    assert.equal(calls, 1);
    tap.send(Frame.of(new Uint8Array(60)));
    assert.equal(tap.stats.dropClosed, 1);
  });
});

test('a persistent interface stays, is opened again, and goes when told', async (t) => {
  if (!requireTools(t, [...NEEDS.tools])) return;
  await inNamespace('persist', async (ns) => {
    const options = { netns: ns.name, name: 'keep0', addrs: ['10.5.0.1/24'], owner: 1234 };
    openTun({ ...options, persist: true }).close();
    assert.deepEqual(await interfaces(ns), ['lo', 'keep0']);
    assert.match(await ns.ip('-d', 'link', 'show', 'keep0'), /persist on user 1234/);
    const again = openTun({ ...options, addrs: [] });
    assert.deepEqual(
      again
        .addresses()
        .filter(({ prefix }) => prefix.family === 4)
        .map(({ prefix }) => `${prefix}`),
      ['10.5.0.1/24'],
    );
    again.setPersist(false);
    again.close();
    assert.deepEqual(await interfaces(ns), ['lo']);
  });
});

test('TUN-04: several queues share one interface', async (t) => {
  if (!requireTools(t, [...NEEDS.tools, 'ping'])) return;
  await inNamespace('queues', async (ns) => {
    const options = { netns: ns.name, name: 'mq0', multiQueue: true };
    const first = openTun({ ...options, addrs: ['10.77.0.1/24'] });
    const second = openTun(options);
    assert.match(await ns.ip('-d', 'link', 'show', 'mq0'), /multi_queue/);
    const counts = [answerPings(first), answerPings(second)];
    for (let host = 2; host < 34; host++) {
      await ns.run('ping', ['-c', '1', '-W', '5', `10.77.0.${host}`]);
    }
    assert.equal(counts[0].seen + counts[1].seen, 32);
    assert(counts[0].seen > 0 && counts[1].seen > 0, `${counts[0].seen} and ${counts[1].seen}`);
    first.close();
    // The other queue carries on alone.
    await ns.run('ping', ['-c', '1', '-W', '5', '10.77.0.99']);
    assert.deepEqual(await interfaces(ns), ['lo', 'mq0']);
    second.close();
    assert.deepEqual(await interfaces(ns), ['lo']);
    assert.throws(
      () => {
        const single = openTun({ netns: ns.name, name: 'sq0' });
        try {
          openTun({ netns: ns.name, name: 'sq0' });
        } finally {
          single.close();
        }
      },
      { code: 'EBUSY', message: /multiQueue/ },
    );
  });
});

test('a device moves to another namespace and works there', async (t) => {
  if (!requireTools(t, [...NEEDS.tools, 'ping'])) return;
  await inNamespace('from', async (from) => {
    const to = await Netns.create({ label: 'to' });
    try {
      const tun = openTun({ netns: from.name, name: 'roam0', addrs: ['10.9.0.1/24'] });
      tun.moveTo(to.name);
      assert.deepEqual(await interfaces(from), ['lo']);
      assert.deepEqual(await interfaces(to), ['lo', 'roam0']);
      assert.deepEqual(tun.addrs, []);
      tun.setUp(true);
      tun.setAddrs([Prefix.parse('10.77.0.1/24')]);
      const pings = answerPings(tun);
      await to.run('ping', ['-c', '1', '-W', '5', '10.77.0.2']);
      assert.equal(pings.seen, 1);
      tun.close();
      assert.deepEqual(await interfaces(to), ['lo']);
    } finally {
      await to.close();
    }
    // The process itself never left its own.
    assert(existsSync('/sys/class/net/lo'));
  });
});

test('what arrives without a handler, or malformed, is dropped and counted', async (t) => {
  if (!requireTools(t, [...NEEDS.tools, 'ping'])) return;
  await inNamespace('drops', async (ns) => {
    const tun = openTun({ netns: ns.name, addrs: ['10.77.0.1/24'] });
    await ns.run('ping', ['-c', '1', '-W', '1', '10.77.0.2'], { check: false });
    await until(() => tun.stats.dropNoHandler > 0);
    const before = tun.stats.dropRefused;
    // Neither 4 nor 6 in front: the kernel refuses it.
    tun.send(Packet.of(new Uint8Array(40)));
    assert.equal(tun.stats.dropRefused, before + 1);
    // An offload that the packet does not allow: ICMP has no partial checksum.
    const icmp = new Uint8Array(64);
    icmp.set([0x45, 0, 0, 64, 0, 0, 0, 0, 64, IpProtocol.ICMP]);
    tun.send(new Packet(icmp, 0, 64, 0x10000));
    assert.equal(tun.stats.dropMalformed, 1);
    assert.equal(get16(icmp, 2), 64);
    tun.close();
  });
});
