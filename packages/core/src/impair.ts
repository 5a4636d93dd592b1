/**
 * A bad link in front of any device: loss, delay, jitter, reordering, duplicates, flipped bits, a bandwidth and a queue. Both
 * directions suffer alike and independently. With a seeded `random` and a virtual clock a run repeats exactly.
 */

import { type Clock, systemClock, type Timer } from './clock.ts';
import {
  dropFrame,
  dropPacket,
  type FrameHandler,
  type L2Device,
  type L3Device,
  type PacketHandler,
} from './device.ts';
import { Frame } from './frame.ts';
import type { Prefix } from './ip.ts';
import type { MacAddr } from './mac.ts';
import { Packet } from './packet.ts';
import { type Random32, random32 } from './random.ts';
import { sendL2, sendL3 } from './software-offload.ts';

export interface ImpairOptions {
  /** Chance of a packet to be lost, 0 to 1. */
  loss?: number | undefined;
  /** Milliseconds on the way. */
  delay?: number | undefined;
  /** Up to so many milliseconds more or less, evenly spread. Packets keep their order, as on a real line. */
  jitter?: number | undefined;
  /** Chance of a packet to overtake those before it: it skips the delay. 0 to 1; needs a delay to have an effect. */
  reorder?: number | undefined;
  /** Chance of a packet to arrive twice, 0 to 1. */
  duplicate?: number | undefined;
  /** Chance of a packet to have one bit flipped, 0 to 1. */
  corrupt?: number | undefined;
  /** Bits per second; unlimited unless told. */
  bandwidth?: number | undefined;
  /** Most packets on the way in each direction; more are dropped. 1000 unless told. */
  limit?: number | undefined;
  /** Gives the chances; the system's secure source unless told. */
  random?: Random32 | undefined;
  clock?: Clock | undefined;
  /**
   * Offloads that `send` takes, as `Accept` bits: none unless told, so that each packet of the wire has its own fate.
   */
  accepts?: number | undefined;
}

export interface ImpairStats {
  delivered: number;
  /** Lost by chance. */
  lost: number;
  /** Dropped because `limit` packets were on the way. */
  dropFull: number;
  /** Dropped because the device was closed meanwhile. */
  dropClosed: number;
  duplicated: number;
  corrupted: number;
  reordered: number;
}

interface Item {
  due: number;
  order: number;
  buf: Uint8Array;
  offload: number;
}

/** One direction of the link. */
class Line {
  readonly #options: ImpairOptions;
  readonly #stats: ImpairStats;
  readonly #clock: Clock;
  readonly #random: Random32;
  readonly #limit: number;
  readonly #timer: Timer;
  readonly #deliver: (buf: Uint8Array, offload: number) => void;
  /** Ordered by `due`, then `order`. */
  readonly #queue: Item[] = [];
  #order = 0;
  /** When the last packet in order will arrive: jitter must not let the next one overtake it. */
  #last = 0;
  /** When the line has sent what it was given. */
  #free = 0;
  #closed = false;

  constructor(
    options: ImpairOptions,
    stats: ImpairStats,
    deliver: (buf: Uint8Array, offload: number) => void,
  ) {
    this.#options = options;
    this.#stats = stats;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? random32;
    this.#limit = options.limit ?? 1000;
    this.#deliver = deliver;
    this.#timer = this.#clock.timer(() => this.#run());
  }

  push(buf: Uint8Array, off: number, len: number, offload: number): void {
    const { loss = 0, duplicate = 0, corrupt = 0 } = this.#options;
    if (this.#closed) {
      this.#stats.dropClosed++;
      return;
    }
    if (this.#chance(loss)) {
      this.#stats.lost++;
      return;
    }
    const copies = this.#chance(duplicate) ? 2 : 1;
    if (copies === 2) this.#stats.duplicated++;
    for (let copy = 0; copy < copies; copy++) {
      if (this.#queue.length >= this.#limit) {
        this.#stats.dropFull++;
        continue;
      }
      const bytes = buf.slice(off, off + len);
      if (len > 0 && this.#chance(corrupt)) {
        this.#stats.corrupted++;
        const bit = this.#random() % (len * 8);
        bytes[bit >> 3] ^= 1 << (bit & 7);
      }
      this.#enqueue(bytes, offload);
    }
  }

  close(): void {
    this.#closed = true;
    this.#stats.dropClosed += this.#queue.length;
    this.#queue.length = 0;
    this.#timer.cancel();
  }

  #enqueue(buf: Uint8Array, offload: number): void {
    const { delay = 0, jitter = 0, reorder = 0, bandwidth } = this.#options;
    const { now } = this.#clock;
    if (bandwidth !== undefined) {
      this.#free = Math.max(this.#free, now) + (buf.length * 8000) / bandwidth;
    }
    const sent = bandwidth === undefined ? now : this.#free;
    let due = sent;
    if (delay > 0 && this.#chance(reorder)) {
      this.#stats.reordered++;
    } else {
      const wobble = jitter > 0 ? (this.#random() / 2 ** 31 - 1) * jitter : 0;
      due = Math.max(this.#last, sent + Math.max(0, delay + wobble));
      this.#last = due;
    }
    const item = { due, order: this.#order++, buf, offload };
    // Nearly always the last place or close to it.
    let at = this.#queue.length;
    while (at > 0 && this.#queue[at - 1].due > due) at--;
    this.#queue.splice(at, 0, item);
    if (at === 0) this.#timer.arm(due);
  }

  #run(): void {
    const { now } = this.#clock;
    // What arrives may put more on the line, or close it.
    while (this.#queue.length > 0 && this.#queue[0].due <= now) {
      const { buf, offload } = this.#queue.shift() as Item;
      this.#stats.delivered++;
      this.#deliver(buf, offload);
    }
    if (this.#queue.length > 0) this.#timer.arm(this.#queue[0].due);
  }

  #chance(of: number): boolean {
    return of > 0 && this.#random() < of * 2 ** 32;
  }
}

/** See `impair`. */
export class L2Impair implements L2Device {
  readonly stats: ImpairStats = newStats();
  readonly accepts: number;
  readonly #device: L2Device;
  readonly #out: Line;
  readonly #in: Line;
  readonly #inbound: FrameHandler;
  #handler: FrameHandler = dropFrame;

  constructor(device: L2Device, options: ImpairOptions) {
    check(options);
    this.#device = device;
    this.accepts = options.accepts ?? 0;
    this.#out = new Line(options, this.stats, (buf, offload) =>
      sendL2(device, new Frame(buf, 0, buf.length, offload)),
    );
    this.#in = new Line(options, this.stats, (buf, offload) =>
      this.#handler(new Frame(buf, 0, buf.length, offload)),
    );
    this.#inbound = (frame) => this.#in.push(frame.buf, frame.off, frame.len, frame.offload);
    device.setHandler(this.#inbound);
  }

  get mac(): MacAddr {
    return this.#device.mac;
  }

  get mtu(): number {
    return this.#device.mtu;
  }

  setHandler(handler: FrameHandler): void {
    this.#handler = handler;
    // A device behind this one sees when its cable is taken out.
    this.#device.setHandler(handler === dropFrame ? dropFrame : this.#inbound);
  }

  send(frame: Frame): void {
    this.#out.push(frame.buf, frame.off, frame.len, frame.offload);
  }

  /** Closes the device; what was on the way is lost. */
  close(): void {
    this.#out.close();
    this.#in.close();
    this.#device.close();
  }
}

/** See `impair`. */
export class L3Impair implements L3Device {
  readonly stats: ImpairStats = newStats();
  readonly accepts: number;
  readonly #device: L3Device;
  readonly #out: Line;
  readonly #in: Line;
  #handler: PacketHandler = dropPacket;

  constructor(device: L3Device, options: ImpairOptions) {
    check(options);
    this.#device = device;
    this.accepts = options.accepts ?? 0;
    this.#out = new Line(options, this.stats, (buf, offload) =>
      sendL3(device, new Packet(buf, 0, buf.length, offload)),
    );
    this.#in = new Line(options, this.stats, (buf, offload) =>
      this.#handler(new Packet(buf, 0, buf.length, offload)),
    );
    device.setHandler((packet) =>
      this.#in.push(packet.buf, packet.off, packet.len, packet.offload),
    );
  }

  get addrs(): readonly Prefix[] {
    return this.#device.addrs;
  }

  get mtu(): number {
    return this.#device.mtu;
  }

  setAddrs(addrs: readonly Prefix[]): void {
    this.#device.setAddrs(addrs);
  }

  setHandler(handler: PacketHandler): void {
    this.#handler = handler;
  }

  send(packet: Packet): void {
    this.#out.push(packet.buf, packet.off, packet.len, packet.offload);
  }

  /** Closes the device; what was on the way is lost. */
  close(): void {
    this.#out.close();
    this.#in.close();
    this.#device.close();
  }
}

/**
 * Puts a bad line in front of `device`. Connect the result instead of the device.
 *
 * @example hub.connectL2(impair(port, { loss: 0.02, delay: 20, jitter: 5 }));
 */
export function impair(device: L2Device, options: ImpairOptions): L2Impair;
export function impair(device: L3Device, options: ImpairOptions): L3Impair;
export function impair(device: L2Device | L3Device, options: ImpairOptions): L2Impair | L3Impair {
  return 'mac' in device ? new L2Impair(device, options) : new L3Impair(device, options);
}

function newStats(): ImpairStats {
  return {
    delivered: 0,
    lost: 0,
    dropFull: 0,
    dropClosed: 0,
    duplicated: 0,
    corrupted: 0,
    reordered: 0,
  };
}

function check(options: ImpairOptions): void {
  for (const name of ['loss', 'reorder', 'duplicate', 'corrupt'] as const) {
    const value = options[name] ?? 0;
    if (!(value >= 0 && value <= 1))
      throw new RangeError(`${name} is a chance of 0 to 1, got ${value}`);
  }
  for (const name of ['delay', 'jitter'] as const) {
    const value = options[name] ?? 0;
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) {
      throw new RangeError(`${name} is in milliseconds, got ${value}`);
    }
  }
  if (options.bandwidth !== undefined && !(options.bandwidth > 0)) {
    throw new RangeError(`bandwidth is in bits per second, got ${options.bandwidth}`);
  }
  if (options.limit !== undefined && !(options.limit >= 1)) {
    throw new RangeError(`limit is a number of packets, got ${options.limit}`);
  }
}
