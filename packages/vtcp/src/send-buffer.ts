/** Bytes that the application has written, from the first unacknowledged one on. Copied in once, and out once per transmission. */

import { PagedBuffer, type PagePool } from './paged-buffer.ts';
import { seqDiff } from './seq.ts';

export class SendBuffer extends PagedBuffer {
  /** The first byte that is still kept. */
  start: number;
  /** Behind the last byte written. */
  end: number;

  constructor(pool: PagePool, seq: number) {
    super(pool, seq);
    this.start = this.end = seq;
  }

  get length(): number {
    return seqDiff(this.end, this.start);
  }

  append(src: Uint8Array, off: number, len: number): void {
    this.write(this.end, src, off, len);
    this.end = (this.end + len) | 0;
  }

  /** Frees what is below `seq`. */
  override release(seq: number): void {
    this.start = seq;
    if (seq === this.end) this.reset(seq);
    else super.release(seq);
  }

  discard(): void {
    this.release(this.end);
  }
}
