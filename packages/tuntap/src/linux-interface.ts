/** The configuration of one Linux network interface, through route netlink. */

import { closeSync, openSync } from 'node:fs';
import { IpAddr, MacAddr, PktkitError, Prefix } from '@pktkit/core';
import { inNetns, type NetlinkMessage, NetlinkSocket, type Netns, netnsPath } from '@pktkit/hostio';
import type {
  AddressInfo,
  AddressOptions,
  LinkInfo,
  NetworkInterface,
  Route,
  RouteInfo,
  RouteScope,
} from './interface.ts';
import {
  familyNumber,
  NetlinkRequest,
  Nlm,
  Rtm,
  readAddress,
  readAttributes,
  readText,
  readU32,
} from './rtnetlink.ts';

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_OPERSTATE = 16;
const IFLA_NET_NS_FD = 28;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_LABEL = 3;
const IFA_BROADCAST = 4;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 0x02;
const IFA_F_TENTATIVE = 0x40;
const IFA_F_NOPREFIXROUTE = 0x200;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_TABLE = 15;
const RTPROT_STATIC = 4;
const RTN_UNICAST = 1;
const RT_TABLE_MAIN = 254;
const RTNH_F_ONLINK = 4;
const SCOPES: Readonly<Record<RouteScope, number>> = {
  universe: 0,
  site: 200,
  link: 253,
  host: 254,
  nowhere: 255,
};

const IFF_UP = 1;
const IFF_BROADCAST = 2;
const IFF_LOWER_UP = 0x10000;
const OPERSTATES = [
  'unknown',
  'notpresent',
  'down',
  'lowerlayerdown',
  'testing',
  'dormant',
  'up',
] as const;

/** Interfaces are addressed by index, so a rename by somebody else does no harm. */
export class LinuxInterface implements NetworkInterface {
  readonly index: number;
  #netns: Netns | undefined;

  private constructor(index: number, netns: Netns | undefined) {
    this.index = index;
    this.#netns = netns;
  }

  /** The interface of that name, in this namespace or the one given. */
  static byName(name: string, netns?: Netns): LinuxInterface {
    const request = new NetlinkRequest(Rtm.GETLINK, 0);
    linkHeader(request, 0, 0, 0).attrText(IFLA_IFNAME, name);
    const answers = ask(netns, request, `interface ${name}`);
    const index = answers.length > 0 ? readU32(answers[0].payload, 4) : undefined;
    if (index === undefined) throw new PktkitError('ENODEV', `there is no interface ${name}`);
    return new LinuxInterface(index, netns);
  }

  link(): LinkInfo {
    const request = new NetlinkRequest(Rtm.GETLINK, 0);
    const [answer] = this.#ask(linkHeader(request, this.index, 0, 0), 'reading the link');
    const { payload } = answer;
    const attributes = readAttributes(payload, 16);
    const flags = readU32(payload, 8) ?? 0;
    const mac = attributes.get(IFLA_ADDRESS);
    return {
      name: readText(attributes.get(IFLA_IFNAME)),
      index: this.index,
      mtu: readU32(attributes.get(IFLA_MTU)) ?? 0,
      mac: mac?.length === 6 ? MacAddr.read(mac) : null,
      up: (flags & IFF_UP) !== 0,
      carrier: (flags & IFF_LOWER_UP) !== 0,
      broadcast: (flags & IFF_BROADCAST) !== 0,
      state: OPERSTATES[attributes.get(IFLA_OPERSTATE)?.[0] ?? 0] ?? 'unknown',
    };
  }

  setUp(up: boolean): void {
    const request = new NetlinkRequest(Rtm.NEWLINK, 0);
    this.#ask(linkHeader(request, this.index, up ? IFF_UP : 0, IFF_UP), 'setting the link state');
  }

  setMtu(mtu: number): void {
    const request = linkHeader(new NetlinkRequest(Rtm.NEWLINK, 0), this.index, 0, 0);
    this.#ask(request.attrU32(IFLA_MTU, mtu), `setting the MTU to ${mtu}`);
  }

  setMac(mac: MacAddr | string): void {
    const address = MacAddr.from(mac);
    const bytes = new Uint8Array(6);
    address.write(bytes);
    const request = linkHeader(new NetlinkRequest(Rtm.NEWLINK, 0), this.index, 0, 0);
    this.#ask(request.attr(IFLA_ADDRESS, bytes), `setting the Ethernet address to ${address}`);
  }

  moveTo(netns: Netns): void {
    const path = netnsPath(netns);
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (cause) {
      throw new PktkitError('PKT_INVALID_CONFIG', `no network namespace at ${path}`, { cause });
    }
    try {
      const request = linkHeader(new NetlinkRequest(Rtm.NEWLINK, 0), this.index, 0, 0);
      this.#ask(request.attrU32(IFLA_NET_NS_FD, fd), `moving to the namespace ${path}`);
    } finally {
      closeSync(fd);
    }
    this.#netns = netns;
  }

  addresses(): AddressInfo[] {
    const request = new NetlinkRequest(Rtm.GETADDR, Nlm.DUMP);
    request.u8(0).u8(0).u8(0).u8(0).u32(0);
    const found: AddressInfo[] = [];
    for (const { type, payload } of this.#ask(request, 'listing the addresses')) {
      if (type !== Rtm.NEWADDR || readU32(payload, 4) !== this.index) continue;
      const info = readAddressInfo(payload);
      if (info !== null) found.push(info);
    }
    return found;
  }

  addAddress(prefix: Prefix | string, options: AddressOptions = {}): void {
    const address = Prefix.from(prefix);
    const request = this.#addressRequest(Rtm.NEWADDR, Nlm.CREATE | Nlm.REPLACE, address, options);
    if (address.family === 4 && options.peer === undefined) {
      const { broadcast } = address;
      if (broadcast !== null && this.link().broadcast) {
        request.attrAddress(IFA_BROADCAST, broadcast);
      }
    }
    let flags = 0;
    if (address.family === 6 && options.duplicateDetection !== true) flags |= IFA_F_NODAD;
    if (options.prefixRoute === false) flags |= IFA_F_NOPREFIXROUTE;
    request.attrU32(IFA_FLAGS, flags);
    if (options.label !== undefined) request.attrText(IFA_LABEL, options.label);
    if (options.validLifetime !== undefined || options.preferredLifetime !== undefined) {
      const valid = options.validLifetime ?? 0xffffffff;
      const cache = new Uint8Array(16);
      const view = new DataView(cache.buffer);
      view.setUint32(0, Math.min(options.preferredLifetime ?? valid, valid), true);
      view.setUint32(4, valid, true);
      request.attr(IFA_CACHEINFO, cache);
    }
    this.#ask(request, `adding the address ${address}`);
  }

  removeAddress(prefix: Prefix | string): void {
    const address = Prefix.from(prefix);
    const request = this.#addressRequest(Rtm.DELADDR, 0, address, {});
    this.#ask(request, `removing the address ${address}`);
  }

  routes(): RouteInfo[] {
    const request = new NetlinkRequest(Rtm.GETROUTE, Nlm.DUMP);
    routeHeader(request, 0, 0, 0, 0, 0, 0, 0);
    const found: RouteInfo[] = [];
    for (const { type, payload } of this.#ask(request, 'listing the routes')) {
      if (type !== Rtm.NEWROUTE) continue;
      const info = readRouteInfo(payload, this.index);
      if (info !== null) found.push(info);
    }
    return found;
  }

  addRoute(route: Route): void {
    const request = this.#routeRequest(Rtm.NEWROUTE, Nlm.CREATE | Nlm.REPLACE, route);
    this.#ask(request, `adding the route ${routeText(route)}`);
  }

  removeRoute(route: Route): void {
    const request = this.#routeRequest(Rtm.DELROUTE, 0, { scope: 'nowhere', ...route });
    this.#ask(request, `removing the route ${routeText(route)}`);
  }

  #ask(request: NetlinkRequest, what: string): NetlinkMessage[] {
    return ask(this.#netns, request, `interface ${this.index}, ${what}`);
  }

  #addressRequest(
    type: number,
    flags: number,
    address: Prefix,
    options: AddressOptions,
  ): NetlinkRequest {
    const request = new NetlinkRequest(type, flags);
    const scope = options.scope === undefined ? defaultScope(address.addr) : SCOPES[options.scope];
    request.u8(familyNumber(address.family)).u8(address.bits).u8(0).u8(scope).u32(this.index);
    request.attrAddress(IFA_LOCAL, address.addr);
    const peer = options.peer === undefined ? address.addr : IpAddr.from(options.peer);
    if (peer.family !== address.family) {
      throw new PktkitError('PKT_INVALID_CONFIG', `${address} cannot have the peer ${peer}`);
    }
    return request.attrAddress(IFA_ADDRESS, peer);
  }

  #routeRequest(type: number, flags: number, route: Route): NetlinkRequest {
    const via = route.via === undefined ? undefined : IpAddr.from(route.via);
    const src = route.src === undefined ? undefined : IpAddr.from(route.src);
    const dst = destination(route, via);
    for (const address of [via, src]) {
      if (address !== undefined && address.family !== dst.family) {
        throw new PktkitError(
          'PKT_INVALID_CONFIG',
          `the route ${dst} and the address ${address} are of different families`,
        );
      }
    }
    const table = route.table ?? RT_TABLE_MAIN;
    const scope = route.scope ?? (via === undefined && dst.family === 4 ? 'link' : 'universe');
    const request = new NetlinkRequest(type, flags);
    routeHeader(
      request,
      familyNumber(dst.family),
      dst.bits,
      table < 256 ? table : 0,
      type === Rtm.DELROUTE ? 0 : RTPROT_STATIC,
      SCOPES[scope],
      type === Rtm.DELROUTE ? 0 : RTN_UNICAST,
      route.onLink ? RTNH_F_ONLINK : 0,
    );
    if (dst.bits > 0) request.attrAddress(RTA_DST, dst.network.addr);
    if (via !== undefined) request.attrAddress(RTA_GATEWAY, via);
    if (src !== undefined) request.attrAddress(RTA_PREFSRC, src);
    if (route.metric !== undefined) request.attrU32(RTA_PRIORITY, route.metric);
    return request.attrU32(RTA_TABLE, table).attrU32(RTA_OIF, this.index);
  }
}

function ask(netns: Netns | undefined, request: NetlinkRequest, what: string): NetlinkMessage[] {
  return inNetns(netns, () => {
    const socket = new NetlinkSocket();
    try {
      return socket.request(request.finish(), what);
    } finally {
      socket.close();
    }
  });
}

function linkHeader(
  request: NetlinkRequest,
  index: number,
  flags: number,
  change: number,
): NetlinkRequest {
  return request.u8(0).u8(0).u16(0).u32(index).u32(flags).u32(change);
}

function routeHeader(
  request: NetlinkRequest,
  family: number,
  dstBits: number,
  table: number,
  protocol: number,
  scope: number,
  type: number,
  flags: number,
): NetlinkRequest {
  request.u8(family).u8(dstBits).u8(0).u8(0);
  return request.u8(table).u8(protocol).u8(scope).u8(type).u32(flags);
}

function defaultScope(address: IpAddr): number {
  if (address.isLoopback) return SCOPES.host;
  return address.isLinkLocal ? SCOPES.link : SCOPES.universe;
}

function destination(route: Route, via: IpAddr | undefined): Prefix {
  if (route.dst !== 'default') return Prefix.from(route.dst);
  const family = via?.family ?? route.family ?? 4;
  return Prefix.of(family === 4 ? IpAddr.ANY4 : IpAddr.ANY6, 0);
}

function routeText(route: Route): string {
  return route.via === undefined ? `${route.dst}` : `${route.dst} via ${route.via}`;
}

function readAddressInfo(payload: Uint8Array): AddressInfo | null {
  const [family, bits, shortFlags] = payload;
  const attributes = readAttributes(payload, 8);
  const peer = readAddress(family, attributes.get(IFA_ADDRESS));
  // IPv6 has a local address of its own only when there is a peer.
  const local = readAddress(family, attributes.get(IFA_LOCAL)) ?? peer;
  if (local === undefined || peer === undefined) return null;
  const flags = readU32(attributes.get(IFA_FLAGS)) ?? shortFlags;
  return {
    prefix: Prefix.of(local, bits),
    peer: peer.equals(local) ? null : peer,
    scope: scopeName(payload[3]),
    tentative: (flags & IFA_F_TENTATIVE) !== 0,
  };
}

function readRouteInfo(payload: Uint8Array, index: number): RouteInfo | null {
  const [family, bits] = payload;
  const attributes = readAttributes(payload, 12);
  if (readU32(attributes.get(RTA_OIF)) !== index) return null;
  const any = family === familyNumber(4) ? IpAddr.ANY4 : IpAddr.ANY6;
  const dst = readAddress(family, attributes.get(RTA_DST)) ?? any;
  return {
    dst: Prefix.of(dst, bits),
    via: readAddress(family, attributes.get(RTA_GATEWAY)) ?? null,
    src: readAddress(family, attributes.get(RTA_PREFSRC)) ?? null,
    metric: readU32(attributes.get(RTA_PRIORITY)) ?? 0,
    table: readU32(attributes.get(RTA_TABLE)) ?? payload[4],
    scope: scopeName(payload[6]),
  };
}

function scopeName(scope: number): RouteScope {
  for (const [name, value] of Object.entries(SCOPES)) {
    if (value === scope) return name as RouteScope;
  }
  return 'universe';
}
