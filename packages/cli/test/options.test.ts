import { describe, expect, it } from 'vitest';
import { lanArgs, parseSocket } from '../src/lan.ts';
import {
  parseForward,
  parseInteger,
  parseSize,
  parseSubnet,
  readOptions,
  UsageError,
} from '../src/options.ts';

describe('options', () => {
  it('may be repeated or separated by commas; the last single value counts', () => {
    const values = readOptions(lanArgs, [
      ...['--qemu', 'a', '--qemu=b,c', '--pcap', 'x', '--pcap', 'y', '--no-ipv6', '--json'],
    ]);
    expect(values.list('qemu')).toEqual(['a', 'b', 'c']);
    expect(values.list('tap')).toEqual([]);
    expect(values.text('pcap')).toBe('y');
    expect(values.text('mtu')).toBeUndefined();
    expect(values.flag('ipv6')).toBe(false);
    expect(values.flag('json')).toBe(true);
    expect(values.flag('host-loopback')).toBe(false);
  });

  it('that are unknown, lack a value or are left over are named', () => {
    expect(() => readOptions(lanArgs, ['--forwrd', 'x'])).toThrow(/--forwrd.*--help/);
    expect(() => readOptions(lanArgs, ['--tap'])).toThrow(/--tap/);
    expect(() => readOptions(lanArgs, ['stray'])).toThrow(UsageError);
  });

  it('read sizes', () => {
    expect(parseSize('size', '64MiB')).toBe(64 * 2 ** 20);
    expect(parseSize('size', '10MB')).toBe(10_000_000);
    expect(parseSize('size', '1.5k')).toBe(1500);
    expect(parseSize('size', '7')).toBe(7);
    for (const bad of ['', 'x', '-1', '0', '1e3', '5 parsecs', '9999999999GiB']) {
      expect(() => parseSize('size', bad), bad).toThrow(/--size takes a size/);
    }
    expect(parseInteger('mtu', '1500', 68, 65535)).toBe(1500);
    expect(() => parseInteger('mtu', '10', 68, 65535)).toThrow(/from 68 to 65535/);
    expect(() => parseInteger('mtu', '0x99', 68, 65535)).toThrow(/--mtu/);
  });

  it('read networks, with the gateway in them', () => {
    expect(parseSubnet('subnet', '10.0.2.0/24').toString()).toBe('10.0.2.1/24');
    expect(parseSubnet('subnet', '10.0.2.2/24').toString()).toBe('10.0.2.2/24');
    expect(parseSubnet('subnet', 'fd00::/64').toString()).toBe('fd00::1/64');
    expect(() => parseSubnet('subnet', '10.0.2.0')).toThrow(/such as 10.0.2.0\/24/);
    expect(() => parseSubnet('subnet', '10.0.2.0/30')).toThrow(/\/8 to \/29/);
    expect(() => parseSubnet('subnet', 'fd00::/48')).toThrow(/\/64/);
  });

  it('read forwards', () => {
    expect(parseForward('forward', '8080:10.0.2.15:80')).toMatchObject({
      protocol: 'tcp',
      hostPort: 8080,
      guestPort: 80,
    });
    const udp = parseForward('forward', 'udp:[::1]:53:[fd00::5]:5353');
    expect(udp.protocol).toBe('udp');
    expect(udp.host.toString()).toBe('::1');
    expect(udp.guest.toString()).toBe('fd00::5');
    for (const bad of ['80', '80:guest:80', 'tcp:99999:10.0.0.1:80', 'icmp:1:10.0.0.1:1']) {
      expect(() => parseForward('forward', bad), bad).toThrow(/--forward takes/);
    }
  });

  it('read where QEMU connects', () => {
    expect(parseSocket('/tmp/lan.sock')).toEqual({ path: '/tmp/lan.sock' });
    expect(parseSocket('4444')).toEqual({ port: 4444, host: undefined });
    expect(parseSocket('0.0.0.0:4444')).toEqual({ port: 4444, host: '0.0.0.0' });
    expect(parseSocket('[::1]:4444')).toEqual({ port: 4444, host: '::1' });
    expect(() => parseSocket('host:99999')).toThrow(/--qemu/);
  });
});
