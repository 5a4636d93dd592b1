/**
 * A learning Ethernet switch (IEEE 802.1Q §8.7, §8.8) between any devices. Everything happens on the sender's stack; only
 * frames to an unknown address are copied.
 */

import { copyBytes, equalBytes, get16, getInt32 } from './bytes.ts';
import { type Clock, systemClock, type Timer } from './clock.ts';
import {
  type Disconnect,
  disconnect,
  dropFrame,
  type L2Connector,
  type L2Device,
} from './device.ts';
import { PktkitError } from './errors.ts';
import { Frame } from './frame.ts';
import { MacAddr } from './mac.ts';
import { MacTable } from './mac-table.ts';
import { SEGMENT_SIZE_MASK } from './offload.ts';
import { reportLater } from './platform.ts';
import { HEADROOM, pool, TAILROOM } from './pool.ts';
import type { Random32 } from './random.ts';
import { sendL2 } from './software-offload.ts';
import { ETHERNET_HEADER } from './wire/ethernet.ts';

export interface L2HubOptions {
  /** Most ports; `connectL2` throws `PKT_LIMIT` beyond. 4096 unless told. */
  maxPorts?: number | undefined;
  /** Most addresses; a new one then takes the place of the one seen least recently. 8192 unless told. */
  maxAddresses?: number | undefined;
  /** Milliseconds after which an address that is not seen any more is forgotten; 300,000 (IEEE 802.1Q §8.8.3). */
  ageing?: number | undefined;
  clock?: Clock | undefined;
  /** Source of the table's secret. */
  random?: Random32 | undefined;
  /** Told when a device threw; by default the error becomes an uncaught exception later, off the data path. */
  onError?: ((error: unknown, device: L2Device) => void) | undefined;
}

export interface L2PortOptions {
  /** Isolated ports reach only ports that are not: guests that may talk to the gateway but not to each other. */
  isolated?: boolean | undefined;
  /** Addresses that are fixed to this port: never aged, and frames from them on other ports are dropped. */
  addresses?: readonly (MacAddr | string)[] | undefined;
}

export interface L2HubStats {
  /** Frames sent to one port because its address was known. */
  forwarded: number;
  /** Frames sent to all ports: groups and unknown addresses. */
  flooded: number;
  /** Addresses learned, moved between ports, forgotten by age, and pushed out of a full table. */
  learned: number;
  moved: number;
  expired: number;
  evicted: number;
  /** Errors that devices threw out of `send`. */
  portErrors: number;
  /** Dropped: shorter than a header. */
  dropShort: number;
  /** Dropped: the source is a group address (IEEE 802.3 §3.2.3 (b)). */
  dropGroupSource: number;
  /** Dropped: the destination is on the port that the frame came from. */
  dropSamePort: number;
  /** Dropped: came back while it was being sent, or nested too deep. Two links between two hubs do that. */
  dropLoop: number;
  /** Dropped: between two isolated ports. */
  dropIsolated: number;
  /** Dropped: from an address that is fixed to another port. */
  dropFixed: number;
  /** Dropped: larger than the port's MTU. */
  dropTooBig: number;
}

export interface L2PortStats {
  /** Frames that the device has brought. */
  received: number;
  /** Frames that were sent to the device. */
  sent: number;
  /** Errors that the device threw. */
  errors: number;
}

/** Sends nested deeper than this are a loop: a chain of real devices is a handful. */
const MAX_DEPTH = 16;
/** Bytes of a frame that are compared to know it again. */
const COMPARED = 96;
/** Ageing is this much coarser than `ageing` itself: 10 s of 300. */
const TICKS = 30;

class Port {
  readonly id: number;
  readonly device: L2Device;
  readonly isolated: boolean;
  readonly stats: L2PortStats = { received: 0, sent: 0, errors: 0 };
  attached = true;
  /** The source that this port last brought, as it was found in the table: most ports have one. */
  high = 0;
  low = 0;
  tick = -1;
  generation = -1;

  constructor(id: number, device: L2Device, isolated: boolean) {
    this.id = id;
    this.device = device;
    this.isolated = isolated;
  }
}

export class L2Hub implements L2Connector {
  readonly stats: L2HubStats = {
    forwarded: 0,
    flooded: 0,
    learned: 0,
    moved: 0,
    expired: 0,
    evicted: 0,
    portErrors: 0,
    dropShort: 0,
    dropGroupSource: 0,
    dropSamePort: 0,
    dropLoop: 0,
    dropIsolated: 0,
    dropFixed: 0,
    dropTooBig: 0,
  };
  readonly #maxPorts: number;
  readonly #tickLength: number;
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #onError: (error: unknown, device: L2Device) => void;
  readonly #table: MacTable;
  /** Replaced, never changed, so that a loop over it survives whatever its calls do. */
  #ports: readonly Port[] = [];
  readonly #byId: Array<Port | null> = [];
  readonly #freeIds: number[] = [];
  #tick = 0;
  #depth = 0;
  /** The frames being sent, by depth: to know one that comes back. */
  readonly #sending: Uint8Array[] = new Array(MAX_DEPTH).fill(NOTHING);
  readonly #sendingOff: Int32Array = new Int32Array(MAX_DEPTH);
  readonly #sendingLen: Int32Array = new Int32Array(MAX_DEPTH);

  constructor(options: L2HubOptions = {}) {
    const { maxPorts = 4096, maxAddresses = 8192, ageing = 300_000 } = options;
    atLeastOne('maxPorts', maxPorts);
    atLeastOne('maxAddresses', maxAddresses);
    if (!(ageing > 0)) throw new RangeError(`ageing is in milliseconds, got ${ageing}`);
    this.#maxPorts = maxPorts;
    this.#tickLength = ageing / TICKS;
    this.#clock = options.clock ?? systemClock;
    this.#onError = options.onError ?? reportLater;
    this.#table = new MacTable(maxAddresses, options.random);
    this.#timer = this.#clock.timer(() => this.#age());
  }

  /** How many devices are connected. */
  get portCount(): number {
    return this.#ports.length;
  }

  /** How many addresses are known. */
  get addressCount(): number {
    return this.#table.size;
  }

  connectL2(device: L2Device, options: L2PortOptions = {}): Disconnect {
    if (this.#ports.some((port) => port.device === device)) {
      throw new PktkitError(
        'PKT_INVALID_CONFIG',
        'this device is connected to this hub already; disconnect it first',
      );
    }
    if (this.#ports.length >= this.#maxPorts) {
      throw new PktkitError('PKT_LIMIT', `the hub has ${this.#maxPorts} ports; raise maxPorts`);
    }
    const fixed = (options.addresses ?? []).map((address) => MacAddr.from(address));
    const port = new Port(
      this.#freeIds.pop() ?? this.#byId.length,
      device,
      options.isolated ?? false,
    );
    this.#byId[port.id] = port;
    for (const { value } of fixed) {
      if (this.#table.fix(Math.floor(value / 2 ** 32), value | 0, port.id)) continue;
      this.#table.purge(port.id);
      this.#release(port);
      throw new PktkitError(
        'PKT_LIMIT',
        'the table is full of fixed addresses; raise maxAddresses',
      );
    }
    this.#ports = [...this.#ports, port];
    device.setHandler((frame) => this.#receive(port, frame));
    return disconnect(() => {
      port.attached = false;
      device.setHandler(dropFrame);
      this.#ports = this.#ports.filter((other) => other !== port);
      this.#table.purge(port.id);
      this.#release(port);
    });
  }

  /** What a connected device has brought and been sent; null for one that is not connected. */
  portStats(device: L2Device): L2PortStats | null {
    return this.#ports.find((port) => port.device === device)?.stats ?? null;
  }

  /** The known addresses, for people. */
  *addresses(): Generator<{ mac: MacAddr; device: L2Device; fixed: boolean }> {
    for (const { mac, port, fixed } of this.#table.entries()) {
      const { device } = this.#byId[port] as Port;
      yield { mac: MacAddr.fromNumber(mac), device, fixed };
    }
  }

  #receive(port: Port, frame: Frame): void {
    const { stats } = this;
    const { buf, off, len } = frame;
    if (!port.attached) return;
    port.stats.received++;
    if (len < ETHERNET_HEADER) {
      stats.dropShort++;
      return;
    }
    const srcHigh = get16(buf, off + 6);
    const srcLow = getInt32(buf, off + 8);
    if ((srcHigh & 0x100) !== 0) {
      stats.dropGroupSource++;
      return;
    }
    const depth = this.#depth;
    if (depth > 0 && this.#isLoop(buf, off, len)) {
      stats.dropLoop++;
      return;
    }
    if (
      port.low !== srcLow ||
      port.tick !== this.#tick ||
      port.high !== srcHigh ||
      port.generation !== this.#table.generation
    ) {
      if (!this.#learn(port, srcHigh, srcLow)) return;
    }
    this.#sending[depth] = buf;
    this.#sendingOff[depth] = off;
    this.#sendingLen[depth] = len;
    this.#depth = depth + 1;
    const dstHigh = get16(buf, off);
    if ((dstHigh & 0x100) !== 0) {
      this.#flood(port, frame);
    } else {
      const id = this.#table.lookup(dstHigh, getInt32(buf, off + 2));
      if (id < 0) {
        this.#flood(port, frame);
      } else if (id === port.id) {
        // It has reached whoever it is for already (IEEE 802.1Q §8.6.1).
        stats.dropSamePort++;
      } else {
        const target = this.#byId[id] as Port;
        if (port.isolated && target.isolated) {
          stats.dropIsolated++;
        } else {
          stats.forwarded++;
          this.#deliver(target, frame);
        }
      }
    }
    this.#depth = depth;
    this.#sending[depth] = NOTHING;
  }

  /** False when the frame must be dropped. */
  #learn(port: Port, high: number, low: number): boolean {
    const table = this.#table;
    if (this.#timer.deadline === Number.POSITIVE_INFINITY) {
      this.#timer.arm(this.#clock.now + this.#tickLength);
    }
    const outcome = table.learn(high, low, port.id, this.#tick);
    if (outcome < 0) {
      // A table full of fixed addresses learns nothing but still forwards.
      const owner = table.lookup(high, low);
      if (owner < 0) return true;
      this.stats.dropFixed++;
      return false;
    }
    if (outcome === 2) this.stats.moved++;
    else if (outcome > 0) this.stats.learned++;
    if (outcome === 3) this.stats.evicted++;
    port.high = high;
    port.low = low;
    port.tick = this.#tick;
    port.generation = table.generation;
    return true;
  }

  #flood(source: Port, frame: Frame): void {
    this.stats.flooded++;
    const ports = this.#ports;
    // Whoever a frame is addressed to may write into it. Of a group frame everybody knows that others get it too; one to an
    // unknown address must reach each port as it came.
    const guard = !frame.isGroup && ports.length > 2;
    const copy = guard ? pool.take(HEADROOM + frame.len + TAILROOM) : frame.buf;
    if (guard) {
      copyBytes(copy, HEADROOM, frame.buf, frame.off, frame.len);
      this.#sending[this.#depth - 1] = copy;
      this.#sendingOff[this.#depth - 1] = HEADROOM;
    }
    for (let i = 0; i < ports.length; i++) {
      const port = ports[i];
      if (port === source || !port.attached) continue;
      if (source.isolated && port.isolated) this.stats.dropIsolated++;
      else if (!guard) this.#deliver(port, frame);
      else this.#deliverCopy(port, copy, frame);
    }
    if (guard) pool.give(copy);
  }

  #deliverCopy(port: Port, original: Uint8Array, { len, offload }: Frame): void {
    const copy = pool.take(HEADROOM + len + TAILROOM);
    copyBytes(copy, HEADROOM, original, HEADROOM, len);
    this.#deliver(port, new Frame(copy, HEADROOM, len, offload));
    pool.give(copy);
  }

  #deliver(port: Port, frame: Frame): void {
    const { device } = port;
    try {
      // Tags come on top of the MTU (IEEE 802.3 §3.2.7).
      if (
        frame.len > device.mtu + ETHERNET_HEADER &&
        (frame.offload & SEGMENT_SIZE_MASK) === 0 &&
        frame.len > device.mtu + frame.headerLen
      ) {
        this.stats.dropTooBig++;
        return;
      }
      port.stats.sent++;
      sendL2(device, frame);
    } catch (error) {
      port.stats.errors++;
      this.stats.portErrors++;
      try {
        this.#onError(error, device);
      } catch (second) {
        reportLater(second);
      }
    }
  }

  #isLoop(buf: Uint8Array, off: number, len: number): boolean {
    if (this.#depth >= MAX_DEPTH) return true;
    // A frame just like one that is still being sent has come round, copied on the way or not: without this, each of
    // several links would double the work at every turn. Ethernet, IP and TCP headers fit into what is compared.
    for (let i = 0; i < this.#depth; i++) {
      if (
        this.#sendingLen[i] === len &&
        equalBytes(this.#sending[i], this.#sendingOff[i], buf, off, Math.min(len, COMPARED))
      ) {
        return true;
      }
    }
    return false;
  }

  #age(): void {
    this.#tick++;
    this.stats.expired += this.#table.expire(this.#tick - TICKS);
    if (this.#table.size > 0) this.#timer.arm(this.#clock.now + this.#tickLength);
  }

  #release(port: Port): void {
    this.#byId[port.id] = null;
    this.#freeIds.push(port.id);
  }
}

const NOTHING = new Uint8Array(0);

function atLeastOne(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1) {
    throw new RangeError(`${name} is a whole number above 0, got ${value}`);
  }
}
