/** Checks a DHCP server's configuration and turns it into what messages carry. */

import { put16, put32 } from '../bytes.ts';
import { PktkitError } from '../errors.ts';
import { IpAddr, Prefix } from '../ip.ts';
import { MacAddr } from '../mac.ts';
import { asciiBytes, DhcpOption, encodeClasslessRoutes, encodeDomainSearch } from '../wire/dhcp.ts';
import { macKey } from './lease-table.ts';

/** What clients are told about the network. */
export interface DhcpNetworkOptions {
  routers?: readonly (IpAddr | string)[] | undefined;
  dns?: readonly (IpAddr | string)[] | undefined;
  ntp?: readonly (IpAddr | string)[] | undefined;
  domain?: string | undefined;
  /** Option 119. */
  search?: readonly string[] | undefined;
  mtu?: number | undefined;
  /** Option 121. Clients that use it ignore `routers`: a default route belongs in it too. */
  routes?: readonly { prefix: Prefix | string; gateway: IpAddr | string }[] | undefined;
  /** More options by code, as bytes; they win over the above. */
  options?: Readonly<Record<number, Uint8Array>> | undefined;
}

export interface StaticLease {
  address: IpAddr | string;
  mac?: MacAddr | string | undefined;
  /** Option 61, instead of `mac`. */
  clientId?: Uint8Array | undefined;
  hostname?: string | undefined;
}

export function invalid(message: string): never {
  throw new PktkitError('PKT_INVALID_CONFIG', message);
}

/** An IPv4 address, or an error that names the option. */
export function address4(name: string, value: IpAddr | string): IpAddr {
  const address = IpAddr.from(value);
  if (address.family !== 4) invalid(`${name}: DHCP serves IPv4; ${address} is IPv6`);
  return address;
}

export function encodeNetworkOptions(
  network: DhcpNetworkOptions,
  subnet: Prefix,
  leaseSeconds: number,
): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  options.set(DhcpOption.SUBNET_MASK, subnet.netmask.toBytes());
  const { broadcast } = subnet;
  if (broadcast !== null) options.set(DhcpOption.BROADCAST, broadcast.toBytes());
  setAddresses(options, DhcpOption.ROUTER, 'routers', network.routers);
  setAddresses(options, DhcpOption.DNS, 'dns', network.dns);
  setAddresses(options, DhcpOption.NTP, 'ntp', network.ntp);
  if (network.domain !== undefined) {
    options.set(DhcpOption.DOMAIN_NAME, asciiBytes(domainName('domain', network.domain)));
  }
  if (network.search !== undefined && network.search.length > 0) {
    for (const name of network.search) domainName('search', name);
    options.set(DhcpOption.DOMAIN_SEARCH, encodeDomainSearch(network.search));
  }
  if (network.mtu !== undefined) {
    const { mtu } = network;
    if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65535) invalid(`mtu: 68 to 65535, got ${mtu}`);
    const value = new Uint8Array(2);
    put16(value, 0, mtu);
    options.set(DhcpOption.MTU, value);
  }
  if (network.routes !== undefined && network.routes.length > 0) {
    const routes = network.routes.map((route) => {
      const prefix = Prefix.from(route.prefix);
      if (prefix.family !== 4) invalid(`routes: DHCP serves IPv4; ${prefix} is IPv6`);
      return { prefix, gateway: address4('routes', route.gateway) };
    });
    options.set(DhcpOption.CLASSLESS_ROUTES, encodeClasslessRoutes(routes));
  }
  const infinite = leaseSeconds === Number.POSITIVE_INFINITY;
  options.set(DhcpOption.LEASE_TIME, u32(infinite ? 0xffffffff : leaseSeconds));
  if (!infinite) {
    options.set(DhcpOption.RENEWAL_TIME, u32(Math.floor(leaseSeconds / 2)));
    options.set(DhcpOption.REBINDING_TIME, u32(Math.floor(leaseSeconds * 0.875)));
  }
  for (const [code, value] of Object.entries(network.options ?? {})) {
    const number = Number(code);
    if (!Number.isInteger(number) || number < 1 || number > 254) {
      invalid(`options: codes are 1 to 254, got ${code}`);
    }
    if (!(value instanceof Uint8Array) || value.length > 1024) {
      invalid(`options: ${code} must be at most 1024 bytes in a Uint8Array`);
    }
    options.set(number, value);
  }
  return options;
}

export function readStatics(
  leases: readonly StaticLease[],
  subnet: Prefix,
  reserved: ReadonlySet<number>,
): Map<string, number> {
  const statics = new Map<string, number>();
  const used = new Set<number>();
  for (const lease of leases) {
    const address = address4('staticLeases', lease.address);
    if (!subnet.contains(address)) invalid(`staticLeases: ${address} is not in ${subnet.network}`);
    if (reserved.has(address.v4)) invalid(`staticLeases: ${address} is the server's or a router's`);
    if (used.has(address.v4)) invalid(`staticLeases: ${address} is given twice`);
    used.add(address.v4);
    if (lease.mac !== undefined) statics.set(macKey(MacAddr.from(lease.mac).value), address.v4);
    else if (lease.clientId !== undefined && lease.clientId.length >= 2) {
      let key = 'id:';
      for (const byte of lease.clientId) key += byte.toString(16).padStart(2, '0');
      statics.set(key, address.v4);
    } else invalid(`staticLeases: ${address} needs a mac, or a clientId of 2 bytes or more`);
  }
  return statics;
}

function setAddresses(
  options: Map<number, Uint8Array>,
  code: number,
  name: string,
  list: readonly (IpAddr | string)[] | undefined,
): void {
  if (list === undefined || list.length === 0) return;
  // Longer lists would crowd the message; the codec could split them, clients use the first three.
  if (list.length > 32) invalid(`${name}: at most 32 addresses, got ${list.length}`);
  const value = new Uint8Array(list.length * 4);
  list.forEach((item, i) => {
    address4(name, item).write(value, i * 4);
  });
  options.set(code, value);
}

function domainName(option: string, name: string): string {
  const labels = name.split('.');
  const good = labels.every((label) => /^[A-Za-z0-9_-]{1,63}$/.test(label));
  if (!good || name.length > 253) {
    invalid(`${option}: expected a domain name such as lan.example, got ${JSON.stringify(name)}`);
  }
  return name;
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  put32(bytes, 0, value);
  return bytes;
}
