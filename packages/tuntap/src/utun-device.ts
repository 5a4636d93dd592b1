/** utun of macOS as an IP device, configured by `ifconfig` and `route`. Never run on a Mac so far. */

import { spawnSync } from 'node:child_process';
import {
  CHECKSUM_PARTIAL,
  type Clock,
  dropPacket,
  type Ending,
  IpAddr,
  ipLength,
  type L3Device,
  type MacAddr,
  Packet,
  type PacketHandler,
  PktkitError,
  Prefix,
  SEGMENT_SIZE_MASK,
  systemClock,
} from '@pktkit/core';
import {
  isUtunPacket,
  type Netns,
  openUtun,
  UTUN_HEADER,
  type UtunPort,
  writeUtunHeader,
} from '@pktkit/hostio';
import type {
  AddressInfo,
  AddressOptions,
  LinkInfo,
  NetworkInterface,
  Route,
  RouteInfo,
} from './interface.ts';
import type { DeviceOptions } from './linux-device.ts';

/** Runs a program of the system and gives its output; tests record instead. Throws when it fails. */
export type RunCommand = (command: string, args: readonly string[]) => string;

export interface UtunStats {
  reads: number;
  readBytes: number;
  writes: number;
  writeBytes: number;
  dropNoHandler: number;
  dropMalformed: number;
  dropRefused: number;
  dropTooLong: number;
  dropClosed: number;
}

export class UtunDevice implements L3Device, NetworkInterface, Ending {
  /** The kernel segments and sums nothing for us: the wiring does. */
  readonly accepts: number = 0;
  readonly closed: Promise<void>;
  readonly stats: UtunStats = {
    reads: 0,
    readBytes: 0,
    writes: 0,
    writeBytes: 0,
    dropNoHandler: 0,
    dropMalformed: 0,
    dropRefused: 0,
    dropTooLong: 0,
    dropClosed: 0,
  };
  readonly #port: UtunPort;
  readonly #run: RunCommand;
  readonly #clock: Clock;
  #mtu = 1500;
  #addrs: readonly Prefix[] = [];
  #handler: PacketHandler = dropPacket;
  #open = true;
  #settle: () => void = () => {};

  constructor(
    options: DeviceOptions = {},
    port: UtunPort = openUtun(options.name),
    run: RunCommand = runCommand,
  ) {
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#port = port;
    this.#run = run;
    this.#clock = options.clock ?? systemClock;
    port.onData = (bytes) => this.#onData(bytes);
    try {
      refuseUnknown(options);
      this.setMtu(options.mtu ?? 1500);
      if (options.up !== false) this.setUp(true);
      this.setAddrs((options.addrs ?? []).map((prefix) => Prefix.from(prefix)));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get name(): string {
    return this.#port.name;
  }

  get index(): number {
    return this.#port.index;
  }

  get mtu(): number {
    return this.#mtu;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  get addrs(): readonly Prefix[] {
    return this.#addrs;
  }

  setAddrs(addrs: readonly Prefix[]): void {
    const wanted = [...addrs];
    for (const old of this.#addrs) {
      if (!wanted.some((prefix) => prefix.equals(old))) this.removeAddress(old);
    }
    for (const prefix of wanted) {
      if (!this.#addrs.some((old) => old.equals(prefix))) this.addAddress(prefix);
    }
  }

  setHandler(handler: PacketHandler): void {
    this.#handler = handler;
  }

  send(packet: Packet): void {
    const { stats } = this;
    const { buf, off, len } = packet;
    if (!this.#open) {
      stats.dropClosed++;
    } else if (len > 65535) {
      stats.dropTooLong++;
    } else if (
      ipLength(buf, off, len) < 0 ||
      (packet.offload & (SEGMENT_SIZE_MASK | CHECKSUM_PARTIAL)) !== 0
    ) {
      stats.dropMalformed++;
    } else {
      const bytes = new Uint8Array(UTUN_HEADER + len);
      writeUtunHeader(bytes, 0, buf[off]);
      bytes.set(buf.subarray(off, off + len), UTUN_HEADER);
      if (this.#port.write(bytes)) {
        stats.writes++;
        stats.writeBytes += len;
      } else {
        stats.dropRefused++;
      }
    }
  }

  link(): LinkInfo {
    return parseLink(this.#ifconfig(), this.name, this.index);
  }

  setUp(up: boolean): void {
    this.#ifconfig(up ? 'up' : 'down');
  }

  setMtu(mtu: number): void {
    if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65535) {
      throw new RangeError(`an MTU is 68 to 65535 bytes, got ${mtu}`);
    }
    this.#ifconfig('mtu', `${mtu}`);
    this.#mtu = mtu;
  }

  addresses(): AddressInfo[] {
    return parseAddresses(this.#ifconfig());
  }

  addAddress(prefix: Prefix | string, options: AddressOptions = {}): void {
    const address = Prefix.from(prefix);
    if (address.family === 4) {
      // A point-to-point link: its far end is the address itself unless told.
      const peer = options.peer === undefined ? address.addr : IpAddr.from(options.peer);
      this.#ifconfig('inet', `${address}`, `${peer}`, 'alias');
    } else {
      this.#ifconfig('inet6', `${address}`, 'alias');
    }
    const whole = address.bits === (address.family === 4 ? 32 : 128);
    if (options.prefixRoute !== false && !whole) this.addRoute({ dst: address.network });
    this.#addrs = [...this.#addrs.filter((old) => !old.equals(address)), address];
  }

  removeAddress(prefix: Prefix | string): void {
    const address = Prefix.from(prefix);
    this.#ifconfig(family(address.family), `${address.addr}`, '-alias');
    this.#addrs = this.#addrs.filter((old) => !old.equals(address));
  }

  addRoute(route: Route): void {
    this.#route('add', route);
  }

  removeRoute(route: Route): void {
    this.#route('delete', route);
  }

  routes(): RouteInfo[] {
    throw unsupported('listing routes');
  }

  setMac(_mac: MacAddr | string): void {
    throw unsupported('an Ethernet address on a TUN interface');
  }

  moveTo(_netns: Netns): void {
    throw unsupported('network namespaces');
  }

  ref(): void {
    this.#port.hold(true);
  }

  unref(): void {
    this.#port.hold(false);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#port.close();
    this.#settle();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #onData(bytes: Uint8Array): void {
    if (!this.#open) return;
    const { stats } = this;
    const length = isUtunPacket(bytes, 0, bytes.length)
      ? ipLength(bytes, UTUN_HEADER, bytes.length - UTUN_HEADER)
      : -1;
    if (length < 0) {
      stats.dropMalformed++;
      return;
    }
    stats.reads++;
    stats.readBytes += length;
    if (this.#handler === dropPacket) {
      stats.dropNoHandler++;
      return;
    }
    this.#clock.beginBatch();
    try {
      this.#handler(new Packet(bytes, UTUN_HEADER, length));
    } finally {
      this.#clock.endBatch();
    }
  }

  #ifconfig(...args: string[]): string {
    if (!this.#open) throw new PktkitError('PKT_CLOSED', `the device ${this.name} is closed`);
    return this.#run('ifconfig', [this.name, ...args]);
  }

  #route(verb: 'add' | 'delete', route: Route): void {
    if (!this.#open) throw new PktkitError('PKT_CLOSED', `the device ${this.name} is closed`);
    const unknown = (['metric', 'table', 'scope', 'src', 'onLink'] as const).filter(
      (name) => route[name] !== undefined,
    );
    if (unknown.length > 0) throw unsupported(`a route's ${unknown.join(', ')}`);
    const via = route.via === undefined ? undefined : IpAddr.from(route.via);
    const dst =
      route.dst === 'default'
        ? Prefix.parse((via?.family ?? route.family ?? 4) === 4 ? '0.0.0.0/0' : '::/0')
        : Prefix.from(route.dst);
    const target = via === undefined ? ['-interface', this.name] : [`${via}`];
    this.#run('route', ['-q', '-n', verb, `-${family(dst.family)}`, `${dst.network}`, ...target]);
  }
}

function family(number: 4 | 6): 'inet' | 'inet6' {
  return number === 4 ? 'inet' : 'inet6';
}

/** Options that mean something on Linux only are refused, not ignored. */
function refuseUnknown(options: DeviceOptions): void {
  const asked = (['multiQueue', 'persist', 'owner', 'group', 'netns'] as const).filter(
    (name) => options[name] !== undefined && options[name] !== false,
  );
  if (asked.length > 0) throw unsupported(asked.join(', '));
}

function unsupported(what: string): PktkitError {
  return new PktkitError('PKT_UNSUPPORTED', `macOS has no way here for ${what}`);
}

function runCommand(command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status === 0) return stdout;
  const why = error?.message ?? stderr.trim();
  throw new PktkitError('PKT_INVALID_CONFIG', `${command} ${args.join(' ')}: ${why}`);
}

function parseLink(text: string, name: string, index: number): LinkInfo {
  const flags = /flags=[0-9a-f]+<([^>]*)>/.exec(text)?.[1].split(',') ?? [];
  return {
    name,
    index,
    mtu: Number(/ mtu ([0-9]+)/.exec(text)?.[1] ?? 0),
    mac: null,
    up: flags.includes('UP'),
    carrier: flags.includes('RUNNING'),
    broadcast: flags.includes('BROADCAST'),
    state: flags.includes('RUNNING') ? 'up' : 'down',
  };
}

/** Lines such as `inet 10.0.0.1 --> 10.0.0.1 netmask 0xffffff00` and `inet6 fd00::1 prefixlen 64`. */
function parseAddresses(text: string): AddressInfo[] {
  const found: AddressInfo[] = [];
  for (const line of text.split('\n')) {
    const v4 = /^\s*inet (\S+)(?: --> (\S+))? netmask 0x([0-9a-f]{8})/.exec(line);
    const v6 = /^\s*inet6 ([^\s%]+)(?:%\S+)?(?: --> \S+)? prefixlen ([0-9]+)(.*)$/.exec(line);
    if (v4 !== null) {
      const addr = IpAddr.parse(v4[1]);
      const peer = v4[2] === undefined ? addr : IpAddr.parse(v4[2]);
      const bits = Math.clz32(~Number.parseInt(v4[3], 16));
      const prefix = Prefix.of(addr, bits);
      found.push({
        prefix,
        peer: peer.equals(addr) ? null : peer,
        scope: 'universe',
        tentative: false,
      });
    } else if (v6 !== null) {
      const prefix = Prefix.of(IpAddr.parse(v6[1]), Number(v6[2]));
      const scope = prefix.addr.isLinkLocal ? 'link' : 'universe';
      found.push({ prefix, peer: null, scope, tentative: v6[3].includes('tentative') });
    }
  }
  return found;
}
