/** What can be configured and read on an interface of the operating system. */

import type { IpAddr, IpFamily, MacAddr, Prefix } from '@pktkit/core';
import type { Netns } from '@pktkit/hostio';

/** How far an address or route reaches; `nowhere` matches any when a route is removed. */
export type RouteScope = 'universe' | 'site' | 'link' | 'host' | 'nowhere';

export interface LinkInfo {
  readonly name: string;
  readonly index: number;
  readonly mtu: number;
  /** Null on a TUN interface. */
  readonly mac: MacAddr | null;
  /** Administratively up. */
  readonly up: boolean;
  /** Somebody has the descriptor open. */
  readonly carrier: boolean;
  readonly broadcast: boolean;
  /** RFC 2863's operational state. */
  readonly state:
    | 'unknown'
    | 'notpresent'
    | 'down'
    | 'lowerlayerdown'
    | 'testing'
    | 'dormant'
    | 'up';
}

export interface AddressOptions {
  /** The other end of a point-to-point link; the prefix then describes it. */
  peer?: IpAddr | string | undefined;
  scope?: RouteScope | undefined;
  label?: string | undefined;
  /** IPv6: whether the kernel probes for a duplicate, which delays the address by about a second; not unless told. */
  duplicateDetection?: boolean | undefined;
  /** False: the kernel adds no route for the prefix. */
  prefixRoute?: boolean | undefined;
  /** Seconds; forever unless told. */
  validLifetime?: number | undefined;
  preferredLifetime?: number | undefined;
}

export interface AddressInfo {
  readonly prefix: Prefix;
  readonly peer: IpAddr | null;
  readonly scope: RouteScope;
  /** Still being probed for duplicates. */
  readonly tentative: boolean;
}

export interface Route {
  /** A prefix, or `default` (of `via`'s family, or of `family`). */
  dst: Prefix | string;
  /** The next hop; the destination is reached on the link itself without. */
  via?: IpAddr | string | undefined;
  family?: IpFamily | undefined;
  /** The preferred source address. */
  src?: IpAddr | string | undefined;
  /** Smaller wins; the kernel's default (0, for IPv6 1024) unless told. */
  metric?: number | undefined;
  /** Routing table number; the main one (254) unless told. */
  table?: number | undefined;
  scope?: RouteScope | undefined;
  /** The next hop is on this link though no prefix says so. */
  onLink?: boolean | undefined;
}

export interface RouteInfo {
  readonly dst: Prefix;
  readonly via: IpAddr | null;
  readonly src: IpAddr | null;
  readonly metric: number;
  readonly table: number;
  readonly scope: RouteScope;
}

/**
 * Every method talks to the kernel before it returns, and throws `HostError` (code `EPERM`, `ENODEV`, …) when the kernel
 * refuses. Adding what is there already, address or route, replaces it.
 */
export interface NetworkInterface {
  readonly index: number;
  link(): LinkInfo;
  setUp(up: boolean): void;
  setMtu(mtu: number): void;
  setMac(mac: MacAddr | string): void;
  /** Moves the interface to another network namespace. The kernel takes its addresses and routes away with that. */
  moveTo(netns: Netns): void;
  addresses(): AddressInfo[];
  addAddress(prefix: Prefix | string, options?: AddressOptions): void;
  removeAddress(prefix: Prefix | string): void;
  /** In all tables, those the kernel made included. */
  routes(): RouteInfo[];
  addRoute(route: Route): void;
  removeRoute(route: Route): void;
}
