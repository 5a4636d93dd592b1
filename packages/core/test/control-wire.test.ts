import {
  arpOperation,
  type DhcpMessage,
  DhcpOption,
  parseDhcp,
  readRouterAdvertisement,
  writeArp,
  writeDhcp,
} from '@pktkit/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeDomainSearch, parseClasslessRoutes, parseDomainSearch } from '../src/wire/dhcp.ts';
import { ndpOptionsOk } from '../src/wire/ndp.ts';

const BASE: DhcpMessage = {
  op: 2,
  type: 2,
  xid: 1,
  hops: 0,
  secs: 0,
  broadcast: false,
  ciaddr: 0,
  yiaddr: 0x0a000005,
  siaddr: 0,
  giaddr: 0,
  mac: 0x020000000001,
  options: new Map(),
};

describe('DHCP messages', () => {
  it('come back as they were written, long options too', () => {
    const value = fc.uint8Array({ maxLength: 400 });
    const code = fc.integer({ min: 1, max: 254 }).filter((c) => c !== 52 && c !== 53);
    fc.assert(
      fc.property(fc.array(fc.tuple(code, value), { maxLength: 3 }), (list) => {
        const message = { ...BASE, options: new Map(list) };
        const bytes = new Uint8Array(2000);
        const len = writeDhcp(bytes, 5, 1900, message);
        expect(len).toBeGreaterThanOrEqual(300);
        expect(parseDhcp(bytes, 5, len)).toEqual(message);
      }),
    );
  });

  it('CORE-15: options run on into file and sname', () => {
    const bytes = new Uint8Array(400);
    const overload: [number, Uint8Array] = [DhcpOption.OVERLOAD, Uint8Array.of(3)];
    const len = writeDhcp(bytes, 0, 400, { ...BASE, options: new Map([overload]) });
    bytes.set([DhcpOption.ROUTER, 4, 10, 0, 0, 1, 255], 108);
    bytes.set([DhcpOption.DNS, 4, 10, 0, 0, 2, 255], 44);
    const options = parseDhcp(bytes, 0, len)?.options;
    expect(options?.get(DhcpOption.ROUTER)).toEqual(Uint8Array.of(10, 0, 0, 1));
    expect(options?.get(DhcpOption.DNS)).toEqual(Uint8Array.of(10, 0, 0, 2));
  });

  it('leave out what does not fit, never half of it', () => {
    const options = new Map([
      [1, new Uint8Array(4)],
      [43, new Uint8Array(400)],
      [6, new Uint8Array(4)],
    ]);
    const bytes = new Uint8Array(400);
    const parsed = parseDhcp(bytes, 0, writeDhcp(bytes, 0, 320, { ...BASE, options }));
    expect([...(parsed?.options.keys() ?? [])]).toEqual([1, 6]);
  });

  it('with any content never throw and read nothing outside', () => {
    const message = new Uint8Array(600);
    const size = writeDhcp(message, 0, 600, {
      ...BASE,
      options: new Map([
        [52, Uint8Array.of(3)],
        [121, new Uint8Array(30)],
        [119, new Uint8Array(90)],
      ]),
    });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(599), fc.nat(255)), { maxLength: 12 }),
        fc.nat(size),
        (changes, len) => {
          const bytes = message.slice(0, len);
          for (const [at, value] of changes)
            if (at < len && (at < 236 || at > 239)) bytes[at] = value;
          const seen = parseDhcp(bytes, 0, len);
          const inside = new Uint8Array(len + 64).fill(0x35);
          inside.set(bytes, 32);
          expect(parseDhcp(inside, 32, len)).toEqual(seen);
        },
      ),
      { numRuns: 2000, seed: 3 },
    );
  });

  it('search lists follow pointers, and give up on ones that loop', () => {
    // RFC 3397 §2's own example: eng.apple.com. and marketing.apple.com., compressed.
    const example = [
      3,
      ...b('eng'),
      5,
      ...b('apple'),
      3,
      ...b('com'),
      0,
      9,
      ...b('marketing'),
      0xc0,
      4,
    ];
    expect(parseDomainSearch(Uint8Array.from(example))).toEqual([
      'eng.apple.com',
      'marketing.apple.com',
    ]);
    expect(parseDomainSearch(Uint8Array.of(0xc0, 0))).toEqual([]);
    expect(parseDomainSearch(encodeDomainSearch(['lan.example', 'a.b']))).toEqual([
      'lan.example',
      'a.b',
    ]);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (v) => parseDomainSearch(v).length <= 32),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 900 }), (v) => parseClasslessRoutes(v).length <= 128),
    );
  });
});

describe('ARP and neighbour discovery messages', () => {
  it('ARP of other hardware, protocols and sizes is refused', () => {
    const bytes = new Uint8Array(28);
    writeArp(bytes, 0, 1, 1, 2, 3, 4);
    expect(arpOperation(bytes, 0, 28)).toBe(1);
    expect(arpOperation(bytes, 0, 27)).toBe(-1);
    for (let i = 0; i < 8; i++) {
      const other = bytes.slice();
      other[i] ^= 0x40;
      expect(arpOperation(other, 0, 28), `byte ${i}`).toBe(-1);
    }
  });

  it('options of length zero, beyond the end or too many are refused; what passes is read', () => {
    expect(ndpOptionsOk(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0), 0, 8)).toBe(false);
    expect(ndpOptionsOk(Uint8Array.of(1, 2, 0, 0, 0, 0, 0, 0), 0, 8)).toBe(false);
    const many = new Uint8Array(33 * 8);
    for (let i = 0; i < 33; i++) many[i * 8 + 1] = 1;
    expect(ndpOptionsOk(many, 0, many.length)).toBe(false);
    const option = fc.tuple(
      fc.constantFrom(1, 3, 5, 25, 31, 99),
      fc.integer({ min: 1, max: 6 }),
      fc.uint8Array({ minLength: 46, maxLength: 46 }),
    );
    fc.assert(
      fc.property(fc.array(option, { maxLength: 10 }), (options) => {
        const bytes = [134, 0, 0, 0, 64, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0];
        for (const [type, units, body] of options)
          bytes.push(type, units, ...body.subarray(0, units * 8 - 2));
        const message = Uint8Array.from(bytes);
        if (!ndpOptionsOk(message, 16, message.length)) throw new Error('refused');
        const ra = readRouterAdvertisement(message, 0, message.length);
        return ra.prefixes.length <= 16 && ra.dns.length <= 16 && ra.search.length <= 16;
      }),
      { numRuns: 500, seed: 2 },
    );
  });
});

function b(text: string): number[] {
  return [...text].map((char) => char.charCodeAt(0));
}
