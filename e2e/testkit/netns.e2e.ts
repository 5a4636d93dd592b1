import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  IpAddr,
  IpProtocol,
  ipv4,
  Packet,
  pipeL3,
  put16,
  tap,
  transportChecksum,
} from '@pktkit/core';
import {
  assertCleanCapture,
  Capture,
  countInCapture,
  freeSubnet,
  inspectCapture,
  Netns,
  requireTools,
  run,
  spawn,
  sweepStale,
  until,
  VirtualClock,
  withNetns,
} from '@pktkit/testkit';

const namespaces = () => readdirSync('/run/netns');

test('namespaces reach each other over veth, both families', async (t) => {
  if (!requireTools(t, ['ip', 'ping', 'ethtool'])) return;
  const net = freeSubnet();
  const names = await withNetns(['left', 'right'], async (left, right) => {
    await left.veth(right, {
      addrs: [`${net.v4}.1/24`, `${net.v6}:1/64`],
      peerAddrs: [`${net.v4}.2/24`, `${net.v6}:2/64`],
    });
    await left.run('ping', ['-c', '1', '-W', '5', `${net.v4}.2`]);
    await left.run('ping', ['-c', '1', '-W', '5', `${net.v6}:2`]);
    assert.equal((await left.run('false', [], { check: false })).code, 1);
    await assert.rejects(left.run('false'), /exit code 1/);
    return [left.name, right.name];
  });
  for (const name of names) assert(!namespaces().includes(name));
});

test('what runs in a namespace ends with it', async (t) => {
  if (!requireTools(t, ['ip'])) return;
  const netns = await Netns.create({ etc: { 'resolv.conf': 'nameserver 192.0.2.1\n' } });
  const { stdout } = await netns.run('cat', ['/etc/resolv.conf']);
  assert.equal(stdout, 'nameserver 192.0.2.1\n');
  const sleeper = netns.spawn('sleep', ['1000']);
  await netns.close();
  assert.equal((await sleeper.exited).signal, 'SIGTERM');
});

test('a crash leaves nothing that the next run does not sweep', async (t) => {
  if (!requireTools(t, ['ip'])) return;
  const script = `
    import { Netns } from '@pktkit/testkit';
    const netns = await Netns.create({ label: 'crash' });
    const child = netns.spawn('sleep', ['1000']);
    console.log('made ' + netns.name + ' ' + child.pid);
    setInterval(() => {}, 1000);
  `;
  const args = [
    '--import',
    'tsx',
    '--conditions=@pktkit/source',
    '--input-type=module',
    '-e',
    script,
  ];
  const child = spawn(process.execPath, args, { cwd: import.meta.dirname });
  const [, name, pid] = await child.waitFor(/made (\S+) (\d+)/);
  assert(!sweepStale().includes(name), 'a live owner keeps its namespace');
  await child.stop('SIGKILL');
  assert(namespaces().includes(name));
  // The exit handler of the crashed process did not run; another process of ours sweeps.
  assert(sweepStale().includes(name));
  assert(!namespaces().includes(name));
  await until(
    () => {
      try {
        process.kill(Number(pid), 0);
        return false;
      } catch {
        return true;
      }
    },
    { what: 'the end of the process inside' },
  );
});

test('the capture checker passes clean traffic and finds a bad checksum', async (t) => {
  if (!requireTools(t, ['ip', 'ping', 'tshark', 'dumpcap', 'ethtool', 'hping3'])) return;
  await withNetns(['left', 'right'], async (left, right) => {
    await left.veth(right, { addrs: ['10.9.0.1/24'], peerAddrs: ['10.9.0.2/24'] });
    const clean = await Capture.start({ netns: right, iface: 'veth0' });
    await left.run('ping', ['-c', '3', '-i', '0.05', '-W', '5', '10.9.0.2']);
    await clean.stop();
    await assertCleanCapture(clean.file, { atLeast: 6 });
    assert.equal(await countInCapture(clean.file, 'icmp.type == 8'), 3);
    await clean.close();

    const dirty = await Capture.start({ netns: right, iface: 'veth0', filter: 'udp' });
    const flood = ['--udp', '--badcksum', '-p', '9', '-c', '2', '-i', 'u1000', '10.9.0.2'];
    await left.run('hping3', flood, { check: false });
    await dirty.stop();
    const report = await inspectCapture(dirty.file);
    assert(report.badChecksums.length >= 2, JSON.stringify(report));
    await assert.rejects(assertCleanCapture(dirty.file), /bad checksums/);
    await assert.rejects(assertCleanCapture(dirty.file, { ignore: 'udp', atLeast: 99 }), /not 99/);
    await dirty.close();
  });
});

test('the capture checker takes both zeroes of a TCP checksum, and no other', async (t) => {
  if (!requireTools(t, ['tshark'], { root: false })) return;
  const folder = mkdtempSync(join(tmpdir(), 'pktkit-zero-'));
  const file = join(folder, 'zero.pcapng');
  // All at one instant, as the packets of a burst may be.
  const clock = new VirtualClock();
  const tapped = tap(pipeL3()[0], (block) => appendFileSync(file, block), { clock });
  const packet = Packet.of(new Uint8Array(40));
  const { buf } = packet;
  const [src, dst] = ['10.0.0.1', '10.0.0.2'].map(IpAddr.parse);
  ipv4.write(buf, 0, { src, dst, protocol: IpProtocol.TCP, payloadLen: 20 });
  put16(buf, 32, 0x5010);
  // A window that makes the checksum zero.
  put16(buf, 34, transportChecksum(buf, 0, IpProtocol.TCP, 20, 20));
  assert.equal((await inspectCapture(file)).packets, 0);
  for (const checksum of [0, 0xffff, 0x1234]) {
    put16(buf, 36, checksum);
    tapped.send(packet);
  }
  const { packets, badChecksums } = await inspectCapture(file);
  assert.equal(packets, 3);
  assert.equal(badChecksums.length, 1, badChecksums.join('\n'));
  assert.match(badChecksums[0], /^packet 3:/);
  rmSync(folder, { recursive: true });
});

test('a program that hangs is ended at its deadline', async (t) => {
  if (!requireTools(t, [], { root: false })) return;
  await assert.rejects(run('sleep', ['1000'], { timeout: 100 }), /SIGKILL/);
});
