/**
 * The host's side of neighbour discovery and address configuration: RFC 4861 §6.3 and §7.2, RFC 4862 (duplicate address
 * detection, SLAAC), RFC 8106 (DNS), RFC 4191 (router preference), RFC 3810 (reports of our solicited-node groups).
 *
 * Every message is checked first: hop limit 255 (no router has passed it), code 0, checksum, lengths, options. What fails is
 * counted and never reaches the IP device. Redirects are counted and ignored: what they save is one hop within the process,
 * what they cost is trust.
 *
 * Bounds: 8 routers, 16 prefixes, 16 configured addresses, 8 name servers; a list that is full takes no more.
 */

import { get16 } from '../bytes.ts';
import type { Clock, Timer } from '../clock.ts';
import { IpAddr, Prefix } from '../ip.ts';
import type { MacAddr } from '../mac.ts';
import { HEADROOM, pool } from '../pool.ts';
import type { Random32 } from '../random.ts';
import {
  ALL_NODES,
  eui64Address,
  icmpv6ChecksumOk,
  linkLocalAddress,
  multicastMac6,
  NA_OVERRIDE,
  NA_ROUTER,
  NA_SOLICITED,
  NDP_HOP_LIMIT,
  NdpOption,
  NdpType,
  ndpLinkLayer,
  ndpOptionsOk,
  type PrefixInfo,
  type RouterAdvertisement,
  type RouterPreference,
  readRouterAdvertisement,
  solicitedNode,
  writeMld2Report,
  writeNeighborAdvertisement,
  writeNeighborSolicitation,
  writeRouterSolicitation,
} from '../wire/ndp.ts';
import type { NeighborCache } from './neighbor-cache.ts';

export interface NdpStats {
  received: number;
  /** Wrong hop limit, code, checksum, length, option or address (RFC 4861 §6.1, §7.1). */
  dropInvalid: number;
  /** Advertisements about addresses that we never asked for. */
  dropUnsolicited: number;
  redirectsIgnored: number;
  /** Our addresses that somebody else has. */
  conflicts: number;
  /** Routers, prefixes or addresses beyond the bounds. */
  dropLimit: number;
}

export interface NdpLink {
  readonly mac: MacAddr;
  readonly cache6: NeighborCache;
  /** The assigned IPv6 addresses, link-local included. */
  readonly owned6: readonly IpAddr[];
  /** Sends the IPv6 packet in `buf`, which has headroom, to an Ethernet address of 48 bits. */
  emit6(buf: Uint8Array, off: number, len: number, mac: number): void;
  addAddress(prefix: Prefix): void;
  removeAddress(address: IpAddr, conflict: boolean): void;
  /** The MTU that routers announce; 0 for none. */
  routerMtu(mtu: number): void;
  /** Routers or name servers have changed. */
  changed(): void;
}

export interface NdpHostOptions {
  clock: Clock;
  random: Random32;
  /** Listen to router advertisements. */
  acceptRa: boolean;
  /** Form addresses from them. */
  autoconf: boolean;
  /** RFC 4862 §5.4: solicitations per address, 0 to switch detection off. */
  dadTransmits: number;
}

interface Tentative {
  prefix: Prefix;
  left: number;
  /** In use already (RFC 4429): somebody configured it by hand. */
  optimistic: boolean;
  deadline: number;
}

interface Router {
  address: IpAddr;
  preference: RouterPreference;
  expires: number;
}

interface KnownPrefix {
  prefix: Prefix;
  expires: number;
}

interface Configured {
  prefix: Prefix;
  /** The announced /64 it was formed from. */
  from: Prefix;
  validUntil: number;
  assigned: boolean;
}

const MAX_ROUTERS = 8;
const MAX_PREFIXES = 16;
const MAX_ADDRESSES = 16;
const MAX_DNS = 8;
const MAX_GROUPS = 48;
const RS_INTERVAL = 4000;
const MAX_RS = 3;
const DAD_INTERVAL = 1000;
const TWO_HOURS = 7200_000;
const PREFERENCE = { high: 2, medium: 1, low: 0 } as const;

export class NdpHost {
  readonly stats: NdpStats = {
    received: 0,
    dropInvalid: 0,
    dropUnsolicited: 0,
    redirectsIgnored: 0,
    conflicts: 0,
    dropLimit: 0,
  };
  readonly linkLocal: IpAddr;
  /** The hop limit that routers ask for; 64 until they do. */
  hopLimit: number = 64;
  readonly #link: NdpLink;
  readonly #clock: Clock;
  readonly #random: Random32;
  readonly #options: NdpHostOptions;
  readonly #timer: Timer;
  #tentative: Tentative[] = [];
  #routers: Router[] = [];
  #prefixes: KnownPrefix[] = [];
  #configured: Configured[] = [];
  #dns: Array<{ address: IpAddr; expires: number }> = [];
  #search: Array<{ name: string; expires: number }> = [];
  #running = false;
  #solicitations = 0;
  #nextSolicitation: number = Number.POSITIVE_INFINITY;
  #nextReport: number = Number.POSITIVE_INFINITY;
  #reportsLeft = 0;

  constructor(link: NdpLink, options: NdpHostOptions) {
    this.#link = link;
    this.#options = options;
    this.#clock = options.clock;
    this.#random = options.random;
    this.linkLocal = linkLocalAddress(link.mac);
    this.#timer = options.clock.timer(() => this.#onTimer());
  }

  /** The link is up: checks our addresses, joins groups, looks for routers. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.checkAddress(Prefix.of(this.linkLocal, 64), false);
    for (const entry of this.#configured)
      if (!entry.assigned) this.checkAddress(entry.prefix, false);
    if (this.#options.acceptRa) {
      this.#solicitations = 0;
      // RFC 4861 §6.3.7: a random delay, so that hosts that start together do not ask together.
      this.#nextSolicitation = this.#clock.now + (this.#random() / 2 ** 32) * 1000;
    }
    this.#arm();
  }

  /** The link is down: what routers said is forgotten when it expires, nothing is sent. */
  stop(): void {
    this.#running = false;
    this.#tentative = [];
    this.#nextSolicitation = Number.POSITIVE_INFINITY;
    this.#nextReport = Number.POSITIVE_INFINITY;
    this.#timer.cancel();
  }

  /** The best default router (RFC 4191 §3.2, RFC 4861 §6.3.6), or null. */
  get router(): IpAddr | null {
    return this.#routers.length > 0 ? this.#routers[0].address : null;
  }

  get routers(): IpAddr[] {
    return this.#routers.map((router) => router.address);
  }

  get dns(): IpAddr[] {
    return this.#dns.map((server) => server.address);
  }

  get search(): string[] {
    return this.#search.map((entry) => entry.name);
  }

  /** Whether routers have announced that the address is on this link. */
  onLink(w0: number, w1: number, w2: number, w3: number): boolean {
    for (const known of this.#prefixes) {
      if (known.prefix.containsWords(w0, w1, w2, w3)) return true;
    }
    return false;
  }

  /** Whether the address is being checked and must not be used yet. */
  isTentative(address: IpAddr): boolean {
    return this.#tentative.some((t) => !t.optimistic && t.prefix.addr.equals(address));
  }

  /** Starts duplicate address detection. Addresses set by hand are in use meanwhile, others once it has succeeded. */
  checkAddress(prefix: Prefix, optimistic: boolean): void {
    if (!this.#running || this.#tentative.some((t) => t.prefix.addr.equals(prefix.addr))) return;
    if (this.#tentative.length >= MAX_GROUPS) {
      this.stats.dropLimit++;
      return;
    }
    const left = this.#options.dadTransmits;
    this.#tentative.push({ prefix, left, optimistic, deadline: this.#clock.now });
    this.groupsChanged();
  }

  /** Tells listeners' routers and switches (MLD snooping) which groups we are in, twice. */
  groupsChanged(): void {
    if (!this.#running) return;
    this.#reportsLeft = 2;
    this.#nextReport = this.#clock.now;
    this.#arm();
  }

  /** The next hop does not answer: if it is the default router, another one is tried (RFC 4861 §6.3.6). */
  routerFailed(w0: number, w1: number, w2: number, w3: number): void {
    const at = this.#routers.findIndex(
      ({ address: a }) => a.w3 === w3 && a.w2 === w2 && a.w1 === w1 && a.w0 === w0,
    );
    if (at < 0 || this.#routers.length === 1) return;
    this.#routers.push(...this.#routers.splice(at, 1));
    this.#link.changed();
  }

  /** Asks for a neighbour: at its group, or at the Ethernet address we know. */
  solicit(target: IpAddr, mac: number): void {
    const src = this.#sourceFor(target);
    if (src === null) return;
    const group = solicitedNode(target);
    const unicast = mac >= 0;
    const dst = unicast ? target : group;
    this.#emit(unicast ? mac : multicastMac6(group.w3), (buf, off) =>
      writeNeighborSolicitation(buf, off, src, dst, target, this.#link.mac.value),
    );
  }

  /**
   * An ICMPv6 message at `at` within the packet at `ipOff`. True: it was ours to deal with, whatever became of it; false: it
   * is for the IP device.
   */
  handle(buf: Uint8Array, ipOff: number, packetLen: number, at: number): boolean {
    const type = buf[at];
    const len = ipOff + packetLen - at;
    if (type === NdpType.MLD_QUERY) {
      this.#onMldQuery(buf, ipOff, at, len);
      return true;
    }
    // Reports of other listeners are for routers and switches.
    if (type === NdpType.MLD_REPORT || type === NdpType.MLD_DONE) return true;
    if (type === NdpType.MLD2_REPORT) return true;
    if (type < NdpType.ROUTER_SOLICITATION || type > NdpType.REDIRECT) return false;
    this.stats.received++;
    if (!this.#process(buf, ipOff, at, len, type)) this.stats.dropInvalid++;
    return true;
  }

  #process(buf: Uint8Array, ipOff: number, at: number, len: number, type: number): boolean {
    const options = OPTIONS_AT[type - NdpType.ROUTER_SOLICITATION];
    if (len < options || buf[at + 1] !== 0 || buf[ipOff + 7] !== NDP_HOP_LIMIT) return false;
    if (!icmpv6ChecksumOk(buf, ipOff, at, len)) return false;
    if (!ndpOptionsOk(buf, at + options, at + len)) return false;
    switch (type) {
      case NdpType.NEIGHBOR_SOLICITATION:
        return this.#onSolicitation(buf, ipOff, at, len);
      case NdpType.NEIGHBOR_ADVERTISEMENT:
        return this.#onAdvertisement(buf, ipOff, at, len);
      case NdpType.ROUTER_ADVERTISEMENT:
        return this.#onRouterAdvertisement(buf, ipOff, at, len);
      case NdpType.REDIRECT:
        this.stats.redirectsIgnored++;
        return true;
    }
    // Solicitations are for routers.
    return true;
  }

  #onSolicitation(buf: Uint8Array, ipOff: number, at: number, len: number): boolean {
    if (buf[at + 8] === 0xff) return false;
    const mac = ndpLinkLayer(buf, at + 24, at + len, NdpOption.SOURCE_LINK_LAYER);
    const src = IpAddr.read(6, buf, ipOff + 8);
    // RFC 4861 §7.1.1: a probe goes to the group and names no link-layer address.
    if (src.isUnspecified && (mac >= 0 || buf[ipOff + 24] !== 0xff)) return false;
    if (src.isMulticast) return false;
    const tentative = this.#tentative.find((t) => t.prefix.addr.matches(buf, at + 8));
    if (tentative !== undefined && src.isUnspecified) {
      // RFC 4862 §5.4.3: another node is probing the same address.
      this.#duplicate(tentative);
      return true;
    }
    if (tentative !== undefined && !tentative.optimistic) return true;
    const target = this.#owned(buf, at + 8);
    if (target === null) return true;
    const override = tentative === undefined ? NA_OVERRIDE : 0;
    const own = this.#link.mac.value;
    if (src.isUnspecified) {
      this.#emit(multicastMac6(1), (out, off) =>
        writeNeighborAdvertisement(out, off, target, ALL_NODES, target, override, own),
      );
      return true;
    }
    const cache = this.#link.cache6;
    let to = mac;
    if (mac >= 0) cache.learn(src.w0, src.w1, src.w2, src.w3, high(mac), low(mac));
    else {
      const entry = cache.find6(src.w0, src.w1, src.w2, src.w3);
      if (entry >= 0) to = cache.mac(entry);
    }
    // A unicast solicitation may leave its sender's address out when it knows that we have it; we then do, or wait for one
    // that carries it.
    if (to < 0) return true;
    this.#emit(to, (out, off) =>
      writeNeighborAdvertisement(out, off, target, src, target, override | NA_SOLICITED, own),
    );
    return true;
  }

  #onAdvertisement(buf: Uint8Array, ipOff: number, at: number, len: number): boolean {
    const flags = buf[at + 4];
    const solicited = (flags & NA_SOLICITED) !== 0;
    if (buf[at + 8] === 0xff || (solicited && buf[ipOff + 24] === 0xff)) return false;
    const mac = ndpLinkLayer(buf, at + 24, at + len, NdpOption.TARGET_LINK_LAYER);
    const tentative = this.#tentative.find((t) => t.prefix.addr.matches(buf, at + 8));
    if (tentative !== undefined) {
      this.#duplicate(tentative);
      return true;
    }
    if (this.#owned(buf, at + 8) !== null) {
      // RFC 4862 §5.4.4: beyond detection, there is no defence but to say so.
      this.stats.conflicts++;
      return true;
    }
    const target = IpAddr.read(6, buf, at + 8);
    const cache = this.#link.cache6;
    const entry = cache.find6(target.w0, target.w1, target.w2, target.w3);
    if (entry < 0) {
      this.stats.dropUnsolicited++;
      return true;
    }
    // Without the option, it confirms the address that we asked by unicast.
    const claimed = mac >= 0 ? mac : cache.mac(entry);
    if (claimed < 0) return true;
    const router = (flags & NA_ROUTER) !== 0;
    if (!router && cache.router[entry] === 1) this.#forgetRouter(target);
    cache.router[entry] = router ? 1 : 0;
    if (solicited) cache.answered(entry, high(claimed), low(claimed));
    else cache.claimed(entry, high(claimed), low(claimed));
    return true;
  }

  #onRouterAdvertisement(buf: Uint8Array, ipOff: number, at: number, len: number): boolean {
    const src = IpAddr.read(6, buf, ipOff + 8);
    if (!src.isLinkLocal) return false;
    if (!this.#options.acceptRa || !this.#running) return true;
    if (this.#owned(buf, ipOff + 8) !== null) return true; // Our own, reflected.
    const ra = readRouterAdvertisement(buf, at, len);
    const now = this.#clock.now;
    if (ra.routerLifetime > 0) this.#nextSolicitation = Number.POSITIVE_INFINITY;
    const cache = this.#link.cache6;
    if (ra.hopLimit !== 0) this.hopLimit = ra.hopLimit;
    // Bounded: a hostile value of a millisecond would have us ask without pause.
    if (ra.reachableTime >= 1000 && ra.reachableTime <= 3_600_000) {
      cache.reachableTime = ra.reachableTime;
    }
    if (ra.retransTimer >= 100 && ra.retransTimer <= 60_000) cache.retransTimer = ra.retransTimer;
    if (ra.mac >= 0) {
      const entry = cache.learn(src.w0, src.w1, src.w2, src.w3, high(ra.mac), low(ra.mac));
      cache.router[entry] = 1;
    }
    this.#updateRouter(src, ra, now);
    for (const info of ra.prefixes) {
      if (info.onLink) this.#updatePrefix(info, now);
      if (info.autonomous && this.#options.autoconf) this.#updateAddress(info, now);
    }
    this.#updateDns(ra, now);
    // RFC 8200 §5: no IPv6 link has less than 1280.
    if (ra.mtu >= 1280) this.#link.routerMtu(ra.mtu);
    this.#arm();
    this.#link.changed();
    return true;
  }

  #onMldQuery(buf: Uint8Array, ipOff: number, at: number, len: number): void {
    if (!this.#running || len < 24 || buf[ipOff + 7] !== 1 || buf[at + 1] !== 0) return;
    if (!icmpv6ChecksumOk(buf, ipOff, at, len)) return;
    // RFC 3810 §5.1.14, §6: answered within the delay that the query gives; one answer for all groups.
    const delay = Math.min(get16(buf, at + 4), 10_000) * (this.#random() / 2 ** 32);
    this.#reportsLeft = Math.max(this.#reportsLeft, 1);
    this.#nextReport = Math.min(this.#nextReport, this.#clock.now + delay);
    this.#arm();
  }

  #updateRouter(address: IpAddr, ra: RouterAdvertisement, now: number): void {
    const known = this.#routers.find((router) => router.address.equals(address));
    if (ra.routerLifetime === 0) {
      if (known !== undefined) this.#forgetRouter(address);
      return;
    }
    const expires = now + ra.routerLifetime * 1000;
    if (known !== undefined) {
      known.expires = expires;
      known.preference = ra.preference;
    } else if (this.#routers.length < MAX_ROUTERS) {
      this.#routers.push({ address, preference: ra.preference, expires });
    } else {
      this.stats.dropLimit++;
    }
    this.#routers.sort((a, b) => PREFERENCE[b.preference] - PREFERENCE[a.preference]);
  }

  #forgetRouter(address: IpAddr): void {
    const before = this.#routers.length;
    this.#routers = this.#routers.filter((router) => !router.address.equals(address));
    if (this.#routers.length !== before) this.#link.changed();
  }

  #updatePrefix(info: PrefixInfo, now: number): void {
    // RFC 4861 §6.3.4: the link-local prefix is not theirs to announce.
    if (info.prefix.addr.isLinkLocal || info.prefix.addr.isMulticast || info.prefix.bits === 0)
      return;
    const known = this.#prefixes.find((entry) => entry.prefix.equals(info.prefix));
    const expires = now + info.validLifetime * 1000;
    if (known !== undefined) known.expires = expires;
    else if (info.validLifetime === 0) return;
    else if (this.#prefixes.length < MAX_PREFIXES)
      this.#prefixes.push({ prefix: info.prefix, expires });
    else this.stats.dropLimit++;
  }

  /** RFC 4862 §5.5.3. */
  #updateAddress(info: PrefixInfo, now: number): void {
    const { prefix } = info;
    if (prefix.addr.isLinkLocal || prefix.addr.isMulticast || prefix.bits !== 64) return;
    if (info.preferredLifetime > info.validLifetime) return;
    const validUntil = now + info.validLifetime * 1000;
    const known = this.#configured.find((entry) => entry.from.equals(prefix));
    if (known !== undefined) {
      // e: nobody may end an address at once by a forged advertisement; it keeps two hours.
      if (info.validLifetime * 1000 > TWO_HOURS || validUntil > known.validUntil) {
        known.validUntil = validUntil;
      } else if (known.validUntil - now > TWO_HOURS) {
        known.validUntil = now + TWO_HOURS;
      }
      return;
    }
    if (info.validLifetime === 0) return;
    if (this.#configured.length >= MAX_ADDRESSES) {
      this.stats.dropLimit++;
      return;
    }
    const address = Prefix.of(eui64Address(prefix, this.#link.mac), info.onLink ? 64 : 128);
    if (this.#owns(address.addr)) return;
    this.#configured.push({ prefix: address, from: prefix, validUntil, assigned: false });
    this.checkAddress(address, false);
  }

  #updateDns(ra: RouterAdvertisement, now: number): void {
    for (const address of ra.dns) {
      const expires = now + ra.dnsLifetime * 1000;
      const known = this.#dns.find((entry) => entry.address.equals(address));
      if (known !== undefined) known.expires = expires;
      else if (ra.dnsLifetime > 0 && this.#dns.length < MAX_DNS)
        this.#dns.push({ address, expires });
    }
    for (const name of ra.search) {
      const expires = now + ra.searchLifetime * 1000;
      const known = this.#search.find((entry) => entry.name === name);
      if (known !== undefined) known.expires = expires;
      else if (ra.searchLifetime > 0 && this.#search.length < MAX_DNS) {
        this.#search.push({ name, expires });
      }
    }
    this.#dns = this.#dns.filter((entry) => entry.expires > now);
    this.#search = this.#search.filter((entry) => entry.expires > now);
  }

  #duplicate(tentative: Tentative): void {
    this.stats.conflicts++;
    this.#tentative = this.#tentative.filter((t) => t !== tentative);
    this.#configured = this.#configured.filter((c) => !c.prefix.addr.equals(tentative.prefix.addr));
    this.#link.removeAddress(tentative.prefix.addr, true);
  }

  #onTimer(): void {
    const now = this.#clock.now;
    if (this.#nextReport <= now) this.#report(now);
    for (const tentative of [...this.#tentative]) {
      if (tentative.deadline <= now) this.#continueDetection(tentative, now);
    }
    if (this.#nextSolicitation <= now) {
      const mac = this.#link.mac.value;
      const src = this.isTentative(this.linkLocal) ? IpAddr.ANY6 : this.linkLocal;
      this.#nextSolicitation =
        ++this.#solicitations < MAX_RS ? now + RS_INTERVAL : Number.POSITIVE_INFINITY;
      this.#emit(multicastMac6(2), (buf, off) => writeRouterSolicitation(buf, off, src, mac));
    }
    this.#expire(now);
    this.#arm();
  }

  #continueDetection(tentative: Tentative, now: number): void {
    const target = tentative.prefix.addr;
    if (tentative.left > 0) {
      tentative.left--;
      tentative.deadline = now + DAD_INTERVAL;
      const group = solicitedNode(target);
      this.#emit(multicastMac6(group.w3), (buf, off) =>
        writeNeighborSolicitation(buf, off, IpAddr.ANY6, group, target, -1),
      );
      return;
    }
    this.#tentative = this.#tentative.filter((t) => t !== tentative);
    if (tentative.optimistic) return;
    const configured = this.#configured.find((c) => c.prefix.addr.equals(target));
    if (configured !== undefined) configured.assigned = true;
    this.#link.addAddress(tentative.prefix);
  }

  #report(now: number): void {
    this.#reportsLeft--;
    this.#nextReport = this.#reportsLeft > 0 ? now + 1000 : Number.POSITIVE_INFINITY;
    const groups = new Map<number, IpAddr>();
    for (const address of [...this.#link.owned6, ...this.#tentative.map((t) => t.prefix.addr)]) {
      if (groups.size < MAX_GROUPS) groups.set(address.w3 & 0xffffff, solicitedNode(address));
    }
    if (groups.size === 0) return;
    const list = [...groups.values()];
    const src = this.isTentative(this.linkLocal) ? IpAddr.ANY6 : this.linkLocal;
    this.#emit(multicastMac6(0x16), (buf, off) => writeMld2Report(buf, off, src, list, false));
  }

  #expire(now: number): void {
    const gone = this.#configured.filter((entry) => entry.validUntil <= now);
    this.#configured = this.#configured.filter((entry) => entry.validUntil > now);
    for (const entry of gone) this.#link.removeAddress(entry.prefix.addr, false);
    const routers = this.#routers.length;
    const dns = this.#dns.length + this.#search.length;
    this.#routers = this.#routers.filter((entry) => entry.expires > now);
    this.#prefixes = this.#prefixes.filter((entry) => entry.expires > now);
    this.#dns = this.#dns.filter((entry) => entry.expires > now);
    this.#search = this.#search.filter((entry) => entry.expires > now);
    if (routers !== this.#routers.length || dns !== this.#dns.length + this.#search.length) {
      this.#link.changed();
    }
  }

  #arm(): void {
    if (!this.#running) return;
    let next = Math.min(this.#nextReport, this.#nextSolicitation);
    for (const entry of this.#tentative) next = Math.min(next, entry.deadline);
    for (const entry of this.#routers) next = Math.min(next, entry.expires);
    for (const entry of this.#prefixes) next = Math.min(next, entry.expires);
    for (const entry of this.#configured) next = Math.min(next, entry.validUntil);
    for (const entry of this.#dns) next = Math.min(next, entry.expires);
    for (const entry of this.#search) next = Math.min(next, entry.expires);
    if (next === Number.POSITIVE_INFINITY) this.#timer.cancel();
    else this.#timer.arm(next);
  }

  #owned(buf: Uint8Array, off: number): IpAddr | null {
    for (const address of this.#link.owned6) if (address.matches(buf, off)) return address;
    return null;
  }

  #owns(address: IpAddr): boolean {
    return this.#link.owned6.some((own) => own.equals(address));
  }

  /** An assigned address to ask from: link-local for link-local targets, else one that shares the network. */
  #sourceFor(target: IpAddr): IpAddr | null {
    let best: IpAddr | null = null;
    for (const own of this.#link.owned6) {
      if (own.isLinkLocal === target.isLinkLocal) return own;
      best ??= own;
    }
    return best;
  }

  #emit(mac: number, write: (buf: Uint8Array, off: number) => number): void {
    const buf = pool.take(HEADROOM + 1280);
    const len = write(buf, HEADROOM);
    this.#link.emit6(buf, HEADROOM, len, mac);
    pool.give(buf);
  }
}

/** Where the options of RS, RA, NS, NA and redirect start. */
const OPTIONS_AT = [8, 16, 24, 24, 40];

function high(mac: number): number {
  return Math.floor(mac / 2 ** 32);
}

function low(mac: number): number {
  return mac | 0;
}
