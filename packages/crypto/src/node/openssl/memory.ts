/**
 * Addresses of memory that OpenSSL reads and writes.
 *
 * A collected buffer whose address was passed is a crash, a detached one too. The rules that prevent both:
 * 1. An address is looked up by the very buffer object that the caller passes in, in a WeakMap: whoever gets an address
 *    holds the buffer.
 * 2. The last buffer of each role stays in a field until the next call of that role: no optimisation can drop it while
 *    OpenSSL works.
 * 3. Every window is checked against the buffer's live length first, and a detached buffer has length 0.
 * 4. Memory of our own is the WebAssembly kernels', which never grows and so never moves, and lives as long as we do.
 */

import type { Kernel } from '../../wasm/kernel.ts';
import type { OpenSsl } from './library.ts';

/** Longer windows are never copied: their buffers' addresses are taken at once. */
export const COPY_LIMIT: number = 16 * 1024;

/** A buffer that is new is copied from and to; of such uses, every eighth makes its address known. */
const ADOPT_EVERY = 8;

/**
 * A number beyond 31 bits is an object to V8, made anew whenever arithmetic or a field of numbers gives it. A field that
 * also held `null` keeps the object itself: addresses in it are passed on without garbage.
 */
type Address = number | null;

/** The buffer of one role (source, destination, additional data) and where in it the last call looked. */
export class Place {
  readonly #memory: NativeMemory;
  #buf: Uint8Array | null = null;
  #start = 0;
  #off = -1;
  #address: Address = null;
  #tagOff = -1;
  #tagAddress: Address = null;

  constructor(memory: NativeMemory) {
    this.#memory = memory;
  }

  /** The address of `buf[off]`, or 0: copy. `len` is what will be read or written there. */
  at(buf: Uint8Array, off: number, len: number): number {
    if (buf !== this.#buf) {
      const start = this.#memory.startOf(buf, len);
      if (start === 0) return 0;
      this.#buf = buf;
      this.#start = start;
      this.#off = -1;
      this.#tagOff = -1;
    }
    if (off !== this.#off) {
      this.#off = off;
      this.#address = this.#start + off;
    }
    return this.#address as number;
  }

  /** The address of the tag in the buffer that `at` found. */
  tag(off: number): number {
    if (off !== this.#tagOff) {
      this.#tagOff = off;
      this.#tagAddress = this.#start + off;
    }
    return this.#tagAddress as number;
  }

  release(): void {
    this.#buf = null;
  }
}

export class NativeMemory {
  /** The memory in which small inputs, keys and contexts stand, laid out as `wasm/kernel.ts` says. */
  readonly kernel: Kernel;
  readonly source: Place;
  readonly destination: Place;
  readonly aad: Place;
  readonly #base: number;
  readonly #openssl: OpenSsl;
  readonly #known = new WeakMap<Uint8Array, number>();
  #strangers = 0;

  constructor(openssl: OpenSsl, kernel: Kernel) {
    this.#openssl = openssl;
    this.kernel = kernel;
    this.#base = openssl.addressOf(kernel.bytes);
    this.source = new Place(this);
    this.destination = new Place(this);
    this.aad = new Place(this);
  }

  /** The address of a place in the kernel's memory. Callers keep it in a variable: see {@link Address}. */
  own(place: number): number {
    return this.#base + place;
  }

  /** The address of a buffer's first byte, or 0 for one that is better copied. */
  startOf(buf: Uint8Array, len: number): number {
    const known = this.#known.get(buf);
    if (known !== undefined) return known;
    // Noting an address costs as much as several copies: worth it for a pool's buffers, not for one that is used once.
    if (len <= COPY_LIMIT && ++this.#strangers % ADOPT_EVERY !== 0) return 0;
    // Only of real ones: an address is about to be believed.
    if (!(buf instanceof Uint8Array)) throw new TypeError('not a Uint8Array');
    const start = this.#openssl.addressOf(buf);
    this.#known.set(buf, start);
    return start;
  }

  /** Lets go of the buffers of the last calls. */
  release(): void {
    this.source.release();
    this.destination.release();
    this.aad.release();
  }
}
