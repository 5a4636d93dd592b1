/**
 * Sequence numbers (RFC 9293 §3.4): int32 bit patterns, compared modulo 2^32. The only place that knows how. A sum is
 * brought back with `| 0` by whoever makes it.
 */

export function seqLt(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

export function seqLe(a: number, b: number): boolean {
  return ((a - b) | 0) <= 0;
}

export function seqGt(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

export function seqGe(a: number, b: number): boolean {
  return ((a - b) | 0) >= 0;
}

/** How far `a` is ahead of `b`; negative when behind. */
export function seqDiff(a: number, b: number): number {
  return (a - b) | 0;
}

export function seqMax(a: number, b: number): number {
  return ((a - b) | 0) > 0 ? a : b;
}

export function seqMin(a: number, b: number): number {
  return ((a - b) | 0) < 0 ? a : b;
}
