/** In-memory cables: what is sent into one end comes out of the other end's handler, on the sender's stack. */

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
import { MacAddr } from './mac.ts';
import { Accept } from './offload.ts';
import type { Packet } from './packet.ts';

export interface PipeStats {
  /** Windows delivered to the other end. */
  delivered: number;
  /** Dropped because an end was closed or had no handler. */
  dropped: number;
}

export interface PipeOptions {
  /** Bytes; 1500 unless told. */
  mtu?: number | undefined;
  /** `Accept` bits of both ends; all unless told, since nothing leaves the process. */
  accepts?: number | undefined;
}

export class L2PipeEnd implements L2Device {
  readonly mac: MacAddr;
  readonly mtu: number;
  readonly accepts: number;
  readonly stats: PipeStats = { delivered: 0, dropped: 0 };
  #handler: FrameHandler = dropFrame;
  #peer: L2PipeEnd | null = null;

  private constructor(mac: MacAddr, options: PipeOptions) {
    this.mac = mac;
    this.mtu = options.mtu ?? 1500;
    this.accepts = options.accepts ?? Accept.ALL;
  }

  static pair(options: PipeOptions): [L2PipeEnd, L2PipeEnd] {
    const a = new L2PipeEnd(MacAddr.random(), options);
    const b = new L2PipeEnd(MacAddr.random(), options);
    a.#peer = b;
    b.#peer = a;
    return [a, b];
  }

  setHandler(handler: FrameHandler): void {
    this.#handler = handler;
  }

  send(frame: Frame): void {
    const peer = this.#peer;
    if (peer === null || peer.#handler === dropFrame) {
      this.stats.dropped++;
      return;
    }
    this.stats.delivered++;
    peer.#handler(frame);
  }

  /** Closes both ends. */
  close(): void {
    const peer = this.#peer;
    this.#peer = null;
    peer?.close();
  }
}

export class L3PipeEnd implements L3Device {
  readonly mtu: number;
  readonly accepts: number;
  readonly stats: PipeStats = { delivered: 0, dropped: 0 };
  #addrs: readonly Prefix[] = [];
  #handler: PacketHandler = dropPacket;
  #peer: L3PipeEnd | null = null;

  private constructor(options: PipeOptions) {
    this.mtu = options.mtu ?? 1500;
    this.accepts = options.accepts ?? Accept.ALL;
  }

  static pair(options: PipeOptions): [L3PipeEnd, L3PipeEnd] {
    const a = new L3PipeEnd(options);
    const b = new L3PipeEnd(options);
    a.#peer = b;
    b.#peer = a;
    return [a, b];
  }

  get addrs(): readonly Prefix[] {
    return this.#addrs;
  }

  setAddrs(addrs: readonly Prefix[]): void {
    this.#addrs = [...addrs];
  }

  setHandler(handler: PacketHandler): void {
    this.#handler = handler;
  }

  send(packet: Packet): void {
    const peer = this.#peer;
    if (peer === null || peer.#handler === dropPacket) {
      this.stats.dropped++;
      return;
    }
    this.stats.delivered++;
    peer.#handler(packet);
  }

  /** Closes both ends. */
  close(): void {
    const peer = this.#peer;
    this.#peer = null;
    peer?.close();
  }
}

/** Two Ethernet ports joined by a cable. */
export function pipeL2(options: PipeOptions = {}): [L2PipeEnd, L2PipeEnd] {
  return L2PipeEnd.pair(options);
}

/** Two IP ports joined by a cable. */
export function pipeL3(options: PipeOptions = {}): [L3PipeEnd, L3PipeEnd] {
  return L3PipeEnd.pair(options);
}
