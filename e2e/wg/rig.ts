/** Two hosts on a cable: one runs wireguard-go and the stock `wg`, the other our device behind a TUN of its own. */

import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectL3 } from '@pktkit/core';
import { type BackgroundProcess, freeSubnet, Netns, type Subnet, until } from '@pktkit/testkit';
import { openTun, type TunDevice } from '@pktkit/tuntap';
import { formatKey, generatePresharedKey, generatePrivateKey, type WireGuard } from '@pktkit/wg';
import {
  type ListenOptions,
  listen,
  type PortDeviceOptions,
  type WireGuardPort,
} from '@pktkit/wg/node';

export const NEEDS = ['ip', 'wireguard-go', 'wg', 'ping'];
export const FILES = { files: ['/dev/net/tun'] };
export const PORT = 51820;

/** Shorter times on our side, so that rekeys come every second: wireguard-go keeps its own. */
export const QUICK = {
  rekeyAfterTime: 1000,
  rejectAfterTime: 5000,
  rekeyTimeout: 300,
  retryJitter: 50,
  keepaliveTimeout: 1000,
};

/** An instance of wireguard-go in a namespace. Its control socket is global, so its name is unique. */
export class GoPeer {
  readonly netns: Netns;
  readonly name: string;
  readonly privateKey: string;
  readonly #files: string;
  #process: BackgroundProcess | null = null;

  constructor(netns: Netns, privateKey: string = formatKey(generatePrivateKey())) {
    this.netns = netns;
    this.name = `wgt${randomBytes(4).toString('hex')}`;
    this.privateKey = privateKey;
    this.#files = mkdtempSync(join(tmpdir(), 'pktkit-wg-'));
  }

  /** Starts it with addresses, and `wg set` arguments for its peer. */
  async start(addrs: readonly string[], mtu = 1420, port: number = PORT): Promise<void> {
    const daemon = this.netns.spawn('wireguard-go', ['-f', this.name], {
      env: { LOG_LEVEL: 'error' },
    });
    this.#process = daemon;
    await until(
      async () => (await this.netns.run('wg', ['show', this.name], { check: false })).code === 0,
      { within: 60_000, what: () => `an answer of ${daemon.describe()}` },
    );
    await this.wg('private-key', this.#file(this.privateKey), 'listen-port', String(port));
    for (const addr of addrs) await this.netns.addAddress(this.name, addr);
    await this.netns.ip('link', 'set', this.name, 'mtu', String(mtu), 'up');
  }

  /** `wg set NAME …` */
  async wg(...args: string[]): Promise<void> {
    await this.netns.run('wg', ['set', this.name, ...args]);
  }

  async show(what: string): Promise<string> {
    return (await this.netns.run('wg', ['show', this.name, what])).stdout;
  }

  async publicKey(): Promise<string> {
    return (await this.show('public-key')).trim();
  }

  /** A file with a key, as `wg` wants it. */
  #file(key: string): string {
    const path = join(this.#files, randomBytes(4).toString('hex'));
    writeFileSync(path, `${key}\n`, { mode: 0o600 });
    return path;
  }

  async setPeer(
    publicKey: string,
    options: { allowedIps: string; endpoint?: string; psk?: string; keepalive?: number },
  ): Promise<void> {
    const { allowedIps, endpoint, psk, keepalive } = options;
    await this.wg(
      'peer',
      publicKey,
      ...(psk === undefined ? [] : ['preshared-key', this.#file(psk)]),
      ...(endpoint === undefined ? [] : ['endpoint', endpoint]),
      ...(keepalive === undefined ? [] : ['persistent-keepalive', String(keepalive)]),
      'allowed-ips',
      allowedIps,
    );
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
    this.#process = null;
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.#files, { recursive: true, force: true });
  }
}

export interface WorldOptions {
  /** Who knows the other's endpoint and so starts. Both unless told. */
  initiator?: 'us' | 'go' | undefined;
  psk?: boolean | undefined;
  /** Family of the outer packets. */
  outer?: 4 | 6 | undefined;
  mtu?: number | undefined;
  port?: Partial<ListenOptions> | undefined;
  device?: Partial<PortDeviceOptions> | undefined;
  /** Seconds, on our side. */
  keepalive?: number | undefined;
}

/** `us` and `go` on one cable, tunnel addresses 10.99.0.1 (us) and 10.99.0.2 (go), fd99::1 and fd99::2. */
export class World {
  readonly us: Netns;
  readonly goNs: Netns;
  readonly go: GoPeer;
  readonly subnet: Subnet;
  port!: WireGuardPort;
  device!: WireGuard;
  tun!: TunDevice;
  readonly privateKey: string = formatKey(generatePrivateKey());
  readonly psk: string | undefined;
  readonly #options: WorldOptions;

  private constructor(us: Netns, goNs: Netns, options: WorldOptions) {
    this.us = us;
    this.goNs = goNs;
    this.go = new GoPeer(goNs);
    this.subnet = freeSubnet();
    this.#options = options;
    this.psk = options.psk ? formatKey(generatePresharedKey()) : undefined;
  }

  static async run(options: WorldOptions, body: (world: World) => Promise<void>): Promise<void> {
    const us = await Netns.create({ label: 'wgus' });
    const goNs = await Netns.create({ label: 'wggo' });
    const world = new World(us, goNs, options);
    try {
      await world.#build();
      await body(world);
    } finally {
      world.stopUs();
      await world.go.close();
      await us.close();
      await goNs.close();
    }
  }

  /** Outer address of a host: 1 is ours, 2 is wireguard-go's. */
  outer(host: number): string {
    return this.#options.outer === 6 ? `${this.subnet.v6}:${host}` : `${this.subnet.v4}.${host}`;
  }

  endpoint(host: number, port: number = PORT): string {
    return this.#options.outer === 6
      ? `[${this.outer(host)}]:${port}`
      : `${this.outer(host)}:${port}`;
  }

  get peer() {
    const [peer] = this.device.peers.values();
    return peer;
  }

  async startUs(): Promise<void> {
    const { initiator, mtu = 1420, keepalive } = this.#options;
    this.port = await listen({ port: PORT, netns: this.us.name, ...this.#options.port });
    this.tun = openTun({
      netns: this.us.name,
      name: 'ours',
      mtu,
      addrs: ['10.99.0.1/24', 'fd99::1/64'],
    });
    this.device = this.port.device({
      privateKey: this.privateKey,
      addresses: ['10.99.0.1/24', 'fd99::1/64'],
      mtu,
      coalesce: this.tun.accepts,
      ...this.#options.device,
    });
    this.port.addPeer(this.device, {
      publicKey: await this.go.publicKey(),
      presharedKey: this.psk,
      allowedIps: ['10.99.0.2/32', 'fd99::2/128'],
      ...(initiator === 'go' ? {} : { endpoint: this.endpoint(2) }),
      persistentKeepalive: keepalive,
    });
    connectL3(this.device, this.tun);
  }

  stopUs(): void {
    this.port?.close();
    this.tun?.close();
  }

  async startGo(): Promise<void> {
    const { initiator, mtu = 1420 } = this.#options;
    await this.go.start(['10.99.0.2/24', 'fd99::2/64'], mtu);
    const publicKey = await this.#ourPublicKey();
    await this.go.setPeer(publicKey, {
      allowedIps: '10.99.0.1/32,fd99::1/128',
      ...(this.psk === undefined ? {} : { psk: this.psk }),
      ...(initiator === 'us' ? {} : { endpoint: this.endpoint(1) }),
    });
  }

  async #ourPublicKey(): Promise<string> {
    const { stdout } = await this.goNs.run('wg', ['pubkey'], { input: `${this.privateKey}\n` });
    return stdout.trim();
  }

  async #build(): Promise<void> {
    const { v4, v6 } = this.subnet;
    await this.us.veth(this.goNs, {
      addrs: [`${v4}.1/24`, `${v6}:1/64`],
      peerAddrs: [`${v4}.2/24`, `${v6}:2/64`],
    });
    await this.startGo();
    await this.startUs();
  }

  /** Pings from one host to the other through the tunnel; gives the percentage lost. */
  async ping(
    from: 'us' | 'go',
    options: { count?: number; interval?: number; size?: number; v6?: boolean; df?: boolean } = {},
  ): Promise<number> {
    const { count = 3, interval = 0.1, size = 56, v6 = false, df = false } = options;
    const host = from === 'us' ? 2 : 1;
    const netns = from === 'us' ? this.us : this.goNs;
    return pingLoss(netns, v6 ? `fd99::${host}` : `10.99.0.${host}`, count, interval, [
      '-s',
      String(size),
      ...(df ? ['-M', 'do'] : []),
    ]);
  }

  /**
   * The tunnel answers. What an end has to notice by itself (a session that the other one has forgotten, an address that is
   * gone) takes it fifteen seconds: a minute is several tries.
   */
  async up(from: 'us' | 'go' = 'us'): Promise<void> {
    const netns = from === 'us' ? this.us : this.goNs;
    await until(() => answers(netns, `10.99.0.${from === 'us' ? 2 : 1}`), {
      within: 60_000,
      what: () => `a ping from ${from}: ${JSON.stringify(this.port.stats)}`,
    });
  }
}

/** An answer comes within five seconds; asks five times a second. */
export async function answers(netns: Netns, address: string): Promise<boolean> {
  const args = ['-c', '1', '-i', '0.2', '-w', '5', address];
  return (await netns.run('ping', args, { check: false })).code === 0;
}

/**
 * Of `count` requests, the percentage without an answer. After its last request `ping -c` alone waits for two round trips
 * only, and takes what a busy machine answers later for lost. With a deadline it asks on until enough answers are there; then
 * the numbers of the answers tell what is missing.
 */
export async function pingLoss(
  netns: Netns,
  address: string,
  count: number,
  interval: number,
  args: readonly string[] = [],
): Promise<number> {
  const deadline = Math.ceil(5 + 3 * count * interval);
  const all = ['-c', String(count), '-i', String(interval), '-w', String(deadline)];
  const { stdout } = await netns.run('ping', [...all, ...args, address], {
    check: false,
    timeout: (deadline + 60) * 1000,
  });
  const answered = new Set<number>();
  for (const [, sequence] of stdout.matchAll(/^\d+ bytes from .*icmp_seq=(\d+)/gm)) {
    if (Number(sequence) <= count) answered.add(Number(sequence));
  }
  return (100 * (count - answered.size)) / count;
}

/** Bits a second that the receiver of an iperf3 run has seen. */
export async function iperf(
  client: Netns,
  server: Netns,
  address: string,
  args: readonly string[] = [],
): Promise<number> {
  const daemon = server.spawn('iperf3', ['-s', '-1', '--forceflush']);
  await daemon.waitFor(/Server listening/);
  const { stdout } = await client.run('iperf3', ['-c', address, '-J', ...args], {
    timeout: 120_000,
  });
  await daemon.exited;
  const report = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
  return report.end.sum_received.bits_per_second;
}
