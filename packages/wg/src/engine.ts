/**
 * The WireGuard protocol without any I/O (whitepaper of 2020-06-01, §5 and §6): datagrams and time in, datagrams and
 * packets out. One engine serves one link (a UDP port, say) and any number of identities on it.
 *
 * Order of calls: make it, `addIdentity`, `addPeer` on the identity; then `handleDatagram` for what arrives and
 * `peer.send` for what is to go. Timers come from the clock. Everything is synchronous; packets are given to the
 * identity's `onPacket` last, when all state is in place, so that it may call back.
 *
 * What comes in is decrypted where it lies: `handleDatagram` may overwrite the datagram's bytes.
 */

import { type Clock, ipLength, Packet, PktkitError, type Random32, random32 } from '@pktkit/core';
import type { CounterAead, CryptoProvider } from '@pktkit/crypto';
import {
  COOKIE_REPLY_LENGTH,
  HANDSHAKE_TOS,
  INITIATION_LENGTH,
  KEY_LENGTH,
  MessageType,
  REJECT_COUNTER_HIGH,
  REJECT_COUNTER_LOW,
  RESPONSE_LENGTH,
  TIMINGS,
  type Timings,
  TRANSPORT_HEADER,
  TRANSPORT_MIN,
} from './constants.ts';
import { MAX_SOURCE, openCookieReply } from './cookie.ts';
import { ECN_CE, ECN_MASK, markCongestion } from './ecn.ts';
import { type EngineCore, type EngineLimits, LIMITS } from './engine-core.ts';
import { Identity, type IdentityOptions, type PeerOptions, type PeerRequest } from './identity.ts';
import { IndexTable } from './index-table.ts';
import { KeySlab, Slot, slotView } from './key-slab.ts';
import { formatKey } from './keys.ts';
import { get32le, getInt32le } from './le.ts';
import type { Link } from './link.ts';
import { LoadMeter, SourceLimiter } from './load.ts';
import { Noise, type OpenedInitiation } from './noise.ts';
import type { Peer } from './peer.ts';
import { Sealer } from './sealer.ts';
import { Session } from './session.ts';
import { type EngineStats, engineStats } from './stats.ts';
import { compareTimestamps, Tai64n } from './tai64n.ts';

/** How long a valid initiation of an unknown peer waits for approval. */
const APPROVAL_LASTS = 15_000;

export interface EngineOptions {
  clock: Clock;
  provider: CryptoProvider;
  link: Link;
  /** 32 random bits at a time, for indices and jitter. The system's generator unless told. */
  random?: Random32 | undefined;
  limits?: Partial<EngineLimits> | undefined;
  /** For tests only: other times than the protocol's, see `constants.ts`. */
  testTimings?: Partial<Timings> | undefined;
}

interface Approval {
  readonly identity: Identity;
  readonly publicKey: Uint8Array;
  message: Uint8Array;
  timestamp: Uint8Array;
  from: number;
  until: number;
}

export class Engine {
  readonly stats: EngineStats;
  readonly #core: EngineCore;
  readonly #identities: Identity[] = [];
  readonly #load: LoadMeter;
  readonly #limiter: SourceLimiter;
  readonly #approvals = new Map<string, Approval>();
  readonly #source = new Uint8Array(MAX_SOURCE);
  #peerCount = 0;
  #closed = false;

  constructor(options: EngineOptions) {
    const { clock, provider, link } = options;
    const random = options.random ?? random32;
    const limits = { ...LIMITS, ...options.limits };
    this.stats = engineStats();
    this.#core = {
      clock,
      noise: new Noise(provider),
      link,
      random,
      timings: { ...TIMINGS, ...options.testTimings },
      limits,
      stats: this.stats,
      // Pending, next, current and previous.
      sessions: new IndexTable(limits.peers * 4, random),
      slab: new KeySlab(),
      stagingBudget: { used: 0, limit: limits.stagedBytes },
      tai64n: new Tai64n(),
      sealer: new Sealer(link, this.stats),
    };
    this.#load = new LoadMeter(limits.handshakeRate, limits.handshakeBurst);
    this.#limiter = new SourceLimiter(random);
  }

  get clock(): Clock {
    return this.#core.clock;
  }

  get link(): Link {
    return this.#core.link;
  }

  get identities(): readonly Identity[] {
    return this.#identities;
  }

  /** Sessions and handshakes under way: how many indices are in use. */
  get sessionCount(): number {
    return this.#core.sessions.size;
  }

  /** Cookies are asked for at this moment. */
  get isUnderLoad(): boolean {
    return this.#load.isUnderLoad(this.#core.clock.now);
  }

  /** Adds an interface. Throws `WG_IDENTITY_EXISTS` when there is one with this key. */
  addIdentity(options: IdentityOptions): Identity {
    if (this.#closed) throw new PktkitError('PKT_CLOSED', 'this WireGuard engine was closed');
    const identity = new Identity(this.#hostOf(), options);
    this.#identities.push(identity);
    return identity;
  }

  /** Removes an interface with all its peers. */
  removeIdentity(identity: Identity): boolean {
    const at = this.#identities.indexOf(identity);
    if (at < 0) return false;
    this.#identities.splice(at, 1);
    this.#forgetApprovals(identity);
    identity.dispose();
    return true;
  }

  /** Drops what waits for approval: those peers will ask again. */
  forgetRequests(): void {
    for (const [key, approval] of this.#approvals) this.#forget(key, approval);
  }

  close(): void {
    this.#closed = true;
    for (const identity of [...this.#identities]) this.removeIdentity(identity);
  }

  /**
   * Takes a datagram that arrived from the link's endpoint `from`. Its bytes may be overwritten. `tos` is its traffic
   * class, where the link knows it.
   */
  handleDatagram(buf: Uint8Array, off: number, len: number, from: number, tos = 0): void {
    this.stats.received++;
    if (len < TRANSPORT_MIN) {
      this.stats.dropMalformed++;
      return;
    }
    // The type with its three reserved bytes, which must be zero.
    switch (getInt32le(buf, off)) {
      case MessageType.TRANSPORT:
        this.#handleTransport(buf, off, len, from, tos);
        return;
      case MessageType.INITIATION:
        if (len === INITIATION_LENGTH) this.#handleInitiation(buf, off, from);
        else this.stats.dropMalformed++;
        return;
      case MessageType.RESPONSE:
        if (len === RESPONSE_LENGTH) this.#handleResponse(buf, off, from);
        else this.stats.dropMalformed++;
        return;
      case MessageType.COOKIE_REPLY:
        if (len === COOKIE_REPLY_LENGTH) this.#handleCookieReply(buf, off);
        else this.stats.dropMalformed++;
        return;
      default:
        this.stats.dropMalformed++;
    }
  }

  #handleTransport(buf: Uint8Array, off: number, len: number, from: number, tos: number): void {
    const { stats } = this;
    const session = this.#core.sessions.get(getInt32le(buf, off + 4));
    if (session === undefined || session.opener === null) {
      stats.dropUnknownIndex++;
      return;
    }
    const { now } = this.#core.clock;
    const low = get32le(buf, off + 8);
    const high = get32le(buf, off + 12);
    if (
      now - session.createdAt >= this.#core.timings.rejectAfterTime ||
      (high === REJECT_COUNTER_HIGH && low >= REJECT_COUNTER_LOW)
    ) {
      stats.dropExpiredKey++;
      return;
    }
    const text = off + TRANSPORT_HEADER;
    const textLen = len - TRANSPORT_MIN;
    if (!(session.opener as CounterAead).openCounter(buf, text, buf, text, textLen, low, high)) {
      stats.dropBadTag++;
      return;
    }
    // Only now: a forged counter must not move the window (whitepaper §5.4.6).
    if (!session.replay.accept(low, high)) {
      stats.dropReplay++;
      return;
    }
    const { peer } = session;
    peer.noteReceived(len, from);
    peer.handleData(session, textLen === 0, now);
    // Somebody who was told of an endpoint or a handshake may have removed it.
    if (peer.isRemoved) return;
    if (textLen === 0) {
      stats.keepalivesReceived++;
      return;
    }
    // The packet knows its own length; what is behind it is padding.
    const packetLen = ipLength(buf, text, textLen);
    if (packetLen < 0) {
      stats.dropBadPacket++;
      return;
    }
    // A router on the way was congested: the inner packet must say so (RFC 6040 §4.2).
    if (tos > 0 && (tos & ECN_MASK) === ECN_CE && !markCongestion(buf, text)) {
      stats.dropCongestion++;
      return;
    }
    const { identity } = peer;
    const packet = new Packet(buf, text, packetLen);
    if (identity.allowedIps !== null && !identity.allowedIps.allowsSource(peer, packet)) {
      stats.dropSource++;
      return;
    }
    identity.onPacket(peer, packet);
  }

  #handleInitiation(buf: Uint8Array, off: number, from: number): void {
    const identity = this.#identityOf(buf, off, INITIATION_LENGTH);
    if (identity === null) return;
    const { now } = this.#core.clock;
    if (!this.#admitHandshake(identity, buf, off, INITIATION_LENGTH, from, now)) return;
    this.stats.initiationsReceived++;
    this.#consumeInitiation(identity, buf, off, from, now);
  }

  #consumeInitiation(
    identity: Identity,
    buf: Uint8Array,
    off: number,
    from: number,
    now: number,
  ): void {
    const { stats } = this;
    const { noise } = this.#core;
    const opened = noise.openInitiationStatic(buf, off, identity.keyPair);
    if (opened === null) {
      stats.dropBadHandshake++;
      return;
    }
    const peer = identity.peers.get(formatKey(opened.publicKey));
    if (peer === undefined) {
      this.#handleUnknown(identity, buf, off, from, now, opened);
      return;
    }
    if (!peer.mayInitiate(now)) {
      stats.dropInitiationFlood++;
      return;
    }
    const shared = peer.sharedStatic();
    if (shared === null || !noise.openInitiationTimestamp(buf, off, opened, shared)) {
      stats.dropBadHandshake++;
      return;
    }
    const { chunk, at } = peer.slot;
    if (compareTimestamps(opened.timestamp, 0, chunk, at + Slot.TIMESTAMP) <= 0) {
      stats.dropReplayedInitiation++;
      return;
    }
    this.#respond(peer, opened, getInt32le(buf, off + 4), from, now);
  }

  #respond(
    peer: Peer,
    opened: OpenedInitiation,
    remoteIndex: number,
    from: number,
    now: number,
  ): void {
    const core = this.#core;
    const session = new Session(peer, false);
    session.localIndex = core.sessions.add(session);
    if (session.localIndex === 0) {
      this.stats.dropLimit++;
      return;
    }
    const message = new Uint8Array(RESPONSE_LENGTH);
    const psk = slotView(peer.slot, Slot.PRESHARED_KEY);
    const keys = core.noise.writeResponse(message, 0, session.localIndex, remoteIndex, opened, psk);
    if (keys === null) {
      core.sessions.delete(session.localIndex);
      this.stats.dropBadHandshake++;
      return;
    }
    peer.acceptInitiation(session, keys, remoteIndex, opened, now);
    peer.noteReceived(INITIATION_LENGTH, from);
    if (peer.isRemoved) return;
    this.stats.responsesSent++;
    peer.sendHandshakeMessage(message, now);
  }

  #handleResponse(buf: Uint8Array, off: number, from: number): void {
    const { now } = this.#core.clock;
    // The cheap question first: do we wait for such a thing at all?
    const session = this.#core.sessions.get(getInt32le(buf, off + 8));
    if (session === undefined || session.handshake === null) {
      this.stats.dropUnknownIndex++;
      return;
    }
    const { peer } = session;
    const { identity } = peer;
    if (!identity.checker.checkMac1(buf, off, RESPONSE_LENGTH)) {
      this.stats.dropBadMac1++;
      return;
    }
    if (!this.#admitHandshake(identity, buf, off, RESPONSE_LENGTH, from, now)) return;
    const psk = slotView(peer.slot, Slot.PRESHARED_KEY);
    const keys = this.#core.noise.readResponse(buf, off, session.handshake, identity.keyPair, psk);
    if (keys === null) {
      this.stats.dropBadHandshake++;
      return;
    }
    this.stats.responsesReceived++;
    peer.completeInitiation(session, keys, getInt32le(buf, off + 4), RESPONSE_LENGTH, from, now);
  }

  #handleCookieReply(buf: Uint8Array, off: number): void {
    const session = this.#core.sessions.get(getInt32le(buf, off + 4));
    if (session === undefined) {
      this.stats.dropUnknownIndex++;
      return;
    }
    const { peer } = session;
    const { chunk, at } = peer.slot;
    const publicKey = slotView(peer.slot, Slot.PUBLIC_KEY);
    if (
      !peer.hasLastMac1 ||
      !openCookieReply(
        this.#core.noise,
        publicKey,
        chunk,
        at + Slot.LAST_MAC1,
        buf,
        off,
        chunk,
        at + Slot.COOKIE,
      )
    ) {
      this.stats.dropBadCookie++;
      return;
    }
    this.stats.cookiesReceived++;
    peer.cookieReceived(this.#core.clock.now);
  }

  /** Whose MAC1 it is. One hash for each identity of this port; null when it is nobody's. */
  #identityOf(buf: Uint8Array, off: number, len: number): Identity | null {
    const identities = this.#identities;
    for (let i = 0; i < identities.length; i++) {
      if (identities[i].checker.checkMac1(buf, off, len)) return identities[i];
    }
    this.stats.dropBadMac1++;
    return null;
  }

  /** Under load a handshake message needs a MAC2 of its source, and its source a token. */
  #admitHandshake(
    identity: Identity,
    buf: Uint8Array,
    off: number,
    len: number,
    from: number,
    now: number,
  ): boolean {
    if (!this.#load.note(now)) return true;
    const { link } = this.#core;
    const { checker } = identity;
    const source = this.#source;
    const sourceLen = link.describe(from, source, 0);
    if (checker.checkMac2(buf, off, len, source, sourceLen, now)) {
      if (this.#limiter.allow(source, sourceLen, now)) return true;
      this.stats.dropRateLimited++;
      return false;
    }
    const reply = new Uint8Array(COOKIE_REPLY_LENGTH);
    const sender = getInt32le(buf, off + 4);
    checker.writeReply(reply, 0, buf, off, len, sender, source, sourceLen, now);
    this.stats.cookiesSent++;
    this.stats.sent++;
    link.send(reply, 0, COOKIE_REPLY_LENGTH, from, HANDSHAKE_TOS);
    return false;
  }

  #handleUnknown(
    identity: Identity,
    buf: Uint8Array,
    off: number,
    from: number,
    now: number,
    opened: OpenedInitiation,
  ): void {
    const { onUnknownPeer } = identity.events;
    const { noise, link, limits } = this.#core;
    const id = formatKey(opened.publicKey);
    const key = `${identity.id} ${id}`;
    let approval = this.#approvals.get(key);
    if (approval === undefined && this.#approvals.size >= limits.approvals) this.#sweep(now);
    const full = approval === undefined && this.#approvals.size >= limits.approvals;
    const shared = new Uint8Array(KEY_LENGTH);
    const proven =
      onUnknownPeer !== undefined &&
      !full &&
      identity.keyPair.agree(shared, 0, opened.publicKey) &&
      noise.openInitiationTimestamp(buf, off, opened, shared);
    shared.fill(0);
    opened.state.wipe();
    this.stats.dropUnknownPeer++;
    if (!proven) return;
    const message = buf.slice(off, off + INITIATION_LENGTH);
    const until = now + APPROVAL_LASTS;
    if (approval !== undefined && now < approval.until) {
      // The peer tries again while somebody thinks: the newest initiation is the one to answer.
      if (compareTimestamps(opened.timestamp, 0, approval.timestamp, 0) <= 0) return;
      link.retain(from);
      link.release(approval.from);
      Object.assign(approval, { message, timestamp: opened.timestamp, from, until });
      return;
    }
    if (approval !== undefined) this.#forget(key, approval);
    approval = {
      identity,
      publicKey: opened.publicKey,
      message,
      timestamp: opened.timestamp,
      from,
      until,
    };
    link.retain(from);
    this.#approvals.set(key, approval);
    onUnknownPeer(this.#requestOf(key, id, approval));
  }

  #requestOf(key: string, id: string, approval: Approval): PeerRequest {
    const { identity, publicKey } = approval;
    return {
      identity,
      id,
      publicKey: publicKey.slice(),
      from: this.#core.link.format(approval.from),
      accept: (options?: Omit<PeerOptions, 'publicKey'>): Peer | null => {
        if (this.#approvals.get(key) !== approval) return null;
        const { now } = this.#core.clock;
        if (now >= approval.until) {
          this.#forget(key, approval);
          return null;
        }
        const peer = identity.peer(publicKey) ?? identity.addPeer({ ...options, publicKey });
        const { message, from } = approval;
        this.#consumeInitiation(identity, message, 0, from, now);
        this.#forget(key, approval);
        return peer;
      },
      reject: () => {
        if (this.#approvals.get(key) === approval) this.#forget(key, approval);
      },
    };
  }

  #forget(key: string, approval: Approval): void {
    this.#approvals.delete(key);
    this.#core.link.release(approval.from);
  }

  #sweep(now: number): void {
    for (const [key, approval] of this.#approvals) {
      if (now >= approval.until) this.#forget(key, approval);
    }
  }

  #forgetApprovals(identity: Identity): void {
    for (const [key, approval] of this.#approvals) {
      if (approval.identity === identity) this.#forget(key, approval);
    }
  }

  #hostOf(): ConstructorParameters<typeof Identity>[0] {
    return {
      core: this.#core,
      admitPeer: () => {
        if (this.#peerCount >= this.#core.limits.peers) return false;
        this.#peerCount++;
        return true;
      },
      forgetPeer: () => {
        this.#peerCount--;
      },
      isTaken: (id) => this.#identities.some((identity) => identity.id === id),
      rekeyed: (identity) => this.#forgetApprovals(identity),
    };
  }
}
