import {
  Accept,
  CHECKSUM_PARTIAL,
  get16,
  ipLength,
  type L3Device,
  Packet,
  Prefix,
  pool,
  pseudoHeaderSum,
  put16,
  put32,
  SEGMENT_SIZE_MASK,
  verifyTransport,
} from '@pktkit/core';
import { l3DeviceSuite } from '@pktkit/testkit';
import { generatePrivateKey, WireGuard } from '@pktkit/wg';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Coalescer } from '../src/coalescer.ts';
import { SegmentWriter } from '../src/segments.ts';
import { ipv4, Net, tagOf } from './lab.ts';

function devices(net = new Net(), options: { coalesce?: number; mtu?: number } = {}) {
  const a = net.engine({ endpoint: 1 });
  const b = net.engine({ endpoint: 2 });
  const left = new WireGuard(a, { privateKey: generatePrivateKey(), ...options });
  const right = new WireGuard(b, {
    privateKey: generatePrivateKey(),
    peers: [{ publicKey: left.identity.publicKey, endpoint: 1, allowedIps: ['0.0.0.0/0', '::/0'] }],
    ...options,
  });
  left.addPeer({
    publicKey: right.identity.publicKey,
    endpoint: 2,
    allowedIps: ['0.0.0.0/0', '::/0'],
  });
  return { net, a, b, left, right };
}

l3DeviceSuite({ describe, it }, 'WireGuard', () => {
  const { net, left, right } = devices();
  const received: Uint8Array[] = [];
  right.setHandler((packet) => received.push(packet.bytes.slice()));
  return {
    device: left,
    received,
    inject: (bytes) => right.send(Packet.of(bytes)),
    until: async (condition) => net.clock.runUntil(condition, 60_000),
    settle: async () => net.clock.advance(1000),
    close: () => right.close(),
  };
});

/** A TCP segment with right checksums. */
function tcp(
  family: 4 | 6,
  sequence: number,
  payload: Uint8Array,
  options: { flags?: number; ack?: number; stamp?: number; port?: number } = {},
): Uint8Array {
  const ip = family === 4 ? 20 : 40;
  const header = 32;
  const bytes = new Uint8Array(ip + header + payload.length);
  if (family === 4) {
    bytes.set([0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, 6]);
    put16(bytes, 2, bytes.length);
    bytes.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
    let total = 0;
    for (let i = 0; i < 20; i += 2) total += get16(bytes, i);
    while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
    put16(bytes, 10, ~total);
  } else {
    bytes.set([0x60, 0, 0, 0, 0, 0, 6, 64]);
    put16(bytes, 4, bytes.length - 40);
    bytes[23] = 1;
    bytes[39] = 2;
  }
  put16(bytes, ip, options.port ?? 5000);
  put16(bytes, ip + 2, 80);
  put32(bytes, ip + 4, sequence);
  put32(bytes, ip + 8, options.ack ?? 1);
  bytes[ip + 12] = 0x80;
  bytes[ip + 13] = options.flags ?? 0x10;
  put16(bytes, ip + 14, 1000);
  bytes.set([1, 1, 8, 10], ip + 20);
  put32(bytes, ip + 24, options.stamp ?? 5);
  bytes.set(payload, ip + header);
  finishTcp(bytes, ip);
  return bytes;
}

function finishTcp(bytes: Uint8Array, ip: number): void {
  put16(bytes, ip + 16, 0);
  let total = pseudoHeaderSum(bytes, 0, 6, bytes.length - ip);
  for (let i = ip; i < bytes.length; i += 2) total += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  put16(bytes, ip + 16, ~total);
}

function pattern(length: number, seed = 0): Uint8Array {
  return new Uint8Array(length).map((_, i) => (i * 31 + seed + (i >>> 8)) & 0xff);
}

function check(packet: Packet): void {
  const { buf, off, len } = packet;
  expect(ipLength(buf, off, len)).toBe(len);
  const at = packet.transport & 0xffff;
  expect(verifyTransport(buf, off, packet.transport >>> 16, off + at, len - at)).toBe(true);
}

describe('cryptokey routing', () => {
  it('WG-09: routes by the longest prefix, and takes from a peer only what would go to it', () => {
    const net = new Net();
    const hub = net.engine({ endpoint: 1 });
    const server = new WireGuard(hub, { privateKey: generatePrivateKey() });
    const clients = ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.3/32'].map((prefix, i) => {
      const engine = net.engine({ endpoint: 10 + i });
      const device = new WireGuard(engine, {
        privateKey: generatePrivateKey(),
        peers: [{ publicKey: server.identity.publicKey, endpoint: 1, allowedIps: ['0.0.0.0/0'] }],
      });
      const seen: number[] = [];
      device.setHandler((packet) => seen.push(tagOf(packet)));
      const { publicKey } = device.identity;
      const peer = server.addPeer({ publicKey, allowedIps: [prefix], endpoint: 10 + i });
      return { device, seen, peer };
    });
    const to = (dst: string, tag: number) => server.send(Packet.of(ipv4('10.9.9.9', dst, 50, tag)));
    to('10.200.0.1', 1);
    to('10.1.200.1', 2);
    to('10.1.2.3', 3);
    to('192.0.2.1', 4);
    net.clock.advance(100);
    expect(clients.map(({ seen }) => seen)).toEqual([[1], [2], [3]]);
    expect(server.stats.dropNoRoute).toBe(1);

    const got: number[] = [];
    server.setHandler((packet) => got.push(tagOf(packet)));
    const from = (i: number, src: string, tag: number) =>
      clients[i].device.send(Packet.of(ipv4(src, '10.9.9.9', 50, tag)));
    from(0, '10.5.5.5', 1);
    from(0, '10.1.2.3', 2); // Leads to the third peer.
    from(1, '10.1.2.3', 3);
    from(2, '10.1.2.3', 4);
    from(2, '192.0.2.1', 5); // Leads to nobody.
    net.clock.advance(100);
    expect(got).toEqual([1, 4]);
    expect(hub.stats.dropSource).toBe(3);
  });

  it('WG-09: moves a prefix from peer to peer, and keeps each list right', () => {
    const { left } = devices();
    const other = left.addPeer({ publicKey: generatePrivateKey(), allowedIps: ['10.0.0.0/24'] });
    const [first] = left.peers.values();
    left.allowIp(first, '10.0.0.77/24');
    expect(other.allowedIps).toEqual([]);
    expect(first.allowedIps.map(String)).toEqual(['0.0.0.0/0', '::/0', '10.0.0.0/24']);
    left.disallowIp(other, '10.0.0.0/24');
    expect(first.allowedIps.length).toBe(3);
    left.setAllowedIps(other, ['10.0.0.0/24', 'fd00::/8']);
    expect(first.allowedIps.length).toBe(2);
    left.removePeer(other);
    expect(() => left.allowIp(other, '10.0.0.0/24')).toThrow(/does not belong/);
    const packet = Packet.of(ipv4('10.9.9.9', '10.0.0.5', 50));
    expect(left.route(packet)).toBe(first);
    left.setAllowedIps(first, []);
    expect(left.route(packet)).toBeUndefined();
  });

  it('agrees with a plain list of prefixes, however they come and go', () => {
    const word = fc.integer({ min: 0, max: 0xffffffff });
    const change = fc.record({
      peer: fc.nat(4),
      value: word,
      bits: fc.integer({ min: 0, max: 32 }),
      remove: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 60 }),
        fc.array(word, { maxLength: 20 }),
        (changes, asked) => {
          const { left } = devices();
          const [first] = left.peers.values();
          left.removePeer(first);
          const peers = Array.from({ length: 5 }, () =>
            left.addPeer({ publicKey: generatePrivateKey() }),
          );
          const slow = new Map<string, { prefix: Prefix; peer: number }>();
          for (const { peer, value, bits, remove } of changes) {
            // Few distinct addresses, so that prefixes meet.
            const text = [10, 0, value & 1, value & 3].join('.');
            const prefix = Prefix.parse(`${text}/${bits}`).network;
            if (!remove) {
              left.allowIp(peers[peer], prefix);
              slow.set(String(prefix), { prefix, peer });
            } else {
              left.disallowIp(peers[peer], prefix);
              if (slow.get(String(prefix))?.peer === peer) slow.delete(String(prefix));
            }
          }
          for (const value of asked) {
            const packet = Packet.of(ipv4('10.9.9.9', [10, 0, value & 1, value & 3].join('.'), 0));
            const best = [...slow.values()]
              .filter(({ prefix }) => prefix.contains(packet.dst))
              .sort((x, y) => y.prefix.bits - x.prefix.bits)[0];
            expect(left.route(packet)).toBe(best === undefined ? undefined : peers[best.peer]);
          }
          for (const [i, peer] of peers.entries()) {
            const expected = [...slow.values()].filter((entry) => entry.peer === i);
            expect(peer.allowedIps.map(String).sort()).toEqual(
              expected.map(({ prefix }) => String(prefix)).sort(),
            );
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe('packets', () => {
  it('WG-07: are padded to 16 bytes with zeros but not beyond the MTU, and trimmed again', () => {
    const { net, left, right } = devices();
    const lengths: number[] = [];
    right.setHandler((packet) => lengths.push(packet.len));
    for (const size of [0, 1, 4, 20, 1391, 1392]) {
      left.send(Packet.of(ipv4('10.0.0.1', '10.0.0.2', size)));
    }
    net.clock.advance(100);
    expect(lengths).toEqual([28, 29, 32, 48, 1419, 1420]);
    const data = net.log.filter(({ bytes, to }) => bytes[0] === 4 && to === 2);
    expect(data.map(({ bytes }) => bytes.length - 32)).toEqual([32, 32, 32, 48, 1420, 1420]);
  });

  it('WG-07: what lies behind the window is not sent', () => {
    const { net, left, b } = devices();
    // With a session there: a packet that waits for one is a copy with nothing behind it.
    left.send(Packet.of(ipv4('10.0.0.1', '10.0.0.2', 5)));
    net.clock.advance(100);
    const bytes = new Uint8Array(200).fill(0xee);
    bytes.set(ipv4('10.0.0.1', '10.0.0.2', 5), 50);
    const from = net.log.length;
    left.send(new Packet(bytes, 50, 33));
    const [peer] = b.identities[0].peers.values();
    const text = new Uint8Array(48);
    expect(peer.current?.opener?.openCounter(text, 0, net.log[from].bytes, 16, 48, 1, 0)).toBe(
      true,
    );
    expect(text.subarray(0, 33)).toEqual(bytes.subarray(50, 83));
    expect([...text.subarray(33)]).toEqual(new Array(15).fill(0));
  });

  it('WG-14: what is too big is answered with ICMP or goes in fragments', () => {
    const { net, left, right } = devices();
    left.setAddrs([Prefix.parse('10.0.0.1/24'), Prefix.parse('fd00::1/64')]);
    const errors: Packet[] = [];
    left.setHandler((packet) => errors.push(packet.clone()));
    const big = ipv4('10.0.0.7', '10.0.0.2', 1500);
    big[6] = 0x40;
    left.send(Packet.of(big));
    expect(errors[0].src.toString()).toBe('10.0.0.1');
    expect([...errors[0].buf.subarray(20, 22)]).toEqual([3, 4]);
    expect(get16(errors[0].buf, 26)).toBe(1420);
    const big6 = tcp(6, 1, pattern(2000));
    left.send(Packet.of(big6));
    expect(errors[1].version).toBe(6);
    expect([...errors[1].buf.subarray(40, 42)]).toEqual([2, 0]);
    expect(get16(errors[1].buf, 46)).toBe(1420);
    expect(left.stats.dropTooBig).toBe(2);
    // Without "don't fragment" it goes in pieces.
    const pieces: number[] = [];
    right.setHandler((packet) => pieces.push(packet.len));
    big[6] = 0;
    left.send(Packet.of(big));
    net.clock.advance(100);
    expect(pieces).toEqual([1420, 128]);
    expect(left.stats.fragmented).toBe(1);
  });

  it('without a peer for it a packet is answered as unreachable', () => {
    const { left } = devices();
    const [peer] = left.peers.values();
    left.removePeer(peer);
    left.setAddrs([Prefix.parse('10.0.0.1/24')]);
    const errors: Packet[] = [];
    left.setHandler((packet) => errors.push(packet.clone()));
    left.send(Packet.of(ipv4('10.0.0.7', '10.0.0.2', 10)));
    expect([...errors[0].buf.subarray(20, 22)]).toEqual([3, 1]);
    expect(left.stats.dropNoRoute).toBe(1);
  });

  it('WG-14: congestion marks pass through the tunnel (RFC 6040)', () => {
    const { net, left, right, b } = devices();
    const tos: number[] = [];
    const { link } = left;
    const send = link.send.bind(link);
    link.send = (buf, off, len, to, mark) => {
      tos.push(mark);
      send(buf, off, len, to, mark);
    };
    const marks: number[] = [];
    right.setHandler((packet) => {
      marks.push(packet.buf[packet.off + 1] & 3);
      check(packet);
    });
    const packets = [0, 1, 2, 3].map((ecn) => {
      const bytes = tcp(4, 1, pattern(10));
      bytes[1] = 0xb8 | ecn;
      put16(bytes, 10, get16(bytes, 10) - (0xb8 | ecn));
      return bytes;
    });
    left.send(Packet.of(packets[0]));
    net.clock.advance(50);
    for (const bytes of packets.slice(1)) left.send(Packet.of(bytes));
    net.clock.advance(50);
    // The handshake goes as AF41; congestion known before the tunnel is not shown outside, nor is DSCP.
    expect(tos).toEqual([0x88, 0, 1, 2, 2]);
    expect(marks).toEqual([0, 1, 2, 3]);
    // Congestion on the way.
    const from = net.log.length;
    net.filter = () => false;
    for (const bytes of packets) left.send(Packet.of(bytes));
    for (const { bytes } of net.log.slice(from)) b.handleDatagram(bytes, 0, bytes.length, 1, 3);
    expect(marks.slice(4)).toEqual([3, 3, 3]);
    expect(b.stats.dropCongestion).toBe(1);
  });

  it('WG-13: no buffer is allocated per packet', () => {
    const { net, left, right } = devices();
    let count = 0;
    right.setHandler(() => count++);
    const packet = Packet.of(ipv4('10.0.0.1', '10.0.0.2', 1392));
    left.send(packet);
    net.clock.advance(100);
    const before = pool.stats.allocated;
    for (let i = 0; i < 1000; i++) left.send(packet);
    net.clock.advance(100);
    expect(count).toBe(1001);
    expect(pool.stats.allocated - before).toBeLessThanOrEqual(1);
  });
});

describe('offload', () => {
  const shapes = fc.record({
    family: fc.constantFrom<4 | 6>(4, 6),
    length: fc.integer({ min: 0, max: 65_000 }),
    size: fc.integer({ min: 400, max: 1380 }),
    flags: fc.constantFrom(0x10, 0x18, 0x11, 0x90),
    sequence: fc.integer({ min: 0, max: 0xffffffff }),
  });

  it('segments of a super-segment are whole packets that make up its data', () => {
    fc.assert(
      fc.property(shapes, ({ family, length, size, flags, sequence }) => {
        const whole = tcp(family, sequence, pattern(length), { flags });
        const writer = new SegmentWriter();
        expect(writer.begin(new Packet(whole, 0, whole.length, size | CHECKSUM_PARTIAL))).toBe(
          true,
        );
        const headers = family === 4 ? 52 : 72;
        const out = new Uint8Array(3000);
        let at = 0;
        for (let i = 0; i < writer.count; i++) {
          const len = writer.write(i, out, 64);
          const packet = new Packet(out, 64, len);
          check(packet);
          const ip = 64 + headers - 32;
          expect(((out[ip + 4] << 24) | (get16(out, ip + 5) << 8) | out[ip + 7]) >>> 0).toBe(
            (sequence + at) >>> 0,
          );
          const last = i === writer.count - 1;
          expect(out[ip + 13]).toBe((last ? flags : flags & ~9) & (i === 0 ? 0xff : 0x7f));
          const ours = out.subarray(64 + headers, 64 + len);
          expect(Buffer.compare(ours, whole.subarray(headers + at, at + len))).toBe(0);
          at += len - headers;
        }
        expect(at).toBe(length);
      }),
      { numRuns: 60 },
    );
  });

  it('datagrams of a UDP super-segment carry right lengths and checksums', () => {
    const whole = ipv4('10.0.0.1', '10.0.0.2', 5000);
    const writer = new SegmentWriter();
    expect(writer.begin(new Packet(whole, 0, whole.length, 1200 | CHECKSUM_PARTIAL))).toBe(true);
    expect(writer.count).toBe(5);
    const out = new Uint8Array(2000);
    const sizes = Array.from({ length: 5 }, (_, i) => {
      const len = writer.write(i, out, 0);
      check(new Packet(out, 0, len));
      return get16(out, 24) - 8;
    });
    expect(sizes).toEqual([1200, 1200, 1200, 1200, 200]);
  });

  it('what the coalescer merges, the segment writer takes apart to the same packets', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<4 | 6>(4, 6),
        fc.array(
          fc.record({
            size: fc.constantFrom(1000, 1000, 1000, 1000, 700, 0),
            flags: fc.constantFrom(0x10, 0x10, 0x10, 0x10, 0x18, 0x11, 0x12),
            gap: fc.constantFrom(0, 0, 0, 0, 0, 0, 500),
            stamp: fc.constantFrom(5, 5, 5, 5, 6),
            port: fc.constantFrom(5000, 5000, 5001),
            corrupt: fc.constantFrom(false, false, false, false, false, false, false, true),
          }),
          { maxLength: 80 },
        ),
        (family, items) => {
          const merged: Packet[] = [];
          const coalescer = new Coalescer((packet) => merged.push(packet.clone()));
          coalescer.accepts = Accept.TSO4 | Accept.TSO6;
          const next = new Map<number, number>();
          const sent: Uint8Array[] = [];
          for (const [i, item] of items.entries()) {
            const sequence = (next.get(item.port) ?? 0xfffff000) + item.gap;
            const bytes = tcp(family, sequence >>> 0, pattern(item.size, i), item);
            if (item.corrupt && item.size > 0) bytes[bytes.length - 1] ^= 0x55;
            next.set(item.port, sequence + item.size);
            sent.push(bytes.slice());
            coalescer.push(new Packet(bytes, 0, bytes.length));
            bytes.fill(0xdd);
          }
          coalescer.flush();
          expect(coalescer.isPending).toBe(false);
          const apart: Uint8Array[] = [];
          for (const packet of merged) {
            const size = packet.offload & SEGMENT_SIZE_MASK;
            if (size === 0) {
              apart.push(packet.bytes.slice());
              continue;
            }
            const writer = new SegmentWriter();
            expect(writer.begin(packet)).toBe(true);
            for (let i = 0; i < writer.count; i++) {
              const out = new Uint8Array(2000);
              apart.push(out.slice(0, writer.write(i, out, 0)));
            }
          }
          const portOf = (bytes: Uint8Array) => get16(bytes, family === 4 ? 20 : 40);
          for (const port of [5000, 5001]) {
            const ours = apart.filter((bytes) => portOf(bytes) === port);
            const theirs = sent.filter((bytes) => portOf(bytes) === port);
            expect(ours.length).toBe(theirs.length);
            ours.forEach((bytes, i) => {
              // A merged packet has one identification, counted up; all else is as it was.
              if (family === 4) for (const at of [4, 5, 10, 11]) bytes[at] = theirs[i][at];
              expect(bytes).toEqual(theirs[i]);
            });
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('merges a batch into one super-segment for a device that takes it, and none for one that does not', () => {
    for (const coalesce of [Accept.ALL, 0]) {
      const { net, left, right, b } = devices(new Net(), { coalesce });
      left.send(Packet.of(ipv4('10.0.0.1', '10.0.0.2', 10)));
      net.clock.advance(100);
      const got: Packet[] = [];
      right.setHandler((packet) => got.push(packet.clone()));
      net.filter = () => false;
      const whole = tcp(4, 1000, pattern(41_040));
      const from = net.log.length;
      (left as L3Device).send(new Packet(whole, 0, whole.length, 1368 | CHECKSUM_PARTIAL));
      net.clock.beginBatch();
      for (const { bytes } of net.log.slice(from)) b.handleDatagram(bytes, 0, bytes.length, 1);
      net.clock.endBatch();
      expect(got.length).toBe(coalesce === 0 ? 30 : 1);
      if (coalesce !== 0) {
        expect(got[0].offload & SEGMENT_SIZE_MASK).toBe(1368);
        expect(got[0].len).toBe(41_040 + 52);
      }
    }
  });

  it('a super-segment whose segments do not fit the MTU, or that is none, is dropped', () => {
    const { net, left, a } = devices();
    left.send(Packet.of(ipv4('10.0.0.1', '10.0.0.2', 10)));
    net.clock.advance(100);
    const whole = tcp(4, 1, pattern(9000));
    left.send(new Packet(whole, 0, whole.length, 3000 | CHECKSUM_PARTIAL));
    expect(a.stats.dropTooLarge).toBe(1);
    whole[9] = 89;
    left.send(new Packet(whole, 0, whole.length, 1000 | CHECKSUM_PARTIAL));
    expect(a.stats.dropBadPacket).toBe(1);
  });
});
