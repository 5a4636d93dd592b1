/** What all namespaces of one slirp share. */

import type { Clock, IpAddr, Prefix, Random32 } from '@pktkit/core';
import type { TcpOptions } from '@pktkit/vtcp';
import type { Policy } from './policy.ts';
import type { SocketProvider } from './sockets.ts';
import type { ResolvedLimits, SlirpStats } from './stats.ts';

interface Timeouts {
  /** Milliseconds until a dial is given up. */
  readonly dial: number;
  /** Idle time of a UDP mapping (RFC 4787 §4.3, REQ-5). */
  readonly udp: number;
  /** Of one that has only ever spoken to port 53. */
  readonly dns: number;
  /** How long one name server is waited for. */
  readonly dnsServer: number;
}

/** Which senders from outside reach a mapping (RFC 4787 §5). */
export type UdpFiltering = 'endpoint-independent' | 'address-dependent' | 'address-and-port';

export interface Context {
  readonly clock: Clock;
  readonly random: Random32;
  readonly provider: SocketProvider;
  readonly policy: Policy;
  readonly limits: ResolvedLimits;
  readonly stats: SlirpStats;
  readonly timeouts: Timeouts;
  readonly filtering: UdpFiltering;
  /** Local addresses that dials start from. */
  readonly from: { readonly v4: IpAddr | undefined; readonly v6: IpAddr | undefined };
  readonly tcp: TcpOptions;
  /** Whether the gateway's address answers DNS. */
  readonly servesDns: boolean;
  /** Name servers to forward to; looked up anew for each query, since hosts move between networks. */
  resolvers(): readonly { readonly address: string; readonly port: number }[];
  /** slirp's own addresses, the gateways of its guests. */
  readonly addrs: readonly Prefix[];
}
