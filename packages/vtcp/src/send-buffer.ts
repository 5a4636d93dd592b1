/** Bytes that the application has written, from the first unacknowledged one on. Copied in once, and out once per transmission. */

import { PagedBuffer, type PagePool } from './paged-buffer.ts';
import { seqDiff } from './seq.ts';

export class SendBuffer {
  /** The first byte that is still kept. */
  start: number;
  /** Behind the last byte written. */
  end: number;
  readonly #bytes: PagedBuffer;

  constructor(pool: PagePool, seq: number) {
    this.#bytes = new PagedBuffer(pool, seq);
    this.start = this.end = seq;
  }

  get length(): number {
    return seqDiff(this.end, this.start);
  }

  append(src: Uint8Array, off: number, len: number): void {
    this.#bytes.write(this.end, src, off, len);
    this.end = (this.end + len) | 0;
  }

  copyTo(seq: number, dst: Uint8Array, off: number, len: number): void {
    this.#bytes.copyTo(seq, dst, off, len);
  }

  /** Frees what is below `seq`. */
  release(seq: number): void {
    this.start = seq;
    if (seq === this.end) this.#bytes.reset(seq);
    else this.#bytes.release(seq);
  }

  discard(): void {
    this.release(this.end);
  }
}
