/**
 * A capture of what passes through a device: a device of the same kind that stands in front of it and writes pcapng.
 *
 * What goes into the capture is what the wire would see: partial checksums are completed in the copy, and a super-segment
 * is written whole, with a comment, since the segments of the wire are made behind this point.
 */

import { type Clock, systemClock } from './clock.ts';
import {
  dropFrame,
  dropPacket,
  type FrameHandler,
  type L2Device,
  type L3Device,
  type PacketHandler,
} from './device.ts';
import type { Frame } from './frame.ts';
import type { Prefix } from './ip.ts';
import type { MacAddr } from './mac.ts';
import { CHECKSUM_PARTIAL, SEGMENT_SIZE_MASK } from './offload.ts';
import { ipLength, type Packet } from './packet.ts';
import {
  Direction,
  LINKTYPE_ETHERNET,
  LINKTYPE_RAW,
  PcapngWriter,
  type PcapSink,
} from './pcapng.ts';
import { pool } from './pool.ts';
import { completeCopy, headersOf } from './segment.ts';
import { EtherType } from './wire/ethernet.ts';

export interface TapOptions {
  /** Time stamps come from its wall clock. */
  clock?: Clock | undefined;
  /** Bytes kept of each packet; whole ones (up to 262,144) unless told. */
  snaplen?: number | undefined;
  /** Name of the interface in the capture. */
  name?: string | undefined;
  /**
   * Asked before each packet: false drops it from the capture (not from the network) and counts it, for sinks that cannot
   * keep up.
   */
  ready?: (() => boolean) | undefined;
}

export interface TapStats {
  /** Packets seen, both ways. */
  seen: number;
  /** Of these, not written because the sink was not ready. */
  dropped: number;
  /** Errors that the sink threw; the network goes on without it. */
  sinkErrors: number;
}

const MAX_SNAPLEN = 262_144;

/** Writes packets of one interface to a sink. */
class Capture {
  readonly stats: TapStats = { seen: 0, dropped: 0, sinkErrors: 0 };
  readonly #writer: PcapngWriter;
  readonly #id: number;
  readonly #clock: Clock;
  readonly #snaplen: number;
  readonly #ready: () => boolean;
  #missing = 0;
  #closed = false;

  constructor(linkType: number, sink: PcapSink, options: TapOptions) {
    const { snaplen = MAX_SNAPLEN } = options;
    if (!Number.isInteger(snaplen) || snaplen < 1) {
      throw new RangeError(`snaplen is a whole number of bytes above 0, got ${snaplen}`);
    }
    this.#snaplen = Math.min(snaplen, MAX_SNAPLEN);
    this.#clock = options.clock ?? systemClock;
    this.#ready = options.ready ?? (() => true);
    this.#writer = new PcapngWriter(sink);
    this.#id = this.#writer.addInterface(linkType, options.name ?? 'pktkit', this.#snaplen);
  }

  /** `link` bytes precede the IP header; -1 when there is none. */
  write(
    buf: Uint8Array,
    off: number,
    len: number,
    link: number,
    offload: number,
    direction: Direction,
  ): void {
    if (this.#closed) return;
    this.stats.seen++;
    try {
      if (!this.#ready()) {
        this.stats.dropped++;
        this.#missing++;
        return;
      }
      const size = offload & SEGMENT_SIZE_MASK;
      const total = link < 0 ? -1 : ipLength(buf, off + link, len - link);
      const unfinished = size !== 0 || (offload & CHECKSUM_PARTIAL) !== 0;
      if (unfinished && headersOf(buf, off + link, total) >= 0) {
        const out = pool.take(link + total);
        completeCopy(buf, off, link, total, out, 0);
        this.#put(out, 0, link + total, direction, size);
        pool.give(out);
      } else {
        this.#put(buf, off, len, direction, size);
      }
    } catch {
      this.stats.sinkErrors++;
    }
  }

  /** Ends the capture with its totals. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#writer.statistics(this.#id, this.#clock.wall, this.stats.seen, this.stats.dropped);
    } catch {
      this.stats.sinkErrors++;
    }
  }

  #put(buf: Uint8Array, off: number, len: number, direction: Direction, size: number): void {
    const comment = size === 0 ? '' : `super-segment: on the wire, ${size} bytes of payload each`;
    const captured = Math.min(len, this.#snaplen);
    const missing = this.#missing;
    this.#missing = 0;
    this.#writer.packet(
      this.#id,
      this.#clock.wall,
      buf,
      off,
      captured,
      len,
      direction,
      missing,
      comment,
    );
  }
}

/** A device in front of another that captures what passes; see `tap`. */
export class L2Tap implements L2Device {
  readonly #device: L2Device;
  readonly #capture: Capture;
  readonly #inbound: FrameHandler;
  #handler: FrameHandler = dropFrame;

  constructor(device: L2Device, sink: PcapSink, options: TapOptions) {
    this.#device = device;
    this.#capture = new Capture(LINKTYPE_ETHERNET, sink, options);
    this.#inbound = (frame) => {
      this.#write(frame, Direction.INBOUND);
      this.#handler(frame);
    };
    device.setHandler(this.#inbound);
  }

  get stats(): TapStats {
    return this.#capture.stats;
  }

  get mac(): MacAddr {
    return this.#device.mac;
  }

  get mtu(): number {
    return this.#device.mtu;
  }

  get accepts(): number {
    return this.#device.accepts;
  }

  setHandler(handler: FrameHandler): void {
    this.#handler = handler;
    // A device behind this one sees when its cable is taken out.
    this.#device.setHandler(handler === dropFrame ? dropFrame : this.#inbound);
  }

  send(frame: Frame): void {
    this.#write(frame, Direction.OUTBOUND);
    this.#device.send(frame);
  }

  /** Ends the capture and closes the device. */
  close(): void {
    this.#capture.close();
    this.#device.close();
  }

  #write(frame: Frame, direction: Direction): void {
    const { buf, off, len, offload, etherType } = frame;
    const ip = etherType === EtherType.IPV4 || etherType === EtherType.IPV6;
    this.#capture.write(buf, off, len, ip ? frame.headerLen : -1, offload, direction);
  }
}

/** A device in front of another that captures what passes; see `tap`. */
export class L3Tap implements L3Device {
  readonly #device: L3Device;
  readonly #capture: Capture;
  #handler: PacketHandler = dropPacket;

  constructor(device: L3Device, sink: PcapSink, options: TapOptions) {
    this.#device = device;
    this.#capture = new Capture(LINKTYPE_RAW, sink, options);
    device.setHandler((packet) => {
      this.#write(packet, Direction.INBOUND);
      this.#handler(packet);
    });
  }

  get stats(): TapStats {
    return this.#capture.stats;
  }

  get addrs(): readonly Prefix[] {
    return this.#device.addrs;
  }

  get mtu(): number {
    return this.#device.mtu;
  }

  get accepts(): number {
    return this.#device.accepts;
  }

  setAddrs(addrs: readonly Prefix[]): void {
    this.#device.setAddrs(addrs);
  }

  setHandler(handler: PacketHandler): void {
    this.#handler = handler;
  }

  send(packet: Packet): void {
    this.#write(packet, Direction.OUTBOUND);
    this.#device.send(packet);
  }

  /** Ends the capture and closes the device. */
  close(): void {
    this.#capture.close();
    this.#device.close();
  }

  #write(packet: Packet, direction: Direction): void {
    this.#capture.write(packet.buf, packet.off, packet.len, 0, packet.offload, direction);
  }
}

/**
 * Stands in front of `device` and writes what passes, both ways, to `sink`. Connect the result instead of the device.
 *
 * @example hub.connectL2(tap(port, (block) => file.write(block)));
 */
export function tap(device: L2Device, sink: PcapSink, options?: TapOptions): L2Tap;
export function tap(device: L3Device, sink: PcapSink, options?: TapOptions): L3Tap;
export function tap(
  device: L2Device | L3Device,
  sink: PcapSink,
  options: TapOptions = {},
): L2Tap | L3Tap {
  return 'mac' in device ? new L2Tap(device, sink, options) : new L3Tap(device, sink, options);
}
