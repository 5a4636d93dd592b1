/** What an `L2Adapter` can be told, what it counts, and the checks on its options. */

import type { Clock } from '../clock.ts';
import { DhcpServer } from '../dhcp/server.ts';
import type { DhcpServerOptions } from '../dhcp/server-options.ts';
import { PktkitError } from '../errors.ts';
import { IpAddr, type IpFamily, type Prefix } from '../ip.ts';
import type { MacAddr } from '../mac.ts';
import { RaServer, type RaServerOptions } from '../ra-server.ts';
import type { Random32 } from '../random.ts';
import type { DhcpClientOptions, DhcpLease } from './dhcp-client.ts';

export interface L2AdapterOptions {
  /** Random and locally administered unless told. */
  mac?: MacAddr | string | undefined;
  /** Of the link, in bytes; the IP device's unless told. */
  mtu?: number | undefined;
  clock?: Clock | undefined;
  random?: Random32 | undefined;
  /** Given to the IP device at once, in place of what it has. */
  addrs?: readonly (Prefix | string)[] | undefined;
  /** Default gateways, one for each family. They win over what DHCP and routers say. */
  gateway4?: IpAddr | string | undefined;
  gateway6?: IpAddr | string | undefined;
  /** Gets an IPv4 address by DHCP. */
  dhcp?: boolean | DhcpClientOptions | undefined;
  /** A link-local address, neighbour discovery, router advertisements. True unless told. */
  ipv6?: boolean | undefined;
  /** Follow router advertisements: true for hosts, false for what `adapt` makes of a connector. */
  acceptRa?: boolean | undefined;
  /** Form IPv6 addresses from them (SLAAC). As `acceptRa` unless told. */
  autoconf?: boolean | undefined;
  /** Solicitations per address in duplicate address detection; 1, and 0 switches it off. */
  dadTransmits?: number | undefined;
  /** Announce IPv4 addresses when they appear (RFC 5227 §2.3). True unless told. */
  announce?: boolean | undefined;
  /** A DHCP server behind this adapter's port: shares its addresses, so that unicast renewals reach it. */
  dhcpServer?: DhcpServer | DhcpServerOptions | undefined;
  /** Router advertisements from this adapter's link-local address. */
  raServer?: RaServer | RaServerOptions | undefined;
  /** Neighbours remembered for each family: 4096. */
  maxNeighbors?: number | undefined;
  /** Addresses asked for at a time, for each family: 256. */
  maxUnresolved?: number | undefined;
  /** Addresses, routes or name servers have changed. */
  onConfig?: ((config: NetworkConfig) => void) | undefined;
  /** Somebody else on the link has one of our addresses. An IPv6 or DHCP address is given up, others are defended. */
  onConflict?: ((address: IpAddr) => void) | undefined;
}

/** What is known about the network, from configuration, DHCP and routers. */
export interface NetworkConfig {
  addrs: readonly Prefix[];
  gateway4: IpAddr | null;
  gateway6: IpAddr | null;
  dns: readonly IpAddr[];
  domain: string | null;
  search: readonly string[];
  lease: DhcpLease | null;
}

export interface L2AdapterStats {
  /** Frames and packets that went through. */
  framesIn: number;
  framesOut: number;
  /** Packets copied because there was no room for the Ethernet header in front. */
  copied: number;
  fragmented: number;
  /** Unicast to another station. */
  dropOtherStation: number;
  /** Too short, or an IP header that contradicts the frame. */
  dropMalformed: number;
  /** Neither IP nor ARP; tagged frames too. */
  dropType: number;
  /** Packets of a family that the IP device has no address of (IPv6: not even a link-local one yet). */
  dropNoAddress: number;
  dropNoRoute: number;
  /** To one of our own addresses. */
  dropSelf: number;
  /** Larger than the link takes and not to be fragmented. */
  dropTooBig: number;
  /** Packets whose next hop did not answer. */
  dropUnreachable: number;
  /** After `close`, or before there was a handler. */
  dropClosed: number;
  /** ICMP errors given to the IP device. */
  icmpErrors: number;
}

export function gatewayAddress(
  address: IpAddr | string | null | undefined,
  family: IpFamily,
): IpAddr | null {
  if (address === null || address === undefined) return null;
  const parsed = IpAddr.from(address);
  if (parsed.family !== family || parsed.isUnspecified || parsed.isMulticast) {
    throw new PktkitError(
      'PKT_INVALID_CONFIG',
      `gateway${family}: expected the IPv${family} address of a router, got ${parsed}`,
    );
  }
  return parsed;
}

export function hostedDhcp(
  server: DhcpServer | DhcpServerOptions | undefined,
  own: DhcpServerOptions,
): DhcpServer | null {
  if (server === undefined) return null;
  // The adapter answers ARP for its addresses itself.
  return server instanceof DhcpServer
    ? server
    : new DhcpServer({ ...own, ...server, mac: own.mac, answerArp: false });
}

export function hostedRa(
  server: RaServer | RaServerOptions | undefined,
  own: RaServerOptions,
): RaServer | null {
  if (server === undefined) return null;
  return server instanceof RaServer ? server : new RaServer({ ...own, ...server, mac: own.mac });
}

/** RFC 3442: the routes, when present, replace option 3. */
export function leaseGateway(lease: DhcpLease | null): IpAddr | null {
  if (lease === null) return null;
  if (lease.routes.length === 0) return lease.routers[0] ?? null;
  return lease.routes.find((r) => r.prefix.bits === 0 && !r.gateway.isUnspecified)?.gateway ?? null;
}
