import { IpAddr, V4_MAPPED_WORD } from '@pktkit/core';
import { describe, expect, it } from 'vitest';
import { PeerTable, parseZoned } from '../src/peers.ts';

const intern = (table: PeerTable, n: number) =>
  table.intern(0, 0, V4_MAPPED_WORD, 0x0a000000 + n, 1000, 0);

describe('the peer table', () => {
  it('gives one handle for one address, port and zone', () => {
    const table = new PeerTable(10);
    const a = table.intern(0x20010db8, 0, 0, 1, 53, 0);
    expect(table.intern(0x20010db8, 0, 0, 1, 53, 0)).toBe(a);
    expect(table.intern(0x20010db8, 0, 0, 1, 54, 0)).not.toBe(a);
    expect(table.intern(0x20010db8, 0, 0, 1, 53, 2)).not.toBe(a);
    expect(table.format(a)).toBe('[2001:db8::1]:53');
    expect(table.format(table.intern(0xfe800000 | 0, 0, 0, 1, 53, 7))).toBe('[fe80::1%7]:53');
    expect(table.format(intern(table, 5))).toBe('10.0.0.5:1000');
    expect(table.address(a)).toEqual(IpAddr.parse('2001:db8::1'));
  });

  it('never lets an old handle name the new owner of its place', () => {
    const table = new PeerTable(4);
    const seen = new Map<number, string>();
    for (let n = 0; n < 2000; n++) {
      const handle = intern(table, n);
      expect(handle).toBeGreaterThanOrEqual(0);
      seen.set(handle, table.format(handle));
      expect(table.size).toBeLessThanOrEqual(4);
      for (const [old, name] of seen) {
        if (table.record(old) < 0) seen.delete(old);
        else expect(table.format(old)).toBe(name);
      }
    }
  });

  it('keeps who is heard of and forgets who is not', () => {
    const table = new PeerTable(64);
    const regular = intern(table, 1);
    for (let n = 2; n < 5000; n++) {
      intern(table, n);
      if (n % 16 === 0) expect(intern(table, 1)).toBe(regular);
    }
  });

  it('keeps what is retained, and refuses newcomers when all are', () => {
    const table = new PeerTable(3);
    const kept = [1, 2, 3].map((n) => intern(table, n));
    for (const handle of kept) table.retain(handle);
    expect(intern(table, 4)).toBe(-1);
    table.retain(kept[0]);
    table.release(kept[0]);
    expect(intern(table, 4)).toBe(-1);
    table.release(kept[0]);
    expect(intern(table, 4)).toBeGreaterThanOrEqual(0);
    expect(table.record(kept[0])).toBe(-1);
    expect(kept.slice(1).every((handle) => table.record(handle) >= 0)).toBe(true);
  });

  it('does not take just any number for a handle', () => {
    const table = new PeerTable(10);
    intern(table, 1);
    for (const handle of [-1, 0, 1, 2 ** 18 * 7, 2 ** 30, Number.NaN]) {
      expect(table.record(handle)).toBe(-1);
      expect(table.format(handle)).toBe('');
    }
  });
});

describe('zones of addresses', () => {
  it('are numbers or names of interfaces', () => {
    expect(parseZoned('fe80::1%12')).toEqual({ addr: IpAddr.parse('fe80::1'), zone: 12 });
    expect(parseZoned('10.0.0.1')).toEqual({ addr: IpAddr.parse('10.0.0.1'), zone: 0 });
    expect(() => parseZoned('fe80::1%nosuch0')).toThrow(/no interface "nosuch0"/);
  });
});
