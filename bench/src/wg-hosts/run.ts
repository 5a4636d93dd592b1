/** Starts the two ends of a measured tunnel, and wireguard-go for comparison in the same run. */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { provider } from '@pktkit/crypto/node';
import { derivePublicKey, formatKey, generatePrivateKey } from '@pktkit/wg';
import { type Measurement, median } from '../harness.ts';
import type { HostConfig } from './host.child.ts';

const CHILD = fileURLToPath(new URL('host.child.ts', import.meta.url));

class Host {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  #wake: () => void = () => {};
  #ended = false;

  constructor(config: HostConfig) {
    this.#child = spawn(process.execPath, ['--import', 'tsx', CHILD, JSON.stringify(config)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let text = '';
    this.#child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const lines = text.split('\n');
      text = lines.pop() as string;
      this.#lines.push(...lines);
      this.#wake();
    });
    this.#child.once('exit', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  async line(): Promise<string> {
    while (this.#lines.length === 0) {
      if (this.#ended) throw new Error('an end of the tunnel has ended early');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#lines.shift() as string;
  }

  /** The UDP port that it listens on. */
  async port(): Promise<string> {
    return (await this.line()).split(' ')[1];
  }

  /** Tells it where the other end is. */
  connect(port: string): void {
    this.#child.stdin?.write(`${port}\n`);
  }

  stop(): void {
    this.#child.stdin?.end();
  }
}

type End = Pick<HostConfig, 'role'> & Partial<HostConfig>;

/** Two hosts that know each other. */
async function hosts(left: End, right: End): Promise<[Host, Host]> {
  const keys = [left, right].map(() => generatePrivateKey());
  const made = [left, right].map((end, i) => {
    return new Host({
      privateKey: formatKey(keys[i]),
      peerKey: formatKey(derivePublicKey(provider(), keys[1 - i])),
      peerAddress: '127.0.0.1',
      port: 0,
      ...end,
    });
  });
  const [a, b] = made;
  const ports = [await a.port(), await b.port()];
  b.connect(ports[0]);
  a.connect(ports[1]);
  return [a, b];
}

/** 1400-byte packets from one process to another over loopback; received ones count, and lost ones are told. */
export async function udpGoodput(): Promise<Measurement[]> {
  const seconds = 3;
  const rates: number[] = [];
  for (let run = 0; run < 3; run++) {
    const [source, sink] = await hosts({ role: 'source', seconds }, { role: 'sink', seconds });
    const { sent } = JSON.parse(await source.line()) as { sent: number };
    const result = JSON.parse(await sink.line()) as { received: number; rate: number };
    source.stop();
    sink.stop();
    const loss = 1 - result.received / sent;
    process.stderr.write(
      `wg.udp.goodput: ${result.rate.toFixed(0)} MB/s, ${(loss * 100).toFixed(3)} % of ${sent} lost\n`,
    );
    if (loss > 0.01) throw new Error(`${(loss * 100).toFixed(1)} % of the packets were lost`);
    rates.push(result.rate);
  }
  return [{ id: 'wg.udp.goodput', unit: 'MB/s', value: median(rates), bytesPerOp: null }];
}

export async function udpRtt(): Promise<Measurement[]> {
  const [ping, echo] = await hosts({ role: 'ping' }, { role: 'echo' });
  const { median: value } = JSON.parse(await ping.line()) as { median: number };
  ping.stop();
  echo.stop();
  return [{ id: 'wg.udp.rtt', unit: 'µs', value, bytesPerOp: null }];
}

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] });
const inside = (netns: string, ...args: string[]) => ip('netns', 'exec', netns, ...args);

/** iperf3 between two namespaces: both ends ours, then both ends wireguard-go, one after the other. */
export async function tunTcp(): Promise<Measurement[]> {
  if (process.getuid?.() !== 0 || spawnSync('iperf3', ['-v']).status !== 0) {
    process.stderr.write('wg.tun.tcp needs root and iperf3: left out\n');
    return [];
  }
  const names = ['a', 'b'].map((side) => `pktkit-bwg${process.pid}${side}`);
  const [a, b] = names;
  const measured: Measurement[] = [];
  try {
    for (const name of names) ip('netns', 'add', name);
    ip('link', 'add', 'veth0', 'netns', a, 'type', 'veth', 'peer', 'name', 'veth0', 'netns', b);
    for (const [i, name] of names.entries()) {
      inside(name, 'ip', 'link', 'set', 'lo', 'up');
      inside(name, 'ip', 'addr', 'add', `10.111.0.${i + 1}/24`, 'dev', 'veth0');
      inside(name, 'ip', 'link', 'set', 'veth0', 'up');
    }
    const left: End = { role: 'tun', netns: a, name: 'wgo', addr: '10.112.0.1/24' };
    const right: End = { role: 'tun', netns: b, name: 'wgo', addr: '10.112.0.2/24' };
    const ours = await hosts(
      { ...left, peerAddress: '10.111.0.2' },
      { ...right, peerAddress: '10.111.0.1' },
    );
    inside(a, 'ping', '-c', '1', '-W', '5', '10.112.0.2');
    measured.push(await iperf('wg.tun.tcp', a, b, '10.112.0.2'));
    for (const host of ours) host.stop();
    const go = await wireguardGo(names);
    if (go !== null) {
      measured.push(await iperf('wg.tun.tcp@wireguard-go', a, b, '10.113.0.2'));
      go();
    }
  } finally {
    for (const name of names) ip('netns', 'del', name);
  }
  return measured;
}

async function iperf(id: string, from: string, to: string, address: string): Promise<Measurement> {
  const rates: number[] = [];
  for (let run = 0; run < 3; run++) {
    const server = spawn('ip', ['netns', 'exec', to, 'iperf3', '-s', '-1', '--forceflush']);
    await new Promise((resolve) => server.stdout.once('data', resolve));
    const done = new Promise((resolve) => server.once('exit', resolve));
    const report = inside(from, 'iperf3', '-c', address, '-t', '4', '-J').toString();
    await done;
    const parsed = JSON.parse(report) as { end: { sum_received: { bits_per_second: number } } };
    rates.push(parsed.end.sum_received.bits_per_second / 1e9);
  }
  return { id, unit: 'Gbit/s', value: median(rates), bytesPerOp: null };
}

/** wireguard-go in both namespaces; null where it is not installed. Gives what ends it. */
async function wireguardGo(names: readonly string[]): Promise<(() => void) | null> {
  if (spawnSync('wireguard-go', ['--version']).status !== 0) return null;
  const folder = mkdtempSync(join(tmpdir(), 'pktkit-wg-'));
  const devices = names.map((_, i) => `wgb${process.pid % 100000}${i}`);
  const keys = names.map(() => generatePrivateKey());
  const children = names.map((name, i) =>
    spawn('ip', ['netns', 'exec', name, 'wireguard-go', '-f', devices[i]], { stdio: 'ignore' }),
  );
  for (const [i, name] of names.entries()) {
    const device = devices[i];
    const file = join(folder, String(i));
    writeFileSync(file, `${formatKey(keys[i])}\n`, { mode: 0o600 });
    const other = 2 - i;
    const peer = formatKey(derivePublicKey(provider(), keys[1 - i]));
    const allowed = ['allowed-ips', '0.0.0.0/0', 'endpoint', `10.111.0.${other}:51820`];
    for (let tries = 0; spawnSync('wg', ['show', device]).status !== 0; tries++) {
      if (tries === 50) throw new Error('wireguard-go did not start');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const own = ['private-key', file, 'listen-port', '51820'];
    inside(name, 'wg', 'set', device, ...own, 'peer', peer, ...allowed);
    inside(name, 'ip', 'addr', 'add', `10.113.0.${i + 1}/24`, 'dev', device);
    inside(name, 'ip', 'link', 'set', device, 'mtu', '1420', 'up');
  }
  inside(names[0], 'ping', '-c', '1', '-W', '5', '10.113.0.2');
  return () => {
    for (const child of children) child.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  };
}
