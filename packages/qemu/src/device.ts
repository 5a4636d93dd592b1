/** One end of a stream that carries Ethernet frames in QEMU's framing, as an Ethernet port. */

import type { Socket } from 'node:net';
import {
  type Clock,
  dropFrame,
  type Ending,
  ETHERNET_HEADER,
  Frame,
  type FrameHandler,
  type L2Device,
  MacAddr,
  systemClock,
} from '@pktkit/core';
import { FrameParser, MAX_FRAME } from './frame-parser.ts';
import { SendQueue } from './send-queue.ts';

export interface QemuDeviceOptions {
  /** The port's own address; random unless told. The guest's address is its own affair. */
  mac?: MacAddr | string | undefined;
  /** What the guest's interface is expected to carry, in bytes without the Ethernet header; 1500 unless told. */
  mtu?: number | undefined;
  /** Bytes that may wait for a peer that does not read; what comes on top is dropped. 1 MiB unless told. */
  queueBytes?: number | undefined;
  clock?: Clock | undefined;
}

/** Counters of one device. Bytes are those of frames, without the framing. */
export interface QemuStats {
  /** Frames brought to the handler. */
  framesIn: number;
  bytesIn: number;
  /** Frames taken by `send` for the peer. */
  framesOut: number;
  bytesOut: number;
  /** Writes to the socket: `framesOut / writes` frames shared a system call. */
  writes: number;
  /** `send`: shorter than an Ethernet header. */
  dropShort: number;
  /** `send`: longer than QEMU takes (69,632 bytes). */
  dropTooLong: number;
  /** `send`: the peer does not read and the queue is full. */
  dropQueueFull: number;
  /** `send`: closed, or between two connections. */
  dropClosed: number;
  /** From the peer: shorter than an Ethernet header. */
  dropRunt: number;
  /** From the peer: the handler was taken away. */
  dropNoHandler: number;
  /** From the peer: a length that cannot be, which ends the connection. */
  outOfStep: number;
  /** Calls of the handler that threw; each error is reported as uncaught. */
  handlerErrors: number;
  /** Connections made after the first, when dialling with `reconnect`. */
  reconnects: number;
}

const DEFAULT_QUEUE = 1 << 20;

/**
 * A guest's network card, or the listening side of one, seen as a port.
 *
 * Reading starts with the first `setHandler`: what a guest sends before waits in the socket. `send` never blocks: a peer
 * that does not read loses frames once `queueBytes` wait for it, and nobody else notices.
 */
export class QemuDevice implements L2Device, Ending {
  readonly mac: MacAddr;
  readonly mtu: number;
  /** The stream carries plain frames only: the wiring segments and sums in front of it. */
  readonly accepts: number = 0;
  readonly closed: Promise<void>;
  readonly stats: QemuStats = {
    framesIn: 0,
    bytesIn: 0,
    framesOut: 0,
    bytesOut: 0,
    writes: 0,
    dropShort: 0,
    dropTooLong: 0,
    dropQueueFull: 0,
    dropClosed: 0,
    dropRunt: 0,
    dropNoHandler: 0,
    outOfStep: 0,
    handlerErrors: 0,
    reconnects: 0,
  };
  readonly #clock: Clock;
  readonly #queueBytes: number;
  #handler: FrameHandler = dropFrame;
  #reading = false;
  #socket: Socket | null = null;
  #queue: SendQueue | null = null;
  #parser: FrameParser | null = null;
  #flushDue = false;
  #isClosed = false;
  #settleClosed: () => void = () => {};
  #onLost: (() => void) | null = null;

  /** For this package: `attach`, `dial` and `listen` make devices. */
  constructor(options: QemuDeviceOptions = {}) {
    const { mac, mtu = 1500, queueBytes = DEFAULT_QUEUE } = options;
    if (!Number.isInteger(mtu) || mtu < 576 || mtu > MAX_FRAME - ETHERNET_HEADER) {
      throw new RangeError(`mtu must be 576 … ${MAX_FRAME - ETHERNET_HEADER}, got ${mtu}`);
    }
    if (!(queueBytes >= 2 * MAX_FRAME)) {
      throw new RangeError(`queueBytes must be at least ${2 * MAX_FRAME}, got ${queueBytes}`);
    }
    this.mac = mac === undefined ? MacAddr.random() : MacAddr.from(mac);
    this.mtu = mtu;
    this.#queueBytes = queueBytes;
    this.#clock = options.clock ?? systemClock;
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
  }

  /** True while there is a peer. */
  get connected(): boolean {
    return this.#socket !== null;
  }

  /** Bytes that wait for the peer. */
  get waiting(): number {
    return this.#queue?.waiting ?? 0;
  }

  setHandler(handler: FrameHandler): void {
    this.#handler = handler;
    if (this.#reading || handler === dropFrame) return;
    this.#reading = true;
    this.#socket?.resume();
  }

  send(frame: Frame): void {
    const { stats } = this;
    const queue = this.#queue;
    if (queue === null) {
      stats.dropClosed++;
    } else if (frame.len < ETHERNET_HEADER) {
      stats.dropShort++;
    } else if (frame.len > MAX_FRAME) {
      stats.dropTooLong++;
    } else if (queue.add(frame.buf, frame.off, frame.len)) {
      stats.framesOut++;
      stats.bytesOut += frame.len;
      if (this.#flushDue) return;
      this.#flushDue = true;
      this.#clock.endOfBatch(this.#flush);
    } else {
      stats.dropQueueFull++;
    }
  }

  /** Ends the connection at once; what waits for the peer is lost. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onLost = null;
    this.#parser?.stop();
    const socket = this.#socket;
    if (socket === null) this.#settleClosed();
    else {
      socket.once('close', this.#settleClosed);
      socket.destroy();
    }
    this.#socket = null;
    this.#queue = null;
    this.#parser = null;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** For this package: gives the device its connection. `onLost` runs instead of closing when that one ends. */
  connect(socket: Socket, onLost: (() => void) | null = null): void {
    if (this.#isClosed || this.#socket !== null) {
      socket.destroy();
      return;
    }
    this.#socket = socket;
    this.#onLost = onLost;
    this.#queue = new SendQueue(socket, this.#queueBytes, this.stats);
    // Before anybody listens for data: listening would set the stream flowing.
    if (!this.#reading) socket.pause();
    const parser = new FrameParser((buf, off, len) => this.#bring(buf, off, len));
    this.#parser = parser;
    socket.on('data', (chunk: Buffer) => this.#read(socket, parser, chunk));
    // 'close' follows; what a broken connection is called makes no difference to a port.
    socket.on('error', () => {});
    socket.on('close', () => this.#lost(socket));
    if (this.#reading) socket.resume();
  }

  readonly #flush = (): void => {
    this.#flushDue = false;
    this.#queue?.flush();
  };

  #read(socket: Socket, parser: FrameParser, chunk: Buffer): void {
    // Everything behind this edge sees plain arrays only, which keeps its code monomorphic.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#clock.beginBatch();
    try {
      if (!parser.push(bytes, 0, bytes.length)) {
        this.stats.outOfStep++;
        parser.stop();
        socket.destroy();
      }
    } finally {
      this.stats.dropRunt += parser.runts;
      parser.runts = 0;
      this.#clock.endBatch();
    }
  }

  #bring(buf: Uint8Array, off: number, len: number): void {
    const { stats } = this;
    const handler = this.#handler;
    if (handler === dropFrame) {
      stats.dropNoHandler++;
      return;
    }
    stats.framesIn++;
    stats.bytesIn += len;
    try {
      handler(new Frame(buf, off, len));
    } catch (error) {
      // The frames behind this one are not to blame.
      stats.handlerErrors++;
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #lost(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = null;
    this.#queue = null;
    this.#parser?.stop();
    this.#parser = null;
    if (this.#onLost !== null) this.#onLost();
    else {
      this.#isClosed = true;
      this.#settleClosed();
    }
  }
}

/**
 * The port of a socket that is connected already, as the one that a QEMU started with
 * `-netdev stream,id=n0,addr.type=fd,addr.str=3` inherits. The device owns the socket from now on.
 */
export function attach(socket: Socket, options: QemuDeviceOptions = {}): QemuDevice {
  const device = new QemuDevice(options);
  device.connect(socket);
  return device;
}
