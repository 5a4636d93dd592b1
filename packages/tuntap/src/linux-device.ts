/** TUN and TAP of Linux as devices. */

import {
  CHECKSUM_PARTIAL,
  type Clock,
  copyBytes,
  dropFrame,
  dropPacket,
  type Ending,
  ETHERNET_HEADER,
  Frame,
  type FrameHandler,
  HEADROOM,
  ipLength,
  type L2Device,
  type L3Device,
  MacAddr,
  Packet,
  type PacketHandler,
  PktkitError,
  Prefix,
  SEGMENT_SIZE_MASK,
} from '@pktkit/core';
import {
  inNetns,
  type Netns,
  readVnet,
  TunDescriptor,
  type TunDescriptorStats,
  VNET_HEADER,
  writeVnet,
} from '@pktkit/hostio';
import type {
  AddressInfo,
  AddressOptions,
  LinkInfo,
  NetworkInterface,
  Route,
  RouteInfo,
} from './interface.ts';
import { LinuxInterface } from './linux-interface.ts';

export interface DeviceOptions {
  /** At most 15 bytes; `%d` in it is replaced by a free number. `tun%d` or `tap%d` unless told. */
  name?: string | undefined;
  /** Addresses of the kernel's end, both families, each with its network: `10.0.0.1/24`. */
  addrs?: readonly (Prefix | string)[] | undefined;
  /** Bytes; 1500 unless told. */
  mtu?: number | undefined;
  /** Whether the interface is set up at once; it is unless told. */
  up?: boolean | undefined;
  /** Checksum and segmentation offloads: 64 KiB super-segments cross instead of 1500 bytes. On unless told. */
  offload?: boolean | undefined;
  /**
   * The interface takes several descriptors, each a queue. Every thread or process that opens the same name with this
   * set gets a queue of its own; the kernel keeps a flow on the queue that last sent it.
   */
  multiQueue?: boolean | undefined;
  /** The interface stays when it is closed (true), or a persistent one goes (false). */
  persist?: boolean | undefined;
  /** Who may open the persistent interface later without privilege: user and group numbers. */
  owner?: number | undefined;
  group?: number | undefined;
  /** The interface is made in this network namespace. */
  netns?: Netns | undefined;
  clock?: Clock | undefined;
}

export interface TapOptions extends DeviceOptions {
  /** Of the kernel's end; random unless told. */
  mac?: MacAddr | string | undefined;
}

export interface DeviceStats extends Readonly<TunDescriptorStats> {
  /** Arrived while no handler was set. */
  readonly dropNoHandler: number;
  /** Arrived or sent with headers that contradict themselves. */
  readonly dropMalformed: number;
  /** Why the kernel ended the device (`EBADFD`: its interface was deleted); empty while it lives and after `close`. */
  readonly ended: string;
}

/** Work that a device without offloads cannot leave to the kernel. A trusted checksum is complete. */
const UNFINISHED = SEGMENT_SIZE_MASK | CHECKSUM_PARTIAL;

const counters = () => ({ dropNoHandler: 0, dropMalformed: 0 });

/** What both kinds share: the descriptor, its end, and the kernel's end of the cable. */
abstract class LinuxDevice implements NetworkInterface, Ending {
  /** Settles when the device is closed, or the kernel has taken its interface away. */
  readonly closed: Promise<void>;
  protected readonly descriptor: TunDescriptor;
  protected readonly counters: { dropNoHandler: number; dropMalformed: number } = counters();
  readonly #interface: LinuxInterface;
  #mtu = 1500;
  #addrs: readonly Prefix[] = [];
  #ended = '';
  #settle: () => void = () => {};

  constructor(kind: 'tun' | 'tap', options: TapOptions) {
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    const { netns } = options;
    this.descriptor = inNetns(netns, () =>
      TunDescriptor.open(
        { ...options, kind },
        (buf, off, len) => this.receive(buf, off, len),
        (error) => {
          this.#ended = error.code;
          this.#settle();
        },
      ),
    );
    try {
      this.#interface = LinuxInterface.byName(this.descriptor.name, netns);
      if (options.mac !== undefined) this.#interface.setMac(options.mac);
      if (options.mtu === undefined) this.#mtu = this.link().mtu;
      else this.setMtu(options.mtu);
      // Before the addresses: the kernel gives IPv6 addresses and their routes to an interface that is up.
      if (options.up !== false) this.setUp(true);
      this.setAddrs((options.addrs ?? []).map((prefix) => Prefix.from(prefix)));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  protected abstract receive(buf: Uint8Array, off: number, len: number): void;

  get name(): string {
    return this.descriptor.name;
  }

  get index(): number {
    return this.#interface.index;
  }

  /** As set here; `link()` asks the kernel. */
  get mtu(): number {
    return this.#mtu;
  }

  get accepts(): number {
    return this.descriptor.accepts;
  }

  get stats(): DeviceStats {
    return { ...this.descriptor.stats, ...this.counters, ended: this.#ended };
  }

  get isOpen(): boolean {
    return this.descriptor.isOpen;
  }

  /** The addresses that were set through this device; `addresses()` asks the kernel. */
  get addrs(): readonly Prefix[] {
    return this.#addrs;
  }

  /** Makes the kernel's end have these addresses: adds what is missing and removes what was set here before. */
  setAddrs(addrs: readonly Prefix[]): void {
    const wanted = [...addrs];
    for (const old of this.#addrs) {
      if (!wanted.some((prefix) => prefix.equals(old))) this.removeAddress(old);
    }
    for (const prefix of wanted) {
      if (!this.#addrs.some((old) => old.equals(prefix))) this.addAddress(prefix);
    }
  }

  addAddress(prefix: Prefix | string, options?: AddressOptions): void {
    const address = Prefix.from(prefix);
    this.#live().addAddress(address, options);
    const others = this.#addrs.filter((old) => !old.equals(address));
    this.#addrs = [...others, address];
  }

  removeAddress(prefix: Prefix | string): void {
    const address = Prefix.from(prefix);
    this.#live().removeAddress(address);
    this.#addrs = this.#addrs.filter((old) => !old.equals(address));
  }

  addresses(): AddressInfo[] {
    return this.#live().addresses();
  }

  addRoute(route: Route): void {
    this.#live().addRoute(route);
  }

  removeRoute(route: Route): void {
    this.#live().removeRoute(route);
  }

  routes(): RouteInfo[] {
    return this.#live().routes();
  }

  link(): LinkInfo {
    return this.#live().link();
  }

  setUp(up: boolean): void {
    this.#live().setUp(up);
  }

  setMtu(mtu: number): void {
    // The kernel's bounds for TUN and TAP; below 1280 it takes IPv6 off the interface (RFC 8200 §5).
    if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65535) {
      throw new RangeError(`an MTU is 68 to 65535 bytes, got ${mtu}`);
    }
    this.#live().setMtu(mtu);
    this.#mtu = mtu;
  }

  setMac(mac: MacAddr | string): void {
    this.#live().setMac(mac);
  }

  moveTo(netns: Netns): void {
    this.#live().moveTo(netns);
    this.#addrs = [];
  }

  /** See `DeviceOptions.persist`. */
  setPersist(on: boolean): void {
    this.descriptor.setPersist(on);
  }

  /** An open device keeps the process alive; after `unref` it does not. */
  ref(): void {
    this.descriptor.hold(true);
  }

  unref(): void {
    this.descriptor.hold(false);
  }

  /** Idempotent; the interface is gone when this returns, unless it persists or has other queues. */
  close(): void {
    this.descriptor.close();
    this.#settle();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #live(): LinuxInterface {
    if (!this.descriptor.isOpen) {
      throw new PktkitError('PKT_CLOSED', `the device ${this.descriptor.name} is closed`);
    }
    return this.#interface;
  }
}

/** An IP device whose other end is a TUN interface of the kernel. */
export class TunDevice extends LinuxDevice implements L3Device {
  #handler: PacketHandler = dropPacket;

  constructor(options: DeviceOptions = {}) {
    super('tun', options);
  }

  setHandler(handler: PacketHandler): void {
    this.#handler = handler;
  }

  send(packet: Packet): void {
    const { descriptor } = this;
    const { len } = packet;
    const tx = descriptor.txBuf;
    if (len <= tx.length - HEADROOM) {
      copyBytes(tx, HEADROOM, packet.buf, packet.off, len);
      if (
        descriptor.offload
          ? writeVnet(tx, HEADROOM - VNET_HEADER, 0, HEADROOM, len, packet.offload) < 0
          : (packet.offload & UNFINISHED) !== 0
      ) {
        this.counters.dropMalformed++;
        return;
      }
    }
    descriptor.write(len);
  }

  protected override receive(buf: Uint8Array, off: number, len: number): void {
    const length = ipLength(buf, off, len);
    const offload =
      length < 0 || !this.descriptor.offload ? 0 : readVnet(buf, off - VNET_HEADER, 0, off, length);
    if (length < 0 || offload < 0) {
      this.counters.dropMalformed++;
      return;
    }
    if (this.#handler === dropPacket) {
      this.counters.dropNoHandler++;
      return;
    }
    this.#handler(new Packet(buf, off, length, offload));
  }
}

/** An Ethernet device whose other end is a TAP interface of the kernel. */
export class TapDevice extends LinuxDevice implements L2Device {
  #handler: FrameHandler = dropFrame;
  #mac: MacAddr = MacAddr.ZERO;

  constructor(options: TapOptions = {}) {
    super('tap', options);
    this.#mac = this.link().mac ?? MacAddr.ZERO;
  }

  /** Of the kernel's end. */
  get mac(): MacAddr {
    return this.#mac;
  }

  override setMac(mac: MacAddr | string): void {
    super.setMac(mac);
    this.#mac = MacAddr.from(mac);
  }

  setHandler(handler: FrameHandler): void {
    this.#handler = handler;
  }

  send(frame: Frame): void {
    const { descriptor } = this;
    const { len } = frame;
    if (len < ETHERNET_HEADER) {
      this.counters.dropMalformed++;
      return;
    }
    const tx = descriptor.txBuf;
    if (len <= tx.length - HEADROOM) {
      copyBytes(tx, HEADROOM, frame.buf, frame.off, len);
      const link = frame.headerLen;
      if (
        descriptor.offload
          ? writeVnet(
              tx,
              HEADROOM - VNET_HEADER,
              link,
              HEADROOM + link,
              len - link,
              frame.offload,
            ) < 0
          : (frame.offload & UNFINISHED) !== 0
      ) {
        this.counters.dropMalformed++;
        return;
      }
    }
    descriptor.write(len);
  }

  protected override receive(buf: Uint8Array, off: number, len: number): void {
    const frame = new Frame(buf, off, len);
    if (len < ETHERNET_HEADER) {
      this.counters.dropMalformed++;
      return;
    }
    const link = frame.headerLen;
    const offload = this.descriptor.offload
      ? readVnet(buf, off - VNET_HEADER, link, off + link, len - link)
      : 0;
    if (offload < 0) {
      this.counters.dropMalformed++;
      return;
    }
    if (this.#handler === dropFrame) {
      this.counters.dropNoHandler++;
      return;
    }
    this.#handler(offload === 0 ? frame : new Frame(buf, off, len, offload));
  }
}
