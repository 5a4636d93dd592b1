/** Which of a host's addresses a connection starts from, and which destinations are the host itself. */

import type { IpAddr, Prefix } from '@pktkit/core';

/** True for an address of this host: its own, or loopback. */
export function isOwn(addrs: readonly Prefix[], address: IpAddr): boolean {
  for (const prefix of addrs) if (prefix.addr.equals(address)) return true;
  return address.isLoopback;
}

/**
 * The source for a destination (RFC 6724 §5, reduced to what a host with few addresses needs): itself for its own, an
 * address of the destination's network, else one of the same scope, else any of the family. Null without one.
 */
export function sourceFor(addrs: readonly Prefix[], destination: IpAddr): IpAddr | null {
  if (isOwn(addrs, destination)) return destination;
  let best: IpAddr | null = null;
  let bestScore = -1;
  for (const prefix of addrs) {
    const { addr } = prefix;
    if (addr.family !== destination.family || addr.isUnspecified) continue;
    let score = addr.isLinkLocal === destination.isLinkLocal ? 1 : 0;
    // A longer matching network is nearer.
    if (prefix.contains(destination)) score = 2 + prefix.bits;
    if (score > bestScore) {
      best = addr;
      bestScore = score;
    }
  }
  return best;
}

/** Which families this host can use beyond its own link. */
export function families(addrs: readonly Prefix[]): { v4: boolean; v6: boolean } {
  let v4 = false;
  let v6 = false;
  for (const { addr } of addrs) {
    if (addr.isUnspecified) continue;
    if (addr.family === 4) v4 = true;
    else if (!addr.isLinkLocal) v6 = true;
  }
  return { v4, v6 };
}
