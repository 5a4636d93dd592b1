/**
 * Memory whose address the kernel is given.
 *
 * V8 moves objects, but not the backing store of an `ArrayBuffer`: an address taken once stays good for as long as the
 * buffer lives and is not detached. So every arena is held by a list of this module until `release`, and is marked
 * untransferable, so that a handler cannot post the bytes it borrowed to another thread and take them from under us.
 * Windows that somebody kept too long show old bytes after the release: they are the collector's, never freed under them.
 */

import { markAsUntransferable } from 'node:worker_threads';
import { libc } from './native.ts';

const held = new Set<ArrayBuffer>();

export class Arena {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly u32: Uint32Array;
  /** Address of the first byte, at least 8-byte aligned. */
  readonly base: number;
  readonly #buffer: ArrayBuffer;

  /** `size` is rounded up to a multiple of 8. */
  constructor(size: number) {
    const buffer = new ArrayBuffer((size + 7) & ~7);
    markAsUntransferable(buffer);
    this.#buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.u32 = new Uint32Array(buffer);
    this.base = libc().address(buffer);
    held.add(buffer);
  }

  /** The caller has given up every descriptor and message that points here. Idempotent. */
  release(): void {
    held.delete(this.#buffer);
  }

  /** False once somebody has detached the buffer by other means than a message: its address is void then. */
  get isIntact(): boolean {
    return this.bytes.length > 0;
  }

  /** Writes a 64-bit little-endian word; exact up to 2⁵³, which no address reaches. */
  putU64(off: number, value: number): void {
    const at = off >>> 2;
    this.u32[at] = value >>> 0;
    this.u32[at + 1] = Math.floor(value / 0x100000000);
  }
}

/** Arenas alive, for tests that look for leaks. */
export function heldArenas(): number {
  return held.size;
}
