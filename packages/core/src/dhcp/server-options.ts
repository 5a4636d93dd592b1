/** What a `DhcpServer` can be told, what it tells, and what it counts. */

import type { Clock } from '../clock.ts';
import type { IpAddr, Prefix } from '../ip.ts';
import type { MacAddr } from '../mac.ts';
import type { Random32 } from '../random.ts';
import type { LeaseTableStats } from './lease-table.ts';
import type { DhcpNetworkOptions, StaticLease } from './options.ts';

export interface DhcpServerOptions extends DhcpNetworkOptions {
  /** The server's address and network, such as `10.0.0.2/24`. */
  address?: Prefix | string | undefined;
  /** Inclusive; the whole network unless told. */
  range?: readonly [IpAddr | string, IpAddr | string] | undefined;
  /** Seconds, at least 60; 3600 unless told. `Infinity` never ends. */
  leaseTime?: number | undefined;
  staticLeases?: readonly StaticLease[] | undefined;
  /** Says no (NAK) to clients whose address is wrong or unknown here. True unless told: false beside another server. */
  authoritative?: boolean | undefined;
  /** Answers ARP requests for its address. False where somebody else has that address too. */
  answerArp?: boolean | undefined;
  /** Milliseconds to wait for an ARP answer before a new address is offered; 0 (the default) offers at once. */
  conflictProbe?: number | undefined;
  /** Random unless told. */
  mac?: MacAddr | string | undefined;
  clock?: Clock | undefined;
  random?: Random32 | undefined;
  /** Records: 4096. */
  maxLeases?: number | undefined;
  /** Offers at a time: 256. The oldest gives way. */
  maxOffers?: number | undefined;
  /** Leases and offers that one Ethernet station may hold under different client names: 64. Relays do not count. */
  maxLeasesPerStation?: number | undefined;
  onEvent?: ((event: DhcpServerEvent) => void) | undefined;
}

export interface DhcpServerEvent {
  type: 'lease' | 'renew' | 'release' | 'expire' | 'decline';
  lease: DhcpServerLease;
}

export interface DhcpServerLease {
  address: IpAddr;
  mac: MacAddr;
  clientId: Uint8Array | null;
  hostname: string | null;
  /** The clock's milliseconds; `Infinity` for ever. */
  expires: number;
  isStatic: boolean;
}

/** A lease as plain data for a file; `expires` in milliseconds since 1970, null for never. */
export interface DhcpLeaseRecord {
  address: string;
  mac: string;
  clientId: string | null;
  hostname: string | null;
  expires: number | null;
}

export interface DhcpServerStats {
  discovers: number;
  offers: number;
  requests: number;
  acks: number;
  naks: number;
  declines: number;
  releases: number;
  informs: number;
  /** Leases that ran out. */
  expired: number;
  /** Addresses found in use by the probe. */
  probeConflicts: number;
  /** Not DHCP, or with a wrong length or checksum. */
  dropMalformed: number;
  /** Requests that chose another server. */
  dropOtherServer: number;
  /** DECLINE and RELEASE of somebody who does not hold the address. */
  dropNotHolder: number;
  /** Clients that got nothing: see `table` for why. */
  dropNoAddress: number;
  /** Requests that this server has no opinion on, not being authoritative. */
  dropUnknown: number;
  table: LeaseTableStats;
}
