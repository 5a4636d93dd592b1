/** Received bytes until they are read: those in order, and those beyond a gap with the ranges that SACK reports. */

import { PagedBuffer, type PagePool } from './paged-buffer.ts';
import { RangeSet } from './range-set.ts';
import { seqDiff, seqGt, seqLe } from './seq.ts';

/** Pieces beyond a gap. A window of 4 MiB holds 2,900 segments: every second one lost would be 1,450 pieces. */
const MAX_PIECES = 2048;

export class ReceiveBuffer extends PagedBuffer {
  /** The next byte to be read. */
  readSeq: number;
  /** Behind the last byte in order. */
  end: number;
  /** Null while everything has arrived in order. */
  pieces: RangeSet | null = null;

  constructor(pool: PagePool, seq: number) {
    super(pool, seq);
    this.readSeq = this.end = seq;
  }

  /** Begins at `seq`, once the peer's SYN has told it. */
  restart(seq: number): void {
    this.reset(seq);
    this.readSeq = this.end = seq;
  }

  get readable(): number {
    return seqDiff(this.end, this.readSeq);
  }

  get hasPieces(): boolean {
    return this.pieces !== null && this.pieces.ranges.length > 0;
  }

  /** Bytes that wait behind a gap. */
  get outOfOrder(): number {
    let bytes = 0;
    for (const range of this.pieces?.ranges ?? []) bytes += seqDiff(range.end, range.start);
    return bytes;
  }

  /** The next bytes in order; they may close a gap. `end` moves. */
  append(src: Uint8Array, off: number, len: number): void {
    this.write(this.end, src, off, len);
    this.end = (this.end + len) | 0;
    if (this.pieces !== null && this.pieces.ranges.length > 0) this.#takePieces();
  }

  /** Bytes behind a gap, within the window. False when there are too many pieces already. */
  insert(seq: number, src: Uint8Array, off: number, len: number): boolean {
    this.pieces ??= new RangeSet(MAX_PIECES);
    if (this.pieces.add(seq, (seq + len) | 0) === null) return false;
    this.write(seq, src, off, len);
    return true;
  }

  read(dst: Uint8Array, off: number, len: number): number {
    const n = Math.min(len, this.readable);
    if (n > 0) {
      this.copyTo(this.readSeq, dst, off, n);
      this.consume(n);
    }
    return n;
  }

  peek(skip: number): Uint8Array {
    return this.view((this.readSeq + skip) | 0, Math.max(0, this.readable - skip));
  }

  consume(n: number): void {
    this.readSeq = (this.readSeq + n) | 0;
    if (this.readSeq === this.end && !this.hasPieces) this.reset(this.end);
    else this.release(this.readSeq);
  }

  /** Everything goes. */
  discard(): void {
    this.reset(this.end);
    this.readSeq = this.end;
    this.pieces = null;
  }

  /** What waits behind gaps goes; bytes in order stay readable but no longer count as the stack's memory. */
  override disown(): void {
    this.pieces = null;
    super.disown();
  }

  /** The highest sequence number present, gaps or not. */
  get highest(): number {
    const ranges = this.pieces?.ranges;
    return ranges === undefined || ranges.length === 0 ? this.end : ranges[ranges.length - 1].end;
  }

  #takePieces(): void {
    const ranges = (this.pieces as RangeSet).ranges;
    let taken = 0;
    while (taken < ranges.length && seqLe(ranges[taken].start, this.end)) {
      if (seqGt(ranges[taken].end, this.end)) this.end = ranges[taken].end;
      taken++;
    }
    if (taken > 0) ranges.splice(0, taken);
  }
}
