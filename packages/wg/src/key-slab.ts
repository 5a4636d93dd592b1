/**
 * The fixed bytes that every peer has, many peers to one array: an array each would cost more than what is in it.
 */

import { KEY_LENGTH } from './constants.ts';

/** Where things are in a peer's slot. */
export const Slot = {
  PUBLIC_KEY: 0,
  PRESHARED_KEY: 32,
  /** DH of the two static keys; filled at the first handshake. */
  STATIC_SHARED: 64,
  /** The newest time stamp that the peer has sent. */
  TIMESTAMP: 96,
  /** MAC1 of the last handshake message to the peer: a cookie reply must name it. */
  LAST_MAC1: 112,
  COOKIE: 128,
  LENGTH: 144,
} as const;

const PER_CHUNK = 256;

export interface SlabSlot {
  readonly chunk: Uint8Array;
  readonly at: number;
}

export class KeySlab {
  readonly #free: SlabSlot[] = [];
  #chunk: Uint8Array = new Uint8Array(0);
  #next = 0;

  take(): SlabSlot {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#next + Slot.LENGTH > this.#chunk.length) {
      this.#chunk = new Uint8Array(PER_CHUNK * Slot.LENGTH);
      this.#next = 0;
    }
    const slot = { chunk: this.#chunk, at: this.#next };
    this.#next += Slot.LENGTH;
    return slot;
  }

  /** Wipes the slot and takes it back. */
  give(slot: SlabSlot): void {
    slot.chunk.fill(0, slot.at, slot.at + Slot.LENGTH);
    this.#free.push(slot);
  }
}

/** A live view of one key in a slot, for code that is not on the data path. */
export function slotView(slot: SlabSlot, part: number, length: number = KEY_LENGTH): Uint8Array {
  return slot.chunk.subarray(slot.at + part, slot.at + part + length);
}
