/**
 * DHCP client (RFC 2131 §4.4, RFC 2132, RFC 3396, RFC 3442, RFC 5227 for the address check). Sans I/O: messages and time in,
 * packets out through `DhcpClientLink`. `L2Adapter` runs one; it works as well behind any other link.
 *
 *      start ──▶ selecting ──OFFER──▶ requesting ──ACK──▶ checking ──▶ bound ──T1──▶ renewing ──T2──▶ rebinding
 *        │           ▲                    │ NAK, 4 tries      │ in use    ▲            │ ACK            │ ACK
 *        │           └──── back-off ◀─────┘◀── DECLINE ◀──────┘           └────────────┴────────────────┘
 *        └─ remembered lease ──▶ rebooting ──ACK──▶ checking                           NAK, expiry: address gone, start
 *
 * Messages are accepted with our transaction id and hardware address only; those of a lease under way from its server only.
 */

import { put16, put32 } from '../bytes.ts';
import type { Clock, Timer } from '../clock.ts';
import { DATAGRAM_HEADERS, MAX_MESSAGE, writeDatagram4 } from '../dhcp/datagram.ts';
import { PktkitError } from '../errors.ts';
import { IpAddr, Prefix } from '../ip.ts';
import type { MacAddr } from '../mac.ts';
import { Packet } from '../packet.ts';
import { HEADROOM, pool } from '../pool.ts';
import type { Random32 } from '../random.ts';
import {
  asciiBytes,
  DHCP_CLIENT_PORT,
  DHCP_SERVER_PORT,
  type DhcpMessage,
  DhcpOption,
  type DhcpRoute,
  DhcpType,
  isHostAddress,
  optionAddresses,
  optionText,
  optionU32,
  parseClasslessRoutes,
  parseDhcp,
  parseDomainSearch,
  writeDhcp,
} from '../wire/dhcp.ts';

export type DhcpClientState =
  | 'stopped'
  | 'waiting'
  | 'selecting'
  | 'requesting'
  | 'rebooting'
  | 'checking'
  | 'bound'
  | 'renewing'
  | 'rebinding';

/** What a server gave. Times are the clock's milliseconds, `Infinity` for ever. */
export interface DhcpLease {
  readonly address: Prefix;
  readonly server: IpAddr;
  readonly routers: readonly IpAddr[];
  /** Option 121, which replaces `routers` when present (RFC 3442). */
  readonly routes: readonly DhcpRoute[];
  readonly dns: readonly IpAddr[];
  readonly ntp: readonly IpAddr[];
  readonly domain: string | null;
  readonly search: readonly string[];
  readonly hostname: string | null;
  /** Bytes; 0 when not given. */
  readonly mtu: number;
  readonly obtained: number;
  readonly renews: number;
  readonly rebinds: number;
  readonly expires: number;
  /** Every option as received, by code. */
  readonly options: ReadonlyMap<number, Uint8Array>;
}

/** Why an address went. */
export type DhcpLossReason = 'expired' | 'nak' | 'conflict' | 'stopped';

export interface DhcpClientOptions {
  /** Option 12. */
  hostname?: string | undefined;
  /** Option 61; the hardware address unless told. */
  clientId?: Uint8Array | undefined;
  /** Option 60. */
  vendorClass?: string | undefined;
  /** Asks for this address first (INIT-REBOOT, RFC 2131 §3.2), as after a restart. */
  remembered?: IpAddr | string | undefined;
  /** Asks servers to answer by broadcast. Only needed behind links that lose unicast before there is an address. */
  broadcast?: boolean | undefined;
  /** Options to ask for besides the usual ones. */
  request?: readonly number[] | undefined;
  /**
   * Whether the address is probed by ARP before it is used: `quick` takes 0.4 s, `full` the 4 to 7 s of RFC 5227 §2.1.1.
   * `quick` unless told.
   */
  conflictCheck?: 'off' | 'quick' | 'full' | undefined;
  /** A lease was obtained or renewed. */
  onLease?: ((lease: DhcpLease) => void) | undefined;
  onLoss?: ((lease: DhcpLease, reason: DhcpLossReason) => void) | undefined;
}

export interface DhcpClientLink {
  /** Sends a packet from the client: borrowed for the call. */
  sendDhcp(packet: Packet): void;
  /** Asks whether anybody has the address; `done` is called once, later. Gives what cancels it. */
  checkAddress(address: IpAddr, quick: boolean, done: (conflict: boolean) => void): () => void;
  /** The interface's address is to be this, or none. `previous` is what it was. */
  applyLease(lease: DhcpLease | null, previous: DhcpLease | null): void;
}

export interface DhcpClientStats {
  sent: number;
  received: number;
  /** Messages that retransmission timers sent. */
  retransmitted: number;
  naks: number;
  conflicts: number;
  /** Not a DHCP message, or one without what it must have. */
  dropMalformed: number;
  /** For another client or transaction, in the wrong state, or from a server we do not talk to. */
  dropUnexpected: number;
}

const PARAMETERS = [1, 3, 6, 12, 15, 26, 28, 42, 51, 54, 58, 59, 119, 121];
const MAX_LIST = 64;
/** REQUEST is given up after so many tries: about a minute. */
const REQUEST_TRIES = 4;
const REBOOT_TRIES = 3;
/** RFC 2131 §3.1 step 5: wait at least this long after a DECLINE. */
const DECLINE_WAIT = 10_000;
const MIN_LEASE = 10;
/** RFC 2131 §4.4.5: at most one renewal message a minute. */
const RENEW_INTERVAL = 60_000;

export class DhcpClient {
  readonly stats: DhcpClientStats = {
    sent: 0,
    received: 0,
    retransmitted: 0,
    naks: 0,
    conflicts: 0,
    dropMalformed: 0,
    dropUnexpected: 0,
  };
  readonly #link: DhcpClientLink;
  readonly #clock: Clock;
  readonly #random: Random32;
  readonly #mac: MacAddr;
  readonly #options: DhcpClientOptions;
  readonly #clientId: Uint8Array;
  readonly #parameters: Uint8Array;
  readonly #timer: Timer;
  #state: DhcpClientState = 'stopped';
  #lease: DhcpLease | null = null;
  /** While an acknowledged lease's address is being checked. */
  #cancelCheck: (() => void) | null = null;
  #xid = 0;
  #started = 0;
  #tries = 0;
  #failures = 0;
  #requested = 0;
  #server = 0;
  #waiters: Array<(lease: DhcpLease) => void> = [];

  constructor(
    link: DhcpClientLink,
    mac: MacAddr,
    options: DhcpClientOptions & { clock: Clock; random: Random32 },
  ) {
    this.#link = link;
    this.#mac = mac;
    this.#options = options;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#timer = this.#clock.timer(() => this.#onTimer());
    const { clientId, hostname, remembered, request = [] } = options;
    if (clientId !== undefined && (clientId.length < 2 || clientId.length > 255)) {
      throw new RangeError(`a DHCP client id has 2 to 255 bytes, got ${clientId.length}`);
    }
    if (hostname !== undefined && !/^[\x21-\x7e]{1,255}$/.test(hostname)) {
      throw new PktkitError('PKT_INVALID_CONFIG', 'hostname: 1 to 255 printable ASCII characters');
    }
    if (remembered !== undefined) {
      const address = IpAddr.from(remembered);
      if (!isHostAddress(address)) {
        throw new PktkitError(
          'PKT_INVALID_CONFIG',
          `remembered: expected an IPv4 host address, got ${address}`,
        );
      }
      this.#requested = address.v4;
    }
    this.#clientId = clientId ?? Uint8Array.from([1, ...macBytes(mac)]);
    this.#parameters = Uint8Array.from([...new Set([...PARAMETERS, ...request])].slice(0, 128));
  }

  get state(): DhcpClientState {
    return this.#state;
  }

  /** The lease in force; null without one. */
  get lease(): DhcpLease | null {
    return this.#lease;
  }

  /** Starts, or confirms a lease again after the link was down. */
  start(): void {
    this.#cancel();
    this.#failures = 0;
    this.#begin();
  }

  /** Ends. With `release` the server is told (RFC 2131 §4.4.6); the address goes either way. */
  stop(options: { release?: boolean | undefined } = {}): void {
    const lease = this.#lease;
    this.#cancel();
    this.#state = 'stopped';
    if (lease === null) return;
    if (options.release === true && lease.expires > this.#clock.now) {
      this.#newTransaction();
      this.#send(DhcpType.RELEASE, lease.address.addr.v4, lease.server.v4, [
        [DhcpOption.SERVER_ID, lease.server.toBytes()],
      ]);
    }
    this.#drop('stopped');
  }

  /** The link is down: nothing is sent until `start`; the lease is kept as long as it lasts. */
  suspend(): void {
    if (this.#state === 'stopped') return;
    this.#cancel();
    this.#state = 'waiting';
    if (this.#lease !== null) this.#timer.arm(this.#lease.expires);
  }

  /** The lease's address has been seen with somebody else (RFC 5227 §2.4): given back by DECLINE, and started anew. */
  conflict(): void {
    const lease = this.#lease;
    if (lease === null) return;
    this.#cancel();
    this.#decline(lease);
    this.#drop('conflict');
  }

  /** Calls back with the lease in force or the next one; gives what cancels it. */
  whenLeased(callback: (lease: DhcpLease) => void): () => void {
    this.#waiters.push(callback);
    return () => {
      this.#waiters = this.#waiters.filter((waiter) => waiter !== callback);
    };
  }

  /** A UDP payload to the client port. Hostile input is dropped and counted. */
  handleMessage(buf: Uint8Array, off: number, len: number): void {
    const message = parseDhcp(buf, off, len);
    if (message === null || message.op !== 2) {
      this.stats.dropMalformed++;
      return;
    }
    if (message.xid !== this.#xid || message.mac !== this.#mac.value) {
      this.stats.dropUnexpected++;
      return;
    }
    this.stats.received++;
    if (message.type === DhcpType.OFFER && this.#state === 'selecting') this.#onOffer(message);
    else if (message.type === DhcpType.ACK && this.#expectsAck()) this.#onAck(message);
    else if (message.type === DhcpType.NAK && this.#expectsAck()) this.#onNak(message);
    else this.stats.dropUnexpected++;
  }

  #expectsAck(): boolean {
    const state = this.#state;
    return (
      state === 'requesting' ||
      state === 'rebooting' ||
      state === 'renewing' ||
      state === 'rebinding'
    );
  }

  #begin(): void {
    this.#newTransaction();
    const known = this.#lease !== null ? this.#lease.address.addr.v4 : this.#requested;
    if (known !== 0 && this.#failures === 0) {
      this.#requested = known;
      this.#server = 0;
      this.#enter('rebooting');
    } else {
      this.#enter('selecting');
    }
  }

  #enter(state: DhcpClientState): void {
    this.#state = state;
    this.#tries = 0;
    this.#transmit();
  }

  #newTransaction(): void {
    this.#xid = this.#random() >>> 0;
    this.#started = this.#clock.now;
  }

  /** Sends what the state wants and arms the next try. */
  #transmit(): void {
    const state = this.#state;
    this.#tries++;
    if (this.#tries > 1) this.stats.retransmitted++;
    if (state === 'renewing' || state === 'rebinding') {
      this.#transmitRenewal();
      return;
    }
    // RFC 2131 §4.1: 4, 8, 16, 32, 64 seconds, each give or take one.
    const base = 4000 * 2 ** Math.min(this.#tries - 1, 4);
    const wait = base - 1000 + (this.#random() / 2 ** 32) * 2000;
    // A lease from before may end while we ask for another.
    const limit = this.#lease?.expires ?? Number.POSITIVE_INFINITY;
    this.#timer.arm(Math.min(this.#clock.now + wait, limit));
    const options: Array<[number, Uint8Array]> = [];
    if (state !== 'selecting') {
      options.push([DhcpOption.REQUESTED_ADDRESS, IpAddr.v4(this.#requested).toBytes()]);
    }
    if (state === 'requesting') {
      options.push([DhcpOption.SERVER_ID, IpAddr.v4(this.#server).toBytes()]);
    }
    this.#send(state === 'selecting' ? DhcpType.DISCOVER : DhcpType.REQUEST, 0, 0, options);
  }

  #transmitRenewal(): void {
    const lease = this.#lease as DhcpLease;
    const renewing = this.#state === 'renewing';
    const now = this.#clock.now;
    const limit = renewing ? lease.rebinds : lease.expires;
    // RFC 2131 §4.4.5: after half of what is left, but not within a minute.
    this.#timer.arm(Math.min(limit, now + Math.max(RENEW_INTERVAL, (limit - now) / 2)));
    this.#send(DhcpType.REQUEST, lease.address.addr.v4, renewing ? lease.server.v4 : 0, []);
  }

  #onTimer(): void {
    const now = this.#clock.now;
    const lease = this.#lease;
    if (lease !== null && now >= lease.expires) {
      const running = this.#state !== 'waiting';
      this.#cancel();
      this.#drop('expired');
      if (!running) return;
      this.#newTransaction();
      this.#enter('selecting');
      return;
    }
    switch (this.#state) {
      case 'waiting':
        this.#begin();
        return;
      case 'selecting':
        this.#transmit();
        return;
      case 'requesting':
      case 'rebooting':
        if (this.#tries < (this.#state === 'requesting' ? REQUEST_TRIES : REBOOT_TRIES)) {
          this.#transmit();
        } else {
          this.#requested = this.#state === 'rebooting' ? this.#requested : 0;
          this.#newTransaction();
          this.#enter('selecting');
        }
        return;
      case 'bound':
        this.#newTransaction();
        this.#enter('renewing');
        return;
      case 'renewing':
        if (lease !== null && now >= lease.rebinds) this.#enter('rebinding');
        else this.#transmit();
        return;
      case 'rebinding':
        this.#transmit();
        return;
    }
  }

  #onOffer(message: DhcpMessage): void {
    const server = optionU32(message.options, DhcpOption.SERVER_ID);
    if (server <= 0 || !isHostAddress(IpAddr.v4(message.yiaddr))) {
      this.stats.dropMalformed++;
      return;
    }
    this.#server = server;
    this.#requested = message.yiaddr;
    this.#enter('requesting');
  }

  #onAck(message: DhcpMessage): void {
    const server = optionU32(message.options, DhcpOption.SERVER_ID);
    const lease = server > 0 ? readLease(message, server, this.#clock.now) : null;
    if (lease === null) {
      this.stats.dropMalformed++;
      return;
    }
    const state = this.#state;
    const renewal = state === 'renewing' || state === 'rebinding';
    const expected = renewal && this.#lease !== null ? this.#lease.server.v4 : this.#server;
    const wrongServer = (state === 'requesting' || state === 'renewing') && server !== expected;
    const wanted = renewal && this.#lease !== null ? this.#lease.address.addr.v4 : this.#requested;
    if (wrongServer || message.yiaddr !== wanted) {
      this.stats.dropUnexpected++;
      return;
    }
    const inUse = this.#lease?.address.addr.v4 === message.yiaddr;
    if (inUse || this.#options.conflictCheck === 'off') {
      this.#bind(lease);
      return;
    }
    // RFC 2131 §4.4.1: the client SHOULD check the address before it uses it.
    this.#timer.cancel();
    this.#state = 'checking';
    const quick = this.#options.conflictCheck !== 'full';
    this.#cancelCheck = this.#link.checkAddress(lease.address.addr, quick, (conflict) => {
      this.#cancelCheck = null;
      if (conflict) this.#decline(lease);
      else this.#bind(lease);
    });
  }

  #onNak(message: DhcpMessage): void {
    const server = optionU32(message.options, DhcpOption.SERVER_ID);
    if (
      server <= 0 ||
      (this.#state === 'requesting' && server !== this.#server) ||
      (this.#state === 'renewing' && server !== this.#lease?.server.v4)
    ) {
      this.stats.dropUnexpected++;
      return;
    }
    this.stats.naks++;
    this.#requested = 0;
    this.#cancel();
    this.#backOff(1000 * 2 ** Math.min(this.#failures, 6));
    this.#drop('nak');
  }

  #bind(lease: DhcpLease): void {
    const previous = this.#lease;
    this.#state = 'bound';
    this.#lease = lease;
    this.#failures = 0;
    this.#requested = lease.address.addr.v4;
    if (lease.renews === Number.POSITIVE_INFINITY) this.#timer.cancel();
    else this.#timer.arm(lease.renews);
    this.#link.applyLease(lease, previous);
    this.#options.onLease?.(lease);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter(lease);
  }

  #decline(lease: DhcpLease): void {
    this.stats.conflicts++;
    this.#newTransaction();
    this.#send(DhcpType.DECLINE, 0, 0, [
      [DhcpOption.REQUESTED_ADDRESS, lease.address.addr.toBytes()],
      [DhcpOption.SERVER_ID, lease.server.toBytes()],
    ]);
    this.#requested = 0;
    this.#backOff(DECLINE_WAIT);
  }

  /** Starts again later, without the address that we had. */
  #backOff(milliseconds: number): void {
    this.#failures++;
    this.#state = 'waiting';
    this.#timer.arm(this.#clock.now + milliseconds);
  }

  #drop(reason: DhcpLossReason): void {
    const lease = this.#lease;
    if (lease === null) return;
    this.#lease = null;
    this.#link.applyLease(null, lease);
    this.#options.onLoss?.(lease, reason);
  }

  #cancel(): void {
    this.#timer.cancel();
    this.#cancelCheck?.();
    this.#cancelCheck = null;
  }

  /** `ciaddr` is our address when we have one; `server` 0 broadcasts. */
  #send(
    type: DhcpType,
    ciaddr: number,
    server: number,
    extra: ReadonlyArray<[number, Uint8Array]>,
  ): void {
    const { hostname, vendorClass } = this.#options;
    const options = new Map<number, Uint8Array>(extra);
    options.set(DhcpOption.CLIENT_ID, this.#clientId);
    if (type === DhcpType.DISCOVER || type === DhcpType.REQUEST) {
      const size = new Uint8Array(2);
      put16(size, 0, MAX_MESSAGE);
      options.set(DhcpOption.MAX_SIZE, size);
      options.set(DhcpOption.PARAMETER_LIST, this.#parameters);
      if (hostname !== undefined) options.set(DhcpOption.HOST_NAME, asciiBytes(hostname));
      if (vendorClass !== undefined) options.set(DhcpOption.VENDOR_CLASS, asciiBytes(vendorClass));
      if (type === DhcpType.DISCOVER && this.#requested !== 0) {
        const address = new Uint8Array(4);
        put32(address, 0, this.#requested);
        options.set(DhcpOption.REQUESTED_ADDRESS, address);
      }
    }
    const buf = pool.take(HEADROOM + DATAGRAM_HEADERS + MAX_MESSAGE);
    const len = writeDhcp(buf, HEADROOM + DATAGRAM_HEADERS, MAX_MESSAGE, {
      op: 1,
      type,
      xid: this.#xid,
      hops: 0,
      secs: Math.min(0xffff, Math.floor((this.#clock.now - this.#started) / 1000)),
      broadcast: this.#options.broadcast === true && ciaddr === 0,
      ciaddr,
      yiaddr: 0,
      siaddr: 0,
      giaddr: 0,
      mac: this.#mac.value,
      options,
    });
    const total = writeDatagram4(
      buf,
      HEADROOM,
      ciaddr,
      server === 0 ? 0xffffffff : server,
      DHCP_CLIENT_PORT,
      DHCP_SERVER_PORT,
      len,
      this.#random() & 0xffff,
    );
    this.stats.sent++;
    this.#link.sendDhcp(new Packet(buf, HEADROOM, total));
    pool.give(buf);
  }
}

function readLease(message: DhcpMessage, server: number, now: number): DhcpLease | null {
  const { options } = message;
  const address = IpAddr.v4(message.yiaddr);
  const seconds = optionU32(options, DhcpOption.LEASE_TIME);
  if (!isHostAddress(address) || seconds < 0) return null;
  const mask = optionU32(options, DhcpOption.SUBNET_MASK);
  const bits = mask < 0 ? classBits(message.yiaddr) : maskBits(mask);
  if (bits < 1) return null;
  const time = lifetimes(options, seconds);
  const classless = options.get(DhcpOption.CLASSLESS_ROUTES);
  const search = options.get(DhcpOption.DOMAIN_SEARCH);
  const mtu = options.get(DhcpOption.MTU);
  return {
    address: Prefix.of(address, bits),
    server: IpAddr.v4(server),
    routers: optionAddresses(options, DhcpOption.ROUTER),
    routes: classless === undefined ? [] : parseClasslessRoutes(classless),
    dns: optionAddresses(options, DhcpOption.DNS),
    ntp: optionAddresses(options, DhcpOption.NTP),
    domain: optionText(options, DhcpOption.DOMAIN_NAME),
    search: search === undefined ? [] : parseDomainSearch(search).slice(0, MAX_LIST),
    hostname: optionText(options, DhcpOption.HOST_NAME),
    mtu: mtu === undefined || mtu.length !== 2 ? 0 : mtu[0] * 256 + mtu[1],
    obtained: now,
    renews: now + time.renewal * 1000,
    rebinds: now + time.rebinding * 1000,
    expires: now + time.lease * 1000,
    options,
  };
}

/** In seconds. T1 and T2 that make no sense are replaced by RFC 2131 §4.4.5's 0.5 and 0.875. */
function lifetimes(
  options: Map<number, Uint8Array>,
  seconds: number,
): { lease: number; renewal: number; rebinding: number } {
  const forever = Number.POSITIVE_INFINITY;
  if (seconds === 0xffffffff) return { lease: forever, renewal: forever, rebinding: forever };
  const lease = Math.max(seconds, MIN_LEASE);
  const renewal = optionU32(options, DhcpOption.RENEWAL_TIME);
  const rebinding = optionU32(options, DhcpOption.REBINDING_TIME);
  if (renewal >= 1 && renewal < rebinding && rebinding < lease)
    return { lease, renewal, rebinding };
  return { lease, renewal: lease * 0.5, rebinding: lease * 0.875 };
}

/** 0 for a mask with holes. */
function maskBits(mask: number): number {
  const bits = Math.clz32(~mask);
  return mask >>> 0 === (bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0) ? bits : 0;
}

/** Before there were masks, the first bits told the network's size. */
function classBits(address: number): number {
  if (address >>> 31 === 0) return 8;
  return address >>> 30 === 2 ? 16 : 24;
}

function macBytes(mac: MacAddr): Uint8Array {
  const bytes = new Uint8Array(6);
  mac.write(bytes);
  return bytes;
}
