/**
 * A TUN or TAP descriptor of Linux: opening, the frames that cross it, and nothing about addresses.
 *
 * With offloads on, every read and write carries a virtio-net header, and TCP and UDP cross in super-segments of up to
 * 64 KiB: the system call costs the same for one as for 1500 bytes.
 */

import { closeSync, openSync } from 'node:fs';
import { Accept, type Clock, HEADROOM, PktkitError, systemClock } from '@pktkit/core';
import { Arena } from './arena.ts';
import {
  EAGAIN,
  EBADFD,
  EINTR,
  EINVAL,
  EIO,
  ENOBUFS,
  EPOLLERR,
  EPOLLIN,
  F_GETFL,
  F_SETFL,
  IFF_MULTI_QUEUE,
  IFF_NO_PI,
  IFF_TAP,
  IFF_TUN,
  IFF_VNET_HDR,
  IFNAMSIZ,
  IFREQ_SIZE,
  O_NONBLOCK,
  TUN_F_CSUM,
  TUN_F_TSO_ECN,
  TUN_F_TSO4,
  TUN_F_TSO6,
  TUN_F_USO4,
  TUN_F_USO6,
  TUNSETGROUP,
  TUNSETIFF,
  TUNSETOFFLOAD,
  TUNSETOWNER,
  TUNSETPERSIST,
  TUNSETVNETHDRSZ,
} from './linux.ts';
import { HostError, type Libc, libc } from './native.ts';
import { type Registration, watch } from './reactor.ts';
import { VNET_HEADER } from './vnet.ts';

export interface TunDescriptorOptions {
  kind: 'tun' | 'tap';
  /** At most 15 bytes; `%d` is replaced by a free number. The kernel's own choice unless told. */
  name?: string | undefined;
  /** The virtio-net header with checksum and segmentation offloads; on unless told. */
  offload?: boolean | undefined;
  /** The interface takes several descriptors, each a queue: open the same name again, also from other threads. */
  multiQueue?: boolean | undefined;
  /** The interface outlives the descriptor (true), or a persistent one no longer does (false). */
  persist?: boolean | undefined;
  /** User and group that may open a persistent interface without privilege. */
  owner?: number | undefined;
  group?: number | undefined;
  clock?: Clock | undefined;
}

/** Takes what one read has brought: the virtio-net header is the `VNET_HEADER` bytes before `off` when offloads are on. */
export type TunReceive = (buf: Uint8Array, off: number, len: number) => void;

export interface TunDescriptorStats {
  /** Reads and writes that moved a packet, and its bytes without the virtio-net header. */
  reads: number;
  readBytes: number;
  writes: number;
  writeBytes: number;
  /** Calls that a signal interrupted; they are made again. */
  interrupted: number;
  /** Packets that the kernel could not hand over: segments of a kind that virtio-net has no name for, as SCTP's. */
  dropUnreadable: number;
  /** Packets dropped because the kernel had no room (EAGAIN, ENOBUFS). */
  dropFull: number;
  /** Packets that the kernel refused as malformed (EINVAL), or because the interface is down (EIO). */
  dropRefused: number;
  /** Packets longer than the largest that crosses. */
  dropTooLong: number;
  /** Packets sent after close. */
  dropClosed: number;
}

/** Room for the largest packet behind the headroom, Ethernet header with two tags included. */
const LARGEST = 65535 + 22;
/** Packets and bytes that one descriptor delivers before the others get their turn. */
const BUDGET_PACKETS = 64;
const BUDGET_BYTES = 1 << 20;

/** One receive and one send buffer per thread serve every descriptor: calls are synchronous and each ends before the next. */
let receiving: Arena | null = null;
let sending: Arena | null = null;

export class TunDescriptor {
  readonly name: string;
  readonly fd: number;
  /** Whether packets carry a virtio-net header. */
  readonly offload: boolean;
  /** `Accept` bits of what can be written. */
  readonly accepts: number;
  readonly stats: TunDescriptorStats = {
    reads: 0,
    readBytes: 0,
    writes: 0,
    writeBytes: 0,
    interrupted: 0,
    dropUnreadable: 0,
    dropFull: 0,
    dropRefused: 0,
    dropTooLong: 0,
    dropClosed: 0,
  };
  readonly #api: Libc;
  readonly #header: number;
  readonly #receive: TunReceive;
  readonly #onEnd: (error: HostError) => void;
  readonly #rx: Arena;
  readonly #tx: Arena;
  #registration: Registration | null = null;

  private constructor(
    api: Libc,
    fd: number,
    name: string,
    accepts: number,
    options: TunDescriptorOptions,
    receive: TunReceive,
    onEnd: (error: HostError) => void,
  ) {
    this.#api = api;
    this.fd = fd;
    this.name = name;
    this.offload = options.offload !== false;
    this.accepts = accepts;
    this.#header = this.offload ? VNET_HEADER : 0;
    this.#receive = receive;
    this.#onEnd = onEnd;
    receiving ??= new Arena(HEADROOM + LARGEST + 1024);
    sending ??= new Arena(HEADROOM + LARGEST + 1024);
    this.#rx = receiving;
    this.#tx = sending;
    this.#registration = watch(fd, EPOLLIN, options.clock ?? systemClock, (events) =>
      this.#onReady(events),
    );
    this.#registration.hold(true);
  }

  /**
   * Opens `/dev/net/tun` and attaches to the interface, which is created unless it exists. `onEnd` is told when the kernel
   * took the interface away; the descriptor is closed then.
   */
  static open(
    options: TunDescriptorOptions,
    receive: TunReceive,
    onEnd: (error: HostError) => void,
  ): TunDescriptor {
    const api = libc();
    const fd = openClone();
    try {
      const name = configure(api, fd, options);
      const accepts = options.offload === false ? 0 : enableOffloads(api, fd, name);
      return new TunDescriptor(api, fd, name, accepts, options, receive, onEnd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#registration !== null;
  }

  /** Whether the open descriptor keeps the process alive; it does unless told. */
  hold(on: boolean): void {
    this.#registration?.hold(on);
  }

  /**
   * Where the caller puts the next packet to write: `HEADROOM` bytes into `txBuf`, its virtio-net header right before.
   * Valid until `write`.
   */
  get txBuf(): Uint8Array {
    return this.#tx.bytes;
  }

  /** Writes the `len` bytes at `HEADROOM` in `txBuf`, with the virtio-net header before them when offloads are on. */
  write(len: number): void {
    const { stats } = this;
    if (this.#registration === null) {
      stats.dropClosed++;
      return;
    }
    if (len > LARGEST) {
      stats.dropTooLong++;
      return;
    }
    const api = this.#api;
    const from = this.#tx.base + HEADROOM - this.#header;
    while (api.write(this.fd, from, this.#header + len) < 0) {
      const errno = api.errno();
      if (errno === EINTR) {
        stats.interrupted++;
        continue;
      }
      if (errno === EAGAIN || errno === ENOBUFS) stats.dropFull++;
      else stats.dropRefused++;
      return;
    }
    stats.writes++;
    stats.writeBytes += len;
  }

  /** Sets whether the interface stays when its last descriptor closes. */
  setPersist(on: boolean): void {
    if (this.#registration === null) throw new PktkitError('PKT_CLOSED', `${this.name} is closed`);
    if (this.#api.ioctl(this.fd, TUNSETPERSIST, on ? 1 : 0) < 0) {
      throw new HostError('TUNSETPERSIST', this.#api.errno(), `interface ${this.name}`);
    }
  }

  /** Idempotent. The interface is gone when this returns, unless it persists or has other queues. */
  close(): void {
    const registration = this.#registration;
    if (registration === null) return;
    this.#registration = null;
    registration.remove();
    closeSync(this.fd);
  }

  #onReady(events: number): void {
    const { stats } = this;
    const api = this.#api;
    const header = this.#header;
    const { bytes, base } = this.#rx;
    const at = HEADROOM - header;
    let budget = BUDGET_BYTES;
    for (let i = 0; i < BUDGET_PACKETS && budget > 0; i++) {
      const n = api.read(this.fd, base + at, bytes.length - at);
      if (n < 0) {
        const errno = api.errno();
        if (errno === EINTR) {
          stats.interrupted++;
          continue;
        }
        // EBADFD, EIO: the interface was deleted. The same news come as an error event, whatever the read says.
        const isGone = errno === EBADFD || errno === EIO || (events & EPOLLERR) !== 0;
        if (!isGone && errno === EAGAIN) return;
        if (!isGone) {
          stats.dropUnreadable++;
          continue;
        }
        this.close();
        this.#onEnd(
          new HostError('read', errno === EAGAIN ? EBADFD : errno, `interface ${this.name}`),
        );
        return;
      }
      const len = n - header;
      if (len <= 0) continue;
      stats.reads++;
      stats.readBytes += len;
      budget -= len;
      this.#receive(bytes, HEADROOM, len);
      // The handler may have closed us.
      if (this.#registration === null) return;
    }
  }
}

function openClone(): number {
  try {
    return openSync('/dev/net/tun', 'r+');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const advice =
      code === 'ENOENT'
        ? 'load the kernel module tun (`modprobe tun`), or give the container --device /dev/net/tun'
        : 'run as root or with CAP_NET_ADMIN, or open a persistent interface whose owner you are';
    throw new PktkitError(code ?? 'PKT_UNSUPPORTED', `/dev/net/tun cannot be opened: ${advice}`, {
      cause: error,
    });
  }
}

/** Attaches the descriptor to its interface; gives the interface's name. */
function configure(api: Libc, fd: number, options: TunDescriptorOptions): string {
  const wanted = options.name ?? (options.kind === 'tun' ? 'tun%d' : 'tap%d');
  const encoded = new TextEncoder().encode(wanted);
  if (encoded.length === 0 || encoded.length >= IFNAMSIZ || /[\s/:]/.test(wanted)) {
    throw new PktkitError(
      'PKT_INVALID_CONFIG',
      `an interface name has 1 to 15 bytes without space, slash or colon, got ${JSON.stringify(wanted)}`,
    );
  }
  const arena = new Arena(IFREQ_SIZE);
  try {
    arena.bytes.set(encoded);
    let flags = (options.kind === 'tun' ? IFF_TUN : IFF_TAP) | IFF_NO_PI;
    if (options.offload !== false) flags |= IFF_VNET_HDR;
    if (options.multiQueue) flags |= IFF_MULTI_QUEUE;
    arena.view.setUint16(IFNAMSIZ, flags, true);
    if (api.ioctl(fd, TUNSETIFF, arena.base) < 0) {
      throw new HostError('TUNSETIFF', api.errno(), explain(api.errno(), wanted, options));
    }
    const end = arena.bytes.indexOf(0);
    const name = new TextDecoder().decode(arena.bytes.subarray(0, end));
    const set = (request: number, value: number | undefined, what: string) => {
      if (value !== undefined && api.ioctl(fd, request, value) < 0) {
        throw new HostError(what, api.errno(), `interface ${name}`);
      }
    };
    set(TUNSETOWNER, options.owner, 'TUNSETOWNER');
    set(TUNSETGROUP, options.group, 'TUNSETGROUP');
    const { persist } = options;
    set(TUNSETPERSIST, persist === undefined ? undefined : Number(persist), 'TUNSETPERSIST');
    if (options.offload !== false) {
      arena.view.setUint32(0, VNET_HEADER, true);
      if (api.ioctl(fd, TUNSETVNETHDRSZ, arena.base) < 0) {
        throw new HostError('TUNSETVNETHDRSZ', api.errno(), `interface ${name}`);
      }
    }
    const status = api.fcntl(fd, F_GETFL, 0);
    if (status < 0 || api.fcntl(fd, F_SETFL, status | O_NONBLOCK) < 0) {
      throw new HostError('fcntl', api.errno(), `interface ${name}`);
    }
    return name;
  } finally {
    arena.release();
  }
}

/** Says what people most often have to change. */
function explain(errno: number, name: string, options: TunDescriptorOptions): string {
  if (errno === 1) return `interface ${name} needs root or CAP_NET_ADMIN`;
  if (errno === 16) {
    return options.multiQueue
      ? `interface ${name} is in use`
      : `interface ${name} is in use; several queues need multiQueue on each`;
  }
  if (errno === EINVAL) {
    return `interface ${name} exists with another type or other flags (kind, offload, multiQueue)`;
  }
  return `interface ${name}`;
}

/** Says what the kernel may hand us; gives what it takes from us, which is the same. */
function enableOffloads(api: Libc, fd: number, name: string): number {
  const base = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  const accepts = Accept.CHECKSUM | Accept.TSO4 | Accept.TSO6;
  // UDP segmentation on TUN came with Linux 6.2.
  if (api.ioctl(fd, TUNSETOFFLOAD, base | TUN_F_USO4 | TUN_F_USO6) >= 0) {
    return accepts | Accept.USO;
  }
  if (api.ioctl(fd, TUNSETOFFLOAD, base) < 0) {
    throw new HostError('TUNSETOFFLOAD', api.errno(), `interface ${name}`);
  }
  return accepts;
}
