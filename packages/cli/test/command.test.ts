import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adapt, connectL2 } from '@pktkit/core';
import { dial } from '@pktkit/qemu';
import { VClient } from '@pktkit/vclient';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { main } from '../src/index.ts';

describe('the command', () => {
  let out = '';
  let err = '';
  beforeEach(() => {
    out = '';
    err = '';
    vi.spyOn(console, 'log').mockImplementation((text) => {
      out += `${text}\n`;
    });
    vi.spyOn(console, 'error').mockImplementation((text) => {
      err += `${text}\n`;
    });
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('shows help and its version', async () => {
    expect(await main([])).toBe(0);
    expect(out).toMatch(/demo[\s\S]*lan/);
    expect(await main(['lan', '--help'])).toBe(0);
    expect(out).toMatch(/--qemu/);
    expect(await main(['--version'])).toBe(0);
    expect(out).toMatch(/^\d+\.\d+\.\d+$/m);
  });

  it('runs a LAN whose guests use the whole of --mtu, until Ctrl-C', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pktkit-cli-'));
    const path = join(folder, 'lan.sock');
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      out += text;
      return true;
    });
    const running = main(['lan', '--qemu', path, '--mtu', '9000', '--json']);
    await vi.waitFor(() => expect(out).toMatch(/"event":"ready"/), { timeout: 10_000 });
    const guest = await dial({ path }, { mtu: 9000 });
    const client = new VClient({ mtu: 9000 });
    const adapter = adapt(client, { dhcp: true });
    connectL2(adapter, guest);
    await adapter.ready();
    expect(await client.ping('10.0.2.2', { size: 8900 })).toMatchObject({ size: 8900 });
    client.close();
    guest.close();
    process.emit('SIGINT');
    expect(await running).toBe(0);
    expect(out).toMatch(/"event":"closed"/);
    expect(readdirSync(folder)).toEqual([]);
    rmSync(folder, { recursive: true });
  });

  it('says what to change, with exit code 2', async () => {
    expect(await main(['len'])).toBe(2);
    expect(err).toMatch(/no command "len"; there are demo, lan/);
    expect(await main(['lan'])).toBe(2);
    expect(err).toMatch(/give --qemu PATH, --tap NAME, or both/);
    expect(await main(['lan', '--qemu', '/tmp/x', '--bogus'])).toBe(2);
    expect(err).toMatch(/--bogus/);
    expect(await main(['lan', '--qemu', '/tmp/x', '--subnet', 'nonsense'])).toBe(2);
    expect(err).toMatch(/--subnet takes a network/);
    expect(await main(['lan', '--qemu', '/tmp/x', '--subnet', 'fd00::/64', '--no-ipv6'])).toBe(2);
    expect(err).toMatch(/contradicts --no-ipv6/);
    expect(await main(['lan', '--qemu', '/no/such/folder/x.sock'])).toBe(2);
    expect(err).toMatch(/--qemu \/no\/such\/folder\/x.sock: there is no folder \/no\/such\/folder/);
    expect(await main(['lan', '--qemu', '/tmp/x', '--netns', 'blue'])).toBe(2);
    expect(err).toMatch(/--netns blue: .* give --tap NAME too/);
    expect(await main(['lan', '--qemu', '/tmp/x', '--pcap', '/no/such/folder/x.pcapng'])).toBe(2);
    expect(err).toMatch(/--pcap .* cannot be written \(ENOENT\)/);
    expect(await main(['demo', '--size', 'huge'])).toBe(2);
    expect(err).toMatch(/--size takes a size/);
  });
});
