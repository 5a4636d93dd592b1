import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MacAddr, Prefix } from '@pktkit/core';
import { type Netns, requireTools } from '@pktkit/testkit';
import { LinuxInterface } from '@pktkit/tuntap';
import { inNamespace, NEEDS, openTap, openTun } from './support.ts';

interface IpAddress {
  ifname: string;
  mtu: number;
  address?: string;
  flags: string[];
  addr_info: Array<{
    local: string;
    prefixlen: number;
    scope: string;
    broadcast?: string;
    address?: string;
    label?: string;
    tentative?: boolean;
    valid_life_time: number;
    preferred_life_time: number;
  }>;
}

/** What `ip addr` shows of an interface, link-local addresses of the kernel's own left out. */
async function shown(ns: Netns, name: string): Promise<IpAddress> {
  const [found] = await ns.ipJson<IpAddress[]>('addr', 'show', 'dev', name);
  return { ...found, addr_info: found.addr_info.filter(({ local }) => !/^fe80/.test(local)) };
}

async function routes(ns: Netns, ...args: string[]): Promise<string> {
  return (await ns.ip(...args)).replace(/ +/g, ' ').replace(/ $/gm, '');
}

test('TUN-01: IPv6 addresses, and routes of both families without a gateway', async (t) => {
  if (!requireTools(t, NEEDS.tools)) return;
  await inNamespace('tun01', async (ns) => {
    const tun = openTun({ netns: ns.name, name: 'a0', addrs: ['fd00:1::1/64', '10.1.0.1/24'] });
    tun.addAddress('2001:db8::5/128');
    tun.addRoute({ dst: '10.2.0.0/16' });
    tun.addRoute({ dst: 'fd00:2::/48' });
    tun.addRoute({ dst: 'default', family: 6 });
    const { addr_info } = await shown(ns, 'a0');
    assert.deepEqual(addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`).sort(), [
      '10.1.0.1/24',
      '2001:db8::5/128',
      'fd00:1::1/64',
    ]);
    // Usable at once: no probing for duplicates on an interface that only we can reach.
    assert(addr_info.every(({ tentative }) => tentative !== true));
    assert.match(await routes(ns, 'route'), /^10\.2\.0\.0\/16 dev a0 proto static scope link$/m);
    const v6 = await routes(ns, '-6', 'route');
    assert.match(v6, /^fd00:2::\/48 dev a0 proto static/m);
    assert.match(v6, /^default dev a0 proto static/m);
    tun.close();
  });
});

test('TUN-03: addresses are remembered, replaced and removed', async (t) => {
  if (!requireTools(t, NEEDS.tools)) return;
  await inNamespace('addrs', async (ns) => {
    const tap = openTap({ netns: ns.name, name: 'b0', addrs: ['10.1.0.1/24', 'fd00:1::1/64'] });
    assert.deepEqual(tap.addrs.map(String), ['10.1.0.1/24', 'fd00:1::1/64']);
    tap.setAddrs(['10.1.0.1/24', 'fd00:2::1/64'].map((text) => Prefix.parse(text)));
    const texts = async () =>
      (await shown(ns, 'b0')).addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`);
    assert.deepEqual(await texts(), ['10.1.0.1/24', 'fd00:2::1/64']);
    assert.deepEqual((await shown(ns, 'b0')).addr_info[0].broadcast, '10.1.0.255');
    assert.deepEqual(tap.addrs.map(String), ['10.1.0.1/24', 'fd00:2::1/64']);
    tap.removeAddress('fd00:2::1/64');
    assert.deepEqual(await texts(), ['10.1.0.1/24']);
    // Twice the same is no error, and twice removed is one that names it.
    tap.addAddress('10.1.0.1/24', { label: 'b0:x' });
    assert.throws(() => tap.removeAddress('10.9.9.9/24'), {
      code: 'EADDRNOTAVAIL',
      message: /10\.9\.9\.9\/24/,
    });
    tap.addAddress('10.3.0.1/32', { peer: '10.3.0.2', scope: 'link' });
    tap.addAddress('fd00:3::1/64', { validLifetime: 600, preferredLifetime: 300 });
    const { addr_info } = await shown(ns, 'b0');
    const peered = addr_info.find(({ local }) => local === '10.3.0.1');
    assert.equal(peered?.address, '10.3.0.2');
    assert.equal(peered?.scope, 'link');
    const timed = addr_info.find(({ local }) => local === 'fd00:3::1');
    assert(timed !== undefined && timed.valid_life_time > 590 && timed.preferred_life_time <= 300);
    const listed = tap.addresses();
    assert.equal(
      `${listed.find(({ prefix }) => `${prefix.addr}` === '10.3.0.1')?.peer}`,
      '10.3.0.2',
    );
    tap.close();
    assert.throws(() => tap.addAddress('10.1.0.1/24'), { code: 'PKT_CLOSED' });
  });
});

test('TUN-03: routes with gateway, metric, table, source and scope, added and removed', async (t) => {
  if (!requireTools(t, NEEDS.tools)) return;
  await inNamespace('routes', async (ns) => {
    const tun = openTun({ netns: ns.name, name: 'c0', addrs: ['10.1.0.1/24', 'fd00:1::1/64'] });
    const all = [
      { dst: '10.2.0.0/16', via: '10.1.0.2', metric: 50 },
      { dst: '10.3.0.0/16', table: 1000, src: '10.1.0.1' },
      { dst: '10.4.0.0/16', via: '192.0.2.1', onLink: true },
      { dst: 'default', via: '10.1.0.9', metric: 700 },
      { dst: 'fd00:2::/48', via: 'fd00:1::2', metric: 5 },
      { dst: 'default', via: 'fd00:1::9', table: 77 },
    ];
    for (const route of all) tun.addRoute(route);
    // Again: replaced, not doubled.
    for (const route of all) tun.addRoute(route);
    const main = await routes(ns, 'route');
    assert.match(main, /^10\.2\.0\.0\/16 via 10\.1\.0\.2 dev c0 proto static metric 50$/m);
    assert.match(main, /^10\.4\.0\.0\/16 via 192\.0\.2\.1 dev c0 proto static onlink$/m);
    assert.match(main, /^default via 10\.1\.0\.9 dev c0 proto static metric 700$/m);
    assert.equal(main.match(/10\.2\.0\.0/g)?.length, 1);
    assert.match(
      await routes(ns, 'route', 'show', 'table', '1000'),
      /^10\.3\.0\.0\/16 dev c0 proto static scope link src 10\.1\.0\.1$/m,
    );
    const v6 = await routes(ns, '-6', 'route');
    assert.match(v6, /^fd00:2::\/48 via fd00:1::2 dev c0 proto static metric 5/m);
    assert.match(
      await routes(ns, '-6', 'route', 'show', 'table', '77'),
      /^default via fd00:1::9 dev c0/m,
    );
    const listed = tun.routes();
    for (const wanted of all) {
      const dst = wanted.dst === 'default' ? /^(0\.0\.0\.0|::)\/0$/ : new RegExp(`^${wanted.dst}$`);
      const found = listed.filter(
        (route) =>
          dst.test(`${route.dst}`) &&
          route.table === (wanted.table ?? 254) &&
          `${route.via ?? ''}` === (wanted.via ?? ''),
      );
      assert.equal(found.length, 1, JSON.stringify(wanted));
    }
    for (const route of all) tun.removeRoute(route);
    assert.doesNotMatch(await routes(ns, 'route'), /static/);
    assert.doesNotMatch(await routes(ns, '-6', 'route'), /static/);
    assert.throws(() => tun.removeRoute(all[0]), { code: 'ESRCH', message: /10\.2\.0\.0\/16/ });
    assert.throws(() => tun.addRoute({ dst: '10.0.0.0/8', via: 'fd00::1' }), /families/);
    tun.close();
  });
});

test('TUN-03: MTU, Ethernet address and link state', async (t) => {
  if (!requireTools(t, NEEDS.tools)) return;
  await inNamespace('link', async (ns) => {
    const mac = MacAddr.parse('02:00:00:00:12:34');
    const tap = openTap({ netns: ns.name, name: 'd0', mac, mtu: 9000, up: false });
    let link = await shown(ns, 'd0');
    assert.equal(link.mtu, 9000);
    assert.equal(link.address, `${mac}`);
    assert(!link.flags.includes('UP'));
    assert.equal(tap.mtu, 9000);
    assert(tap.mac.equals(mac));
    assert.equal(tap.link().up, false);
    tap.setUp(true);
    tap.setMtu(1280);
    assert.equal(tap.mtu, 1280);
    link = await shown(ns, 'd0');
    assert(link.flags.includes('UP') && link.flags.includes('LOWER_UP'));
    assert.equal(link.mtu, 1280);
    assert.deepEqual(
      { ...tap.link(), mac: null },
      {
        name: 'd0',
        index: tap.index,
        mtu: 1280,
        mac: null,
        up: true,
        carrier: true,
        broadcast: true,
        state: 'unknown',
      },
    );
    tap.setMac('02:00:00:00:56:78');
    assert.equal((await shown(ns, 'd0')).address, '02:00:00:00:56:78');
    assert.equal(`${tap.mac}`, '02:00:00:00:56:78');
    assert.throws(() => tap.setMtu(67), RangeError);
    tap.close();
  });
});

test('an interface that is not ours can be configured, too', async (t) => {
  if (!requireTools(t, NEEDS.tools)) return;
  await inNamespace('dummy', async (ns) => {
    await ns.ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
    const nic = LinuxInterface.byName('v0', ns.name);
    nic.setUp(true);
    nic.addAddress('10.8.0.1/24');
    assert.equal((await shown(ns, 'v0')).addr_info[0].local, '10.8.0.1');
    assert.throws(() => LinuxInterface.byName('nosuch0', ns.name), { code: 'ENODEV' });
    assert.throws(() => LinuxInterface.byName('v0', 'no-such-namespace'), /no network namespace/);
  });
});
