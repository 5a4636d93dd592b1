/**
 * Bytes of a stream by sequence number, in pages that come and go with the data: an idle connection owns none, and
 * nothing is copied when a buffer grows (but once, out of its first small page).
 */

import { copyBytes } from '@pktkit/core';

const PAGE_SHIFT = 16;
const PAGE = 1 << PAGE_SHIFT;
const PAGE_MASK = PAGE - 1;
/** The first page of a buffer that was empty: most messages are short. */
const SMALL_PAGE = 4096;

/** Pages of one stack, and how much memory its buffers hold together. */
export class PagePool {
  /** Bytes of pages in use. */
  used = 0;
  readonly limit: number;
  readonly #small: Uint8Array[] = [];
  readonly #large: Uint8Array[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Past three quarters of the limit every connection is held to a minimum, so that the limit is never reached. */
  get isScarce(): boolean {
    return this.used > this.limit * 0.75;
  }

  take(large: boolean): Uint8Array {
    const size = large ? PAGE : SMALL_PAGE;
    this.used += size;
    return (large ? this.#large : this.#small).pop() ?? new Uint8Array(size);
  }

  give(page: Uint8Array): void {
    this.used -= page.length;
    const free = page.length === PAGE ? this.#large : this.#small;
    if (free.length < 256) free.push(page);
  }

  /** Stops counting a page that its user may still look at; the collector gets it. */
  forget(page: Uint8Array): void {
    this.used -= page.length;
  }
}

const NO_BYTES = new Uint8Array(0);

export class PagedBuffer {
  /** Sequence number of the first byte of the first page. */
  #base: number;
  /** Null where nothing has been written yet: data may arrive out of order. */
  #pages: Array<Uint8Array | null> = NO_PAGES;
  /** Index of the first page that is still in use. */
  #head = 0;
  /** False once the pages have been left to whoever still reads them. */
  #owned = true;
  readonly #pool: PagePool;

  constructor(pool: PagePool, base: number) {
    this.#pool = pool;
    this.#base = base;
  }

  /** Nothing is kept; the next byte is `seq`. */
  reset(seq: number): void {
    const pages = this.#pages;
    for (let i = this.#head; i < pages.length; i++) {
      const page = pages[i];
      if (page !== null && this.#owned) this.#pool.give(page);
    }
    // An empty buffer keeps no list either: most connections are idle most of the time.
    this.#pages = NO_PAGES;
    this.#head = 0;
    this.#base = seq;
  }

  /** As `reset`, for bytes that are no longer counted but may still be read. */
  disown(): void {
    if (!this.#owned) return;
    this.#owned = false;
    for (const page of this.#pages) if (page !== null) this.#pool.forget(page);
  }

  write(seq: number, src: Uint8Array, off: number, len: number): void {
    let at = (seq - this.#base) | 0;
    let from = off;
    let left = len;
    while (left > 0) {
      const local = at & PAGE_MASK;
      const n = Math.min(left, PAGE - local);
      copyBytes(this.#pageFor(at >>> PAGE_SHIFT, local + n), local, src, from, n);
      at += n;
      from += n;
      left -= n;
    }
  }

  copyTo(seq: number, dst: Uint8Array, off: number, len: number): void {
    let at = (seq - this.#base) | 0;
    let to = off;
    let left = len;
    while (left > 0) {
      const local = at & PAGE_MASK;
      const n = Math.min(left, PAGE - local);
      copyBytes(dst, to, this.#pages[this.#head + (at >>> PAGE_SHIFT)] as Uint8Array, local, n);
      at += n;
      to += n;
      left -= n;
    }
  }

  /** Up to `len` contiguous bytes at `seq`. */
  view(seq: number, len: number): Uint8Array {
    const at = (seq - this.#base) | 0;
    const local = at & PAGE_MASK;
    const page = this.#pages[this.#head + (at >>> PAGE_SHIFT)] ?? NO_BYTES;
    return page.subarray(local, local + Math.min(len, PAGE - local));
  }

  /** Frees what is below `seq`. */
  release(seq: number): void {
    while (((seq - this.#base) | 0) >= PAGE) {
      const page = this.#pages[this.#head];
      if (page !== null && page !== undefined && this.#owned) this.#pool.give(page);
      this.#pages[this.#head++] = null;
      this.#base = (this.#base + PAGE) | 0;
      if (this.#head >= 64 && this.#head * 2 >= this.#pages.length) {
        this.#pages.splice(0, this.#head);
        this.#head = 0;
      }
    }
  }

  #pageFor(index: number, end: number): Uint8Array {
    const first = this.#pages === NO_PAGES;
    if (first && index === 0) {
      const page = this.#pool.take(end > SMALL_PAGE);
      this.#pages = [page];
      return page;
    }
    if (first) this.#pages = [];
    const pages = this.#pages;
    const at = this.#head + index;
    while (pages.length <= at) pages.push(null);
    const page = pages[at];
    if (page !== null && page.length >= end) return page;
    const wider = this.#pool.take(true);
    if (page !== null) {
      wider.set(page);
      this.#pool.give(page);
    }
    pages[at] = wider;
    return wider;
  }
}

/** Shared by all buffers that hold nothing; never written to. */
const NO_PAGES: Array<Uint8Array | null> = [];
