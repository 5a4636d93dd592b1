/**
 * What a host knows about its network: the addresses its IP device has, the routes that follow from them, from DHCP and from
 * routers, and the default gateway of each family.
 *
 * The IP device's `addrs` are the truth; everything else here is worked out again whenever that list is another one.
 */

import type { L3Device } from '../device.ts';
import { IpAddr, Prefix } from '../ip.ts';
import type { DhcpLease } from './dhcp-client.ts';
import type { NdpHost } from './ndp-host.ts';
import { leaseGateway, type NetworkConfig } from './options.ts';
import { Routes4 } from './routes4.ts';

export interface NetworkSources {
  readonly device: L3Device;
  /** Null without IPv6. */
  ndp(): NdpHost | null;
  lease(): DhcpLease | null;
  /** An address has appeared that was not there before, by whomever. */
  appeared(prefix: Prefix): void;
  /** Routes or name servers may have changed. */
  changed(): void;
}

export class HostNetwork {
  /** The device's list as last seen; null before. */
  addrs: readonly Prefix[] | null = null;
  /** The IPv4 addresses as signed 32 bits. */
  owned4: Int32Array = new Int32Array(0);
  /** With the link-local address once it has been checked. */
  owned6: IpAddr[] = [];
  readonly routes4: Routes4 = new Routes4();
  /** The IPv6 router in use. */
  route6: IpAddr | null = null;
  linkLocalReady = false;
  readonly #sources: NetworkSources;
  #prefixes6: Prefix[] = [];
  #gateway4: IpAddr | null;
  #gateway6: IpAddr | null;

  constructor(sources: NetworkSources, gateway4: IpAddr | null, gateway6: IpAddr | null) {
    this.#sources = sources;
    this.#gateway4 = gateway4;
    this.#gateway6 = gateway6;
  }

  get config(): NetworkConfig {
    const lease = this.#sources.lease();
    const ndp = this.#sources.ndp();
    return {
      addrs: this.#sources.device.addrs,
      gateway4: this.#gateway4 ?? leaseGateway(lease),
      gateway6: this.#gateway6 ?? ndp?.router ?? null,
      dns: [...(lease?.dns ?? []), ...(ndp?.dns ?? [])],
      domain: lease?.domain ?? null,
      search: [...new Set([...(lease?.search ?? []), ...(ndp?.search ?? [])])],
      lease,
    };
  }

  setGateway4(address: IpAddr | null): void {
    this.#gateway4 = address;
    this.update();
  }

  setGateway6(address: IpAddr | null): void {
    this.#gateway6 = address;
    this.update();
  }

  /** Gives the device another list. */
  setAddrs(addrs: readonly Prefix[]): void {
    this.#sources.device.setAddrs(addrs);
    this.refresh();
    this.update();
  }

  /** Follows the device's list. */
  refresh(): void {
    const before = this.addrs;
    const { addrs } = this.#sources.device;
    this.addrs = addrs;
    const usable = addrs.filter((prefix) => !prefix.addr.isUnspecified && !prefix.addr.isMulticast);
    this.owned4 = Int32Array.from(
      usable.filter((prefix) => prefix.family === 4),
      (prefix) => prefix.addr.w3,
    );
    this.#prefixes6 = usable.filter((prefix) => prefix.family === 6);
    this.owned6 = this.#prefixes6.map((prefix) => prefix.addr);
    const linkLocal = this.#sources.ndp()?.linkLocal;
    if (this.linkLocalReady && linkLocal && !this.owned6.some((own) => own.equals(linkLocal))) {
      this.owned6.push(linkLocal);
    }
    this.#reroute();
    for (const prefix of usable) {
      const known = before?.some((other) => other.addr.equals(prefix.addr)) === true;
      if (!known) this.#sources.appeared(prefix);
    }
  }

  /** Follows what DHCP and routers say. */
  update(): void {
    this.#reroute();
    this.#sources.changed();
  }

  owns4(ip: number): boolean {
    const owned = this.owned4;
    for (let i = 0; i < owned.length; i++) if (owned[i] === ip) return true;
    return false;
  }

  owns6(w0: number, w1: number, w2: number, w3: number): boolean {
    const owned = this.owned6;
    for (let i = 0; i < owned.length; i++) {
      const own = owned[i];
      if (own.w3 === w3 && own.w2 === w2 && own.w1 === w1 && own.w0 === w0) return true;
    }
    return false;
  }

  isOnLink6(w0: number, w1: number, w2: number, w3: number): boolean {
    const prefixes = this.#prefixes6;
    for (let i = 0; i < prefixes.length; i++) {
      if (prefixes[i].containsWords(w0, w1, w2, w3)) return true;
    }
    return this.#sources.ndp()?.onLink(w0, w1, w2, w3) ?? false;
  }

  /** The own address to ask for `target` with: one of its network, else the first, as gateways may be outside all of them. */
  senderFor4(target: number): number {
    for (const prefix of this.addrs ?? []) {
      if (prefix.family === 4 && ((prefix.addr.w3 ^ target) & prefix.mask[3]) === 0) {
        return prefix.addr.w3;
      }
    }
    return this.owned4.length > 0 ? this.owned4[0] : 0;
  }

  #reroute(): void {
    const lease = this.#sources.lease();
    const { gateway4, gateway6 } = this.config;
    const routes: Array<{ prefix: Prefix; gateway: IpAddr }> = [];
    if (gateway4 !== null) routes.push({ prefix: Prefix.of(IpAddr.ANY4, 0), gateway: gateway4 });
    for (const route of lease?.routes ?? []) {
      if (route.prefix.bits > 0 && !route.gateway.isUnspecified) routes.push(route);
    }
    this.routes4.set(this.#prefixesOnLink4(lease), routes);
    this.route6 = gateway6;
  }

  /** Our networks, and those that RFC 3442 says are on the link by a router of 0.0.0.0. */
  #prefixesOnLink4(lease: DhcpLease | null): Prefix[] {
    const list = (this.addrs ?? []).filter(
      (prefix) => prefix.family === 4 && !prefix.addr.isUnspecified,
    );
    for (const route of lease?.routes ?? []) {
      if (route.gateway.isUnspecified) list.push(route.prefix);
    }
    return list;
  }
}
