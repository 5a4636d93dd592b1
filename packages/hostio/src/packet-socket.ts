/**
 * A network interface of the host as an Ethernet device, through AF_PACKET: a NIC or a veth becomes a port of a switch.
 * Frames cross with a virtio-net header, so that merged segments (GRO) come in whole and super-segments go out for the
 * kernel or the NIC to cut.
 */

import { release } from 'node:os';
import {
  Accept,
  type Clock,
  copyBytes,
  dropFrame,
  type Ending,
  ETHERNET_HEADER,
  Frame,
  type FrameHandler,
  type L2Device,
  MacAddr,
  put16,
  systemClock,
  VLAN_TAG,
} from '@pktkit/core';
import { Arena } from './arena.ts';
import { adopt, closeDescriptor } from './descriptor.ts';
import {
  AF_PACKET,
  EAGAIN,
  EINTR,
  ENETDOWN,
  ENOBUFS,
  EPOLLIN,
  ETH_P_ALL,
  IFNAMSIZ,
  IFREQ_SIZE,
  MSG_DONTWAIT,
  PACKET_ADD_MEMBERSHIP,
  PACKET_AUXDATA,
  PACKET_IGNORE_OUTGOING,
  PACKET_MR_PROMISC,
  PACKET_VNET_HDR,
  SIOCGIFHWADDR,
  SIOCGIFINDEX,
  SIOCGIFMTU,
  SIOCGIFNAME,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOCKADDR_LL_SIZE,
  SOL_PACKET,
  SOL_SOCKET,
  TP_STATUS_VLAN_TPID_VALID,
  TP_STATUS_VLAN_VALID,
} from './linux.ts';
import {
  IOVEC,
  MMSGHDR,
  MSG_IOV,
  MSG_IOVLEN,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_RXQ_OVFL,
} from './msghdr.ts';
import { HostError, type Libc, libc } from './native.ts';
import { inNetns, type Netns } from './netns.ts';
import { type Registration, rethrowLater, watch } from './reactor.ts';
import { RECEIVE_SLOTS, type ReceiveRing, receiveRing } from './receive-ring.ts';
import { readVnet, VNET_HEADER, writeVnet } from './vnet.ts';

export interface PacketOptions {
  /** The interface's name. */
  interface: string;
  /** Hears frames for every address, which a port of a switch needs; on unless told. */
  promiscuous?: boolean | undefined;
  /** Hears the frames that the host itself sends through the interface, too; not unless told. */
  outgoing?: boolean | undefined;
  /** Kernel buffer in bytes, as far as the system allows; 4 MiB unless told. */
  receiveBuffer?: number | undefined;
  /** The interface is in this network namespace. */
  netns?: Netns | undefined;
  clock?: Clock | undefined;
}

export interface PacketStats {
  received: number;
  receivedBytes: number;
  sent: number;
  sentBytes: number;
  receiveCalls: number;
  sendCalls: number;
  /** Calls that a signal interrupted; they are made again. */
  interrupted: number;
  /** Times that the interface went down while we listened. */
  linkDown: number;
  /** Frames that the kernel dropped because its receive buffer was full. */
  dropReceiveFull: number;
  dropNoHandler: number;
  /** Headers that contradict themselves. */
  dropMalformed: number;
  /** Frames that the kernel could not hand over: segments of a kind that virtio-net has no name for, as SCTP's. */
  dropUnreadable: number;
  /** Cut off by the kernel. */
  dropTruncated: number;
  /** The kernel had no room (EAGAIN, ENOBUFS). */
  dropFull: number;
  /** The kernel refused the frame: longer than the MTU, interface down, … */
  dropRefused: number;
  dropTooLong: number;
  dropClosed: number;
}

/** Frames and bytes sent by one call. */
const SLOTS = 64;
const DATA_BYTES = 256 << 10;
const LARGEST = 65535 + 22;
const DATA_AT = SLOTS * (MMSGHDR + IOVEC);
const BUDGET_CALLS = 8;

/** Opens a network interface of this host as an Ethernet device. Linux, with root or CAP_NET_RAW. */
export function openPacket(options: PacketOptions): PacketDevice {
  return new PacketDevice(options);
}

export class PacketDevice implements L2Device, Ending {
  readonly name: string;
  readonly mac: MacAddr;
  readonly mtu: number;
  readonly accepts: number;
  /** Settles when the device is closed, or its interface is gone. */
  readonly closed: Promise<void>;
  readonly stats: PacketStats = {
    received: 0,
    receivedBytes: 0,
    sent: 0,
    sentBytes: 0,
    receiveCalls: 0,
    sendCalls: 0,
    interrupted: 0,
    linkDown: 0,
    dropReceiveFull: 0,
    dropNoHandler: 0,
    dropMalformed: 0,
    dropUnreadable: 0,
    dropTruncated: 0,
    dropFull: 0,
    dropRefused: 0,
    dropTooLong: 0,
    dropClosed: 0,
  };
  readonly #api: Libc = libc();
  readonly #fd: number;
  readonly #index: number;
  readonly #clock: Clock;
  readonly #registration: Registration;
  readonly #ring: ReceiveRing = receiveRing();
  readonly #tx: Arena;
  #queued = 0;
  /** Frames lost so far, by the kernel's count. */
  #lost = 0;
  #used = 0;
  #scheduled = false;
  #handler: FrameHandler = dropFrame;
  #open = true;
  #settle: () => void = () => {};
  readonly #onFlush = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  constructor(options: PacketOptions) {
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.name = options.interface;
    this.#clock = options.clock ?? systemClock;
    const opened = inNetns(options.netns, () => openSocket(this.#api, options));
    this.#fd = opened.fd;
    this.#index = opened.index;
    this.mac = opened.mac;
    this.mtu = opened.mtu;
    this.accepts = Accept.CHECKSUM | Accept.TSO4 | Accept.TSO6 | (hasUso() ? Accept.USO : 0);
    this.#tx = new Arena(DATA_AT + DATA_BYTES);
    for (let slot = 0; slot < SLOTS; slot++) {
      const iovec = SLOTS * MMSGHDR + slot * IOVEC;
      this.#tx.putU64(slot * MMSGHDR + MSG_IOV, this.#tx.base + iovec);
      this.#tx.putU64(slot * MMSGHDR + MSG_IOVLEN, 1);
    }
    try {
      this.#registration = watch(this.#fd, EPOLLIN, this.#clock, () => this.#onReady());
    } catch (error) {
      closeDescriptor(this.#fd);
      this.#tx.release();
      throw error;
    }
    this.#registration.hold(true);
  }

  setHandler(handler: FrameHandler): void {
    this.#handler = handler;
  }

  /** Frames leave together when the clock's batch ends. */
  send(frame: Frame): void {
    const { stats } = this;
    const { len } = frame;
    if (!this.#open) {
      stats.dropClosed++;
      return;
    }
    if (len < ETHERNET_HEADER) {
      stats.dropMalformed++;
      return;
    }
    if (len > LARGEST) {
      stats.dropTooLong++;
      return;
    }
    if (this.#queued === SLOTS || this.#used + VNET_HEADER + len > DATA_BYTES) this.flush();
    const { bytes, base } = this.#tx;
    const at = DATA_AT + this.#used;
    const start = at + VNET_HEADER;
    const link = frame.headerLen;
    copyBytes(bytes, start, frame.buf, frame.off, len);
    if (writeVnet(bytes, at, link, start + link, len - link, frame.offload) < 0) {
      stats.dropMalformed++;
      return;
    }
    const iovec = SLOTS * MMSGHDR + this.#queued * IOVEC;
    this.#tx.putU64(iovec, base + at);
    this.#tx.putU64(iovec + 8, VNET_HEADER + len);
    this.#queued++;
    // Aligned to 8, as the kernel copies fastest.
    this.#used += (VNET_HEADER + len + 7) & ~7;
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.endOfBatch(this.#onFlush);
  }

  /** Sends what is queued now. */
  flush(): void {
    const { stats } = this;
    const { u32, base } = this.#tx;
    let next = 0;
    while (next < this.#queued) {
      const at = base + next * MMSGHDR;
      const sent = this.#api.sendmmsg(this.#fd, at, this.#queued - next, MSG_DONTWAIT);
      if (sent > 0) {
        stats.sendCalls++;
        stats.sent += sent;
        for (let i = next; i < next + sent; i++) {
          stats.sentBytes += u32[(SLOTS * MMSGHDR + i * IOVEC + 8) >>> 2] - VNET_HEADER;
        }
        next += sent;
        continue;
      }
      const errno = this.#api.errno();
      if (errno === EINTR) {
        stats.interrupted++;
        continue;
      }
      if (errno === EAGAIN || errno === ENOBUFS) stats.dropFull++;
      else stats.dropRefused++;
      next++;
    }
    this.#queued = 0;
    this.#used = 0;
  }

  /** An open device keeps the process alive; after `unref` it does not. */
  ref(): void {
    this.#registration.hold(true);
  }

  unref(): void {
    this.#registration.hold(false);
  }

  close(): void {
    if (!this.#open) return;
    this.flush();
    this.#open = false;
    this.#registration.remove();
    closeDescriptor(this.#fd);
    this.#tx.release();
    this.#settle();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #onReady(): void {
    const { stats } = this;
    const ring = this.#ring;
    for (let call = 0; call < BUDGET_CALLS && this.#open; call++) {
      ring.prepare(RECEIVE_SLOTS);
      const count = this.#api.recvmmsg(this.#fd, ring.address, RECEIVE_SLOTS, MSG_DONTWAIT, 0);
      if (count < 0) {
        this.#onError(this.#api.errno());
        return;
      }
      stats.receiveCalls++;
      for (let slot = 0; slot < count && this.#open; slot++) this.#deliver(ring, slot);
      if (count < RECEIVE_SLOTS) return;
    }
  }

  #onError(errno: number): void {
    const { stats } = this;
    if (errno === EAGAIN) return;
    if (errno === EINTR) {
      stats.interrupted++;
      return;
    }
    // ENETDOWN is said once, both when the interface was set down and when it was deleted.
    if (errno === ENETDOWN) stats.linkDown++;
    else stats.dropUnreadable++;
    if (!interfaceExists(this.#api, this.#fd, this.#index)) this.close();
  }

  #deliver(ring: ReceiveRing, slot: number): void {
    const { stats } = this;
    const { bytes, u32 } = ring.arena;
    const lost = ring.controlAt(slot, SOL_SOCKET, SO_RXQ_OVFL);
    if (lost >= 0) {
      stats.dropReceiveFull += (u32[lost >>> 2] - this.#lost) >>> 0;
      this.#lost = u32[lost >>> 2];
    }
    const at = ring.dataAt(slot);
    let off = at + VNET_HEADER;
    let len = ring.length(slot) - VNET_HEADER;
    if (ring.isTruncated(slot)) {
      stats.dropTruncated++;
      return;
    }
    if (len < ETHERNET_HEADER) {
      stats.dropMalformed++;
      return;
    }
    const link = new Frame(bytes, off, len).headerLen;
    const offload = readVnet(bytes, at, link, off + link, len - link);
    if (offload < 0) {
      stats.dropMalformed++;
      return;
    }
    const tag = vlanTag(ring, slot);
    if (tag !== 0) {
      // The kernel took the outer tag out of the frame: the addresses move into the headroom, the tag comes behind them.
      off -= VLAN_TAG;
      len += VLAN_TAG;
      bytes.copyWithin(off, off + VLAN_TAG, off + VLAN_TAG + 12);
      put16(bytes, off + 12, tag >>> 16);
      put16(bytes, off + 14, tag & 0xffff);
    }
    if (this.#handler === dropFrame) {
      stats.dropNoHandler++;
      return;
    }
    stats.received++;
    stats.receivedBytes += len;
    try {
      this.#handler(new Frame(bytes, off, len, offload));
    } catch (error) {
      // The other frames of this call must not be lost for it.
      rethrowLater(error);
    }
  }
}

/** The tag that the kernel has taken out of a frame, its type in the upper half; 0 when there was none. */
function vlanTag(ring: ReceiveRing, slot: number): number {
  const at = ring.controlAt(slot, SOL_PACKET, PACKET_AUXDATA);
  if (at < 0) return 0;
  const { u32 } = ring.arena;
  // struct tpacket_auxdata: status, length, captured length, two offsets, tag, tag's type.
  const status = u32[at >>> 2];
  if ((status & TP_STATUS_VLAN_VALID) === 0) return 0;
  const tag = u32[(at + 16) >>> 2];
  const type = (status & TP_STATUS_VLAN_TPID_VALID) !== 0 ? tag >>> 16 : 0x8100;
  return type * 0x10000 + (tag & 0xffff);
}

interface Opened {
  readonly fd: number;
  readonly index: number;
  readonly mac: MacAddr;
  readonly mtu: number;
}

function openSocket(api: Libc, options: PacketOptions): Opened {
  const name = options.interface;
  // Protocol 0 receives nothing until it is bound, so no frame of another interface slips in.
  const raw = api.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (raw < 0) {
    throw new HostError('socket', api.errno(), 'a packet socket needs root or CAP_NET_RAW');
  }
  const arena = new Arena(64);
  try {
    const { view, base } = arena;
    const encoded = new TextEncoder().encode(name);
    const ask = (request: number): void => {
      arena.bytes.fill(0, 0, IFREQ_SIZE);
      arena.bytes.set(encoded.subarray(0, IFNAMSIZ - 1));
      if (api.ioctl(raw, request, base) < 0) {
        throw new HostError('ioctl', api.errno(), `interface ${name}`);
      }
    };
    ask(SIOCGIFINDEX);
    const index = view.getInt32(IFNAMSIZ, true);
    ask(SIOCGIFMTU);
    const mtu = view.getInt32(IFNAMSIZ, true);
    ask(SIOCGIFHWADDR);
    const mac = MacAddr.read(arena.bytes, IFNAMSIZ + 2);
    const set = (level: number, option: number, length: number, what: string): void => {
      if (api.setsockopt(raw, level, option, base, length) < 0) {
        throw new HostError('setsockopt', api.errno(), `interface ${name}, ${what}`);
      }
    };
    view.setInt32(0, 1, true);
    set(SOL_PACKET, PACKET_VNET_HDR, 4, 'offloads');
    set(SOL_PACKET, PACKET_AUXDATA, 4, 'VLAN tags');
    set(SOL_SOCKET, SO_RXQ_OVFL, 4, 'the count of lost frames');
    if (options.outgoing !== true) set(SOL_PACKET, PACKET_IGNORE_OUTGOING, 4, 'outgoing');
    view.setInt32(0, options.receiveBuffer ?? 4 << 20, true);
    if (api.setsockopt(raw, SOL_SOCKET, SO_RCVBUFFORCE, base, 4) < 0) {
      set(SOL_SOCKET, SO_RCVBUF, 4, 'receiveBuffer');
    }
    if (options.promiscuous !== false) {
      arena.bytes.fill(0, 0, 16);
      view.setInt32(0, index, true);
      view.setUint16(4, PACKET_MR_PROMISC, true);
      set(SOL_PACKET, PACKET_ADD_MEMBERSHIP, 16, 'promiscuous');
    }
    arena.bytes.fill(0, 0, SOCKADDR_LL_SIZE);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, ETH_P_ALL, false);
    view.setInt32(4, index, true);
    if (api.bind(raw, base, SOCKADDR_LL_SIZE) < 0) {
      throw new HostError('bind', api.errno(), `interface ${name}`);
    }
    return { fd: adopt(raw), index, mac, mtu };
  } catch (error) {
    api.close(raw);
    throw error;
  } finally {
    arena.release();
  }
}

function interfaceExists(api: Libc, fd: number, index: number): boolean {
  const arena = new Arena(IFREQ_SIZE);
  arena.view.setInt32(IFNAMSIZ, index, true);
  const found = api.ioctl(fd, SIOCGIFNAME, arena.base) >= 0;
  arena.release();
  return found;
}

/** UDP super-segments through a virtio-net header came with Linux 6.2. */
function hasUso(): boolean {
  const [major, minor] = release().split('.').map(Number);
  return major > 6 || (major === 6 && minor >= 2);
}
