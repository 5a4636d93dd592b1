import { IpAddr, MacAddr, PktkitError, Prefix } from '@pktkit/core';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { describe, expect, it } from 'vitest';

const v4 = fc.nat(0xffffffff).map((value) => IpAddr.v4(value));
const word = fc.oneof(fc.constantFrom(0, 1, 0xffff, 0xffff0000, 0xffffffff), fc.nat(0xffffffff));
const v6 = fc.tuple(word, word, word, word).map(([a, b, c, d]) => IpAddr.v6(a, b, c, d));
const any = fc.oneof(v4, v6);

describe('IpAddr', () => {
  it('parses and prints as ipaddr.js does, both ways, through bytes too', () => {
    fc.assert(
      fc.property(any, (address) => {
        const text = address.toString();
        const oracle = ipaddr.parse(text);
        expect(oracle.kind()).toBe(`ipv${address.family}`);
        expect([...address.toBytes()]).toEqual(oracle.toByteArray());
        expect(IpAddr.parse(oracle.toNormalizedString()).equals(address)).toBe(true);
        expect(IpAddr.read(address.family, address.toBytes()).equals(address)).toBe(true);
        expect(address.matches(address.toBytes(), 0)).toBe(true);
        if (!address.isV4Mapped)
          expect(text).toBe((oracle as ipaddr.IPv6).toRFC5952String?.() ?? oracle.toString());
      }),
    );
  });

  it('refuses what ipaddr.js and RFC 4291 refuse, and octal-looking IPv4', () => {
    const texts = [
      '',
      '1.2.3',
      '1.2.3.4.5',
      '256.1.1.1',
      '01.2.3.4',
      '1.2.3.4 ',
      '0x1.2.3.4',
      ':',
      ':::',
      '1::2::3',
      '1:2:3:4:5:6:7',
      '1:2:3:4:5:6:7:8:9',
      '12345::',
      'g::',
      '::1.2.3',
      '1.2.3.4::',
      '::1.2.3.4:5',
      '1:2:3:4:5:6:7:1.2.3.4',
      ':1::',
      '1:2:3:4:5:6:7::8:9',
      'fe80::1%eth0',
      '1::2:',
      '.1.2.3',
    ];
    for (const text of texts) {
      expect(IpAddr.tryParse(text), text).toBe(null);
      expect(() => IpAddr.parse(text)).toThrow(PktkitError);
    }
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.'), maxLength: 24 }),
        (text) => {
          const ours = IpAddr.tryParse(text);
          if (ours === null) return;
          expect([...ours.toBytes()]).toEqual(ipaddr.parse(text).toByteArray());
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('prints IPv6 as RFC 5952 §4 and §5 want it', () => {
    for (const [text, expected] of [
      ['2001:0db8:0:0:0:0:2:1', '2001:db8::2:1'],
      ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
      ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
      ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
      ['2001:DB8::A', '2001:db8::a'],
      ['::ffff:c000:0280', '::ffff:192.0.2.128'],
      ['0:0:0:0:0:0:0:0', '::'],
      ['1::', '1::'],
      ['::1', '::1'],
    ]) {
      expect(IpAddr.parse(text).toString()).toBe(expected);
    }
  });

  it('CORE-01: an address of one family never becomes one of the other by accident', () => {
    expect(IpAddr.parse('::ffff:192.0.2.1').family).toBe(6);
    expect(IpAddr.parse('::ffff:192.0.2.1').equals(IpAddr.parse('192.0.2.1'))).toBe(false);
    expect(IpAddr.ANY6.v4).toBe(0);
    expect(Prefix.parse('10.0.0.0/8').contains(IpAddr.parse('::ffff:10.0.0.1'))).toBe(false);
    expect(Prefix.parse('::/0').contains(IpAddr.parse('10.0.0.1'))).toBe(false);
  });

  it('orders, counts and classifies', () => {
    fc.assert(
      fc.property(any, fc.integer({ min: -1000, max: 1000 }), (address, n) => {
        expect(address.plus(n).plus(-n).equals(address)).toBe(true);
        const range = ipaddr.parse(address.toString()).range();
        expect(address.isMulticast).toBe(range === 'multicast');
        expect(address.isLoopback).toBe(range === 'loopback');
        expect(address.isLinkLocal).toBe(range === 'linkLocal');
      }),
    );
    const sorted = ['10.0.0.1', '192.0.2.1', '::1', 'fe80::1'].map((text) => IpAddr.parse(text));
    expect([...sorted].reverse().sort((a, b) => a.compare(b))).toEqual(sorted);
    expect(IpAddr.parse('255.255.255.255').plus(1).toString()).toBe('0.0.0.0');
    expect(JSON.stringify({ a: IpAddr.parse('::1') })).toBe('{"a":"::1"}');
    expect([
      IpAddr.BROADCAST4.isLimitedBroadcast,
      IpAddr.ANY4.isUnspecified,
      IpAddr.ANY6.isUnspecified,
    ]).toEqual([true, true, true]);
  });
});

describe('Prefix', () => {
  it('contains what ipaddr.js says it contains', () => {
    fc.assert(
      fc.property(any, any, fc.nat(128), fc.nat(127), (address, other, bits, flip) => {
        const length = address.family === 4 ? bits % 33 : bits;
        const prefix = Prefix.of(address, length);
        const near = address.toBytes();
        near[(flip >> 3) % near.length] ^= 1 << (flip & 7);
        for (const candidate of [
          other,
          IpAddr.read(address.family, near),
          prefix.last,
          prefix.network.addr,
        ]) {
          const oracle =
            candidate.family === address.family &&
            ipaddr
              .parse(candidate.toString())
              .match(ipaddr.parse(address.toString()) as never, length);
          expect(prefix.contains(candidate)).toBe(oracle);
        }
        expect(Prefix.parse(prefix.toString()).equals(prefix)).toBe(true);
        if (address.family === 4) {
          expect(prefix.netmask.toString()).toBe(
            ipaddr.IPv4.subnetMaskFromPrefixLength(length).toString(),
          );
          expect(prefix.last.toString()).toBe(
            ipaddr.IPv4.broadcastAddressFromCIDR(prefix.toString()).toString(),
          );
        }
      }),
    );
  });

  it('CORE-09: knows the directed broadcast address, and that /31, /32 and IPv6 have none', () => {
    expect(Prefix.parse('192.0.2.7/24').broadcast?.toString()).toBe('192.0.2.255');
    expect(Prefix.parse('192.0.2.7/30').broadcast?.toString()).toBe('192.0.2.7');
    for (const text of ['192.0.2.7/31', '192.0.2.7/32', '2001:db8::/64']) {
      expect(Prefix.parse(text).broadcast).toBe(null);
    }
  });

  it('says what it expected', () => {
    for (const text of [
      '10.0.0.0/33',
      '10.0.0.0/',
      '10.0.0.0/-1',
      '10.0.0.0/08',
      '::/129',
      'x/8',
      '10.0.0.0/8/8',
      '10.0.0.0/ 8',
    ]) {
      expect(() => Prefix.parse(text), text).toThrow(/such as/);
    }
    expect(() => Prefix.of(IpAddr.ANY4, 33)).toThrow(RangeError);
    expect(Prefix.parse('10.0.0.1').bits).toBe(32);
    expect(Prefix.parse('::1').bits).toBe(128);
    expect(Prefix.parse('10.1.0.0/16').overlaps(Prefix.parse('10.0.0.0/8'))).toBe(true);
    expect(Prefix.parse('10.1.0.0/16').overlaps(Prefix.parse('10.2.0.0/16'))).toBe(false);
  });
});

describe('MacAddr', () => {
  it('reads every usual notation, prints one, and survives bytes', () => {
    for (const text of [
      '02:00:5e:10:00:0A',
      '02-00-5e-10-00-0a',
      '0200.5e10.000a',
      '02005e10000a',
    ]) {
      expect(MacAddr.parse(text).toString()).toBe('02:00:5e:10:00:0a');
    }
    for (const text of [
      '',
      '02:00:5e:10:00',
      '02:00-5e:10:00:0a',
      '02:00:5e:10:00:0g',
      '02005e10000a0',
      '2:0:5e:10:0:a',
    ]) {
      expect(() => MacAddr.parse(text), text).toThrow(PktkitError);
    }
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
        const mac = MacAddr.read(bytes);
        const copy = new Uint8Array(6);
        mac.write(copy);
        expect(copy).toEqual(bytes);
        expect(MacAddr.parse(mac.toString()).equals(mac)).toBe(true);
        expect(mac.isMulticast).toBe((bytes[0] & 1) === 1);
      }),
    );
    expect(() => MacAddr.fromNumber(2 ** 48)).toThrow(RangeError);
  });

  it('CORE-20: random addresses are unicast, locally administered and differ', () => {
    const some = Array.from({ length: 500 }, () => MacAddr.random());
    expect(new Set(some.map(({ value }) => value)).size).toBe(500);
    for (const mac of some) expect(Math.floor(mac.value / 2 ** 40) & 3).toBe(2);
    expect(MacAddr.random(() => 0xffffffff).toString()).toBe('fe:ff:ff:ff:ff:ff');
  });
});
