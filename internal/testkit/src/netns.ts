/**
 * Network namespaces for tests with real peers (Linux, root, iproute2). Names are unique on the machine. Each namespace
 * is noted in a registry file before it exists; whoever makes the next one sweeps what owners that have died (a crash,
 * SIGKILL) left behind, processes inside included.
 */

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BackgroundProcess, type RunOptions, type RunResult, run } from './process.ts';

const REGISTRY = '/run/pktkit-test';
const ETC = '/etc/netns';

export interface NetnsOptions {
  /** Short, for people: part of the name. */
  label?: string | undefined;
  /** Files that stand in for those of /etc for everything run inside, as `{ 'resolv.conf': '' }`. */
  etc?: Readonly<Record<string, string>> | undefined;
}

export interface VethOptions {
  /** The interface's name on this side and on the peer's; `veth0` unless told. */
  name?: string | undefined;
  peerName?: string | undefined;
  /** Addresses with their prefix length, as `10.0.0.1/24`. */
  addrs?: readonly string[] | undefined;
  peerAddrs?: readonly string[] | undefined;
  mtu?: number | undefined;
  /** Leave checksum and segmentation offload on: captures then show unfinished packets. Off unless told. */
  offload?: boolean | undefined;
}

export class Netns {
  readonly name: string;
  readonly #processes: BackgroundProcess[] = [];
  #closed = false;

  private constructor(name: string) {
    this.name = name;
  }

  static async create(options: NetnsOptions = {}): Promise<Netns> {
    sweepOnce();
    const label = (options.label ?? 'ns').replace(/[^a-z0-9]/gi, '').slice(0, 12);
    const name = `pktkit-${label}-${randomBytes(4).toString('hex')}`;
    note(name);
    const netns = new Netns(name);
    open.add(netns);
    try {
      const files = Object.entries(options.etc ?? {});
      if (files.length > 0) mkdirSync(join(ETC, name), { recursive: true });
      for (const [file, content] of files) writeFileSync(join(ETC, name, file), content);
      await run('ip', ['netns', 'add', name]);
      await netns.ip('link', 'set', 'lo', 'up');
      // No duplicate-address wait: tests would only sleep through it.
      await netns.sysctl('net.ipv6.conf.all.accept_dad', 0);
      await netns.sysctl('net.ipv6.conf.default.accept_dad', 0);
    } catch (error) {
      await netns.close();
      throw error;
    }
    return netns;
  }

  /** `ip -n NAME …`; gives its output. */
  async ip(...args: string[]): Promise<string> {
    return (await run('ip', ['-n', this.name, ...args])).stdout;
  }

  /** `ip -j -n NAME …`; gives its parsed output. */
  async ipJson<T>(...args: string[]): Promise<T> {
    return JSON.parse((await this.ip('-j', ...args)) || '[]') as T;
  }

  /** Runs a program inside to its end. */
  async run(
    command: string,
    args: readonly string[] = [],
    options: RunOptions = {},
  ): Promise<RunResult> {
    return run('ip', ['netns', 'exec', this.name, command, ...args], options);
  }

  /** Starts a program inside; it is ended when the namespace is closed. */
  spawn(
    command: string,
    args: readonly string[] = [],
    options: Pick<RunOptions, 'env' | 'cwd'> = {},
  ): BackgroundProcess {
    // `ip netns exec` replaces itself: the pid is the program's own.
    const child = new BackgroundProcess(
      'ip',
      ['netns', 'exec', this.name, command, ...args],
      options,
    );
    this.#processes.push(child);
    return child;
  }

  async sysctl(key: string, value: string | number): Promise<void> {
    const file = `/proc/sys/${key.replaceAll('.', '/')}`;
    await this.run('sh', ['-c', `echo "$1" > ${file}`, 'sh', String(value)]);
  }

  /** The content of a file under /etc as programs inside see it; only those given to `create`. */
  readEtc(file: string): string {
    return readFileSync(join(ETC, this.name, file), 'utf8');
  }

  /** A cable to another namespace, both ends up. */
  async veth(peer: Netns, options: VethOptions = {}): Promise<void> {
    const { name = 'veth0', peerName = 'veth0', mtu = 1500, offload = false } = options;
    const link = ['name', peerName, 'netns', peer.name, 'mtu', String(mtu)];
    await this.ip('link', 'add', name, 'mtu', String(mtu), 'type', 'veth', 'peer', ...link);
    const ends = [
      { netns: this as Netns, dev: name, addrs: options.addrs ?? [] },
      { netns: peer, dev: peerName, addrs: options.peerAddrs ?? [] },
    ];
    for (const { netns, dev, addrs } of ends) {
      if (!offload) await netns.offloadOff(dev);
      for (const addr of addrs) await netns.addAddress(dev, addr);
      await netns.ip('link', 'set', dev, 'up');
    }
  }

  async addAddress(dev: string, addr: string): Promise<void> {
    const nodad = addr.includes(':') ? ['nodad'] : [];
    await this.ip('addr', 'add', addr, 'dev', dev, ...nodad);
  }

  /** An interface that leads nowhere, to hang addresses on. */
  async dummy(name: string, addrs: readonly string[]): Promise<void> {
    await this.ip('link', 'add', name, 'type', 'dummy');
    for (const addr of addrs) await this.addAddress(name, addr);
    await this.ip('link', 'set', name, 'up');
  }

  /** Checksums and segments complete on the wire, so that a capture shows what a peer would see. */
  async offloadOff(dev: string): Promise<void> {
    const off = ['tx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off', 'rx', 'off'];
    await this.run('ethtool', ['-K', dev, ...off], { check: false });
  }

  /** Brings an interface of the host (a TAP, say) in here; it goes back or away with its owner. */
  async adopt(dev: string): Promise<void> {
    await run('ip', ['link', 'set', dev, 'netns', this.name]);
  }

  /** Ends what runs inside and removes the namespace with its interfaces; idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all(this.#processes.map((child) => child.stop()));
    open.delete(this);
    remove(this.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Runs `body` with a fresh namespace for each label and closes them afterwards, whatever happens. */
export async function withNetns<T>(
  labels: readonly string[],
  body: (...spaces: Netns[]) => Promise<T>,
): Promise<T> {
  const spaces: Netns[] = [];
  try {
    for (const label of labels) spaces.push(await Netns.create({ label }));
    return await body(...spaces);
  } finally {
    for (const space of spaces) await space.close();
  }
}

export interface Subnet {
  /** `10.x.y`: append `.1`. */
  readonly v4: string;
  /** `fd70:6b74:n:`: append `:1`. */
  readonly v6: string;
  readonly prefix4: string;
  readonly prefix6: string;
}

/** A /24 and a /64 that no other test of this machine uses until this process ends. */
export function freeSubnet(): Subnet {
  sweepOnce();
  for (let n = 0; n < 4096; n++) {
    const index = (process.pid * 7 + n) % 4096;
    const [high, low] = [index >>> 8, index & 255];
    const name = `subnet-${index}`;
    if (!tryNote(name)) continue;
    subnets.add(name);
    const v4 = `10.${200 + high}.${low}`;
    const v6 = `fd70:6b74:${index.toString(16)}:`;
    return { v4, v6, prefix4: `${v4}.0/24`, prefix6: `${v6}:/64` };
  }
  throw new Error(`all test subnets are taken; remove stale files in ${REGISTRY}`);
}

/** Removes what processes that are gone have left behind. Gives the names of the namespaces removed. */
export function sweepStale(): string[] {
  mkdirSync(REGISTRY, { recursive: true });
  const removed: string[] = [];
  for (const name of readdirSync(REGISTRY)) {
    const file = join(REGISTRY, name);
    let owner: string;
    try {
      owner = readFileSync(file, 'utf8');
    } catch {
      continue; // another process has swept it meanwhile
    }
    if (isAlive(owner)) continue;
    if (name.startsWith('pktkit-')) {
      remove(name);
      removed.push(name);
    } else {
      rmSync(file, { force: true });
    }
  }
  return removed;
}

const open = new Set<Netns>();
const subnets = new Set<string>();
let swept = false;

function sweepOnce(): void {
  if (swept) return;
  swept = true;
  sweepStale();
  process.on('exit', () => {
    for (const netns of open) remove(netns.name);
    for (const name of subnets) rmSync(join(REGISTRY, name), { force: true });
  });
}

/** Pid and start time: a pid alone may be somebody else's by now. */
function identity(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The program's name (field 2) may hold spaces and brackets; the start time is field 22 of proc(5).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return `${pid} ${fields[19]}`;
  } catch {
    return '';
  }
}

function isAlive(owner: string): boolean {
  // An empty file is one whose owner is between creating and writing it; it is looked at again next time.
  return owner === '' || identity(Number.parseInt(owner, 10)) === owner;
}

function note(name: string): void {
  mkdirSync(REGISTRY, { recursive: true });
  writeFileSync(join(REGISTRY, name), identity(process.pid), { flag: 'wx' });
}

function tryNote(name: string): boolean {
  try {
    note(name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Synchronous, because it also runs when the process exits. Only ever ends processes inside the namespace. */
function remove(name: string): void {
  const { stdout } = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' });
  for (const line of (stdout ?? '').split('\n')) {
    const pid = Number.parseInt(line, 10);
    if (!(pid > 1)) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
  spawnSync('ip', ['netns', 'del', name]);
  rmSync(join(ETC, name), { recursive: true, force: true });
  rmSync(join(REGISTRY, name), { force: true });
}
