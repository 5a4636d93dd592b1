/**
 * Which destinations guests may reach. Some never make sense behind a user-mode NAT (multicast, broadcast, martians) and
 * are dropped before any policy; what would reach the host itself or its link is guarded by default; the rest is up to
 * the program's own `allow`.
 */

import { IpAddr, Prefix } from '@pktkit/core';

/** A flow that a guest wants to open, before any socket exists. */
export interface FlowRequest {
  readonly protocol: 'tcp' | 'udp';
  readonly source: IpAddr;
  readonly sourcePort: number;
  /** As the guest addressed it. */
  readonly destination: IpAddr;
  readonly destinationPort: number;
  /** Where it would go: differs from `destination` when the gateway's address stands for the host's loopback. */
  readonly target: IpAddr;
}

/** `'reject'` answers like a firewall (ICMP administratively prohibited), `'drop'` says nothing. */
export type FlowVerdict = 'allow' | 'reject' | 'drop';

export interface PolicyOptions {
  /**
   * Whether guests may reach the host's own sockets. False (the default) guards them: the host's addresses are rejected
   * and the gateway's address answers only what slirp itself serves. True maps the gateway's address to 127.0.0.1 and ::1.
   */
  hostLoopback?: boolean | undefined;
  /** Lets guests reach 169.254.0.0/16, fe80::/10 and the clouds' metadata addresses. Off unless told. */
  linkLocal?: boolean | undefined;
  /** Destinations that are rejected, as prefixes. */
  deny?: readonly (Prefix | string)[] | undefined;
  /** The program's own decision on each new flow that the guards let through; true allows, false rejects. */
  allow?: ((flow: FlowRequest) => boolean | FlowVerdict) | undefined;
}

/** How a destination is treated before anybody is asked. */
export const Reach = {
  /** An ordinary unicast destination. */
  OUTSIDE: 0,
  /** One of slirp's own addresses. */
  GATEWAY: 1,
  /** In the guests' own network: nobody out there has it. */
  INSIDE: 2,
  /** Multicast, broadcast, loopback, "this network", mapped: never leaves. */
  NEVER: 3,
} as const;
export type Reach = (typeof Reach)[keyof typeof Reach];

/** Never a destination on the outside (RFC 6890 §2.2, RFC 5735 §3): the system might take each for itself. */
const NEVER = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // ::/96 holds ::, ::1 and the IPv4-compatible addresses.
  '::/96',
  '::ffff:0:0/96',
  'ff00::/8',
].map(Prefix.parse);

const LINK_LOCAL = [
  '169.254.0.0/16',
  'fe80::/10',
  // Instance metadata of Amazon and of Oracle, which are not link-local on IPv6.
  'fd00:ec2::254/128',
  'fd00:c1::a9fe:a9fe/128',
  // Alibaba's.
  '100.100.100.200/32',
].map(Prefix.parse);

const LOOPBACK4 = IpAddr.parse('127.0.0.1');
const LOOPBACK6 = IpAddr.parse('::1');

/** How long the list of the host's addresses is believed, in milliseconds. */
const HOST_ADDRESSES_FOR = 5000;

export class Policy {
  readonly hostLoopback: boolean;
  readonly #linkLocal: boolean;
  readonly #deny: readonly Prefix[];
  readonly #allow: PolicyOptions['allow'];
  readonly #hostAddresses: () => readonly IpAddr[];
  #known: readonly IpAddr[] = [];
  #knownUntil = Number.NEGATIVE_INFINITY;

  constructor(options: PolicyOptions, hostAddresses: () => readonly IpAddr[]) {
    this.hostLoopback = options.hostLoopback ?? false;
    this.#linkLocal = options.linkLocal ?? false;
    this.#deny = (options.deny ?? []).map(Prefix.from);
    this.#allow = options.allow;
    this.#hostAddresses = hostAddresses;
  }

  /** Sorts a destination; `own` are slirp's addresses. */
  reach(destination: IpAddr, own: readonly Prefix[]): Reach {
    let inside = false;
    for (const prefix of own) {
      if (prefix.addr.equals(destination)) return Reach.GATEWAY;
      if (!prefix.contains(destination)) continue;
      if (prefix.broadcast?.equals(destination)) return Reach.NEVER;
      inside = true;
    }
    for (const prefix of NEVER) if (prefix.contains(destination)) return Reach.NEVER;
    return inside ? Reach.INSIDE : Reach.OUTSIDE;
  }

  /** The host's loopback address that a gateway's address stands for. */
  loopback(gateway: IpAddr): IpAddr {
    return gateway.family === 4 ? LOOPBACK4 : LOOPBACK6;
  }

  /** Judges a flow to the outside, or to the host where the gateway stands for it. */
  judge(flow: FlowRequest, now: number): FlowVerdict {
    const { target } = flow;
    for (const prefix of this.#deny) if (prefix.contains(flow.destination)) return 'reject';
    if (!this.#linkLocal) {
      for (const prefix of LINK_LOCAL) if (prefix.contains(target)) return 'reject';
    }
    if (!this.hostLoopback && this.#isHost(target, now)) return 'reject';
    if (this.#allow === undefined) return 'allow';
    try {
      const verdict = this.#allow(flow);
      if (typeof verdict === 'boolean') return verdict ? 'allow' : 'reject';
      return verdict;
    } catch (error) {
      // A bug in the program's function must neither open a door nor stop the network.
      queueMicrotask(() => {
        throw error;
      });
      return 'reject';
    }
  }

  #isHost(target: IpAddr, now: number): boolean {
    if (target.isLoopback) return true;
    if (now >= this.#knownUntil) {
      this.#known = this.#hostAddresses();
      this.#knownUntil = now + HOST_ADDRESSES_FOR;
    }
    for (const address of this.#known) if (address.equals(target)) return true;
    return false;
  }
}
