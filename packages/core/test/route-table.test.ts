import { IpAddr, Prefix, RouteTable } from '@pktkit/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

/** The slow twin: every prefix, one by one. */
class Linear {
  readonly routes: Map<string, { prefix: Prefix; value: number }> = new Map();

  lookup(address: IpAddr): number {
    let best = -1;
    let value = -1;
    for (const route of this.routes.values()) {
      if (route.prefix.contains(address) && route.prefix.bits > best) {
        best = route.prefix.bits;
        value = route.value;
      }
    }
    return value;
  }
}

function seeded(seed: number): () => number {
  let x = seed;
  return () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return (x ^ (x >>> 13)) >>> 0;
  };
}

describe('RouteTable', () => {
  it('CORE-07: the longest prefix wins, not the first', () => {
    const table = new RouteTable();
    for (const [text, value] of [
      ['0.0.0.0/0', 1],
      ['10.0.0.0/8', 2],
      ['10.1.0.0/16', 3],
      ['10.1.2.3/32', 4],
      ['::/0', 5],
      ['2001:db8::/32', 6],
      ['2001:db8::1/128', 7],
    ] as const) {
      expect(table.set(Prefix.parse(text), value)).toBe(true);
    }
    const of = (text: string) => table.lookup(IpAddr.parse(text));
    for (let round = 0; round < 100; round++) {
      expect([of('9.255.255.255'), of('10.0.0.0'), of('10.255.255.255'), of('11.0.0.0')]).toEqual([
        1, 2, 2, 1,
      ]);
      expect([of('10.1.0.0'), of('10.1.2.2'), of('10.1.2.3'), of('10.1.2.4')]).toEqual([
        3, 3, 4, 3,
      ]);
      expect([of('255.255.255.255'), of('0.0.0.0'), of('128.0.0.0')]).toEqual([1, 1, 1]);
      expect([of('2001:db8::1'), of('2001:db8::2'), of('2001:db9::')]).toEqual([7, 6, 5]);
      // An IPv6 address that looks mapped is none of IPv4's business.
      expect(of('::ffff:10.1.2.3')).toBe(5);
    }
    expect(table.get(Prefix.parse('10.1.9.9/16'))).toBe(3);
    expect(table.delete(Prefix.parse('10.1.0.0/16'))).toBe(true);
    expect(table.delete(Prefix.parse('10.1.0.0/16'))).toBe(false);
    expect(of('10.1.0.0')).toBe(2);
    expect([...table.entries()].map(({ prefix }) => prefix.toString())).toContain('2001:db8::/32');
    table.clear();
    expect([of('10.1.2.3'), of('2001:db8::1'), table.size]).toEqual([-1, -1, 0]);
  });

  it('is bounded and refuses values that are no index', () => {
    const table = new RouteTable({ capacity: 2 });
    expect(table.set(Prefix.parse('10.0.0.0/8'), 1)).toBe(true);
    expect(table.set(Prefix.parse('11.0.0.0/8'), 1)).toBe(true);
    expect(table.set(Prefix.parse('12.0.0.0/8'), 1)).toBe(false);
    expect(table.set(Prefix.parse('11.0.0.0/8'), 2)).toBe(true);
    expect(table.lookup(IpAddr.parse('11.1.1.1'))).toBe(2);
    expect(() => table.set(Prefix.parse('10.0.0.0/8'), -1)).toThrow(RangeError);
  });

  it('equals the linear twin through any insertions, removals and lookups', () => {
    // Few distinct bits, so that prefixes nest and touch.
    const v4 = fc
      .tuple(
        fc.constantFrom(0, 0x0a000000, 0x0a0000ff, 0xffffff00, 0x7fffffff, 0x80000000),
        fc.nat(0x101),
        fc.nat(32),
      )
      .map(([base, low, bits]) => Prefix.of(IpAddr.v4((base ^ low) >>> 0), bits));
    const v6 = fc
      .tuple(fc.nat(3), fc.nat(3), fc.constantFrom(0, 1, 31, 32, 33, 64, 96, 127, 128))
      .map(([high, low, bits]) => Prefix.of(IpAddr.v6(high << 30, low, 0, low), bits));
    const step = fc.record({
      remove: fc.boolean(),
      prefix: fc.oneof(v4, v4, v6),
      value: fc.nat(9),
      lookups: fc.nat(40),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const table = new RouteTable();
        const twin = new Linear();
        for (const { remove, prefix, value, lookups } of steps) {
          if (remove) {
            expect(table.delete(prefix)).toBe(twin.routes.delete(prefix.network.toString()));
          } else {
            table.set(prefix, value);
            twin.routes.set(prefix.network.toString(), { prefix: prefix.network, value });
          }
          for (let i = 0; i < lookups; i++) {
            // Edges of every prefix are where a range table goes wrong.
            const known = [...twin.routes.values(), { prefix }];
            const some = known[i % known.length].prefix;
            for (const address of [
              some.network.addr,
              some.last,
              some.last.plus(1),
              some.network.addr.plus(-1),
            ]) {
              expect(table.lookup(address)).toBe(twin.lookup(address));
            }
          }
          expect(table.size).toBe(twin.routes.size);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('equals the twin with the root of a large table', () => {
    const random = seeded(7);
    const table = new RouteTable();
    const twin = new Linear();
    for (let i = 0; i < 2000; i++) {
      const prefix = Prefix.of(IpAddr.v4(random()), 8 + (random() % 25)).network;
      table.set(prefix, i);
      twin.routes.set(prefix.toString(), { prefix, value: i });
    }
    for (let i = 0; i < 9000; i++) table.lookup4(i);
    const known = [...twin.routes.values()];
    for (let i = 0; i < 1500; i++) {
      const some = known[i % known.length].prefix;
      for (const address of [some.addr, some.last, some.last.plus(1), IpAddr.v4(random())]) {
        expect(table.lookup(address)).toBe(twin.lookup(address));
      }
    }
  });
});
