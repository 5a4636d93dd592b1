/**
 * The few IPv4 routes of a host: its networks, what DHCP gave (RFC 3442) and the default gateway, longest prefix first, in
 * arrays that a packet is compared with one after the other. A host has two or three of them.
 */

import type { IpAddr, Prefix } from '../ip.ts';

/** `nextHop` when no route matches, and for a network's broadcast address. No host has these addresses. */
export const NO_ROUTE = 0;
export const BROADCAST_HOP = -1;

const MAX_ROUTES = 256;

export class Routes4 {
  #networks = new Int32Array(0);
  #masks = new Int32Array(0);
  /** 0: on the link. */
  #gateways = new Int32Array(0);
  /** 0 where the network has none. */
  #broadcasts = new Int32Array(0);

  /** Replaces all. `routes` are those behind gateways. */
  set(addrs: readonly Prefix[], routes: ReadonlyArray<{ prefix: Prefix; gateway: IpAddr }>): void {
    const list = addrs
      .filter((prefix) => prefix.family === 4)
      .map((prefix) => ({ prefix, gateway: 0, broadcast: prefix.broadcast?.w3 ?? 0 }));
    for (const { prefix, gateway } of routes) {
      list.push({ prefix, gateway: gateway.w3, broadcast: 0 });
    }
    list.sort((a, b) => b.prefix.bits - a.prefix.bits);
    list.length = Math.min(list.length, MAX_ROUTES);
    this.#masks = Int32Array.from(list, (route) => route.prefix.mask[3]);
    this.#networks = Int32Array.from(list, (route) => route.prefix.network.addr.w3);
    this.#gateways = Int32Array.from(list, (route) => route.gateway);
    this.#broadcasts = Int32Array.from(list, (route) => route.broadcast);
  }

  /** Whom to hand a packet for `dst` to: `dst` itself, a gateway, `BROADCAST_HOP` or `NO_ROUTE`. Signed 32 bits. */
  nextHop(dst: number): number {
    const masks = this.#masks;
    const networks = this.#networks;
    for (let i = 0; i < masks.length; i++) {
      if ((dst & masks[i]) !== networks[i]) continue;
      const gateway = this.#gateways[i];
      if (gateway !== 0) return gateway;
      return dst === this.#broadcasts[i] ? BROADCAST_HOP : dst;
    }
    return NO_ROUTE;
  }

  isOnLink(ip: number): boolean {
    for (let i = 0; i < this.#masks.length; i++) {
      if (this.#gateways[i] === 0 && (ip & this.#masks[i]) === this.#networks[i]) return true;
    }
    return false;
  }
}
