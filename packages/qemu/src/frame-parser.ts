/**
 * QEMU's framing of a byte stream (`-netdev stream`, `-netdev socket`; net/stream.c, net/socket.c of QEMU):
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------------------------------------------------------+
 *     |              length of the frame, big endian                  |
 *     +---------------------------------------------------------------+
 *     |              Ethernet frame without check sequence …
 *
 * There is no handshake and nothing to find the beat again by: a length that cannot be is the end of the stream.
 */

import { copyBytes, ETHERNET_HEADER, get32, HEADROOM } from '@pktkit/core';

export const LENGTH_HEADER = 4;
/** The longest frame that QEMU takes and sends (`NET_BUFSIZE`): 64 KiB and room for headers. */
export const MAX_FRAME: number = 4096 + 65536;

/** Gives whole frames out of chunks as they arrive. Holds at most one frame. */
export class FrameParser {
  /** Frames shorter than an Ethernet header, which were passed over. */
  runts = 0;
  readonly #deliver: (buf: Uint8Array, off: number, len: number) => void;
  /** The beginning of a frame whose rest is still to come: its length header stands right before `HEADROOM`. */
  #carry: Uint8Array | null = null;
  #have = 0;
  #stopped = false;

  /** `deliver` gets windows that are valid until it returns. */
  constructor(deliver: (buf: Uint8Array, off: number, len: number) => void) {
    this.#deliver = deliver;
  }

  /** After this nothing more is delivered, not even the rest of the chunk that is being read. */
  stop(): void {
    this.#stopped = true;
    this.#carry = null;
  }

  /** Reads a chunk. False: the stream is out of step and must be closed. */
  push(buf: Uint8Array, off: number, len: number): boolean {
    const end = off + len;
    let at = off;
    if (this.#have > 0) {
      at = this.#completeCarry(buf, at, end);
      if (at < 0) return false;
    }
    while (end - at >= LENGTH_HEADER && !this.#stopped) {
      const frame = get32(buf, at);
      if (frame > MAX_FRAME) return false;
      const next = at + LENGTH_HEADER + frame;
      if (next > end) break;
      this.#emit(buf, at + LENGTH_HEADER, frame);
      at = next;
    }
    if (at < end && !this.#stopped) this.#keep(buf, at, end - at);
    return true;
  }

  #emit(buf: Uint8Array, off: number, len: number): void {
    if (len < ETHERNET_HEADER) this.runts++;
    else this.#deliver(buf, off, len);
  }

  #keep(buf: Uint8Array, off: number, len: number): void {
    this.#carry ??= new Uint8Array(HEADROOM + MAX_FRAME);
    copyBytes(this.#carry, HEADROOM - LENGTH_HEADER + this.#have, buf, off, len);
    this.#have += len;
  }

  /** Adds to the kept frame what belongs to it. Gives where the chunk goes on, or -1 for a length that cannot be. */
  #completeCarry(buf: Uint8Array, off: number, end: number): number {
    let at = off;
    if (this.#have < LENGTH_HEADER) {
      const missing = Math.min(LENGTH_HEADER - this.#have, end - at);
      this.#keep(buf, at, missing);
      at += missing;
      if (this.#have < LENGTH_HEADER) return at;
    }
    const carry = this.#carry!;
    const frame = get32(carry, HEADROOM - LENGTH_HEADER);
    if (frame > MAX_FRAME) return -1;
    const missing = Math.min(LENGTH_HEADER + frame - this.#have, end - at);
    this.#keep(buf, at, missing);
    at += missing;
    if (this.#have === LENGTH_HEADER + frame) {
      this.#have = 0;
      this.#emit(carry, HEADROOM, frame);
    }
    return at;
  }
}
