/**
 * User-mode NAT between a network namespace on our TAP and real sockets: the kernel's TCP on both sides, one Node thread in
 * between. Throughput by iperf3 against a server on the host's loopback, connections by Python, both in processes of their own.
 * slirp4netns and pasta, where they are installed, do the same in the same run. Needs root.
 */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { adapt, connectL2 } from '@pktkit/core';
import { Slirp } from '@pktkit/slirp';
import { openTap } from '@pktkit/tuntap';
import type { Bench, Measurement } from './harness.ts';

const GATEWAY = '10.0.2.2';
const SECONDS = 5;
const CRR_SECONDS = 4;
const IDLE_FLOWS = 2000;

/** Programs that do what slirp does, each with a TAP in the guest's namespace and the host's loopback at `GATEWAY`. */
const PEERS: Readonly<Record<string, (netns: string, mtu: number) => string[]>> = {
  slirp4netns: (netns, mtu) => ['--configure', `--mtu=${mtu}`, '--netns-type=path', netns, 'tap0'],
  pasta: (netns, mtu) => [
    ...['-f', '--quiet', '--config-net', '--runas', '0', '-I', 'tap0', '-m', String(mtu)],
    ...['-a', '10.0.2.15', '-n', '24', '-g', GATEWAY, '--netns', netns],
  ],
};

/** A network namespace whose programs reach the host's loopback at `GATEWAY`. */
class World {
  readonly netns: string;

  constructor(suffix: string) {
    this.netns = `pkbench${process.pid}${suffix}`;
    execFileSync('ip', ['netns', 'add', this.netns]);
    this.ip('link', 'set', 'lo', 'up');
  }

  /** A program inside the namespace. */
  spawn(command: string, ...args: string[]): ChildProcess {
    return start('ip', 'netns', 'exec', this.netns, command, ...args);
  }

  close(): void {
    execFileSync('ip', ['netns', 'del', this.netns]);
  }

  protected ip(...args: string[]): string {
    return execFileSync('ip', ['-n', this.netns, ...args], { encoding: 'utf8' });
  }
}

/** Behind our slirp, in this process. */
class OurWorld extends World {
  readonly slirp: Slirp;
  readonly #close: () => void;

  constructor(mtu: number) {
    super('');
    const tap = openTap({ name: 'tap0', netns: this.netns, mtu, addrs: ['10.0.2.15/24'] });
    this.ip('route', 'add', 'default', 'via', GATEWAY);
    this.slirp = new Slirp({ addrs: [`${GATEWAY}/24`], hostLoopback: true, mtu });
    const gateway = adapt(this.slirp, { mtu, ipv6: false });
    const disconnect = connectL2(tap, gateway);
    this.#close = () => {
      disconnect();
      gateway.close();
      this.slirp.close();
      tap.close();
    };
  }

  override close(): void {
    this.#close();
    super.close();
  }
}

/** Behind one of the programs. */
class PeerWorld extends World {
  readonly #program: ChildProcess;

  private constructor(name: string, mtu: number) {
    super(name);
    const args = PEERS[name](`/run/netns/${this.netns}`, mtu);
    this.#program = spawn(name, args, { stdio: 'ignore' });
    this.#program.on('error', () => {});
  }

  /** Null where the program is not installed. */
  static async open(name: string, mtu: number): Promise<PeerWorld | null> {
    if (spawnSync(name, ['--version'], { stdio: 'ignore' }).error !== undefined) return null;
    const world = new PeerWorld(name, mtu);
    for (let tries = 0; tries < 500; tries++) {
      if (world.ip('route').includes('default')) return world;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    world.close();
    throw new Error(`${name} made no route within ten seconds`);
  }

  override close(): void {
    this.#program.kill();
    super.close();
  }
}

/** Ours, then each program that is here, one after the other. */
async function besidePeers(
  id: string,
  unit: string,
  mtu: number,
  measure: (world: World) => Promise<number>,
): Promise<Measurement[]> {
  const found: Measurement[] = [];
  const add = async (name: string, world: World | null) => {
    if (world === null) return;
    try {
      found.push({ id: id + name, unit, value: await measure(world), bytesPerOp: null });
    } finally {
      world.close();
    }
  };
  await add('', new OurWorld(mtu));
  for (const name of Object.keys(PEERS)) await add(`@${name}`, await PeerWorld.open(name, mtu));
  return found;
}

function start(command: string, ...args: string[]): ChildProcess {
  return spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${child.spawnargs.join(' ')} ended with ${code}: ${text}`);
  return text;
}

/** Waits for a child's first line. */
async function firstLine(child: ChildProcess): Promise<string> {
  const [text] = await once(child.stdout as NodeJS.ReadableStream, 'data');
  return String(text).trim();
}

async function iperf(world: World, direction: 'up' | 'down'): Promise<number> {
  const port = '5299';
  const server = start('iperf3', '-s', '-1', '-B', '127.0.0.1', '-p', port, '--forceflush');
  try {
    await firstLine(server);
    const args = ['-c', GATEWAY, '-p', port, '-t', String(SECONDS), '-O', '1', '-J'];
    if (direction === 'down') args.push('-R');
    const report = JSON.parse(await output(world.spawn('iperf3', ...args)));
    return report.end.sum_received.bits_per_second / 1e9;
  } finally {
    server.kill();
  }
}

/** Accepts connections and keeps them; prints its port. */
const IDLE_SERVER = `
  const { createServer } = require('node:net');
  const server = createServer((socket) => socket.on('error', () => {}));
  server.listen(0, '127.0.0.1', 4096, () => console.log(server.address().port));
`;

/** Answers one byte by one byte and closes; prints its port. In Python, since a Node peer would cost more than what is measured. */
const CRR_SERVER = `
import socket
server = socket.socket()
server.bind(('127.0.0.1', 0))
server.listen(4096)
print(server.getsockname()[1], flush=True)
while True:
    connection, _ = server.accept()
    if connection.recv(1):
        connection.send(b'x')
    connection.close()
`;

/** Connect, request, response, close, one after the other; prints connections a second. */
const CRR_CLIENT = `
import socket, sys, time
host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
started = time.time()
count = 0
while time.time() - started < seconds:
    connection = socket.create_connection((host, port))
    connection.send(b'q')
    while connection.recv(16):
        pass
    connection.close()
    count += 1
print(count / (time.time() - started))
`;

/** Opens so many connections, says so and keeps them. */
const IDLE_CLIENT = `
  const { connect } = require('node:net');
  const [host, port, count] = process.argv.slice(1);
  let open = 0;
  const next = () => {
    if (open === Number(count)) return console.log('ready');
    connect(Number(port), host, () => { open++; next(); });
  };
  next();
`;

async function crr(world: World): Promise<number> {
  const server = start('python3', '-c', CRR_SERVER);
  try {
    const port = await firstLine(server);
    const client = world.spawn('python3', '-c', CRR_CLIENT, GATEWAY, port, String(CRR_SECONDS));
    return Number(await output(client));
  } finally {
    server.kill();
  }
}

/** What an idle flow costs in this process: heap, buffers and what the system counts beside them. */
async function flowMemory(): Promise<Measurement[]> {
  const world = new OurWorld(1500);
  const server = start(process.execPath, '-e', IDLE_SERVER);
  let client: ChildProcess | undefined;
  try {
    const port = await firstLine(server);
    const settle = async () => {
      for (let i = 0; i < 5; i++) {
        globalThis.gc?.();
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    };
    const before = await settle();
    client = world.spawn(process.execPath, '-e', IDLE_CLIENT, GATEWAY, port, String(IDLE_FLOWS));
    await firstLine(client);
    const value = ((await settle()) - before) / world.slirp.stats.tcpFlows;
    return [{ id: 'slirp.flow.memory', unit: 'B', value, bytesPerOp: null }];
  } finally {
    client?.kill();
    server.kill();
    world.close();
  }
}

export const benches: Bench[] = [
  ...[1500, 65520].flatMap((mtu) =>
    (['up', 'down'] as const).map((direction) => {
      const id = `slirp.tap.tcp.${mtu}.${direction}`;
      const measure = (world: World) => iperf(world, direction);
      return { id, unit: 'Gbit/s', measure: () => besidePeers(id, 'Gbit/s', mtu, measure) };
    }),
  ),
  {
    id: 'slirp.tap.crr',
    unit: 'conn/s',
    measure: () => besidePeers('slirp.tap.crr', 'conn/s', 1500, crr),
  },
  { id: 'slirp.flow.memory', unit: 'B', measure: flowMemory },
];
