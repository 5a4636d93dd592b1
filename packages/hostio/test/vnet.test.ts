import { CHECKSUM_PARTIAL, CHECKSUM_TRUSTED, get16, IpProtocol, put16, sum } from '@pktkit/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readVnet, VNET_HEADER, VNET_INVALID, writeVnet } from '../src/vnet.ts';

/** A packet at `VNET_HEADER + link`, with room for both headers in front. */
function packet(version: 4 | 6, protocol: number, payload: number, link = 0): Uint8Array {
  const header = version === 4 ? 20 : 40;
  const transport = protocol === IpProtocol.TCP ? 20 : 8;
  const len = header + transport + payload;
  const buf = new Uint8Array(VNET_HEADER + link + len);
  const off = VNET_HEADER + link;
  if (version === 4) {
    buf.set([0x45, 0, len >> 8, len & 255, 0, 0, 0, 0, 64, protocol], off);
    buf.set([10, 0, 0, 1, 10, 0, 0, 2], off + 12);
  } else {
    const rest = len - 40;
    buf.set([0x60, 0, 0, 0, rest >> 8, rest & 255, protocol, 64], off);
    buf[off + 23] = 1;
    buf[off + 39] = 2;
  }
  if (protocol === IpProtocol.TCP) buf[off + header + 12] = 0x50;
  return buf;
}

function write(buf: Uint8Array, offload: number, link = 0): number {
  const off = VNET_HEADER + link;
  return writeVnet(buf, 0, link, off, buf.length - off, offload);
}

function read(buf: Uint8Array, link = 0): number {
  const off = VNET_HEADER + link;
  return readVnet(buf, 0, link, off, buf.length - off);
}

const header = (buf: Uint8Array) => [...buf.subarray(0, VNET_HEADER)];

describe('the virtio-net header', () => {
  // Values as the kernel writes them for these packets (virtio 1.3 §5.1.6), little-endian.
  it('has the bytes of the specification', () => {
    const tcp4 = packet(4, IpProtocol.TCP, 3000);
    expect(write(tcp4, CHECKSUM_PARTIAL | 1448)).toBe(0);
    expect(header(tcp4)).toEqual([1, 1, 40, 0, 0xa8, 0x05, 20, 0, 16, 0]);
    const tcp6 = packet(6, IpProtocol.TCP, 3000, 14);
    expect(write(tcp6, CHECKSUM_PARTIAL | 1428, 14)).toBe(0);
    expect(header(tcp6)).toEqual([1, 4, 74, 0, 0x94, 0x05, 54, 0, 16, 0]);
    const udp = packet(4, IpProtocol.UDP, 3000);
    expect(write(udp, CHECKSUM_PARTIAL | 1200)).toBe(0);
    expect(header(udp)).toEqual([1, 5, 28, 0, 0xb0, 0x04, 20, 0, 6, 0]);
    const plain = packet(4, IpProtocol.TCP, 100);
    expect(write(plain, 0)).toBe(0);
    expect(header(plain)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(write(plain, CHECKSUM_TRUSTED)).toBe(0);
    expect(header(plain)).toEqual([2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('reads back what it wrote', () => {
    for (const version of [4, 6] as const) {
      for (const protocol of [IpProtocol.TCP, IpProtocol.UDP]) {
        for (const offload of [0, CHECKSUM_TRUSTED, CHECKSUM_PARTIAL, CHECKSUM_PARTIAL | 1000]) {
          for (const link of [0, 14, 18, 22]) {
            const buf = packet(version, protocol, 2500, link);
            expect(write(buf, offload, link)).toBe(0);
            expect(read(buf, link)).toBe(offload);
          }
        }
      }
    }
  });

  it('makes a segment that fits one packet an ordinary one', () => {
    const buf = packet(4, IpProtocol.TCP, 1000);
    expect(write(buf, CHECKSUM_PARTIAL | 1000)).toBe(0);
    expect(read(buf)).toBe(CHECKSUM_PARTIAL);
  });

  it('gives a trusted super-segment the partial checksum that the kernel starts from', () => {
    for (const version of [4, 6] as const) {
      const buf = packet(version, IpProtocol.TCP, 3000);
      const ip = version === 4 ? 20 : 40;
      put16(buf, VNET_HEADER + ip + 16, 0xdead);
      expect(write(buf, CHECKSUM_TRUSTED | 1000)).toBe(0);
      const addresses = version === 4 ? [12, 8] : [8, 32];
      const expected = sum(buf, VNET_HEADER + addresses[0], addresses[1], 6 + 3020);
      expect(get16(buf, VNET_HEADER + ip + 16)).toBe(expected);
    }
  });

  it('tells the kernel of CWR, which only the first segment may carry', () => {
    const buf = packet(4, IpProtocol.TCP, 3000);
    buf[VNET_HEADER + 20 + 13] = 0x90;
    expect(write(buf, CHECKSUM_PARTIAL | 1000)).toBe(0);
    expect(buf[1]).toBe(0x81);
    expect(read(buf)).toBe(CHECKSUM_PARTIAL | 1000);
  });

  it('completes a partial checksum that is not the transport’s own', () => {
    // What the kernel hands over for a VXLAN packet: the checksum starts in the inner packet.
    const buf = packet(4, IpProtocol.UDP, 200);
    for (let i = VNET_HEADER + 28; i < buf.length; i++) buf[i] = i * 7;
    const start = 28 + 50;
    const at = VNET_HEADER + start + 16;
    put16(buf, at, 0x1234);
    buf.set([1, 0, 0, 0, 0, 0, start, 0, 16, 0]);
    const before = sum(buf, VNET_HEADER + start, buf.length - VNET_HEADER - start);
    expect(read(buf)).toBe(0);
    expect(get16(buf, at)).toBe(~before & 0xffff);
  });

  it('refuses what contradicts the packet', () => {
    const cases: Array<[string, (buf: Uint8Array) => void]> = [
      ['segments without a checksum', (buf) => buf.set([0, 1, 40, 0, 100, 0])],
      ['TCP over IPv6 of an IPv4 packet', (buf) => buf.set([1, 4, 40, 0, 100, 0, 20, 0, 16, 0])],
      ['UDP of a TCP packet', (buf) => buf.set([1, 5, 40, 0, 100, 0, 20, 0, 16, 0])],
      ['an unknown kind', (buf) => buf.set([1, 9, 40, 0, 100, 0, 20, 0, 16, 0])],
      ['a segment size of zero', (buf) => buf.set([1, 1, 40, 0, 0, 0, 20, 0, 16, 0])],
      ['a checksum behind the end', (buf) => buf.set([1, 0, 0, 0, 0, 0, 255, 255, 16, 0])],
      ['a checksum before the start', (buf) => buf.set([1, 0, 0, 0, 0, 0, 0, 0, 255, 255])],
      ['segments of an inner packet', (buf) => buf.set([1, 1, 90, 0, 100, 0, 60, 0, 16, 0])],
    ];
    for (const [what, spoil] of cases) {
      const buf = packet(4, IpProtocol.TCP, 200);
      spoil(buf);
      expect(read(buf), what).toBe(VNET_INVALID);
    }
    const icmp = packet(4, IpProtocol.ICMP, 100);
    expect(write(icmp, CHECKSUM_PARTIAL)).toBe(VNET_INVALID);
    const short = packet(4, IpProtocol.TCP, 0).subarray(0, VNET_HEADER + 30);
    expect(write(short, CHECKSUM_PARTIAL | 100)).toBe(VNET_INVALID);
  });

  it('never throws nor writes outside for arbitrary bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: VNET_HEADER, maxLength: 200 }),
        fc.constantFrom(0, 14, 18),
        fc.nat(0x3ffff),
        (bytes, link, offload) => {
          const buf = new Uint8Array(bytes.length + 64).fill(0xa5);
          buf.set(bytes);
          const off = VNET_HEADER + link;
          const len = Math.max(0, bytes.length - off);
          for (const result of [
            readVnet(buf, 0, link, off, len),
            writeVnet(buf, 0, link, off, len, offload),
          ]) {
            expect(result === VNET_INVALID || (result >= 0 && result < 0x40000)).toBe(true);
          }
          const end = Math.max(off, bytes.length);
          expect(buf.subarray(end).every((byte) => byte === 0xa5)).toBe(true);
        },
      ),
      { numRuns: 3000 },
    );
  });
});
