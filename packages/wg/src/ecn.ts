/**
 * Explicit congestion notification through the tunnel (RFC 6040, normal mode). The outer packet says whether the inner one
 * understands the mark; a mark set on the way is put into the inner one. DSCP is not copied: it would tell about the
 * traffic inside.
 */

import { get16, put16, update16 } from '@pktkit/core';

export const ECN_MASK = 3;
export const ECN_CE = 3;
const ECT_0 = 2;

/** The outer packet's ECN field: the inner one's, but congestion that is known already does not show (§4.1). */
export function ecnOf(buf: Uint8Array, off: number): number {
  const ecn = buf[off] >>> 4 === 4 ? buf[off + 1] & ECN_MASK : (buf[off + 1] >>> 4) & ECN_MASK;
  return ecn === ECN_CE ? ECT_0 : ecn;
}

/** Marks an IP packet as having met congestion; false when its sender does not understand that: it has to be dropped. */
export function markCongestion(buf: Uint8Array, off: number): boolean {
  if (buf[off] >>> 4 === 4) {
    if ((buf[off + 1] & ECN_MASK) === 0) return false;
    const before = get16(buf, off);
    buf[off + 1] |= ECN_CE;
    put16(buf, off + 10, update16(get16(buf, off + 10), before, get16(buf, off)));
    return true;
  }
  if (((buf[off + 1] >>> 4) & ECN_MASK) === 0) return false;
  buf[off + 1] |= ECN_CE << 4;
  return true;
}
