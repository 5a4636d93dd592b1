import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CHECKSUM_PARTIAL,
  Frame,
  IpAddr,
  Packet,
  pipeL2,
  pipeL3,
  pseudoHeaderSum,
  put16,
  type TapOptions,
  tap,
  tcp,
  udp,
  writeEthernet,
  writeIpv4,
  writeIpv6,
} from '@pktkit/core';
import { findTool, VirtualClock } from '@pktkit/testkit';
import { describe, expect, it } from 'vitest';

const missing = ['tshark', 'capinfos'].filter((tool) => findTool(tool) === null);
if (missing.length > 0) {
  const text = `captures are not checked: ${missing.join(' and ')} not found (apt-get install tshark)`;
  if (process.env.PKTKIT_E2E === 'required') throw new Error(text);
  process.stderr.write(`\n*** ${text} ***\n\n`);
}

/** Bytes of the capture, and a runner for Wireshark's tools on it. */
function recorder() {
  const blocks: Uint8Array[] = [];
  return {
    sink: (block: Uint8Array) => void blocks.push(block),
    blocks,
    read(tool: string, ...args: string[]): string {
      const folder = mkdtempSync(join(tmpdir(), 'pktkit-tap-'));
      try {
        const file = join(folder, 'tap.pcapng');
        writeFileSync(file, Buffer.concat(blocks));
        return execFileSync(tool, [...args, file], {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'ignore'],
        });
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  };
}

const SUMS = [
  '-o',
  'ip.check_checksum:TRUE',
  '-o',
  'tcp.check_checksum:TRUE',
  '-o',
  'udp.check_checksum:TRUE',
];

function tcp4(payload: number, seq = 1): Uint8Array {
  const buf = new Uint8Array(40 + payload).fill(0x41);
  writeIpv4(buf, 0, buf.length, 6, 0xc0000201, 0xc0000202);
  tcp.write(buf, 20, 1234, 9999, seq, 1, 20, 0x18, 1000);
  put16(buf, 36, pseudoHeaderSum(buf, 0, 6, 20 + payload));
  return buf;
}

function udp6(payload: number): Uint8Array {
  const buf = new Uint8Array(48 + payload).fill(0x42);
  writeIpv6(buf, 0, 8 + payload, 17, IpAddr.parse('2001:db8::1'), IpAddr.parse('2001:db8::2'));
  udp.write(buf, 40, 1234, 9999, 8 + payload);
  put16(buf, 46, pseudoHeaderSum(buf, 0, 17, 8 + payload));
  return buf;
}

function l3(options: TapOptions = {}) {
  const clock = new VirtualClock();
  const record = recorder();
  const [near, far] = pipeL3();
  const device = tap(near, record.sink, { clock, ...options });
  return { clock, record, device, near, far };
}

describe('tap', () => {
  it('passes everything on, both ways, the very same windows', () => {
    const { device, far } = l3();
    const seen: Packet[] = [];
    far.setHandler((packet) => seen.push(packet));
    device.setHandler((packet) => seen.push(packet));
    const packet = Packet.of(tcp4(10));
    device.send(packet);
    far.send(packet);
    expect(seen.every((other) => other === packet)).toBe(true);
    expect([seen.length, device.stats.seen, device.mtu, device.accepts]).toEqual([2, 2, 1500, 15]);
  });

  it.skipIf(missing.length > 0)(
    'writes packets that Wireshark finds no fault with: sums, times, directions',
    () => {
      const { clock, record, device, far } = l3({ name: 'tun7' });
      far.setHandler(() => {});
      device.setHandler(() => {});
      const four = tcp4(301);
      device.send(new Packet(four, 0, four.length, CHECKSUM_PARTIAL));
      clock.advance(1.25);
      const six = udp6(77);
      far.send(new Packet(six, 0, six.length, CHECKSUM_PARTIAL));
      const large = tcp4(20_000, 302);
      device.send(new Packet(large, 0, large.length, 1400 | CHECKSUM_PARTIAL));
      device.close();
      const fields = [
        'frame.time_epoch',
        'frame.len',
        'frame.interface_name',
        'frame.packet_flags_direction',
      ];
      const status = [
        'ip.checksum.status',
        'tcp.checksum.status',
        'udp.checksum.status',
        'frame.comment',
      ];
      const rows = record
        .read(
          'tshark',
          '-n',
          ...SUMS,
          '-T',
          'fields',
          ...[...fields, ...status].flatMap((f) => ['-e', f]),
          '-r',
        )
        .trimEnd()
        .split('\n')
        .map((row) => row.split('\t'));
      expect(rows.map((row) => row.slice(1, 7))).toEqual([
        ['341', 'tun7', '0x00000002', '1', '1', ''],
        ['125', 'tun7', '0x00000001', '', '', '1'],
        ['20040', 'tun7', '0x00000002', '1', '1', ''],
      ]);
      expect(rows[0][0].startsWith('1767225600.000000000')).toBe(true);
      expect(Number(rows[1][0]) - Number(rows[0][0])).toBeCloseTo(0.00125, 6);
      expect(rows[2][7]).toMatch(/1400/);
      expect(
        record.read(
          'tshark',
          '-n',
          ...SUMS,
          '-Y',
          '_ws.malformed || _ws.expert.severity >= 6291456',
          '-r',
        ),
      ).toBe('');
      const info = record.read('capinfos', '-A');
      expect(info).toMatch(/pcapng/);
      expect(info).toMatch(/Raw IP/);
      expect(info).toMatch(/nanosecond/);
    },
  );

  it.skipIf(missing.length > 0)('cuts at snaplen, and tells what it left out', () => {
    let ready = true;
    const { record, device, far } = l3({ snaplen: 64, ready: () => ready });
    far.setHandler(() => {});
    const send = () => device.send(Packet.of(tcp4(500)));
    send();
    ready = false;
    send();
    send();
    ready = true;
    send();
    device.close();
    send();
    expect(device.stats).toEqual({ seen: 4, dropped: 2, sinkErrors: 0 });
    const rows = record.read(
      'tshark',
      '-T',
      'fields',
      '-e',
      'frame.len',
      '-e',
      'frame.cap_len',
      '-e',
      'frame.drop_count',
      '-r',
    );
    expect(
      rows
        .trim()
        .split('\n')
        .map((row) => row.trim().split('\t')),
    ).toEqual([
      ['540', '64'],
      ['540', '64', '2'],
    ]);
  });

  it.skipIf(missing.length > 0)('captures frames, what is not IP included', () => {
    const clock = new VirtualClock();
    const record = recorder();
    const [near, far] = pipeL2();
    const device = tap(near, record.sink, { clock });
    far.setHandler(() => {});
    const frame = new Uint8Array(14 + 340);
    writeEthernet(frame, 0, 0x020000000002, 0x020000000001, 0x0800);
    frame.set(tcp4(300), 14);
    device.send(new Frame(frame, 0, frame.length, CHECKSUM_PARTIAL));
    const other = new Uint8Array(60);
    writeEthernet(other, 0, 0xffffffffffff, 0x020000000001, 0x88b5);
    device.send(new Frame(other, 0, 60, CHECKSUM_PARTIAL));
    device.close();
    const rows = record.read(
      'tshark',
      '-n',
      ...SUMS,
      '-T',
      'fields',
      '-e',
      'eth.type',
      '-e',
      'tcp.checksum.status',
      '-r',
    );
    expect(
      rows
        .trimEnd()
        .split('\n')
        .map((row) => row.trimEnd()),
    ).toEqual(['0x0800\t1', '0x88b5']);
  });

  it('outlives a sink that throws', () => {
    const clock = new VirtualClock();
    const [near, far] = pipeL3();
    let broken = false;
    const device = tap(
      near,
      () => {
        if (broken) throw new Error('disk full');
      },
      { clock },
    );
    broken = true;
    let got = 0;
    far.setHandler(() => got++);
    device.send(Packet.of(tcp4(1)));
    expect([got, device.stats.sinkErrors]).toEqual([1, 1]);
    expect(() => tap(near, () => {}, { snaplen: 0 })).toThrow(/snaplen/);
  });
});
