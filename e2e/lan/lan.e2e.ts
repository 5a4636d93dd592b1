import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import {
  assertCleanCapture,
  type BackgroundProcess,
  countInCapture,
  missingRequirements,
  Netns,
  requireTools,
  scaled,
  until,
} from '@pktkit/testkit';
import { BLACK_HOLE, SERVER_PORT, SERVER4, SERVER6, World } from '../support/world.ts';

const TOOLS = ['ip', 'ss', 'udhcpc', 'busybox', 'ping', 'curl', 'ethtool', 'tshark'];
const NEEDS = { files: ['/dev/net/tun'] };
const SUBNET = { gateway: '10.0.2.2', network: '10.0.2.' };
const BIG = scaled(500_000_000, 100_000_000);
const URL4 = `http://${SERVER4}:${SERVER_PORT}`;
const URL6 = `http://[${SERVER6}]:${SERVER_PORT}`;

/** A Linux network namespace on our LAN: a kernel that knows nothing of us. */
class Guest {
  readonly world: World;
  readonly netns: Netns;
  readonly lan: BackgroundProcess;

  private constructor(world: World, netns: Netns, lan: BackgroundProcess) {
    this.world = world;
    this.netns = netns;
    this.lan = lan;
  }

  static async join(world: World, ...args: string[]): Promise<Guest> {
    const netns = await Netns.create({ label: 'guest', etc: { 'resolv.conf': '# empty\n' } });
    const lan = world.pktkit('lan', '--tap', 'lan0', '--netns', netns.name, '--json', ...args);
    try {
      await lan.waitFor(/"event":"ready"/, 30_000);
    } catch (error) {
      await netns.close();
      throw error;
    }
    return new Guest(world, netns, lan);
  }

  /** Gets a lease as Debian does it: busybox's client and the distribution's own script. */
  async lease(): Promise<void> {
    await this.netns.run('udhcpc', ['-i', 'lan0', '-n', '-q', '-f', '-t', '5', '-T', '2']);
  }

  async curl(...args: string[]): Promise<string> {
    const { stdout } = await this.netns.run('curl', ['-sS', '--fail', ...args], {
      timeout: 240_000,
    });
    return stdout;
  }

  async leave(): Promise<void> {
    await this.lan.stop('SIGINT', 10_000);
    await this.netns.close();
  }
}

let world: World | undefined;
let guest: Guest | undefined;
let before4: { sockets: string[]; interfaces: string[] } | undefined;
const folder = mkdtempSync(join(tmpdir(), 'pktkit-lan-'));
const pcap = join(folder, 'lan.pcapng');

before(async () => {
  if (missingRequirements({ ...NEEDS, tools: TOOLS }).length > 0) return;
  world = await World.create();
  before4 = { sockets: await world.sockets(), interfaces: await world.interfaces() };
  guest = await Guest.join(world);
  await guest.lease();
});

after(async () => {
  await guest?.leave();
  await world?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The guest, or null when the test has been skipped. */
function ready(t: TestContext): Guest | null {
  if (!requireTools(t, TOOLS, NEEDS)) return null;
  assert(guest !== undefined, 'the LAN did not come up');
  return guest;
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

test('udhcpc gets a lease; router and DNS are applied', async (t) => {
  const it = ready(t);
  if (it === null) return;
  type Address = { addr_info: { family: string; local: string; prefixlen: number }[] };
  const [link] = await it.netns.ipJson<Address[]>('addr', 'show', 'dev', 'lan0');
  const own = link.addr_info.find(({ family }) => family === 'inet');
  assert(own !== undefined, JSON.stringify(link));
  assert(own.local.startsWith(SUBNET.network), own.local);
  assert.equal(own.prefixlen, 24);
  const routes = await it.netns.ip('route', 'show', 'default');
  assert.match(routes, /default via 10\.0\.2\.2 dev lan0/);
  assert.match(it.netns.readEtc('resolv.conf'), /^nameserver 10\.0\.2\.2$/m);
  await it.lan.waitFor(/"event":"lease".*"address":"10\.0\.2\./);
});

test('the kernel forms an IPv6 address from our advertisement and pings in both families', async (t) => {
  const it = ready(t);
  if (it === null) return;
  await until(async () => /inet6 fd70:/.test(await it.netns.ip('-6', 'addr', 'show', 'lan0')), {
    within: 20_000,
    what: 'an address by SLAAC',
  });
  await until(async () => /default via fe80/.test(await it.netns.ip('-6', 'route')));
  await it.netns.run('ping', ['-c', '3', '-i', '0.1', '-W', '3', SUBNET.gateway]);
  await it.netns.run('ping', ['-c', '3', '-i', '0.1', '-W', '3', 'fd70:6b74:6b69:2::2']);
  // Larger than the MTU: fragments both ways.
  await it.netns.run('ping', ['-c', '1', '-s', '4000', '-W', '3', SUBNET.gateway]);
});

for (const [family, url] of [
  ['IPv4', URL4],
  ['IPv6', URL6],
] as const) {
  test(`curl downloads ${BIG / 1e6} MB and uploads them over ${family}, SHA-256 equal`, async (t) => {
    const it = ready(t);
    if (it === null) return;
    const file = join(folder, `big-${family}`);
    const hash = await it.curl(`${url}/hash?size=${BIG}`);
    const speeds = '%{speed_download} %{speed_upload}';
    const down = await it.curl('-o', file, '-w', speeds, `${url}/file?size=${BIG}`);
    assert.equal(await sha256(file), hash);
    const up = await it.curl('-T', file, '-w', ` ${speeds}`, `${url}/upload`);
    assert.equal(up.slice(0, 64), hash);
    const mb = (text: string, field: number) => Math.round(Number(text.split(' ')[field]) / 1e6);
    t.diagnostic(`down ${mb(down, 0)} MB/s, up ${mb(up, 2)} MB/s`);
    rmSync(file);
  });
}

test('50 curls at the same time, every hash equal', async (t) => {
  const it = ready(t);
  if (it === null) return;
  const size = 2_000_000;
  const hash = await it.curl(`${URL4}/hash?size=${size}`);
  const script = `for i in $(seq 50); do (curl -sS --fail "${URL4}/file?size=${size}" | sha256sum) & done; wait`;
  const { stdout } = await it.netns.run('sh', ['-c', script], { timeout: 120_000 });
  const hashes = stdout.trim().split('\n');
  assert.equal(hashes.length, 50);
  for (const line of hashes) assert.equal(line.split(' ')[0], hash);
});

test('a refused port is refused at once', async (t) => {
  const it = ready(t);
  if (it === null) return;
  for (const host of [SERVER4, `[${SERVER6}]`]) {
    // By curl's own clock: a busy machine takes its time to start it. A lost answer costs a second at least.
    const args = ['-s', '-w', '%{time_total}', `http://${host}:81/`];
    const { code, stdout } = await it.netns.run('curl', args, { check: false });
    assert.equal(code, 7, 'curl: connection refused');
    assert(Number(stdout) < 1, `within a second, not ${stdout}`);
  }
});

test('SLIRP-01: a black-holed address delays nobody else', async (t) => {
  const it = ready(t);
  if (it === null) return;
  const stuck = Array.from({ length: 20 }, () =>
    it.netns.spawn('curl', ['-s', '--connect-timeout', '60', `http://${BLACK_HOLE}/`]),
  );
  // Their SYNs are in the dial: the host's kernel has them.
  await until(
    async () => {
      const { stdout } = await it.world.host.run('ss', ['-H', '-t', '-n', 'state', 'syn-sent']);
      return stdout.trim().split('\n').length >= 20;
    },
    { what: 'twenty dials under way' },
  );
  const times: number[] = [];
  for (let i = 0; i < 20; i++) {
    const total = await it.curl('-o', '/dev/null', '-w', '%{time_total}', `${URL4}/hash?size=1`);
    times.push(Number(total));
  }
  assert(Math.max(...times) < 2, `the slowest of 20 took ${Math.max(...times)} s`);
  assert(
    stuck.every((curl) => !curl.ended),
    'the black hole stays black',
  );
  await Promise.all(stuck.map((curl) => curl.stop()));
});

test('the name server of the gateway answers', async (t) => {
  const it = ready(t);
  if (it === null) return;
  // No resolver is there to forward to: what counts is that an answer comes, and at once.
  const args = ['nslookup', 'name.invalid', SUBNET.gateway];
  const { stdout, stderr } = await it.netns.run('busybox', args, { check: false });
  assert.match(stdout + stderr, /NXDOMAIN|SERVFAIL|can't find|can't resolve/);
});

test('after the end everything is as it was', async (t) => {
  const it = ready(t);
  if (it === null) return;
  const { code } = await it.lan.stop('SIGINT', 10_000);
  assert.equal(code, 0, it.lan.describe());
  assert.doesNotMatch(await it.netns.ip('link'), /lan0/, 'the interface is gone');
  await until(async () => (await it.world.sockets()).length === before4?.sockets.length, {
    what: 'the sockets of before',
  });
  assert.deepEqual(await it.world.interfaces(), before4?.interfaces);
});

test('tshark finds no malformed packet, no bad checksum and next to no retransmission', async (t) => {
  if (!requireTools(t, TOOLS, NEEDS)) return;
  assert(world !== undefined);
  const it = await Guest.join(world, '--pcap', pcap);
  try {
    await it.lease();
    await until(async () => /inet6 fd70:/.test(await it.netns.ip('-6', 'addr', 'show', 'lan0')), {
      within: 20_000,
    });
    const size = 10_000_000;
    const file = join(folder, 'captured');
    for (const url of [URL4, URL6]) {
      const hash = await it.curl(`${url}/hash?size=${size}`);
      await it.curl('-o', file, `${url}/file?size=${size}`);
      assert.equal(await sha256(file), hash);
      assert.equal(await it.curl('-T', file, `${url}/upload`), hash);
    }
    await it.netns.run('ping', ['-c', '2', '-i', '0.1', '-W', '3', SUBNET.gateway]);
    await it.netns.run('curl', ['-s', `http://${SERVER4}:81/`], { check: false });
    writeFileSync(join(folder, 'lan.log'), it.lan.stdout);
  } finally {
    await it.leave();
  }
  const { packets, retransmissions } = await assertCleanCapture(pcap, { atLeast: 200 });
  t.diagnostic(`${packets} packets, ${retransmissions.length} sent again`);
  // Nothing is lost here, but a machine that pauses one side lets the other one's timers probe.
  assert(retransmissions.length < packets / 100, retransmissions.join('\n'));
  assert((await countInCapture(pcap, 'dhcp')) >= 4, 'the four messages of a lease');
  assert((await countInCapture(pcap, 'icmpv6.type == 134')) >= 1, 'a router advertisement');
  assert((await countInCapture(pcap, 'tcp.flags.reset == 1')) >= 1, 'the refused port');
});
