import {
  HEADROOM,
  IpAddr,
  IpProtocol,
  Packet,
  pipeL3,
  put16,
  tcp,
  transportChecksum,
  udp,
  writeIpv4,
} from '@pktkit/core';
import { Slirp } from '@pktkit/slirp';
import { dissectPacket, VirtualClock } from '@pktkit/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { FakeSockets } from './fake-sockets.ts';
import { GATEWAY4, GATEWAY6, GUEST4, type Lan, lan } from './lan.ts';

const open: Array<{ close(): void }> = [];

afterEach(() => {
  for (const thing of open.splice(0).reverse()) thing.close();
});

interface Bench extends Lan {
  readonly clock: VirtualClock;
  readonly sockets: FakeSockets;
}

function bench(options: Parameters<typeof lan>[0] = {}): Bench {
  const clock = new VirtualClock();
  const sockets = new FakeSockets();
  const made = { ...lan({ clock, sockets, hostLoopback: false, ...options }), clock, sockets };
  open.push(made);
  return made;
}

/** A packet from the guest, straight into slirp. */
function udp4(fields: {
  dst: string;
  src?: string;
  port?: number;
  ttl?: number;
  fragment?: number;
  payload?: Uint8Array;
  breakChecksum?: boolean;
  breakHeader?: boolean;
}): Packet {
  const payload = fields.payload ?? new Uint8Array(16);
  const buf = new Uint8Array(HEADROOM + 28 + payload.length);
  const off = HEADROOM;
  const src = IpAddr.parse(fields.src ?? GUEST4).w3;
  const length = 8 + payload.length;
  writeIpv4(
    buf,
    off,
    20 + length,
    IpProtocol.UDP,
    src,
    IpAddr.parse(fields.dst).w3,
    fields.ttl ?? 64,
    1,
    fields.fragment ?? 0,
  );
  udp.write(buf, off + 20, 5000, fields.port ?? 9, length);
  buf.set(payload, off + 28);
  put16(buf, off + 26, transportChecksum(buf, off, IpProtocol.UDP, off + 20, length));
  if (fields.breakChecksum) buf[off + 28] ^= 1;
  if (fields.breakHeader) buf[off + 8] ^= 1;
  return new Packet(buf, off, 20 + length);
}

function answers(slirp: Slirp): Packet[] {
  const packets: Packet[] = [];
  slirp.setHandler((packet) => packets.push(packet.clone()));
  return packets;
}

describe('fragments', () => {
  it('SLIRP-06: a later fragment is never read as a transport header', () => {
    const { slirp, sockets } = bench();
    // What would be ports is payload here.
    slirp.send(udp4({ dst: '192.0.2.1', fragment: 0x2000 | 185 }));
    slirp.send(udp4({ dst: '192.0.2.1', fragment: 185 }));
    expect(sockets.sockets).toHaveLength(0);
    expect(slirp.stats.fragmentsIn).toBe(2);
    expect(slirp.stats.udpUp).toBe(0);
  });
});

describe('guards', () => {
  it.each([
    ['127.0.0.1'],
    ['127.8.8.8'],
    ['0.0.0.0'],
    ['255.255.255.255'],
    ['10.0.2.255'],
    ['224.0.0.251'],
    ['240.0.0.1'],
  ])('SLIRP-07: nothing leaves to %s', (dst) => {
    const { slirp, sockets } = bench({ hostLoopback: true });
    slirp.send(udp4({ dst, port: 67 }));
    expect(sockets.sockets).toHaveLength(0);
    expect(slirp.stats.dropMartian).toBe(1);
  });

  it.each([['::1'], ['::'], ['::ffff:127.0.0.1'], ['::127.0.0.1'], ['ff02::fb']])(
    'SLIRP-07: nothing leaves to %s',
    (dst) => {
      const { slirp, guest, sockets } = bench({ hostLoopback: true });
      guest.setHandler((packet) => {
        // The guest's own stack would keep loopback to itself: the address is put in on the way.
        IpAddr.parse(dst).write(packet.buf, packet.off + 24);
        const at = packet.off + 40;
        put16(packet.buf, at + 6, 0);
        put16(
          packet.buf,
          at + 6,
          transportChecksum(packet.buf, packet.off, IpProtocol.UDP, at, packet.len - 40),
        );
        slirp.send(packet);
      });
      guest.udp().send(new Uint8Array(4), IpAddr.parse('2001:db8::1'), 9);
      expect(sockets.sockets).toHaveLength(0);
      expect(slirp.stats.dropMartian).toBe(1);
    },
  );

  it.each([
    ['169.254.169.254', {}],
    ['fe80::1', {}],
    ['fd00:ec2::254', {}],
    ['192.0.2.9', { addresses: ['192.0.2.9'] }],
    ['2001:db8::9', { addresses: ['2001:db8::9'] }],
    ['198.51.100.7', { deny: ['198.51.100.0/24'] }],
    ['198.51.100.7', { allow: () => false }],
    ['10.0.2.77', {}],
  ] as const)('SLIRP-07: %s is guarded and the guest is told', async (dst, setup) => {
    const { guest, slirp, sockets, clock } = bench({
      ...('deny' in setup ? { deny: setup.deny } : {}),
      ...('allow' in setup ? { allow: setup.allow } : {}),
    });
    if ('addresses' in setup) sockets.addresses = setup.addresses.map(IpAddr.parse);
    const errors: string[] = [];
    const socket = guest.udp({
      remote: { address: dst, port: 80 },
      onError: (error) => errors.push((error as NodeJS.ErrnoException).code ?? ''),
    });
    socket.send(new Uint8Array(4));
    expect(errors).toHaveLength(1);
    const connecting = guest.connect({ host: dst, port: 80 });
    let code = '';
    connecting.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code ?? '';
    });
    await clock.runUntilAsync(() => code !== '');
    expect(['EHOSTUNREACH', 'ENETUNREACH', 'EACCES']).toContain(code);
    expect(sockets.streams).toHaveLength(0);
    expect(sockets.sockets).toHaveLength(0);
    expect(slirp.stats.icmpErrors).toBe(2);
  });

  it('SLIRP-07: the gateway’s address is the host’s loopback only when told so', async () => {
    const guarded = bench();
    const refused = guarded.guest.connect({ host: GATEWAY4, port: 22 });
    let code = '';
    refused.on('error', (error: NodeJS.ErrnoException) => {
      code = error.code ?? '';
    });
    await guarded.clock.runUntilAsync(() => code !== '');
    expect(code).toBe('ECONNREFUSED');
    expect(guarded.sockets.streams).toHaveLength(0);

    const opened = bench({ hostLoopback: true });
    for (const [host, target] of [
      [GATEWAY4, '127.0.0.1'],
      [GATEWAY6, '::1'],
    ]) {
      opened.guest.connect({ host, port: 22 }).on('error', () => {});
      const { streams } = opened.sockets;
      const before = streams.length;
      await opened.clock.runUntilAsync(() => streams.length > before);
      expect(streams.at(-1)).toMatchObject({ address: target, port: 22 });
    }
  });

  it('SLIRP-07: the program’s own policy sees every flow and decides', async () => {
    const seen: string[] = [];
    const { guest, sockets, clock, slirp } = bench({
      allow: ({ protocol, source, destination, destinationPort }) => {
        seen.push(`${protocol} ${source} ${destination} ${destinationPort}`);
        return destinationPort === 443 ? 'allow' : 'drop';
      },
    });
    guest.connect({ host: '192.0.2.1', port: 443 }).on('error', () => {});
    guest.connect({ host: '192.0.2.1', port: 25 }).on('error', () => {});
    const socket = guest.udp();
    for (let i = 0; i < 3; i++) socket.send(new Uint8Array(1), IpAddr.parse('192.0.2.1'), 443);
    await clock.runUntilAsync(() => sockets.streams.length === 1);
    expect(seen).toContain(`tcp ${GUEST4} 192.0.2.1 443`);
    expect(seen).toContain(`tcp ${GUEST4} 192.0.2.1 25`);
    // Once for the flow, not for each datagram.
    expect(seen.filter((line) => line.startsWith('udp'))).toHaveLength(1);
    expect(slirp.stats).toMatchObject({ dropPolicy: 1, icmpErrors: 0, udpUp: 3 });
  });
});

describe('ICMP', () => {
  it('answers echo for its own addresses, in both families', async () => {
    const { guest, clock } = bench();
    for (const host of [GATEWAY4, GATEWAY6]) {
      const reply = await clock.settle(guest.ping(host, { size: 1000 }));
      expect(reply).toMatchObject({ address: host, size: 1000, ttl: 64 });
    }
  });

  it('SLIRP-08: a stack with IPv6 addresses only survives an IPv4 echo', () => {
    const slirp = new Slirp({
      addrs: ['fd00::2/64'],
      sockets: new FakeSockets(),
      clock: new VirtualClock(),
    });
    open.push(slirp);
    const sent = answers(slirp);
    const { guest } = bench();
    guest.setHandler((packet) => slirp.send(packet));
    guest.ping(GATEWAY4).catch(() => {});
    guest.udp().send(new Uint8Array(1), IpAddr.parse('192.0.2.1'), 53);
    guest.ping(GATEWAY6).catch(() => {});
    expect(sent).toHaveLength(0);
    expect(slirp.stats.packetsIn).toBeGreaterThan(0);
  });

  it('says plainly that it cannot ping the outside', async () => {
    const { guest, clock, slirp } = bench();
    await expect(clock.settle(guest.ping('192.0.2.1'))).rejects.toMatchObject({
      code: 'EHOSTUNREACH',
    });
    expect(slirp.stats.dropEcho).toBe(1);
  });

  it('is a hop: TTL 1 to the outside is answered by time exceeded', () => {
    const { slirp, sockets } = bench();
    const sent = answers(slirp);
    slirp.send(udp4({ dst: '192.0.2.1', ttl: 1 }));
    expect(sockets.sockets).toHaveLength(0);
    expect(slirp.stats.dropTtl).toBe(1);
    expect(dissectPacket(sent[0])).toMatchObject({
      ip: { src: GATEWAY4 },
      icmp: { type: 11, code: 0 },
    });
  });

  it('bounds the errors it sends', () => {
    const { slirp } = bench({ limits: { icmpErrors: 10 } });
    const sent = answers(slirp);
    for (let i = 0; i < 200; i++) slirp.send(udp4({ dst: '192.0.2.1', ttl: 1 }));
    expect(sent.length).toBeLessThanOrEqual(50);
    expect(slirp.stats.dropIcmpLimit).toBeGreaterThanOrEqual(150);
  });
});

describe('checksums', () => {
  it('SLIRP-14: damaged packets are dropped', () => {
    const { slirp, sockets } = bench();
    slirp.send(udp4({ dst: '192.0.2.1', breakChecksum: true }));
    slirp.send(udp4({ dst: '192.0.2.1', breakHeader: true }));
    expect(slirp.stats.dropChecksum).toBe(2);
    expect(sockets.sockets).toHaveLength(0);
    slirp.send(udp4({ dst: '192.0.2.1' }));
    expect(sockets.sockets).toHaveLength(1);
  });

  it('SLIRP-14: a sum of zero goes out as all ones', () => {
    const { slirp, guest, sockets } = bench();
    const socket = guest.udp({ port: 5000 });
    socket.send(new Uint8Array(1), IpAddr.parse('192.0.2.1'), 9);
    const sent: Packet[] = [];
    // Without offloads, so that checksums are whole.
    const [near, far] = pipeL3({ accepts: 0 });
    near.setHandler((packet) => sent.push(packet.clone()));
    slirp.connectL3(far);
    near.send(udp4({ dst: '192.0.2.1' }));
    const host = sockets.sockets.at(-1);
    // Two bytes that make the sum come out as zero.
    const zero = new Uint8Array(2);
    for (let word = 0; word < 65536; word++) {
      put16(zero, 0, word);
      host?.events.onMessage(zero, '192.0.2.1', 9);
      const packet = sent.pop() as Packet;
      const check = (packet.buf[packet.off + 26] << 8) | packet.buf[packet.off + 27];
      expect(check).not.toBe(0);
      if (check === 0xffff) return;
    }
    expect.unreachable('no payload gave a sum of zero');
  });
});

describe('segment sizes', () => {
  it('SLIRP-12: the SYN-ACK offers what fits the link', async () => {
    const { slirp, sockets, clock } = bench({ mtu: 1280 });
    const sent = answers(slirp);
    const buf = new Uint8Array(HEADROOM + 44);
    writeIpv4(
      buf,
      HEADROOM,
      44,
      IpProtocol.TCP,
      IpAddr.parse(GUEST4).w3,
      IpAddr.parse('192.0.2.1').w3,
    );
    tcp.write(buf, HEADROOM + 20, 40000, 80, 1, 0, 24, 2, 65535);
    buf.set([2, 4, 8960 >>> 8, 8960 & 255], HEADROOM + 40);
    put16(buf, HEADROOM + 36, transportChecksum(buf, HEADROOM, IpProtocol.TCP, HEADROOM + 20, 24));
    slirp.send(new Packet(buf, HEADROOM, 44));
    clock.flush();
    sockets.streams[0].events.onConnected();
    const synAck = dissectPacket(sent[0]);
    expect(synAck.tcp).toMatchObject({ srcPort: 80, dstPort: 40000 });
    const at = sent[0].off + 20;
    const options = sent[0].buf.subarray(at + 20, sent[0].off + sent[0].len);
    expect([...options.subarray(0, 4)]).toEqual([2, 4, 1240 >>> 8, 1240 & 255]);
  });
});

it('drops what is no IP packet, and protocols that it does not carry', () => {
  const { slirp } = bench();
  const sent = answers(slirp);
  for (let length = 0; length < 40; length++) slirp.send(Packet.of(new Uint8Array(length)));
  expect(slirp.stats.dropMalformed).toBe(40);
  const gre = new Uint8Array(24);
  writeIpv4(gre, 0, 24, IpProtocol.GRE, IpAddr.parse(GUEST4).w3, IpAddr.parse('192.0.2.1').w3);
  slirp.send(Packet.of(gre));
  expect(slirp.stats.dropProtocol).toBe(1);
  expect(dissectPacket(sent[0])).toMatchObject({ icmp: { type: 3 } });
});
