/** Our DHCP server, client and router advertisements against the clients and servers that everybody uses. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  adapt,
  DhcpServer,
  type DhcpServerOptions,
  type L2Adapter,
  L2Hub,
  type Packet,
  pipeL3,
  RaServer,
} from '@pktkit/core';
import {
  assertCleanCapture,
  Capture,
  countInCapture,
  Netns,
  requireTools,
  until,
} from '@pktkit/testkit';
import { openTap, type TapDevice } from '@pktkit/tuntap';

const FILES = { files: ['/dev/net/tun'] };

/** A namespace whose `lan0` is a port of our switch, with a capture running on it. */
class Site {
  readonly hub: L2Hub = new L2Hub();
  readonly netns: Netns;
  readonly tap: TapDevice;
  readonly capture: Capture;
  readonly folder: string = mkdtempSync(join(tmpdir(), 'pktkit-dhcp-'));

  private constructor(netns: Netns, tap: TapDevice, capture: Capture) {
    this.netns = netns;
    this.tap = tap;
    this.capture = capture;
    this.hub.connectL2(tap);
  }

  static async open(label: string): Promise<Site> {
    const netns = await Netns.create({ label, etc: { 'resolv.conf': '# empty\n' } });
    const tap = openTap({ netns: netns.name, name: 'lan0' });
    // Checksums are finished before the capture sees them.
    await netns.offloadOff('lan0');
    const capture = await Capture.start({ netns, iface: 'lan0' });
    return new Site(netns, tap, capture);
  }

  server(options: Partial<DhcpServerOptions> = {}): DhcpServer {
    const server = new DhcpServer({
      address: '10.9.0.1/24',
      range: ['10.9.0.50', '10.9.0.60'],
      routers: ['10.9.0.1'],
      dns: ['10.9.0.1', '10.9.0.3'],
      domain: 'lan.example',
      search: ['lan.example', 'example.org'],
      mtu: 1400,
      ...options,
    });
    this.hub.connectL2(server);
    return server;
  }

  /** Writes a script for a client to tell us what it was given, and gives its path. */
  script(): string {
    const path = join(this.folder, 'script');
    writeFileSync(path, `#!/bin/sh\n{ echo "reason=$1$reason"; env; } >> ${this.folder}/seen\n`, {
      mode: 0o755,
    });
    return path;
  }

  async seen(): Promise<string> {
    return (await this.netns.run('cat', [`${this.folder}/seen`], { check: false })).stdout;
  }

  async close(): Promise<void> {
    this.tap.close();
    await this.capture.close();
    await this.netns.close();
    rmSync(this.folder, { recursive: true });
  }
}

async function withSite(label: string, body: (site: Site) => Promise<void>): Promise<void> {
  const site = await Site.open(label);
  try {
    await body(site);
    await site.capture.stop();
    await assertCleanCapture(site.capture.file);
  } finally {
    await site.close();
  }
}

/** A host of ours that answers nothing; tests look at its adapter. */
function host(
  hub: L2Hub,
  options: Parameters<typeof adapt>[1],
): { adapter: L2Adapter; packets: Packet[] } {
  const [inside, outside] = pipeL3();
  const packets: Packet[] = [];
  inside.setHandler((packet) => packets.push(packet.clone()));
  const adapter = adapt(outside, options);
  hub.connectL2(adapter);
  return { adapter, packets };
}

test('udhcpc: lease with all options, renewal by unicast, release', async (t) => {
  if (!requireTools(t, ['ip', 'udhcpc', 'tshark', 'busybox'], FILES)) return;
  await withSite('udhcpc', async (site) => {
    const server = site.server();
    const client = site.netns.spawn('udhcpc', [
      '-i',
      'lan0',
      '-f',
      '-R',
      '-s',
      site.script(),
      '-x',
      'hostname:guest1',
      '-O',
      'mtu',
      '-O',
      'search',
      '-O',
      'staticroutes',
    ]);
    await until(async () => /reason=bound[\s\S]*^mtu=1400$/m.test(await site.seen()));
    const seen = await site.seen();
    assert.match(seen, /^ip=10\.9\.0\.5\d$/m);
    assert.match(seen, /^mask=24$/m);
    assert.match(seen, /^router=10\.9\.0\.1$/m);
    assert.match(seen, /^dns=10\.9\.0\.1 10\.9\.0\.3$/m);
    assert.match(seen, /^search=lan\.example example\.org$/m);
    assert.match(seen, /^domain=lan\.example$/m);
    assert.match(seen, /^serverid=10\.9\.0\.1$/m);
    assert.equal(server.leases[0].hostname, 'guest1');
    const [address] = server.leases.map((lease) => lease.address.toString());
    await site.netns.addAddress('lan0', `${address}/24`);
    // SIGUSR1 renews by unicast: the client asks by ARP for the server's address first.
    const acks = server.stats.acks;
    process.kill(client.pid, 'SIGUSR1');
    await until(() => server.stats.acks > acks);
    process.kill(client.pid, 'SIGUSR2');
    await until(() => server.stats.releases === 1);
    assert.equal(server.leases.length, 0);
    assert.equal(server.stats.naks, 0);
  });
});

test('dhclient: lease, reboot into the same address, release', async (t) => {
  if (!requireTools(t, ['ip', 'dhclient', 'tshark'], FILES)) return;
  await withSite('dhclient', async (site) => {
    const server = site.server();
    const script = site.script();
    const args = [
      '-4',
      '-v',
      '-sf',
      script,
      '-lf',
      `${site.folder}/leases`,
      '-pf',
      `${site.folder}/pid`,
    ];
    await site.netns.run('dhclient', [...args, '-1', 'lan0'], { timeout: 30_000 });
    const seen = await site.seen();
    assert.match(seen, /^reason=BOUND$/m);
    assert.match(seen, /^new_ip_address=10\.9\.0\.5\d$/m);
    assert.match(seen, /^new_domain_name_servers=10\.9\.0\.1 10\.9\.0\.3$/m);
    const first = server.leases[0].address.toString();
    await site.netns.run('sh', ['-c', `kill $(cat ${site.folder}/pid)`]);
    await site.netns.run('dhclient', [...args, '-1', 'lan0'], { timeout: 30_000 });
    assert.match(await site.seen(), /^reason=REBOOT$/m);
    assert.equal(server.leases[0].address.toString(), first);
    await site.netns.addAddress('lan0', `${first}/24`);
    await site.netns.run('dhclient', [...args, '-r', 'lan0'], { timeout: 30_000 });
    await until(() => server.stats.releases === 1);
  });
});

test('CORE-19: a renewal reaches a server whose address the gateway has too', async (t) => {
  if (!requireTools(t, ['ip', 'udhcpc', 'tshark'], FILES)) return;
  await withSite('shared', async (site) => {
    const { adapter } = host(site.hub, {
      addrs: ['10.9.0.1/24'],
      dhcpServer: { routers: ['10.9.0.1'], range: ['10.9.0.50', '10.9.0.60'] },
    });
    const server = adapter.dhcpServer as DhcpServer;
    const client = site.netns.spawn('udhcpc', ['-i', 'lan0', '-f', '-s', site.script()]);
    await until(async () => /reason=bound/.test(await site.seen()));
    await site.netns.addAddress('lan0', `${server.leases[0].address}/24`);
    const acks = server.stats.acks;
    process.kill(client.pid, 'SIGUSR1');
    await until(() => server.stats.acks > acks);
    adapter.close();
    await site.capture.stop();
    const unicast = 'dhcp.type == 1 && ip.dst == 10.9.0.1';
    assert((await countInCapture(site.capture.file, unicast)) > 0);
  });
});

test('dnsmasq gives our client a lease, renews and takes it back', async (t) => {
  if (!requireTools(t, ['ip', 'dnsmasq', 'tshark'], FILES)) return;
  await withSite('dnsmasq', async (site) => {
    await site.netns.addAddress('lan0', '10.9.0.1/24');
    const leases = join(site.folder, 'leases');
    const dnsmasq = site.netns.spawn('dnsmasq', [
      '--keep-in-foreground',
      '--no-daemon',
      '--conf-file=/dev/null',
      '--port=0',
      '--interface=lan0',
      '--log-dhcp',
      `--dhcp-leasefile=${leases}`,
      '--dhcp-range=10.9.0.100,10.9.0.110,2m',
      '--dhcp-option=option:dns-server,10.9.0.1,10.9.0.9',
      '--dhcp-option=option:mtu,1400',
      '--dhcp-option=option:domain-search,lan.example,example.org',
      '--dhcp-option=option:classless-static-route,0.0.0.0/0,10.9.0.1,192.168.7.0/24,10.9.0.4',
    ]);
    await dnsmasq.waitFor(/DHCP, IP range/);
    const { adapter } = host(site.hub, { dhcp: { hostname: 'ours' }, ipv6: false });
    const { addrs, gateway4, dns, search, lease } = await adapter.ready();
    assert.match(String(addrs[0]), /^10\.9\.0\.1\d\d\/24$/);
    assert.equal(String(gateway4), '10.9.0.1');
    assert.deepEqual(dns.map(String), ['10.9.0.1', '10.9.0.9']);
    assert.deepEqual(search, ['lan.example', 'example.org']);
    assert.equal(lease?.mtu, 1400);
    assert.equal(lease?.routes.length, 2);
    // A restart of the link confirms the same address (INIT-REBOOT).
    const sent = adapter.dhcp?.stats.sent ?? 0;
    adapter.dhcp?.start();
    await until(() => adapter.dhcp?.state === 'bound' && adapter.dhcp.stats.sent > sent);
    assert.equal(adapter.dhcp?.stats.naks, 0);
    await until(async () => (await site.netns.run('cat', [leases])).stdout.includes(' ours '));
    adapter.close();
    await dnsmasq.waitFor(/DHCPRELEASE/);
  });
});

test('the kernel forms an address and a default route from our router advertisements', async (t) => {
  if (!requireTools(t, ['ip', 'ping', 'tshark'], FILES)) return;
  await withSite('slaac', async (site) => {
    await site.netns.sysctl('net.ipv6.conf.lan0.accept_ra', 2);
    const { adapter } = host(site.hub, {
      addrs: ['fd00:9::1/64'],
      acceptRa: false,
      raServer: {
        prefixes: ['fd00:9::/64'],
        dns: ['fd00:9::1'],
        mtu: 1400,
        search: ['lan.example'],
      },
    });
    assert(adapter.raServer instanceof RaServer);
    interface Shown {
      addr_info: Array<{ local: string; prefixlen: number }>;
    }
    await until(
      async () => {
        const [shown] = await site.netns.ipJson<Shown[]>('-6', 'addr', 'show', 'dev', 'lan0');
        return shown?.addr_info.some((a) => a.local.startsWith('fd00:9::') && a.prefixlen === 64);
      },
      { within: 20_000 },
    );
    const route = await site.netns.ip('-6', 'route', 'show', 'default');
    assert.match(route, new RegExp(`default via ${adapter.linkLocal} dev lan0 proto ra`));
    const mtu = await site.netns.run('cat', ['/proc/sys/net/ipv6/conf/lan0/mtu']);
    assert.equal(mtu.stdout.trim(), '1400');
    // Neighbour discovery both ways: the kernel reaches the gateway's adapter (nothing behind it answers the echo).
    await site.netns.run('ping', ['-6', '-c', '1', '-W', '1', 'fd00:9::1'], { check: false });
    const neighbours = await site.netns.ip('-6', 'neigh', 'show', 'dev', 'lan0');
    assert.match(neighbours, new RegExp(`fd00:9::1 lladdr ${adapter.mac}`));
    // Goodbye takes the default route away at once.
    adapter.close();
    await until(async () => (await site.netns.ip('-6', 'route', 'show', 'default')) === '');
  });
});

test('our host reaches the kernel by NDP, and passes its duplicate check', async (t) => {
  if (!requireTools(t, ['ip', 'tshark'], FILES)) return;
  await withSite('ndp', async (site) => {
    await site.netns.addAddress('lan0', 'fd00:9::2/64');
    await site.netns.addAddress('lan0', '10.9.0.2/24');
    const conflicts: string[] = [];
    const { adapter } = host(site.hub, {
      addrs: ['10.9.0.1/24', 'fd00:9::1/64', 'fd00:9::2/64'],
      onConflict: (address) => conflicts.push(String(address)),
    });
    // The kernel has one of our addresses: we must give it up.
    await until(() => conflicts.length > 0);
    assert.deepEqual(conflicts, ['fd00:9::2']);
    assert(!adapter.config.addrs.some((prefix) => String(prefix.addr) === 'fd00:9::2'));
    const up = () => adapter.config.addrs.some((prefix) => prefix.addr.isLinkLocal);
    await until(up);
  });
});
