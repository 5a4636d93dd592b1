import {
  checksum,
  combine,
  completeChecksum,
  copyAndSum,
  fromHex,
  IpAddr,
  IpProtocol,
  pseudoHeaderSum,
  pseudoHeaderSum4,
  put16,
  put32,
  sum,
  transportChecksum,
  udp,
  update16,
  update32,
  updateUdp16,
  updateUdp32,
  verifyTransport,
  writeIpv4,
  writeIpv6,
} from '@pktkit/core';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { compileKernel } from '../scripts/kernel.ts';
import { CHECKSUM_KERNEL } from '../src/checksum-kernel.ts';

/** The slow twin: RFC 1071 §4.1 word by word. */
function twin(bytes: Uint8Array, off: number, len: number, initial = 0): number {
  let total = initial;
  for (let i = 0; i < len; i += 2) {
    total += bytes[off + i] * 256 + (i + 1 < len ? bytes[off + i + 1] : 0);
    total = (total % 65536) + Math.floor(total / 65536);
  }
  return total;
}

function noise(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let x = seed;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

describe('sum', () => {
  it('gives the example of RFC 1071 §3', () => {
    const bytes = fromHex('0001 f203 f4f5 f6f7');
    expect(sum(bytes, 0, 8)).toBe(0xddf2);
    expect(checksum(bytes, 0, 8)).toBe(~0xddf2 & 0xffff);
  });

  it('gives the checksum of a well-known IPv4 header', () => {
    // The worked example of Wikipedia's article on the IPv4 header checksum.
    const header = fromHex('4500 0073 0000 4000 4011 0000 c0a8 0001 c0a8 00c7');
    expect(checksum(header, 0, 20)).toBe(0xb861);
  });

  it('CORE-21: equals the byte-pair twin for every length to 4096 and every alignment, in small and large buffers', () => {
    for (const size of [4096, 70_000]) {
      const bytes = noise(size + 64);
      const whole = bytes.slice(0, size);
      for (let len = 0; len <= 4096; len++) {
        const off = len % 17;
        if (off + len > whole.length) continue;
        expect(sum(whole, off, len)).toBe(twin(whole, off, len));
      }
      for (let off = 0; off < 64; off++) {
        for (const len of [19, 20, 40, 111, 112, 113, 127, 128, 1459, 1460, 1500]) {
          expect(sum(bytes, off, len, 0xffff)).toBe(twin(bytes, off, len, 0xffff));
        }
      }
    }
  });

  it('CORE-21: equals the twin without WebAssembly too', async () => {
    // As a content security policy has it: compiling throws.
    let refused = 0;
    const Module = class {
      constructor() {
        refused++;
        throw new Error('no compiling here');
      }
    };
    vi.stubGlobal('WebAssembly', { Module });
    try {
      // The query makes it a module of its own, whose kernel is missing.
      const url = '../src/checksum.ts?without-kernel';
      const plain: typeof import('../src/checksum.ts') = await import(url);
      expect(refused).toBe(1);
      const bytes = noise(70_000);
      // A window within a larger buffer: its view must start where it does.
      const inner = bytes.subarray(33, 9000);
      for (let len = 0; len <= 600; len++) {
        const off = len % 17;
        expect(plain.sum(bytes, off, len, len * 99)).toBe(twin(bytes, off, len, len * 99));
        expect(plain.sum(inner, off, len)).toBe(twin(inner, off, len));
      }
      const ones = new Uint8Array(200_001).fill(0xff);
      for (const len of [1500, 65_535, 65_536, 65_537, 200_000]) {
        expect(plain.sum(ones, 1, len, 0xffff)).toBe(twin(ones, 1, len, 0xffff));
      }
      const copy = new Uint8Array(70_000);
      expect(plain.copyAndSum(copy, 7, bytes, 3, 66_000, 77)).toBe(twin(bytes, 3, 66_000, 77));
      expect(copy.subarray(7, 66_007)).toEqual(bytes.subarray(3, 66_003));
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it('does not overflow on the largest inputs of all ones, or beyond 64 KiB', () => {
    const ones = new Uint8Array(200_001).fill(0xff);
    for (const len of [65_534, 65_535, 65_536, 65_537, 131_072, 200_000]) {
      expect(sum(ones, 1, len)).toBe(twin(ones, 1, len));
    }
    const bytes = noise(200_001);
    expect(sum(bytes, 1, 200_000, 0x1234)).toBe(twin(bytes, 1, 200_000, 0x1234));
  });

  it('adds in parts', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(300), (bytes, half) => {
        const cut = Math.min(half * 2, bytes.length & ~1);
        const a = sum(bytes, 0, cut);
        const b = sum(bytes, cut, bytes.length - cut);
        expect(combine(a, b)).toBe(sum(bytes, 0, bytes.length));
        expect(sum(bytes, cut, bytes.length - cut, a)).toBe(sum(bytes, 0, bytes.length));
      }),
    );
  });

  it('copies while it adds, also within one buffer', () => {
    const src = noise(70_000);
    for (const len of [0, 1, 63, 111, 112, 1460, 4097, 65_535, 66_000]) {
      const dst = new Uint8Array(70_000);
      expect(copyAndSum(dst, 7, src, 3, len, 77)).toBe(twin(src, 3, len, 77));
      expect(dst.subarray(7, 7 + len)).toEqual(src.subarray(3, 3 + len));
      expect(dst[7 + len]).toBe(0);
      const moved = src.slice();
      expect(copyAndSum(moved, 50, moved, 3, len)).toBe(twin(src, 3, len));
      expect(moved.subarray(50, 50 + len)).toEqual(src.subarray(3, 3 + len));
    }
  });

  it('embeds the kernel that its source compiles to', { timeout: 60_000 }, () => {
    expect(CHECKSUM_KERNEL).toBe(compileKernel());
  });
});

describe('incremental update', () => {
  it('gives the example of RFC 1624 §4, where the older equation gives a negative zero', () => {
    expect(update16(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
  });

  it('equals a full computation for any words of any header', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 20, maxLength: 20 }),
        fc.nat(9),
        fc.nat(0xffffffff),
        (bytes, word, value) => {
          bytes[2] |= 1; // a header is never all zeros, where the two zeros of ones-complement would differ
          if (word === 1) return;
          const check = checksum(bytes, 0, 20);
          const before = (bytes[word * 2] << 8) | bytes[word * 2 + 1];
          const one = bytes.slice();
          put16(one, word * 2, value & 0xffff);
          expect(update16(check, before, value & 0xffff)).toBe(checksum(one, 0, 20));
          if (word === 9 || word === 0) return;
          const before32 = (before << 16) | (bytes[word * 2 + 2] << 8) | bytes[word * 2 + 3];
          const two = bytes.slice();
          put32(two, word * 2, value);
          expect(update32(check, before32, value)).toBe(checksum(two, 0, 20));
          expect(update32(check, before32 >>> 0, value | 0)).toBe(checksum(two, 0, 20));
        },
      ),
    );
  });

  it('keeps "no checksum" of UDP and never makes one', () => {
    expect(updateUdp16(0, 1, 2)).toBe(0);
    expect(updateUdp32(0, 1, 2)).toBe(0);
    // The example of RFC 1624, whose exact result is zero: UDP sends 0xffff then.
    expect(updateUdp16(0xdd2f, 0x5555, 0x3285)).toBe(0xffff);
    expect(updateUdp32(0xdd2f, 0x5555, 0x3285)).toBe(0xffff);
  });
});

describe('transport checksums', () => {
  const v4 = (payload: number, protocol: number) => {
    const buf = noise(20 + payload);
    writeIpv4(buf, 0, 20 + payload, protocol, 0xc0000201, 0xcb007107);
    return buf;
  };
  const v6 = (payload: number, protocol: number) => {
    const buf = noise(40 + payload);
    writeIpv6(
      buf,
      0,
      payload,
      protocol,
      IpAddr.parse('2001:db8::ff01'),
      IpAddr.parse('2001:db8:ffff:ffff:ffff:ffff:ffff:fffe'),
    );
    return buf;
  };

  it('covers the pseudo-header of both families', () => {
    const buf = v4(8, IpProtocol.TCP);
    const words = [0xc000, 0x0201, 0xcb00, 0x7107, 6, 1, 4464];
    const expected = words.reduce((a, b) => combine(a, b), 0);
    expect(pseudoHeaderSum(buf, 0, 6, 70_000)).toBe(expected);
    expect(pseudoHeaderSum4(0xc0000201, 0xcb007107 | 0, 6, 70_000)).toBe(expected);
    const six = v6(8, IpProtocol.TCP);
    expect(pseudoHeaderSum(six, 0, 6, 70_000)).toBe(
      combine(twin(six, 8, 32), [6, 1, 4464].reduce(combine)),
    );
  });

  it('verifies what it makes and refuses any flipped bit', () => {
    for (const [make, header] of [
      [v4, 20],
      [v6, 40],
    ] as const) {
      for (const protocol of [IpProtocol.TCP, IpProtocol.UDP, IpProtocol.ICMPV6]) {
        for (const len of [20, 21, 301]) {
          const field = header + (protocol === IpProtocol.TCP ? 16 : protocol === 17 ? 6 : 2);
          const buf = make(len, protocol);
          put16(buf, field, 0);
          put16(buf, field, transportChecksum(buf, 0, protocol, header, len));
          expect(verifyTransport(buf, 0, protocol, header, len)).toBe(true);
          for (let bit = 0; bit < len * 8; bit += 7) {
            buf[header + (bit >> 3)] ^= 1 << (bit & 7);
            expect(verifyTransport(buf, 0, protocol, header, len)).toBe(false);
            buf[header + (bit >> 3)] ^= 1 << (bit & 7);
          }
        }
      }
    }
  });

  it('completes a partial checksum to the full one', () => {
    for (const protocol of [IpProtocol.TCP, IpProtocol.UDP]) {
      const field = 20 + (protocol === IpProtocol.TCP ? 16 : 6);
      const buf = v4(501, protocol);
      put16(buf, field, 0);
      const full = transportChecksum(buf, 0, protocol, 20, 501);
      put16(buf, field, pseudoHeaderSum(buf, 0, protocol, 501));
      completeChecksum(buf, protocol, 20, 501, field);
      expect((buf[field] << 8) | buf[field + 1]).toBe(full);
    }
  });

  it('sends a computed UDP zero as ones, and reads zero as none over IPv4 only', () => {
    const buf = v4(10, IpProtocol.UDP);
    udp.write(buf, 20, 1, 2, 10);
    put16(buf, 28, 0);
    put16(buf, 28, transportChecksum(buf, 0, IpProtocol.UDP, 20, 10));
    expect(checksum(buf, 20, 10, pseudoHeaderSum(buf, 0, IpProtocol.UDP, 10))).toBe(0);
    expect(transportChecksum(buf, 0, IpProtocol.UDP, 20, 10)).toBe(0xffff);
    put16(buf, 26, pseudoHeaderSum(buf, 0, IpProtocol.UDP, 10));
    completeChecksum(buf, IpProtocol.UDP, 20, 10, 26);
    expect(udp.checksum(buf, 20)).toBe(0xffff);
    put16(buf, 26, 0);
    expect(verifyTransport(buf, 0, IpProtocol.UDP, 20, 10)).toBe(true);
    const six = v6(10, IpProtocol.UDP);
    udp.write(six, 40, 1, 2, 10);
    expect(verifyTransport(six, 0, IpProtocol.UDP, 40, 10)).toBe(false);
  });
});
