import {
  Accept,
  type Disconnect,
  dropPacket,
  IpAddr,
  IpProtocol,
  icmp,
  icmpv6,
  ipv4ChecksumOk,
  type L3Device,
  L3Hub,
  Packet,
  type PacketHandler,
  PktkitError,
  Prefix,
  pipeL3,
  sum,
  verifyTransport,
  writeIpv4,
  writeIpv6,
} from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

class Probe implements L3Device {
  addrs: readonly Prefix[];
  mtu = 1500;
  readonly accepts = Accept.ALL;
  readonly got: Packet[] = [];
  handler: PacketHandler = dropPacket;
  onSend: ((packet: Packet) => void) | null = null;

  constructor(...addrs: string[]) {
    this.addrs = addrs.map(Prefix.parse);
  }

  setAddrs(addrs: readonly Prefix[]): void {
    this.addrs = addrs;
  }

  setHandler(handler: PacketHandler): void {
    this.handler = handler;
  }

  send(packet: Packet): void {
    this.got.push(packet.clone());
    this.onSend?.(packet);
  }

  close(): void {}

  bring(
    dst: string,
    options: { src?: string; ttl?: number; len?: number; protocol?: number } = {},
  ): void {
    this.handler(build(options.src ?? this.addrs[0].addr.toString(), dst, options));
  }

  take(): number {
    return this.got.splice(0).length;
  }
}

function build(
  src: string,
  dst: string,
  { ttl = 64, len = 100, protocol = IpProtocol.UDP as number } = {},
): Packet {
  const buf = new Uint8Array(len);
  const to = IpAddr.parse(dst);
  if (to.family === 4) writeIpv4(buf, 0, len, protocol, IpAddr.parse(src).w3, to.w3, ttl);
  else writeIpv6(buf, 0, len - 40, protocol, IpAddr.parse(src), to, ttl);
  return Packet.of(buf);
}

function net(options: ConstructorParameters<typeof L3Hub>[0] = {}, ...devices: Probe[]) {
  const clock = new VirtualClock();
  const hub = new L3Hub({ clock, ...options });
  const undo: Disconnect[] = devices.map((device) => hub.connectL3(device));
  return { clock, hub, undo };
}

describe('L3Hub', () => {
  it('CORE-07: delivers by longest prefix, of either family, to devices with several addresses', () => {
    const a = new Probe('10.0.0.1/24', 'fd00::1/64');
    const b = new Probe('10.0.0.2/24', 'fd00::2/64', '192.168.5.1/24');
    const wide = new Probe('10.0.0.3/8');
    net({}, wide, a, b);
    a.bring('10.0.0.2');
    expect([a.take(), b.take(), wide.take()]).toEqual([0, 1, 0]);
    a.bring('192.168.5.77');
    a.bring('fd00::2', { src: 'fd00::1' });
    expect([a.take(), b.take(), wide.take()]).toEqual([0, 2, 0]);
    a.bring('10.9.9.9');
    expect([a.take(), b.take(), wide.take()]).toEqual([0, 0, 1]);
    b.bring('10.0.0.1');
    expect(a.take()).toBe(1);
  });

  it('CORE-07: a device without an address swallows nothing', () => {
    const blank = new Probe('0.0.0.0/0', '::/0');
    const a = new Probe('10.0.0.1/24');
    const b = new Probe('10.0.1.1/24');
    const { hub } = net({}, blank, a, b);
    a.bring('10.0.1.1');
    a.bring('8.8.8.8');
    expect([blank.take(), b.take()]).toEqual([0, 1]);
    expect(hub.stats.dropNoRoute).toBe(1);
  });

  it("CORE-07: what is for the sender's own network never goes out by the default route, or back", () => {
    const a = new Probe('10.0.0.1/24');
    const out = new Probe('192.0.2.1/24');
    const { hub } = net({}, a, out);
    hub.setDefaultRoute(out);
    a.bring('10.0.0.99');
    expect([a.take(), out.take()]).toEqual([0, 0]);
    expect(hub.stats.dropSamePort).toBe(1);
    a.bring('8.8.8.8');
    expect(out.take()).toBe(1);
  });

  it('CORE-08: a default route ends with its device, can be cleared, and wants a connected device', () => {
    const a = new Probe('10.0.0.1/24', 'fd00::1/64');
    const out = new Probe('192.0.2.1/24');
    const { hub, undo } = net({}, a, out);
    expect(() => hub.setDefaultRoute(new Probe('10.2.2.2/24'))).toThrow(PktkitError);
    hub.setDefaultRoute(out, 4);
    expect(hub.defaultRoute(4)).toBe(out);
    expect(hub.defaultRoute(6)).toBe(null);
    a.bring('2001:db8::1', { src: 'fd00::1' });
    a.bring('8.8.8.8');
    expect(out.take()).toBe(1);
    hub.clearDefaultRoute();
    a.bring('8.8.8.8');
    expect([out.take(), hub.stats.dropNoRoute]).toEqual([0, 2]);
    hub.setDefaultRoute(out);
    undo[1]();
    undo[1]();
    expect(hub.defaultRoute(4)).toBe(null);
    a.bring('8.8.8.8');
    expect([out.take(), hub.stats.dropNoRoute]).toEqual([0, 3]);
    // The port number is free again; the old route must not lead to whoever takes it.
    const next = new Probe('172.16.0.1/24');
    hub.connectL3(next);
    a.bring('8.8.8.8');
    expect(next.take()).toBe(0);
  });

  it('takes routes by hand, before what addresses say', () => {
    const a = new Probe('10.0.0.1/24');
    const b = new Probe('10.0.1.1/24');
    const c = new Probe('10.0.2.1/24');
    const { hub } = net({}, a, b, c);
    hub.addRoute('172.16.5.9/12', b);
    a.bring('172.20.1.1');
    expect(b.take()).toBe(1);
    hub.addRoute('10.0.1.0/24', c);
    a.bring('10.0.1.50');
    a.bring('10.0.1.1');
    expect([b.take(), c.take()]).toEqual([1, 1]);
    expect(hub.removeRoute('172.16.0.0/12')).toBe(true);
    expect(hub.removeRoute('172.16.0.0/12')).toBe(false);
    expect(hub.route('172.20.1.1')).toBe(null);
    expect(hub.route('10.0.1.1')).toBe(b);
  });

  it('CORE-09: directed broadcast, limited broadcast and multicast reach those they are for', () => {
    const a = new Probe('10.0.0.1/24');
    const b = new Probe('10.0.0.2/24');
    const c = new Probe('10.0.1.1/24');
    const { hub } = net({}, a, b, c);
    a.bring('10.0.0.255');
    expect([a.take(), b.take(), c.take()]).toEqual([0, 1, 0]);
    a.bring('255.255.255.255');
    a.bring('224.0.0.251');
    expect([a.take(), b.take(), c.take()]).toEqual([0, 2, 2]);
    a.bring('ff02::1', { src: 'fe80::1' });
    expect([a.take(), b.take(), c.take()]).toEqual([0, 1, 1]);
    a.bring('240.0.0.1');
    expect([a.take(), b.take(), c.take()]).toEqual([0, 0, 0]);
    expect(hub.stats.dropNoRoute).toBe(1);
  });

  it('CORE-06: two hubs that are each other’s default route do not recurse until the stack is gone', () => {
    const clock = new VirtualClock();
    const [left, right] = [new L3Hub({ clock }), new L3Hub({ clock })];
    for (let link = 0; link < 4; link++) {
      const [x, y] = pipeL3();
      left.connectL3(x);
      right.connectL3(y);
      left.setDefaultRoute(x);
      right.setDefaultRoute(y);
    }
    const host = new Probe('10.0.0.1/24');
    left.connectL3(host);
    host.bring('8.8.8.8');
    host.bring('255.255.255.255');
    expect(left.stats.dropLoop + right.stats.dropLoop + right.stats.dropSamePort).toBeGreaterThan(
      0,
    );
    expect(host.got.length).toBeLessThan(40);
  });

  it('CORE-06: a ring of hubs that each send on to the next ends at a depth', () => {
    const clock = new VirtualClock();
    const ring = [0, 1, 2].map(() => new L3Hub({ clock }));
    ring.forEach((hub, i) => {
      const [way, back] = pipeL3();
      hub.connectL3(way);
      hub.setDefaultRoute(way);
      ring[(i + 1) % 3].connectL3(back);
    });
    const host = new Probe('10.0.0.1/24');
    ring[0].connectL3(host);
    host.bring('8.8.8.8');
    expect(ring.map(({ stats }) => stats.dropLoop)).toEqual([1, 0, 0]);
    expect(ring.map(({ stats }) => stats.portErrors)).toEqual([0, 0, 0]);
    expect(ring[1].stats.forwarded).toBe(16);
  });

  it('CORE-06: a directed broadcast over several links between two hubs goes round once', () => {
    const clock = new VirtualClock();
    const [left, right] = [new L3Hub({ clock }), new L3Hub({ clock })];
    for (let link = 0; link < 5; link++) {
      const [x, y] = pipeL3();
      // Each end has an address in the network: the broadcast is for all of them.
      x.setAddrs([Prefix.parse(`10.0.0.${10 + link}/24`)]);
      y.setAddrs([Prefix.parse(`10.0.0.${20 + link}/24`)]);
      left.connectL3(x);
      right.connectL3(y);
    }
    const host = new Probe('10.0.0.1/24');
    const other = new Probe('10.0.0.2/24');
    left.connectL3(host);
    right.connectL3(other);
    host.bring('10.0.0.255');
    expect(left.stats.dropLoop + right.stats.dropLoop).toBeGreaterThan(0);
    expect(left.stats.flooded + right.stats.flooded).toBeLessThan(20);
    expect(other.got.length).toBeGreaterThan(0);
    expect(other.got.length).toBeLessThan(10);
  });

  it('CORE-06: a router counts hops down, keeps the checksum right and answers where they end', () => {
    const a = new Probe('10.0.0.1/24', 'fd00::1/64');
    const b = new Probe('10.0.1.1/24', 'fd01::1/64');
    const { hub } = net({ routing: true, addresses: ['10.0.0.254', 'fd00::fe'] }, a, b);
    a.bring('10.0.1.1', { ttl: 7 });
    a.bring('fd01::1', { src: 'fd00::1', ttl: 7 });
    expect(b.got.map(({ ttl }) => ttl)).toEqual([6, 6]);
    expect(ipv4ChecksumOk(b.got[0].buf, 0)).toBe(true);
    a.bring('10.0.1.1', { ttl: 1 });
    a.bring('fd01::1', { src: 'fd00::1', ttl: 1 });
    expect(b.take()).toBe(2);
    const [four, six] = a.got;
    expect([four.src.toString(), four.dst.toString()]).toEqual(['10.0.0.254', '10.0.0.1']);
    expect([icmp.type(four.buf, 20), icmp.code(four.buf, 20)]).toEqual([11, 0]);
    expect(sum(four.buf, 20, four.len - 20)).toBe(0xffff);
    expect(ipv4ChecksumOk(four.buf, 0)).toBe(true);
    expect([six.src.toString(), icmpv6.type(six.buf, 40), icmpv6.code(six.buf, 40)]).toEqual([
      'fd00::fe',
      3,
      0,
    ]);
    expect(verifyTransport(six.buf, 0, IpProtocol.ICMPV6, 40, six.len - 40)).toBe(true);
    expect(hub.stats).toMatchObject({ dropHops: 2, icmpErrors: 2 });
  });

  it('a router keeps link-local traffic and broadcasts on their link', () => {
    const a = new Probe('10.0.0.1/24', 'fe80::1/64');
    const b = new Probe('10.0.1.1/24', 'fe80::2/64');
    const { hub } = net({ routing: true }, a, b);
    for (const dst of ['255.255.255.255', '224.0.0.5', '10.0.1.255', 'ff02::1', 'fe80::2']) {
      a.bring(dst, dst.includes(':') ? { src: 'fe80::1' } : {});
    }
    expect([b.take(), hub.stats.dropScope]).toEqual([0, 5]);
    a.bring('239.1.2.3', { ttl: 5 });
    expect(b.got.map(({ ttl }) => ttl)).toEqual([4]);
  });

  it('CORE-10: answers what has no route or is too big, and never what may not be answered', () => {
    const a = new Probe('10.0.0.1/24', 'fd00::1/64');
    const b = new Probe('10.0.1.1/24', 'fd01::1/64');
    b.mtu = 1280;
    const { hub } = net({ addresses: ['fd00::fe'] }, a, b);
    a.bring('8.8.8.8');
    expect(a.got[0].src.toString()).toBe('192.0.0.8');
    expect([icmp.type(a.got[0].buf, 20), icmp.code(a.got[0].buf, 20)]).toEqual([3, 0]);
    a.bring('2001:db8::1', { src: 'fd00::1' });
    expect([icmpv6.type(a.got[1].buf, 40), icmpv6.code(a.got[1].buf, 40)]).toEqual([1, 0]);
    a.bring('10.0.1.1', { len: 1281 });
    expect([
      icmp.type(a.got[2].buf, 20),
      icmp.code(a.got[2].buf, 20),
      icmp.nextHopMtu(a.got[2].buf, 20),
    ]).toEqual([3, 4, 1280]);
    expect(a.got[2].len).toBe(576);
    a.bring('fd01::1', { src: 'fd00::1', len: 1400 });
    expect([icmpv6.type(a.got[3].buf, 40), icmpv6.mtu(a.got[3].buf, 40), a.got[3].len]).toEqual([
      2, 1280, 1280,
    ]);
    a.bring('10.0.1.1', { len: 1280 });
    expect([a.take(), b.take()]).toEqual([4, 1]);
    // An error message, a later fragment, senders that are no single host.
    const error = build('10.0.0.1', '8.8.8.8', { protocol: IpProtocol.ICMP });
    error.buf[20] = 3;
    a.handler(error);
    const fragment = build('10.0.0.1', '8.8.8.8');
    fragment.buf[7] = 1;
    a.handler(fragment);
    for (const src of ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255'])
      a.bring('8.8.8.8', { src });
    const six = build('fd00::1', '2001:db8::1', { protocol: IpProtocol.ICMPV6 });
    six.buf[40] = 1;
    a.handler(six);
    a.bring('2001:db8::1', { src: '::' });
    expect(a.take()).toBe(0);
    expect(hub.stats.icmpSuppressed).toBe(8);
    const echo = build('10.0.0.1', '8.8.8.8', { protocol: IpProtocol.ICMP });
    echo.buf[20] = 8;
    a.handler(echo);
    expect(a.take()).toBe(1);
  });

  it('CORE-10: limits the rate of errors', () => {
    const a = new Probe('10.0.0.1/24');
    const { clock, hub } = net({ errorsPerSecond: 10 }, a);
    for (let i = 0; i < 100; i++) a.bring('8.8.8.8');
    expect(a.take()).toBe(5);
    clock.advance(1000);
    for (let i = 0; i < 100; i++) a.bring('8.8.8.8');
    expect(a.take()).toBe(5);
    expect(hub.stats.dropNoRoute).toBe(200);
    const quiet = new Probe('10.0.0.1/24');
    net({ errorsPerSecond: 0 }, quiet);
    quiet.bring('8.8.8.8');
    expect(quiet.take()).toBe(0);
  });

  it('notices addresses that change, on either side', () => {
    const a = new Probe('10.0.0.1/24');
    const b = new Probe();
    const others = Array.from({ length: 5 }, (_, i) => new Probe(`10.1.${i}.1/24`));
    const { hub } = net({}, a, b, ...others);
    hub.setDefaultRoute(others[0]);
    b.setAddrs([Prefix.parse('10.0.5.1/24')]);
    for (let i = 0; i < 7 * 8; i++) a.bring('10.0.5.1');
    expect(b.take()).toBeGreaterThan(0);
    b.setAddrs([Prefix.parse('10.0.6.1/24')]);
    a.bring('10.0.5.1');
    expect(b.take()).toBe(0);
    a.bring('10.0.6.1');
    expect(b.take()).toBe(1);
    b.setAddrs([Prefix.parse('10.0.7.1/24')]);
    b.bring('10.0.0.1');
    a.bring('10.0.7.1');
    expect([a.take(), b.take()]).toEqual([1, 1]);
    b.setAddrs([Prefix.parse('10.0.8.1/24')]);
    hub.refresh();
    expect(hub.route('10.0.8.9')).toBe(b);
  });

  it('survives devices that throw, leave or answer on the same stack', () => {
    const errors: unknown[] = [];
    const a = new Probe('10.0.0.1/24');
    const b = new Probe('10.0.1.1/24');
    const { hub, undo } = net({ onError: (error) => errors.push(error) }, a, b);
    b.onSend = () => {
      throw new Error('broken');
    };
    a.bring('10.0.1.1');
    expect([errors.length, hub.stats.portErrors]).toEqual([1, 1]);
    b.onSend = () => {
      b.onSend = null;
      b.bring('10.0.0.1');
      undo[1]();
    };
    a.bring('10.0.1.1');
    expect([a.take(), b.take()]).toEqual([1, 2]);
    a.bring('10.0.1.1');
    expect(b.take()).toBe(0);
    b.bring('10.0.0.1');
    expect(a.take()).toBe(1); // the ICMP error about the packet before
    expect(() => hub.connectL3(a)).toThrow(PktkitError);
    expect(() => new L3Hub({ maxPorts: -1 })).toThrow(/maxPorts/);
    const one = new L3Hub({ maxPorts: 1 });
    one.connectL3(b);
    expect(() => one.connectL3(new Probe('10.0.0.9/24'))).toThrow(/maxPorts/);
  });

  it('never throws, whatever the bytes', () => {
    const bytes = fc.uint8Array({ maxLength: 90 });
    const ipish = bytes.map((raw) => {
      if (raw.length > 0) raw[0] = (raw[0] & 0x1f) | 0x40;
      return raw;
    });
    fc.assert(
      fc.property(fc.boolean(), fc.array(fc.oneof(bytes, ipish)), (routing, packets) => {
        const a = new Probe('10.0.0.1/24', 'fd00::1/64');
        const b = new Probe('10.0.1.1/24');
        const { hub } = net({ routing, addresses: ['fd00::fe'] }, a, b);
        hub.setDefaultRoute(b);
        for (const packet of packets) a.handler(Packet.of(packet));
        const { stats } = hub;
        expect(
          stats.forwarded +
            stats.flooded +
            stats.dropMalformed +
            stats.dropNoRoute +
            stats.dropSamePort +
            stats.dropHops +
            stats.dropScope,
        ).toBe(packets.length);
      }),
    );
  });
});
