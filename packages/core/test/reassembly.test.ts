import {
  fragment4,
  fragment6,
  ipv4ChecksumOk,
  type Packet,
  put16,
  put32,
  Reassembler,
} from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seeded, udp4, udp6 } from './lan.ts';

function payload(size: number): Uint8Array {
  const random = seeded(size);
  return Uint8Array.from({ length: size }, () => random() & 255);
}

function fragments(packet: Packet, mtu: number, id = 7): Packet[] {
  const parts: Packet[] = [];
  if (packet.version === 4) fragment4(packet, mtu, (part) => parts.push(part.clone()));
  else fragment6(packet, mtu, id, (part) => parts.push(part.clone()));
  return parts;
}

function setup(options = {}) {
  const clock = new VirtualClock();
  const reassembler = new Reassembler({ clock, random: seeded(1), ...options });
  return { clock, reassembler };
}

describe('fragments', () => {
  it.each([4, 6])('come together again in any order, IPv%i', (family) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9000 }),
        fc.integer({ min: 68, max: 1500 }),
        fc.integer(),
        (size, mtu, order) => {
          const { reassembler } = setup();
          const bytes = payload(size);
          const packet =
            family === 4
              ? udp4('10.0.0.1', '10.0.0.2', bytes, false)
              : udp6('fd00::1', 'fd00::2', bytes);
          fc.pre(packet.len > mtu);
          const parts = fragments(packet, mtu);
          expect(parts.every((part) => part.len <= mtu)).toBe(true);
          const random = seeded(order);
          parts.sort(() => (random() & 1) - 0.5);
          fc.pre(parts.length <= 256);
          const whole = parts.map((part) => reassembler.add(part)).filter((p) => p !== null);
          expect(whole.length).toBe(1);
          expect(whole[0].bytes).toEqual(packet.bytes);
          if (family === 4) expect(ipv4ChecksumOk(whole[0].buf, whole[0].off)).toBe(true);
          expect([reassembler.size, reassembler.bytes]).toEqual([0, 0]);
        },
      ),
      { numRuns: 40, seed: 5 },
    );
  });

  it('pass what is no fragment', () => {
    const { reassembler } = setup();
    const packet = udp4('10.0.0.1', '10.0.0.2', 'x');
    expect(reassembler.add(packet)).toBe(packet);
  });

  it.each([4, 6])('that overlap make their datagram void, IPv%i', (family) => {
    const { reassembler, clock } = setup();
    const bytes = payload(3000);
    const packet =
      family === 4 ? udp4('10.0.0.1', '10.0.0.2', bytes, false) : udp6('fd00::1', 'fd00::2', bytes);
    const parts = fragments(packet, 1280);
    const evil = parts[1].clone();
    // The second again, eight bytes to the front.
    const field = family === 4 ? 6 : 42;
    const word = evil.buf[field] * 256 + evil.buf[field + 1];
    put16(evil.buf, field, family === 4 ? word - 1 : word - 8);
    expect(reassembler.add(parts[0])).toBeNull();
    expect(reassembler.add(evil)).toBeNull();
    expect(reassembler.bytes).toBe(0);
    expect(parts.map((part) => reassembler.add(part))).toEqual(parts.map(() => null));
    expect(reassembler.stats.reassembled).toBe(0);
    expect(reassembler.stats.dropOverlap).toBeGreaterThan(1);
    clock.advance(61_000);
    expect(reassembler.size).toBe(0);
  });

  it('repeated exactly are ignored', () => {
    const { reassembler } = setup();
    const packet = udp4('10.0.0.1', '10.0.0.2', payload(3000), false);
    const [a, b, c] = fragments(packet, 1280);
    for (const part of [a, a, b, b]) expect(reassembler.add(part)).toBeNull();
    expect(reassembler.add(c)?.bytes).toEqual(packet.bytes);
  });

  it('of one source take only its share, and never the last place of another', () => {
    const { reassembler } = setup({ maxDatagrams: 64, maxPerSource: 8 });
    const honest = fragments(udp4('10.0.0.9', '10.0.0.2', payload(3000), false), 1280);
    reassembler.add(honest[0]);
    for (let id = 0; id < 500; id++) {
      const [first] = fragments(udp4('10.0.0.66', '10.0.0.2', payload(3000), false), 1280);
      put16(first.buf, 4, id);
      reassembler.add(first);
    }
    expect(reassembler.size).toBe(9);
    reassembler.add(honest[1]);
    expect(reassembler.add(honest[2])).not.toBeNull();
  });

  it('from many sources stay within the bounds in number and bytes', () => {
    const { reassembler } = setup({ maxDatagrams: 64, maxBytes: 40_000 });
    const [part] = fragments(udp4('10.0.0.66', '10.0.0.2', payload(3000), false), 1280);
    for (let i = 0; i < 5000; i++) {
      put32(part.buf, 12, 0x0a000000 + i);
      reassembler.add(part);
      expect(reassembler.size).toBeLessThanOrEqual(64);
      expect(reassembler.bytes).toBeLessThanOrEqual(40_000);
    }
  });

  it('that never complete are reported and forgotten', () => {
    const late: Packet[] = [];
    const { reassembler, clock } = setup({ onTimeout: (first: Packet) => late.push(first) });
    const [first] = fragments(udp4('10.0.0.1', '10.0.0.2', payload(3000), false), 1280);
    reassembler.add(first);
    clock.advance(29_999);
    expect(reassembler.size).toBe(1);
    clock.advance(2);
    expect([reassembler.size, reassembler.bytes]).toEqual([0, 0]);
    expect(late.map((packet) => packet.bytes)).toEqual([first.bytes]);
  });

  it('of any content never throw and stay bounded', () => {
    const { reassembler } = setup({ maxDatagrams: 16, maxBytes: 100_000 });
    const samples = [
      ...fragments(udp4('10.0.0.1', '10.0.0.2', payload(3000), false), 600),
      ...fragments(udp6('fd00::1', 'fd00::2', payload(3000)), 1280),
    ];
    fc.assert(
      fc.property(
        fc.nat(samples.length - 1),
        fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 4 }),
        (index, changes) => {
          const packet = samples[index].clone();
          const version = packet.buf[0];
          for (const [at, value] of changes) packet.buf[at] = value;
          packet.buf[0] = version;
          reassembler.add(packet);
          return reassembler.size <= 16 && reassembler.bytes <= 100_000;
        },
      ),
      { numRuns: 3000, seed: 9 },
    );
  });
});
