/**
 * ARP as a host does it (RFC 826), with the checks and announcements of RFC 5227. What a message may teach us is decided by
 * `NeighborCache`; here is decided what it says.
 */

import type { Clock, Timer } from '../clock.ts';
import type { MacAddr } from '../mac.ts';
import type { Random32 } from '../random.ts';
import { ArpOperation, arpOperation, arpSenderIp, arpSenderMac, arpTargetIp } from '../wire/arp.ts';
import type { NeighborCache } from './neighbor-cache.ts';

export interface ArpStats {
  received: number;
  dropMalformed: number;
  /** Replies and announcements of neighbours that we do not know. */
  dropUnsolicited: number;
  /** Somebody else uses one of our addresses. */
  conflicts: number;
  /** Conflicts answered by an announcement. */
  defended: number;
}

export interface ArpLink {
  readonly mac: MacAddr;
  readonly cache4: NeighborCache;
  owns4(ip: number): boolean;
  /** Whether a neighbour with this address may be on the link: within one of our networks. */
  isNeighbor4(ip: number): boolean;
  emitArp(
    operation: number,
    senderIp: number,
    targetMac: number,
    targetIp: number,
    dstMac: number,
  ): void;
  /** The address was seen with another station, and not for the first time within ten seconds. */
  conflict4(ip: number): void;
}

interface Probe {
  ip: number;
  left: number;
  deadline: number;
  quick: boolean;
  done: (conflict: boolean) => void;
}

interface Announcement {
  ip: number;
  left: number;
  deadline: number;
}

/** RFC 5227 §1.1. */
const PROBE_WAIT = 1000;
const PROBE_NUM = 3;
const PROBE_MIN = 1000;
const PROBE_MAX = 2000;
const ANNOUNCE_WAIT = 2000;
const ANNOUNCE_NUM = 2;
const ANNOUNCE_INTERVAL = 2000;
const DEFEND_INTERVAL = 10_000;
/** The quick check, for links on which answers take milliseconds. */
const QUICK_INTERVAL = 100;
const QUICK_WAIT = 200;

const BROADCAST = 0xffffffffffff;
const MAX_DEFENDED = 64;

export class ArpHost {
  readonly stats: ArpStats = {
    received: 0,
    dropMalformed: 0,
    dropUnsolicited: 0,
    conflicts: 0,
    defended: 0,
  };
  readonly #link: ArpLink;
  readonly #clock: Clock;
  readonly #random: Random32;
  readonly #timer: Timer;
  #probes: Probe[] = [];
  #announcements: Announcement[] = [];
  /** When each address was last defended. */
  readonly #defended: Map<number, number> = new Map();

  constructor(link: ArpLink, clock: Clock, random: Random32) {
    this.#link = link;
    this.#clock = clock;
    this.#random = random;
    this.#timer = clock.timer(() => this.#onTimer());
  }

  /** Probes for the address (RFC 5227 §2.1.1); `done` is called once unless cancelled. */
  check(ip: number, quick: boolean, done: (conflict: boolean) => void): () => void {
    const now = this.#clock.now;
    const wait = quick ? 0 : (this.#random() / 2 ** 32) * PROBE_WAIT;
    const probe: Probe = { ip, left: PROBE_NUM, deadline: now + wait, quick, done };
    this.#probes.push(probe);
    this.#arm();
    return () => {
      this.#probes = this.#probes.filter((p) => p !== probe);
    };
  }

  /** Tells everybody that the address is ours (RFC 5227 §2.3). */
  announce(ip: number): void {
    this.#announcements = this.#announcements.filter((a) => a.ip !== ip);
    this.#announcements.push({ ip, left: ANNOUNCE_NUM, deadline: this.#clock.now });
    this.#arm();
  }

  stop(): void {
    this.#probes = [];
    this.#announcements = [];
    this.#timer.cancel();
  }

  /** An ARP message of `len` bytes, padding included. */
  handle(buf: Uint8Array, off: number, len: number): void {
    this.stats.received++;
    const operation = arpOperation(buf, off, len);
    const mac = operation < 0 ? 0 : arpSenderMac(buf, off);
    if (mac === 0 || (buf[off + 8] & 1) !== 0) {
      this.stats.dropMalformed++;
      return;
    }
    // Our own, reflected by some loop.
    if (mac === this.#link.mac.value) return;
    const sender = arpSenderIp(buf, off);
    const target = arpTargetIp(buf, off);
    if (this.#probes.length > 0) this.#checkProbes(operation, sender, target);
    if (sender !== 0 && this.#link.owns4(sender)) {
      this.#onConflict(sender);
      return;
    }
    const cache = this.#link.cache4;
    const high = Math.floor(mac / 2 ** 32);
    const low = mac | 0;
    const known = sender === 0 ? -1 : cache.find4(sender);
    if (operation === ArpOperation.REQUEST && this.#link.owns4(target)) {
      // A probe (sender 0) is answered and teaches nothing.
      if (sender !== 0 && this.#link.isNeighbor4(sender)) cache.learn(0, 0, 0, sender, high, low);
      this.#link.emitArp(ArpOperation.REPLY, target, mac, sender, mac);
    } else if (known < 0) {
      if (operation === ArpOperation.REPLY || sender === target) this.stats.dropUnsolicited++;
    } else if (operation === ArpOperation.REPLY && this.#link.owns4(target)) {
      cache.answered(known, high, low);
    } else {
      cache.claimed(known, high, low);
    }
  }

  #checkProbes(operation: number, sender: number, target: number): void {
    for (const probe of [...this.#probes]) {
      // RFC 5227 §2.1.1: in use, or probed by somebody else at the same time.
      const rival = operation === ArpOperation.REQUEST && sender === 0 && target === probe.ip;
      if (sender !== probe.ip && !rival) continue;
      this.#probes = this.#probes.filter((p) => p !== probe);
      probe.done(true);
    }
  }

  /** RFC 5227 §2.4 (b): defended once; seen again within ten seconds, the owner of the address decides. */
  #onConflict(ip: number): void {
    this.stats.conflicts++;
    const now = this.#clock.now;
    const last = this.#defended.get(ip);
    if (last !== undefined && now - last < DEFEND_INTERVAL) {
      this.#link.conflict4(ip);
      return;
    }
    if (this.#defended.size >= MAX_DEFENDED) this.#defended.clear();
    this.#defended.set(ip, now);
    this.stats.defended++;
    this.#link.emitArp(ArpOperation.REQUEST, ip, 0, ip, BROADCAST);
  }

  #onTimer(): void {
    const now = this.#clock.now;
    for (const probe of [...this.#probes]) {
      if (probe.deadline > now || !this.#probes.includes(probe)) continue;
      if (probe.left === 0) {
        this.#probes = this.#probes.filter((p) => p !== probe);
        probe.done(false);
        continue;
      }
      probe.left--;
      const spread = PROBE_MIN + (this.#random() / 2 ** 32) * (PROBE_MAX - PROBE_MIN);
      const interval = probe.quick ? QUICK_INTERVAL : spread;
      const wait = probe.quick ? QUICK_WAIT : ANNOUNCE_WAIT;
      probe.deadline = now + (probe.left > 0 ? interval : wait);
      this.#link.emitArp(ArpOperation.REQUEST, 0, 0, probe.ip, BROADCAST);
    }
    for (const announcement of [...this.#announcements]) {
      if (announcement.deadline > now) continue;
      announcement.left--;
      announcement.deadline = now + ANNOUNCE_INTERVAL;
      if (announcement.left <= 0) {
        this.#announcements = this.#announcements.filter((a) => a !== announcement);
      }
      const { ip } = announcement;
      if (this.#link.owns4(ip)) this.#link.emitArp(ArpOperation.REQUEST, ip, 0, ip, BROADCAST);
    }
    this.#arm();
  }

  #arm(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const probe of this.#probes) next = Math.min(next, probe.deadline);
    for (const announcement of this.#announcements) next = Math.min(next, announcement.deadline);
    if (next < Number.POSITIVE_INFINITY) this.#timer.arm(next);
  }
}
