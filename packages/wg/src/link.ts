/**
 * What an engine needs of whatever carries its datagrams: UDP, a WebSocket, a test. Endpoints are small integers that the
 * link gives out; on the data path they are compared and passed on, nothing else.
 */

import type { IpAddr } from '@pktkit/core';

/** No endpoint is known. */
export const NO_ENDPOINT = -1;

export interface Link {
  /**
   * Sends one datagram. The bytes are borrowed until this returns. Never throws for what the network does. `tos` is the
   * traffic class wanted (DSCP in the upper six bits, ECN in the lower two); a link without such a thing ignores it.
   */
  send(buf: Uint8Array, off: number, len: number, to: number, tos: number): void;
  /**
   * Writes the bytes that tell this source from others, at most `MAX_SOURCE`: the address, then two bytes of port. Gives
   * their number. Cookies and rate limits hang on them.
   */
  describe(endpoint: number, out: Uint8Array, off: number): number;
  /** For people and for `wg show`: `192.0.2.1:51820` or `[2001:db8::1]:51820`. */
  format(endpoint: number): string;
  /**
   * The endpoint of an address, or of one with a zone as text (`fe80::1%eth0`); `NO_ENDPOINT` where the link cannot reach
   * addresses of this kind.
   */
  intern(address: IpAddr | string, port: number): number;
  /** The engine keeps this endpoint for a peer: its number must go on meaning the same until released as often. */
  retain(endpoint: number): void;
  release(endpoint: number): void;
}
