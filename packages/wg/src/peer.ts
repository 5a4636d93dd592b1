/**
 * A peer: its keys, its sessions, its timers (whitepaper §6), and the way out through them.
 *
 * Deadlines are plain fields; one clock timer per peer is armed for the earliest. On the data path a deadline is mostly
 * moved later or cleared, which is a store: the timer finds out when it fires.
 */

import { type Clock, Packet, type Prefix, type Timer } from '@pktkit/core';
import type { X25519PublicKey } from '@pktkit/crypto';
import {
  HANDSHAKE_TOS,
  INITIATION_LENGTH,
  KEY_LENGTH,
  MAC_LENGTH,
  TIMESTAMP_LENGTH,
} from './constants.ts';
import { signMessage } from './cookie.ts';
import type { EngineCore } from './engine-core.ts';
import type { Identity } from './identity.ts';
import { type SlabSlot, Slot, slotView } from './key-slab.ts';
import { formatKey, keyFrom, parseKey } from './keys.ts';
import { NO_ENDPOINT } from './link.ts';
import type { OpenedInitiation, SessionKeys } from './noise.ts';
import { Session } from './session.ts';
import { Staging } from './staging.ts';

const NEVER = Number.POSITIVE_INFINITY;
const NOTHING = new Packet(new Uint8Array(0), 0, 0);

export interface PeerStats {
  /** Bytes of UDP payload received from this peer and authenticated, as `wg show` counts them. */
  rxBytes: number;
  txBytes: number;
  /** Data messages received, keepalives included. */
  rxMessages: number;
  txMessages: number;
  /** Messages of the peer that have not arrived, by the gaps in their counters; late ones are taken off again. */
  lost: number;
  /** When the last handshake completed, milliseconds since 1970; 0 before the first. */
  lastHandshake: number;
}

export class Peer {
  readonly identity: Identity;
  /** The public key in base64. */
  readonly id: string;
  /** Seconds between persistent keepalives; 0 for none. Set it by `setPersistentKeepalive`. */
  persistentKeepalive: number = 0;
  /** What the application wants to find again: a user, a device. */
  data: unknown = undefined;

  readonly #core: EngineCore;
  readonly #clock: Clock;
  readonly #slot: SlabSlot;
  #publicKeyHandle: X25519PublicKey | null = null;
  #hasShared = false;
  #removed = false;

  /** Where messages go; `NO_ENDPOINT` while nobody knows. */
  endpoint: number = NO_ENDPOINT;

  /** Our handshake that waits for its response. */
  pending: Session | null = null;
  /** Made by the peer's handshake, not yet confirmed by a message: not for sending. */
  next: Session | null = null;
  current: Session | null = null;
  previous: Session | null = null;
  #staging: Staging | null = null;

  #timer: Timer | null = null;
  #retryAt = NEVER;
  #keepaliveAt = NEVER;
  #newHandshakeAt = NEVER;
  #eraseAt = NEVER;
  #persistentAt = NEVER;
  #expireAt = NEVER;
  #attempts = 0;
  #needAnotherKeepalive = false;
  #sentLastMinuteHandshake = false;
  #lastSentHandshake = Number.NEGATIVE_INFINITY;
  #lastInitiation = Number.NEGATIVE_INFINITY;
  #hasLastMac1 = false;
  #cookieUntil = Number.NEGATIVE_INFINITY;

  #rxBytes = 0;
  #txBytes = 0;
  #lostBefore = 0;
  #rxBefore = 0;
  #txMessages = 0;
  #lastHandshake = 0;

  /** Made by `Identity.addPeer`. */
  constructor(core: EngineCore, identity: Identity, publicKey: Uint8Array) {
    this.identity = identity;
    this.#core = core;
    this.#clock = core.clock;
    this.#slot = core.slab.take();
    this.#slot.chunk.set(publicKey, this.#slot.at + Slot.PUBLIC_KEY);
    this.id = formatKey(publicKey);
  }

  /** A copy of the 32 bytes. */
  get publicKey(): Uint8Array {
    // The slot of a removed peer is another's by now.
    if (this.#removed) return parseKey(this.id);
    return slotView(this.#slot, Slot.PUBLIC_KEY).slice();
  }

  /** A copy of the pre-shared key; zero bytes without one. */
  get presharedKey(): Uint8Array {
    if (this.#removed) return new Uint8Array(KEY_LENGTH);
    return slotView(this.#slot, Slot.PRESHARED_KEY).slice();
  }

  /** 32 bytes, base64 or hexadecimal digits; zero bytes for none. Counts for the next handshake. */
  setPresharedKey(key: Uint8Array | string): void {
    if (this.#removed) return;
    const bytes = keyFrom(key);
    this.#slot.chunk.set(bytes, this.#slot.at + Slot.PRESHARED_KEY);
    bytes.fill(0);
  }

  get isRemoved(): boolean {
    return this.#removed;
  }

  /** A session exists with which packets can be sent at this moment. */
  get isConnected(): boolean {
    return this.current !== null && this.#isFresh(this.current, this.#clock.now);
  }

  get stats(): PeerStats {
    let lost = this.#lostBefore;
    let received = this.#rxBefore;
    for (const session of [this.next, this.current, this.previous]) {
      if (session === null) continue;
      lost += session.replay.missing;
      received += session.replay.accepted;
    }
    return {
      rxBytes: this.#rxBytes,
      txBytes: this.#txBytes,
      rxMessages: received,
      txMessages: this.#txMessages,
      lost,
      lastHandshake: this.#lastHandshake,
    };
  }

  /** The endpoint as text, or null. */
  get endpointText(): string | null {
    return this.endpoint === NO_ENDPOINT ? null : this.#core.link.format(this.endpoint);
  }

  /** The prefixes that lead to this peer; none when its identity has no allowed-IPs table. */
  get allowedIps(): readonly Prefix[] {
    return this.identity.allowedIps?.prefixesOf(this) ?? [];
  }

  /** Packets that wait for a handshake. */
  get staged(): number {
    return this.#staging?.length ?? 0;
  }

  /** Where the next messages go, until the peer shows up elsewhere. */
  setEndpoint(endpoint: number): void {
    if (endpoint === this.endpoint || (this.#removed && endpoint !== NO_ENDPOINT)) return;
    if (endpoint !== NO_ENDPOINT) this.#core.link.retain(endpoint);
    if (this.endpoint !== NO_ENDPOINT) this.#core.link.release(this.endpoint);
    this.endpoint = endpoint;
  }

  /** `seconds`: 0 (none) to 65535. The first one is sent at once. */
  setPersistentKeepalive(seconds: number): void {
    if (!Number.isInteger(seconds) || seconds < 0 || seconds > 65535) {
      throw new RangeError(`a persistent keepalive is 0 to 65535 seconds, got ${seconds}`);
    }
    const started = this.persistentKeepalive === 0 && seconds > 0;
    this.persistentKeepalive = seconds;
    this.#persistentAt = NEVER;
    if (started && this.endpoint !== NO_ENDPOINT) this.sendKeepalive();
    // Also when nothing could go out just now.
    if (seconds > 0 && this.#persistentAt === NEVER) {
      this.#persistentAt = this.#clock.now + seconds * 1000;
      this.#arm(this.#persistentAt);
    }
  }

  /** Removes the peer by itself at this time of the clock; `Infinity` for never. */
  setExpiry(at: number): void {
    if (Number.isNaN(at))
      throw new RangeError('the expiry of a peer is a time of the clock, got NaN');
    this.#expireAt = at;
    this.#arm(at);
  }

  /** Starts a handshake unless one was started within the last five seconds. */
  handshake(): void {
    this.#initiate(false);
  }

  /** Sends a packet, or keeps it until a handshake is through. */
  send(packet: Packet): void {
    if (this.#removed) return;
    const now = this.#clock.now;
    const session = this.current;
    if (session === null || !this.#isFresh(session, now)) {
      this.#stage(packet);
      this.#initiate(false);
      return;
    }
    this.#core.sealer.send(session, packet);
    this.#afterSend(session, now);
  }

  /** Sends an empty data message, or what waits for a session. */
  sendKeepalive(): void {
    if (this.#removed) return;
    if (this.staged === 0) {
      const now = this.#clock.now;
      const session = this.current;
      if (session === null || !this.#isFresh(session, now)) {
        // An empty packet in the queue makes the handshake end in a keepalive, if nothing else comes.
        this.#stage(NOTHING);
        this.#initiate(false);
        return;
      }
      this.#core.stats.keepalivesSent++;
      this.#core.sealer.sendEmpty(session);
      this.#authenticatedSent(now);
      this.#refreshAfterSend(session, now);
      return;
    }
    this.#flush();
  }

  // From here on: for the engine.

  get slot(): SlabSlot {
    return this.#slot;
  }

  /** Counts a datagram of authenticated origin and notes where it came from. */
  noteReceived(bytes: number, from: number): void {
    this.#rxBytes += bytes;
    if (from === this.endpoint) return;
    if (this.endpoint !== NO_ENDPOINT) this.#core.stats.roamed++;
    this.setEndpoint(from);
    this.identity.events.onEndpoint?.(this);
  }

  noteSent(bytes: number): void {
    this.#txBytes += bytes;
    this.#txMessages++;
  }

  /** A data message was opened with `session`. */
  handleData(session: Session, isKeepalive: boolean, now: number): void {
    let confirmed = false;
    if (session === this.next) {
      // §6.1: the initiator's first message confirms that it has the keys.
      this.#drop(this.previous);
      this.previous = this.current;
      this.current = session;
      this.next = null;
      this.#handshakeComplete();
      confirmed = true;
    }
    // Any authenticated packet received.
    this.#newHandshakeAt = NEVER;
    this.#traversal(now);
    if (!isKeepalive) {
      if (this.#keepaliveAt === NEVER) {
        this.#keepaliveAt = now + this.#core.timings.keepaliveTimeout;
        this.#arm(this.#keepaliveAt);
      } else {
        this.#needAnotherKeepalive = true;
      }
    }
    if (confirmed) {
      this.identity.events.onHandshake?.(this);
      this.#flush();
    }
    if (this.current !== null) this.#refreshAfterReceive(this.current, now);
  }

  /** DH of the static keys, computed once; false when the peer's key is of small order. */
  sharedStatic(): Uint8Array | null {
    const shared = slotView(this.#slot, Slot.STATIC_SHARED);
    if (this.#hasShared) return shared;
    const { chunk, at } = this.#slot;
    const usable = this.identity.keyPair.agree(chunk, at + Slot.STATIC_SHARED, this.#importKey());
    if (!usable) return null;
    this.#hasShared = true;
    return shared;
  }

  /** The identity has another private key: everything that was derived with the old one is void. */
  forgetDerived(): void {
    this.#hasShared = false;
    slotView(this.#slot, Slot.STATIC_SHARED).fill(0);
    this.eraseKeys();
    this.#lastSentHandshake = Number.NEGATIVE_INFINITY;
  }

  /** Whether an initiation so soon after the last may be worked on at all. */
  mayInitiate(now: number): boolean {
    return now - this.#lastInitiation >= this.#core.timings.initiationSpacing;
  }

  /** Our response went out: its keys are ready, but nothing is sent with them before the initiator has. */
  acceptInitiation(
    session: Session,
    keys: SessionKeys,
    remoteIndex: number,
    opened: OpenedInitiation,
    now: number,
  ): void {
    this.#slot.chunk.set(opened.timestamp, this.#slot.at + Slot.TIMESTAMP);
    this.#lastInitiation = now;
    this.#establish(session, keys, remoteIndex, now);
    this.#drop(this.next);
    this.next = session;
    // §6.1, as the reference does: an old session that is still there helps nobody now.
    this.#drop(this.previous);
    this.previous = null;
    this.#lastSentHandshake = now;
    this.#authenticatedSent(now);
  }

  /** The response to our initiation was valid. */
  completeInitiation(
    session: Session,
    keys: SessionKeys,
    remoteIndex: number,
    bytes: number,
    from: number,
    now: number,
  ): void {
    this.pending = null;
    this.#establish(session, keys, remoteIndex, now);
    this.#drop(this.previous);
    if (this.next !== null) {
      // Both ends started at once. Ours is the later one; theirs may still bring messages.
      this.#drop(this.current);
      this.previous = this.next;
      this.next = null;
    } else {
      this.previous = this.current;
    }
    this.current = session;
    this.#newHandshakeAt = NEVER;
    this.#traversal(now);
    this.#handshakeComplete();
    this.noteReceived(bytes, from);
    this.identity.events.onHandshake?.(this);
    // The responder must not send before we have: with nothing to say, say nothing, but say it.
    if (this.#removed) return;
    if (this.staged > 0) this.#flush();
    else this.sendKeepalive();
  }

  rememberMac1(buf: Uint8Array, off: number): void {
    const { chunk, at } = this.#slot;
    for (let i = 0; i < MAC_LENGTH; i++) chunk[at + Slot.LAST_MAC1 + i] = buf[off + i];
    this.#hasLastMac1 = true;
  }

  /** Whether a cookie reply can be expected. */
  get hasLastMac1(): boolean {
    return this.#hasLastMac1;
  }

  /** The slot holds a new cookie: it goes into the next handshake message, the timer's own. */
  cookieReceived(now: number): void {
    this.#cookieUntil = now + this.#core.timings.cookieTime;
    this.#hasLastMac1 = false;
  }

  cookieAt(now: number): Uint8Array | null {
    return now < this.#cookieUntil ? slotView(this.#slot, Slot.COOKIE, MAC_LENGTH) : null;
  }

  /** Ends all sessions and gives up what waits. */
  eraseKeys(): void {
    const had = this.current !== null || this.previous !== null || this.next !== null;
    for (const session of [this.pending, this.next, this.current, this.previous]) {
      this.#drop(session);
    }
    this.pending = null;
    this.next = null;
    this.current = null;
    this.previous = null;
    this.#discardStaged();
    this.#eraseAt = NEVER;
    this.#retryAt = NEVER;
    this.#keepaliveAt = NEVER;
    this.#newHandshakeAt = NEVER;
    // The imported key is large in some providers, and an idle peer does not need it.
    this.#publicKeyHandle = null;
    if (had) this.identity.events.onSessionEnd?.(this);
  }

  /** Everything is freed; called by `Identity.removePeer`. */
  dispose(): void {
    if (this.#removed) return;
    this.eraseKeys();
    this.#removed = true;
    this.#timer?.cancel();
    this.setEndpoint(NO_ENDPOINT);
    this.#core.slab.give(this.#slot);
  }

  #importKey(): X25519PublicKey {
    this.#publicKeyHandle ??= this.#core.noise.provider.x25519PublicKey(
      slotView(this.#slot, Slot.PUBLIC_KEY),
    );
    return this.#publicKeyHandle;
  }

  #isFresh(session: Session, now: number): boolean {
    return now - session.createdAt < this.#core.timings.rejectAfterTime && !session.isSpent;
  }

  #establish(session: Session, keys: SessionKeys, remoteIndex: number, now: number): void {
    const { provider } = this.#core.noise;
    session.handshake?.state.wipe();
    session.handshake?.ephemeral.wipe();
    session.handshake = null;
    session.remoteIndex = remoteIndex;
    session.createdAt = now;
    session.sealer = provider.aead('chacha20poly1305', keys.send);
    session.opener = provider.aead('chacha20poly1305', keys.receive);
    keys.send.fill(0);
    keys.receive.fill(0);
    this.#eraseAt = now + this.#core.timings.rejectAfterTime * 3;
    this.#arm(this.#eraseAt);
  }

  #drop(session: Session | null): void {
    if (session === null) return;
    this.#lostBefore += session.replay.missing;
    this.#rxBefore += session.replay.accepted;
    this.#core.sessions.delete(session.localIndex);
    session.wipe();
  }

  #initiate(isRetry: boolean): void {
    if (this.#removed) return;
    if (!isRetry) this.#attempts = 0;
    const now = this.#clock.now;
    if (now - this.#lastSentHandshake < this.#core.timings.rekeyTimeout) {
      // Too soon. When no handshake is under way, the timer makes up for this one.
      if (this.#retryAt === NEVER && this.pending === null) {
        this.#retryAt = this.#lastSentHandshake + this.#retryDelay();
        this.#arm(this.#retryAt);
      }
      return;
    }
    // Without an endpoint nothing goes out: the first one that is found may be used at once.
    if (this.endpoint !== NO_ENDPOINT) this.#lastSentHandshake = now;
    this.#sendInitiation(now);
  }

  #sendInitiation(now: number): void {
    const core = this.#core;
    this.#drop(this.pending);
    this.pending = null;
    this.#retryAt = now + this.#retryDelay();
    this.#arm(this.#retryAt);
    if (this.endpoint === NO_ENDPOINT) {
      core.stats.dropNoEndpoint++;
      return;
    }
    const shared = this.sharedStatic();
    if (shared === null) {
      core.stats.dropBadHandshake++;
      return;
    }
    const session = new Session(this, true);
    session.localIndex = core.sessions.add(session);
    if (session.localIndex === 0) {
      core.stats.dropLimit++;
      return;
    }
    const message = new Uint8Array(INITIATION_LENGTH);
    const timestamp = new Uint8Array(TIMESTAMP_LENGTH);
    core.tai64n.write(this.#clock.wall, timestamp, 0);
    const publicKey = slotView(this.#slot, Slot.PUBLIC_KEY);
    session.handshake = core.noise.writeInitiation(
      message,
      0,
      session.localIndex,
      this.identity.keyPair,
      publicKey,
      this.#importKey(),
      shared,
      timestamp,
    );
    if (session.handshake === null) {
      core.sessions.delete(session.localIndex);
      core.stats.dropBadHandshake++;
      return;
    }
    this.pending = session;
    this.#authenticatedSent(now);
    core.stats.initiationsSent++;
    this.sendHandshakeMessage(message, now);
  }

  /** Signs and sends an initiation or response. */
  sendHandshakeMessage(message: Uint8Array, now: number): void {
    const core = this.#core;
    const publicKey = slotView(this.#slot, Slot.PUBLIC_KEY);
    signMessage(core.noise, publicKey, this.cookieAt(now), message, 0, message.length);
    this.rememberMac1(message, message.length - 2 * MAC_LENGTH);
    this.#txBytes += message.length;
    core.stats.sent++;
    core.link.send(message, 0, message.length, this.endpoint, HANDSHAKE_TOS);
  }

  #stage(packet: Packet): void {
    this.#staging ??= new Staging(this.#core.stagingBudget, this.#core.limits.stagedPackets);
    this.#core.stats.dropQueue += this.#staging.push(packet);
  }

  #discardStaged(): void {
    if (this.#staging === null) return;
    this.#core.stats.dropQueue += this.#staging.take().length;
    this.#staging = null;
  }

  #flush(): void {
    const packets = this.#staging?.take();
    this.#staging = null;
    if (packets === undefined) return;
    for (const packet of packets) {
      // Our own keepalive; it goes only when nothing else does.
      if (packet.len === 0) {
        if (packets.length === 1) this.sendKeepalive();
      } else {
        this.send(packet);
      }
    }
  }

  #handshakeComplete(): void {
    this.#retryAt = NEVER;
    this.#attempts = 0;
    this.#sentLastMinuteHandshake = false;
    this.#lastHandshake = this.#clock.wall;
    this.#core.stats.handshakes++;
  }

  /** After data was sent: an answer is expected within so long, or the session is given up (§6.5). */
  #afterSend(session: Session, now: number): void {
    if (this.#newHandshakeAt === NEVER) {
      const { keepaliveTimeout } = this.#core.timings;
      this.#newHandshakeAt = now + keepaliveTimeout + this.#retryDelay();
      this.#arm(this.#newHandshakeAt);
    }
    this.#authenticatedSent(now);
    this.#refreshAfterSend(session, now);
  }

  #authenticatedSent(now: number): void {
    this.#keepaliveAt = NEVER;
    this.#needAnotherKeepalive = false;
    this.#traversal(now);
  }

  /** Any authenticated packet, in or out, puts the persistent keepalive off. */
  #traversal(now: number): void {
    if (this.persistentKeepalive === 0) return;
    const wasNever = this.#persistentAt === NEVER;
    this.#persistentAt = now + this.persistentKeepalive * 1000;
    if (wasNever) this.#arm(this.#persistentAt);
  }

  /** §6.2: the initiator renews after Rekey-After-Time, either side after Rekey-After-Messages. */
  #refreshAfterSend(session: Session, now: number): void {
    const { timings } = this.#core;
    if (
      session.sent >= timings.rekeyAfterMessages ||
      (session.isInitiator && now - session.createdAt >= timings.rekeyAfterTime)
    ) {
      this.#initiate(false);
    }
  }

  /** §6.2: an initiator that only receives renews shortly before the keys end. */
  #refreshAfterReceive(session: Session, now: number): void {
    if (this.#sentLastMinuteHandshake || !session.isInitiator) return;
    const { rejectAfterTime, keepaliveTimeout, rekeyTimeout } = this.#core.timings;
    if (now - session.createdAt < rejectAfterTime - keepaliveTimeout - rekeyTimeout) return;
    this.#sentLastMinuteHandshake = true;
    this.#initiate(false);
  }

  #retryDelay(): number {
    const { rekeyTimeout, retryJitter } = this.#core.timings;
    return rekeyTimeout + (this.#core.random() / 0x100000000) * retryJitter;
  }

  #arm(deadline: number): void {
    if (this.#removed || deadline === NEVER) return;
    this.#timer ??= this.#clock.timer(() => this.#onTimer());
    if (deadline < this.#timer.deadline) this.#timer.arm(deadline);
  }

  #onTimer(): void {
    const now = this.#clock.now;
    if (this.#expireAt <= now) {
      this.identity.expirePeer(this);
      return;
    }
    if (this.#eraseAt <= now) this.eraseKeys();
    if (this.#retryAt <= now) {
      this.#retryAt = NEVER;
      this.#onRetry(now);
    }
    if (this.#newHandshakeAt <= now) {
      this.#newHandshakeAt = NEVER;
      this.#initiate(false);
    }
    if (this.#keepaliveAt <= now) {
      this.#keepaliveAt = NEVER;
      const again = this.#needAnotherKeepalive;
      this.sendKeepalive();
      this.#needAnotherKeepalive = false;
      if (again) this.#keepaliveAt = now + this.#core.timings.keepaliveTimeout;
    }
    if (this.#persistentAt <= now) {
      this.#persistentAt = NEVER;
      if (this.persistentKeepalive > 0) {
        this.sendKeepalive();
        // Also when nothing could be sent.
        this.#traversal(now);
      }
    }
    if (this.#removed) return;
    const earliest = Math.min(
      this.#retryAt,
      this.#keepaliveAt,
      this.#newHandshakeAt,
      this.#eraseAt,
      this.#persistentAt,
      this.#expireAt,
    );
    if (earliest === NEVER) this.#timer = null;
    else this.#arm(earliest);
  }

  #onRetry(now: number): void {
    const { rekeyAttemptTime, rekeyTimeout, rejectAfterTime } = this.#core.timings;
    if (this.#attempts * rekeyTimeout >= rekeyAttemptTime) {
      // §6.4: given up. What waited is lost; the next packet starts anew.
      this.#keepaliveAt = NEVER;
      this.#discardStaged();
      this.#drop(this.pending);
      this.pending = null;
      if (this.#eraseAt === NEVER) this.#eraseAt = now + rejectAfterTime * 3;
      this.identity.events.onUnreachable?.(this);
      return;
    }
    this.#attempts++;
    if (this.#attempts > 1) this.identity.events.onRetry?.(this, this.#attempts);
    this.#initiate(true);
  }
}
