import {
  ArpOperation,
  adapt,
  checksum,
  DhcpServer,
  EtherType,
  eui64Address,
  Frame,
  IpAddr,
  MacAddr,
  NdpType,
  Packet,
  Prefix,
  pipeL3,
  put16,
  RaServer,
  solicitedNode,
  transportChecksum,
  writeArp,
  writeIpv6,
  writeNeighborAdvertisement,
} from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { multicastMac6, writeNeighborSolicitation } from '../src/wire/ndp.ts';
import { ethernet, type Host, type Lan, lan, seeded, udp4, udp6 } from './lan.ts';

const ROGUE = MacAddr.parse('02:66:66:66:66:66');
const ALL_NODES = MacAddr.parse('33:33:00:00:00:01');

function arp(
  op: number,
  sender: MacAddr,
  senderIp: string,
  targetIp: string,
  dst: MacAddr,
): Uint8Array {
  const body = new Uint8Array(28);
  writeArp(body, 0, op, sender.value, IpAddr.parse(senderIp).w3, 0, IpAddr.parse(targetIp).w3);
  return ethernet(dst, sender, EtherType.ARP, body);
}

function requests(net: Lan, target: string): Frame[] {
  return net.frames.filter(
    (f) => f.etherType === EtherType.ARP && IpAddr.read(4, f.buf, f.off + 38).toString() === target,
  );
}

/** Frames of one ICMPv6 type. */
function icmp6(net: Lan, type: number): Frame[] {
  return net.frames.filter((f) => {
    if (f.etherType !== EtherType.IPV6) return false;
    const transport = f.payload().transport;
    return transport >>> 16 === 58 && f.buf[f.payloadOff + (transport & 0xffff)] === type;
  });
}

function advertisement(
  target: string,
  dst: IpAddr,
  to: MacAddr,
  mac: MacAddr,
  flags = 0x60,
): Uint8Array {
  const body = new Uint8Array(128);
  const address = IpAddr.parse(target);
  const len = writeNeighborAdvertisement(body, 0, address, dst, address, flags, mac.value);
  return ethernet(to, mac, EtherType.IPV6, body.slice(0, len));
}

function pair(a: object = {}, b: object = {}): Lan & { a: Host; b: Host } {
  const net = lan();
  const first = net.host({ addrs: ['10.0.0.1/24', 'fd00::1/64'], ...a });
  const second = net.host({ addrs: ['10.0.0.2/24', 'fd00::2/64'], ...b });
  net.clock.advance(5000);
  net.frames.length = 0;
  return { ...net, a: first, b: second };
}

describe('adapters on a hub', () => {
  it('resolve each other and deliver, both families', () => {
    const { a, b } = pair();
    a.send(udp4('10.0.0.1', '10.0.0.2', 'four'));
    a.send(udp6('fd00::1', 'fd00::2', 'six'));
    expect(b.texts()).toEqual(['four', 'six']);
    b.send(udp4('10.0.0.2', '10.0.0.1', 'back'));
    expect(a.texts()).toEqual(['back']);
  });

  it('CORE-01: a device without an address, or with one of the other family, drops and counts', () => {
    const net = lan();
    const bare = net.host({ ipv6: false });
    const six = net.host({ addrs: ['fd00::1/64'] });
    // Its only IPv6 address will be the link-local one, which has yet to be checked.
    const early = net.host();
    early.send(udp6('fd00::5', 'fd00::2', 'x'));
    expect(early.adapter.stats.dropNoAddress).toBe(1);
    net.clock.advance(3000);
    bare.send(udp4('10.0.0.1', '10.0.0.2', 'x'));
    bare.send(udp6('fd00::5', 'fd00::2', 'x'));
    six.send(udp4('10.0.0.1', '10.0.0.2', 'x'));
    expect(bare.adapter.stats.dropNoAddress).toBe(2);
    expect(six.adapter.stats.dropNoAddress).toBe(1);
    net.forge(arp(ArpOperation.REQUEST, ROGUE, '10.0.0.9', '0.0.0.0', MacAddr.BROADCAST));
    expect(bare.adapter.protocolStats.arp.received).toBe(1);
  });

  it('CORE-02: padding behind the IP packet never reaches the device', () => {
    const net = pair();
    for (const packet of [udp4('10.0.0.9', '10.0.0.1', 'x'), udp6('fd00::9', 'fd00::1', 'x')]) {
      const padded = new Uint8Array(60).fill(0xee);
      padded.set(packet.bytes);
      const type = packet.version === 4 ? EtherType.IPV4 : EtherType.IPV6;
      net.forge(ethernet(net.a.adapter.mac, ROGUE, type, padded));
    }
    const group = new Uint8Array(60).fill(0xee);
    group.set(udp4('10.0.0.9', '10.0.0.255', 'x').bytes);
    net.forge(ethernet(MacAddr.BROADCAST, ROGUE, EtherType.IPV4, group));
    expect(net.a.received.map((p) => p.len)).toEqual([29, 49, 29]);
    const lying = udp4('10.0.0.9', '10.0.0.1', 'x').bytes;
    put16(lying, 2, 400);
    net.forge(ethernet(net.a.adapter.mac, ROGUE, EtherType.IPV4, lying));
    expect(net.a.adapter.stats.dropMalformed).toBe(1);
  });

  it('CORE-09: the network’s broadcast address is a broadcast, and is not asked for', () => {
    const net = pair();
    net.a.send(udp4('10.0.0.1', '10.0.0.255', 'all'));
    net.a.send(udp4('10.0.0.1', '255.255.255.255', 'limited'));
    net.a.send(udp4('10.0.0.1', '224.0.0.251', 'group'));
    expect(net.b.texts()).toEqual(['all', 'limited', 'group']);
    expect(requests(net, '10.0.0.255')).toEqual([]);
    expect(net.frames.map((f) => f.dst)).toEqual([0xffffffffffff, 0xffffffffffff, 0x01005e0000fb]);
  });

  it('CORE-11: asks three times and then says that the host is unreachable', () => {
    const net = pair();
    net.a.send(udp4('10.0.0.1', '10.0.0.77', 'x'));
    net.clock.advance(2500);
    expect(requests(net, '10.0.0.77').length).toBe(3);
    expect(net.a.received.length).toBe(0);
    net.clock.advance(1000);
    const [error] = net.a.received;
    expect([error.protocol, error.buf[error.off + 20], error.buf[error.off + 21]]).toEqual([
      1, 3, 1,
    ]);
    expect(net.a.adapter.stats.dropUnreachable).toBe(1);
    net.a.send(udp6('fd00::1', 'fd00::77', 'x'));
    net.clock.advance(3500);
    const six = net.a.received[1];
    expect([six.buf[six.off + 6], six.buf[six.off + 40], six.buf[six.off + 41]]).toEqual([
      58, 1, 3,
    ]);
  });

  it('CORE-11: a lost request or answer costs a second, not the packet', () => {
    const net = lan();
    const a = net.host({ addrs: ['10.0.0.1/24'], ipv6: false });
    net.clock.advance(3000);
    a.send(udp4('10.0.0.1', '10.0.0.2', 'patient'));
    net.clock.advance(500);
    const b = net.host({ addrs: ['10.0.0.2/24'], ipv6: false, announce: false });
    net.clock.advance(1000);
    expect(b.texts()).toEqual(['patient']);
  });

  it('CORE-11: no unasked ARP message makes or changes an entry', () => {
    const net = pair();
    net.a.send(udp4('10.0.0.1', '10.0.0.2', 'first'));
    const before = net.a.adapter.protocolStats.arp.dropUnsolicited;
    const all = MacAddr.BROADCAST;
    for (const op of [ArpOperation.REQUEST, ArpOperation.REPLY]) {
      net.forge(arp(op, ROGUE, '10.0.0.2', '10.0.0.1', op === 1 ? all : net.a.adapter.mac));
      net.forge(arp(op, ROGUE, '10.0.0.2', '10.0.0.2', all));
      net.forge(arp(op, ROGUE, '10.0.0.50', '10.0.0.50', all));
    }
    net.a.send(udp4('10.0.0.1', '10.0.0.2', 'second'));
    net.clock.advance(4000);
    net.a.send(udp4('10.0.0.1', '10.0.0.2', 'third'));
    expect(net.b.texts()).toEqual(['first', 'second', 'third']);
    expect(net.a.adapter.protocolStats.neighbors4.challenged).toBeGreaterThan(0);
    expect(net.a.adapter.protocolStats.arp.dropUnsolicited).toBe(before + 2);
    // The rogue's question is answered; no packet goes its way.
    const strayed = net.frames.filter(
      (f) => f.dst === ROGUE.value && f.etherType !== EtherType.ARP,
    );
    expect(strayed).toEqual([]);
  });

  it('CORE-11: addresses being asked for are bounded, and so is what waits', () => {
    const net = pair({ addrs: ['10.0.0.1/8'], maxUnresolved: 64 });
    for (let i = 0; i < 1000; i++) {
      net.a.send(udp4('10.0.0.1', `10.7.${i >> 8}.${i & 255}`, new Uint8Array(1000)));
    }
    for (let i = 0; i < 40; i++) net.a.send(udp4('10.0.0.1', '10.9.9.9', 'x'));
    const stats = net.a.adapter.protocolStats.neighbors4;
    expect(stats.unresolvedEvicted).toBe(1000 - 64 + 1);
    expect(stats.dropPending).toBe(1000 - 64 + 1 + 24);
    net.clock.advance(4000);
    expect(net.a.adapter.stats.dropUnreachable).toBe(63 + 16);
  });

  it('CORE-11: probes and announces its addresses, and defends them', () => {
    const net = lan();
    const a = net.host({ addrs: ['10.0.0.1/24'], ipv6: false });
    net.clock.advance(3000);
    expect(requests(net, '10.0.0.1').length).toBe(2);
    net.frames.length = 0;
    net.forge(arp(ArpOperation.REQUEST, ROGUE, '10.0.0.1', '10.0.0.5', MacAddr.BROADCAST));
    net.forge(arp(ArpOperation.REQUEST, ROGUE, '10.0.0.1', '10.0.0.5', MacAddr.BROADCAST));
    expect(a.adapter.protocolStats.arp).toMatchObject({ conflicts: 2, defended: 1 });
    expect(requests(net, '10.0.0.1').length).toBe(1);
  });

  it('verifies neighbours that were quiet, and finds one that has moved', () => {
    const net = pair();
    net.a.send(udp4('10.0.0.1', '10.0.0.2', 'one'));
    net.clock.advance(60_000);
    net.b.disconnect();
    const c = net.host({ addrs: ['10.0.0.2/24'], ipv6: false, announce: false });
    net.clock.advance(100);
    net.a.send(udp4('10.0.0.1', '10.0.0.2', 'lost'));
    net.clock.advance(9000);
    net.a.send(udp4('10.0.0.1', '10.0.0.2', 'found'));
    expect(c.texts()).toEqual(['found']);
  });

  it('CORE-13: each family has its gateway, and setting one leaves the other', () => {
    const net = lan();
    const a = net.host({ addrs: ['10.0.0.1/24', 'fd00::1/64'], gateway4: '10.0.0.254' });
    const router = net.host({ addrs: ['10.0.0.254/24', 'fd00::fe/64'] });
    net.clock.advance(3000);
    a.adapter.setGateway6('fd00::fe');
    a.send(udp4('10.0.0.1', '192.0.2.1', 'four'));
    a.send(udp6('fd00::1', '2001:db8::1', 'six'));
    expect(router.texts()).toEqual(['four', 'six']);
    a.adapter.setGateway6(null);
    a.send(udp4('10.0.0.1', '192.0.2.1', 'still'));
    a.send(udp6('fd00::1', '2001:db8::1', 'gone'));
    expect(router.texts()).toEqual(['four', 'six', 'still']);
    expect(a.adapter.stats.dropNoRoute).toBe(1);
    a.adapter.setGateway6('fd00::fe');
    a.adapter.setGateway4(null);
    a.send(udp6('fd00::1', '2001:db8::1', 'again'));
    a.send(udp4('10.0.0.1', '192.0.2.1', 'gone'));
    expect(router.texts()).toEqual(['four', 'six', 'still', 'again']);
    expect(() => a.adapter.setGateway4('fd00::1')).toThrow(/gateway4: expected the IPv4 address/);
  });

  it('CORE-10: fragments what may be fragmented and refuses the rest', () => {
    const net = pair({ mtu: 600 });
    net.a.send(udp4('10.0.0.1', '10.0.0.2', new Uint8Array(1200), false));
    expect(net.b.received.length).toBe(3);
    expect(net.b.received.every((p) => p.isFragment && p.len <= 600)).toBe(true);
    net.a.send(udp4('10.0.0.1', '10.0.0.2', new Uint8Array(1200), true));
    const [error] = net.a.received;
    expect([error.buf[error.off + 20], error.buf[error.off + 21]]).toEqual([3, 4]);
    expect(error.buf[error.off + 26] * 256 + error.buf[error.off + 27]).toBe(600);
  });
});

describe('neighbour discovery', () => {
  it('CORE-12: drops messages with a wrong hop limit or checksum instead of passing them on', () => {
    const net = pair();
    net.a.send(udp6('fd00::1', 'fd00::77', 'x'));
    const dst = IpAddr.parse('fd00::1');
    const good = advertisement('fd00::77', dst, net.a.adapter.mac, ROGUE);
    const routed = good.slice();
    routed[14 + 7] = 254;
    const bad = good.slice();
    bad[good.length - 1] ^= 1;
    const before = net.a.received.length;
    net.forge(routed);
    net.forge(bad);
    expect(net.a.adapter.protocolStats.ndp?.dropInvalid).toBe(2);
    expect(net.frames.filter((f) => f.dst === ROGUE.value)).toEqual([]);
    net.forge(good);
    expect(net.frames.filter((f) => f.dst === ROGUE.value).length).toBe(1);
    expect(net.a.received.length).toBe(before);
  });

  it('CORE-12: an unasked advertisement neither makes nor changes an entry', () => {
    const net = pair();
    net.a.send(udp6('fd00::1', 'fd00::2', 'first'));
    const all = IpAddr.parse('ff02::1');
    net.forge(advertisement('fd00::2', all, ALL_NODES, ROGUE, 0x20));
    net.forge(advertisement('fd00::50', all, ALL_NODES, ROGUE, 0x20));
    net.a.send(udp6('fd00::1', 'fd00::2', 'second'));
    net.clock.advance(4000);
    net.a.send(udp6('fd00::1', 'fd00::2', 'third'));
    expect(net.b.texts()).toEqual(['first', 'second', 'third']);
    expect(net.a.adapter.protocolStats.ndp?.dropUnsolicited).toBeGreaterThan(0);
  });

  it('CORE-12: fe80::/10 never goes to the gateway', () => {
    const net = pair({ gateway6: 'fd00::2' });
    net.a.send(udp6('fd00::1', 'fe80::1234', 'x'));
    net.a.send(udp6('fd00::1', 'fe90::1234', 'x'));
    net.clock.advance(3500);
    expect(net.b.received.length).toBe(0);
    expect(net.a.adapter.stats.dropUnreachable).toBe(2);
  });

  it('CORE-12: checks addresses for duplicates before it uses them', () => {
    const net = lan();
    const conflicts: string[] = [];
    const mac = MacAddr.parse('02:00:00:00:00:05');
    const a = net.host({ mac, addrs: [] });
    net.clock.advance(5000);
    expect(a.device.addrs.map(String)).toEqual(['fe80::ff:fe00:5/64']);
    const b = net.host({
      mac: '02:00:00:00:00:06',
      addrs: ['fe80::ff:fe00:5/64'],
      onConflict: (x) => conflicts.push(x.toString()),
    });
    net.clock.advance(5000);
    expect(conflicts).toEqual(['fe80::ff:fe00:5']);
    expect(b.device.addrs.map(String)).toEqual(['fe80::ff:fe00:6/64']);
  });

  it('CORE-12: an address that somebody else checks at the same time is not used', () => {
    const net = lan();
    const a = net.host({ mac: '02:00:00:00:00:05' });
    net.clock.advance(300);
    const target = IpAddr.parse('fe80::ff:fe00:5');
    const group = solicitedNode(target);
    const body = new Uint8Array(128);
    const len = writeNeighborSolicitation(body, 0, IpAddr.ANY6, group, target, -1);
    const to = MacAddr.fromNumber(multicastMac6(group.w3));
    net.forge(ethernet(to, ROGUE, EtherType.IPV6, body.slice(0, len)));
    net.clock.advance(5000);
    expect(a.device.addrs).toEqual([]);
  });

  it('CORE-12: follows no redirect, and no router that is not on the link', () => {
    const net = pair({ gateway6: 'fd00::2' });
    const own = IpAddr.parse('fd00::1');
    const target = IpAddr.parse('2001:db8::1');
    const redirect = new Uint8Array(40);
    redirect[0] = NdpType.REDIRECT;
    IpAddr.parse('fe80::66').write(redirect, 8);
    target.write(redirect, 24);
    const advert = new Uint8Array(16);
    advert[0] = NdpType.ROUTER_ADVERTISEMENT;
    put16(advert, 6, 1800);
    const forge = (src: string, body: Uint8Array) => {
      const packet = new Uint8Array(40 + body.length);
      packet.set(body, 40);
      writeIpv6(packet, 0, body.length, 58, IpAddr.parse(src), own, 255);
      put16(packet, 42, transportChecksum(packet, 0, 58, 40, body.length));
      net.forge(ethernet(net.a.adapter.mac, ROGUE, EtherType.IPV6, packet));
    };
    forge('fe80::2', redirect);
    forge('2001:db8::66', advert);
    expect(net.a.adapter.protocolStats.ndp).toMatchObject({ redirectsIgnored: 1, dropInvalid: 1 });
    net.a.send(udp6('fd00::1', '2001:db8::1', 'the old way'));
    expect(net.b.texts()).toEqual(['the old way']);
    net.a.adapter.setGateway6(null);
    expect(net.a.adapter.config.gateway6).toBeNull();
    // From the link, the same advertisement counts.
    forge('fe80::66', advert);
    expect(String(net.a.adapter.config.gateway6)).toBe('fe80::66');
    expect(net.a.received.length).toBe(0);
  });

  it('CORE-12: reports the groups it listens to', () => {
    const net = lan();
    net.host({ addrs: ['fd00::1/64'] });
    net.clock.advance(3000);
    const reports = icmp6(net, NdpType.MLD2_REPORT);
    expect(reports.length).toBeGreaterThan(1);
    const group = Buffer.from(solicitedNode(IpAddr.parse('fd00::1')).toBytes());
    expect(reports.some((f) => Buffer.from(f.bytes).includes(group))).toBe(true);
  });

  it('CORE-12: forms addresses from advertisements and lets them go when their time is over', () => {
    const net = lan();
    const router = net.host({
      addrs: ['fd00:5::1/64'],
      acceptRa: false,
      raServer: {
        prefixes: [{ prefix: 'fd00:5::/64', validLifetime: 10_000, preferredLifetime: 9000 }],
        dns: ['fd00:5::1'],
        search: ['lan.example'],
        mtu: 1400,
      },
    });
    const a = net.host({});
    net.clock.advance(10_000);
    const own = eui64Address(Prefix.parse('fd00:5::/64'), a.adapter.mac);
    const { config } = a.adapter;
    expect(config.addrs.map(String)).toContain(`${own}/64`);
    expect(String(config.gateway6)).toBe(String(router.adapter.linkLocal));
    expect(config.dns.map(String)).toEqual(['fd00:5::1']);
    expect(config.search).toEqual(['lan.example']);
    a.send(udp6(String(own), '2001:db8::9', 'out'));
    expect(router.texts()).toEqual(['out']);
    a.send(udp6(String(own), '2001:db8::9', new Uint8Array(1380)));
    expect(a.adapter.stats.dropTooBig).toBe(1);
    router.disconnect();
    net.clock.advance(10_000_000);
    expect(a.adapter.config.addrs.map((p) => String(p.addr))).toEqual([
      String(a.adapter.linkLocal),
    ]);
    expect(a.adapter.config.gateway6).toBeNull();
  });

  it('CORE-22: solicitations in any number cost a fixed rate of advertisements', () => {
    const net = lan();
    const server = new RaServer({ prefixes: ['fd00:5::/64'], clock: net.clock, random: seeded(1) });
    net.hub.connectL2(server);
    const hosts = Array.from({ length: 30 }, () => net.host({}));
    net.clock.advance(60_000);
    expect(hosts.every((h) => h.device.addrs.length === 2)).toBe(true);
    expect(server.stats.solicited).toBeGreaterThan(5);
    expect(server.stats.sent).toBeLessThan(22);
  });
});

describe('whatever arrives', () => {
  it('never throws, for an adapter with everything switched on', () => {
    const net = lan();
    const gateway = net.host({
      addrs: ['10.0.0.1/24', 'fd00::1/64'],
      dhcpServer: {},
      raServer: { prefixes: ['fd00::/64'] },
    });
    const client = net.host({ dhcp: true });
    net.clock.advance(5000);
    const samples = net.frames.map((f) => f.bytes.slice());
    net.clock.advance(1000);
    const change = fc.tuple(fc.nat(400), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(
        fc.nat(samples.length - 1),
        fc.array(change, { maxLength: 6 }),
        fc.nat(600),
        fc.boolean(),
        (index, changes, cut, fix) => {
          const bytes = samples[index].slice(0, Math.max(14, samples[index].length - (cut % 64)));
          for (const [at, value] of changes) if (at >= 12) bytes[at % bytes.length] = value;
          // Half of them with a right ICMPv6 checksum, so that the fault lies deeper.
          if (fix && bytes.length > 60 && bytes[20] === 58) {
            put16(bytes, 56, 0);
            put16(bytes, 56, transportChecksum(bytes, 14, 58, 54, bytes.length - 54));
          }
          // Or with a UDP checksum of "none" and a right header checksum.
          if (fix && bytes.length > 42 && bytes[23] === 17 && bytes[14] === 0x45) {
            put16(bytes, 40, 0);
            put16(bytes, 24, 0);
            put16(bytes, 24, checksum(bytes, 14, 20));
          }
          for (const target of [gateway, client]) {
            target.adapter.mac.write(bytes, 0);
            target.adapter.send(Frame.of(bytes.slice()));
            bytes.fill(0xff, 0, 6);
            target.adapter.send(Frame.of(bytes.slice()));
          }
          target(net);
        },
      ),
      { numRuns: 2000, seed: 11 },
    );
    function target(running: Lan): void {
      running.clock.advance(10);
      running.frames.length = 0;
    }
    net.clock.advance(200_000);
    expect(client.adapter.dhcp?.state).toBe('bound');
  });

  it('an IP device that answers in place, in the same buffer, is no loop', () => {
    const net = lan();
    const a = net.host({ addrs: ['10.0.0.1/24'], ipv6: false });
    const b = net.host({ addrs: ['10.0.0.2/24'], ipv6: false });
    net.clock.advance(3000);
    const { inside } = b;
    inside.setHandler((packet) => {
      const { buf, off } = packet;
      const src = buf.slice(off + 12, off + 16);
      buf.copyWithin(off + 12, off + 16, off + 20);
      buf.set(src, off + 16);
      inside.send(new Packet(buf, off, packet.len));
    });
    a.send(udp4('10.0.0.1', '10.0.0.2', 'echo'));
    a.send(udp4('10.0.0.1', '10.0.0.2', 'again'));
    expect(a.texts()).toEqual(['echo', 'again']);
  });

  it('CORE-21: frames of ARP, NDP and DHCP are built in pooled buffers', () => {
    const clock = new VirtualClock();
    const [inside, outside] = pipeL3();
    const gateway = adapt(outside, {
      addrs: ['10.0.0.1/24', 'fd00::1/64'],
      dhcpServer: { conflictProbe: 0 },
      clock,
      random: seeded(3),
    });
    const buffers = new Set<ArrayBufferLike>();
    const count = { arp: 0, ndp: 0, dhcp: 0 };
    gateway.setHandler((frame) => {
      buffers.add(frame.buf.buffer);
      if (frame.etherType === EtherType.ARP) count.arp++;
      else if (frame.etherType === EtherType.IPV6) count.ndp++;
      else count.dhcp++;
    });
    clock.advance(5000);
    buffers.clear();
    count.arp = count.ndp = count.dhcp = 0;
    const own = IpAddr.parse('fd00::1');
    const solicitation = new Uint8Array(128);
    const asker = IpAddr.parse('fd00::9');
    const length = writeNeighborSolicitation(solicitation, 0, asker, own, own, ROGUE.value);
    const ask6 = ethernet(gateway.mac, ROGUE, EtherType.IPV6, solicitation.slice(0, length));
    const ask4 = arp(ArpOperation.REQUEST, ROGUE, '10.0.0.9', '10.0.0.1', MacAddr.BROADCAST);
    const discover: Frame[] = [];
    const client = adapt(pipeL3()[0], { mac: ROGUE, dhcp: true, ipv6: false, clock });
    client.setHandler((frame) => discover.push(frame.clone()));
    clock.advance(1);
    client.close();
    for (let i = 0; i < 300; i++) {
      gateway.send(Frame.of(ask4));
      gateway.send(Frame.of(ask6));
      gateway.send(discover[0]);
      // Packets whose neighbour is not known are asked for.
      inside.send(udp4('10.0.0.1', '10.0.0.77', 'x'));
    }
    expect(count.arp).toBeGreaterThanOrEqual(300);
    expect(count.ndp).toBeGreaterThanOrEqual(300);
    expect(count.dhcp).toBe(300);
    expect(buffers.size).toBeLessThan(6);
  });

  it('adapts a connector by giving it a port of its own', () => {
    const net = lan();
    const seen: Packet[] = [];
    const connector = {
      connectL3(device: { setHandler(h: (p: Packet) => void): void }) {
        device.setHandler((packet) => seen.push(packet.clone()));
        return Object.assign(() => {}, { [Symbol.dispose]() {} });
      },
    };
    const gateway = adapt(connector, { addrs: ['10.0.0.1/24'], clock: net.clock });
    net.hub.connectL2(gateway);
    const server = new DhcpServer({
      address: '10.0.0.2/24',
      routers: ['10.0.0.1'],
      clock: net.clock,
    });
    net.hub.connectL2(server);
    const client = net.host({ dhcp: true, ipv6: false });
    net.clock.advance(3000);
    client.send(udp4('10.0.0.3', '192.0.2.7', 'out'));
    expect(seen.filter((packet) => packet.dst.toString() === '192.0.2.7').length).toBe(1);
  });
});
