/**
 * Frames on their way into a stream socket. They are copied, whole and with their length, into blocks that are handed to
 * the socket when a batch ends or a block is full: one system call for dozens of frames. What the peer does not take
 * stays below a limit; above it whole frames are refused, so that the stream never gets out of step.
 */

import type { Socket } from 'node:net';
import { copyBytes, put32 } from '@pktkit/core';
import { LENGTH_HEADER, MAX_FRAME } from './frame-parser.ts';

/** A block holds the longest frame; of ordinary ones, 46. */
const BLOCK: number = LENGTH_HEADER + MAX_FRAME;
/** Blocks kept for reuse. */
const KEEP = 16;

export class SendQueue {
  readonly #socket: Socket;
  readonly #limit: number;
  readonly #counters: { writes: number };
  #block: Uint8Array | null = null;
  #filled = 0;
  /** Written blocks that the kernel has not taken yet, oldest first, with the stream position behind each. */
  readonly #inFlight: Uint8Array[] = [];
  readonly #ends: number[] = [];
  readonly #free: Uint8Array[] = [];
  #written = 0;

  /** `limit`: bytes that may wait for the peer. */
  constructor(socket: Socket, limit: number, counters: { writes: number }) {
    this.#socket = socket;
    this.#limit = limit;
    this.#counters = counters;
  }

  /** Bytes that wait for the peer. */
  get waiting(): number {
    return this.#socket.writableLength + this.#filled;
  }

  /** Copies one frame into the queue. False: there is no room, and nothing of it was taken. */
  add(buf: Uint8Array, off: number, len: number): boolean {
    const need = LENGTH_HEADER + len;
    let block = this.#block;
    if (block === null || this.#filled + need > block.length) {
      this.flush();
      if (this.#socket.writableLength + need > this.#limit) return false;
      block = this.#free.pop() ?? new Uint8Array(BLOCK);
      this.#block = block;
    } else if (this.waiting + need > this.#limit) {
      return false;
    }
    put32(block, this.#filled, len);
    copyBytes(block, this.#filled + LENGTH_HEADER, buf, off, len);
    this.#filled += need;
    return true;
  }

  /** Hands what was added to the socket. */
  flush(): void {
    const block = this.#block;
    if (block === null) return;
    this.#block = null;
    const bytes = this.#filled;
    this.#filled = 0;
    if (!this.#socket.writable) {
      this.#free.push(block);
      return;
    }
    this.#counters.writes++;
    this.#written += bytes;
    this.#inFlight.push(block);
    this.#ends.push(this.#written);
    this.#socket.write(block.subarray(0, bytes), this.#onWritten);
    // Mostly the kernel has taken all of it by now, and the block can be used again at once.
    this.#recycle();
  }

  readonly #onWritten = (): void => this.#recycle();

  #recycle(): void {
    const taken = this.#written - this.#socket.writableLength;
    while (this.#ends.length > 0 && this.#ends[0] <= taken) {
      this.#ends.shift();
      const block = this.#inFlight.shift()!;
      if (this.#free.length < KEEP) this.#free.push(block);
    }
  }
}
