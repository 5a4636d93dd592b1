/**
 * DHCP server (RFC 2131 §4.3, RFC 2132, RFC 3046 relays, RFC 6842 client ids in replies), as a port of a switch:
 * `hub.connectL2(new DhcpServer({ address: '10.0.0.2/24' }))`. It answers ARP for its address. Where a gateway shares that
 * address, put the server behind the gateway's adapter instead (`adapt(stack, { dhcpServer: { … } })`): unicast renewals go
 * to the gateway's Ethernet address, and the adapter hands them on.
 */

import { get16, getInt32 } from '../bytes.ts';
import { verifyTransport } from '../checksum.ts';
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { dropFrame, type FrameHandler, type L2Device } from '../device.ts';
import { Frame } from '../frame.ts';
import { IpAddr, Prefix } from '../ip.ts';
import { MacAddr } from '../mac.ts';
import { CHECKSUM_PARTIAL, CHECKSUM_TRUSTED } from '../offload.ts';
import { ipLength } from '../packet.ts';
import { HEADROOM, pool } from '../pool.ts';
import { type Random32, random32 } from '../random.ts';
import {
  ARP_LENGTH,
  ArpOperation,
  arpOperation,
  arpSenderIp,
  arpSenderMac,
  arpTargetIp,
  writeArp,
} from '../wire/arp.ts';
import {
  DHCP_SERVER_PORT,
  type DhcpMessage,
  DhcpOption,
  DhcpType,
  optionText,
  optionU32,
  parseDhcp,
} from '../wire/dhcp.ts';
import { ETHERNET_HEADER, EtherType, writeEthernet } from '../wire/ethernet.ts';
import { IpProtocol, ipv4ChecksumOk } from '../wire/ipv4.ts';
import { type Binding, clientKey, LeaseTable } from './lease-table.ts';
import { address4, encodeNetworkOptions, invalid, readStatics } from './options.ts';
import { MAX_REPLY, type ReplyIdentity, writeReply } from './reply.ts';
import type {
  DhcpLeaseRecord,
  DhcpServerEvent,
  DhcpServerLease,
  DhcpServerOptions,
  DhcpServerStats,
} from './server-options.ts';

/** Time to answer an offer with a request. */
const OFFER_TIME = 60_000;
const QUARANTINE = 600_000;
const MIN_LEASE = 60;
/** Addresses probed at the same time. */
const MAX_PROBES = 64;
const BROADCAST_MAC = 0xffffffffffff;

interface Probe {
  binding: Binding;
  message: DhcpMessage;
  station: number;
  deadline: number;
  tries: number;
}

export class DhcpServer implements L2Device {
  readonly mac: MacAddr;
  readonly mtu: number = 1500;
  readonly accepts: number = 0;
  readonly address: IpAddr;
  readonly stats: DhcpServerStats;
  readonly #subnet: Prefix;
  readonly #options: DhcpServerOptions;
  readonly #identity: ReplyIdentity;
  readonly #leaseTime: number;
  readonly #authoritative: boolean;
  readonly #answerArp: boolean;
  readonly #clock: Clock;
  readonly #random: Random32;
  readonly #table: LeaseTable;
  readonly #timer: Timer;
  readonly #probes: Map<number, Probe> = new Map();
  #handler: FrameHandler = dropFrame;
  #closed = false;

  constructor(options: DhcpServerOptions) {
    if (options.address === undefined) {
      invalid(
        'address: give the DHCP server an IPv4 address with its network, such as 10.0.0.2/24',
      );
    }
    const subnet = Prefix.from(options.address);
    this.address = address4('address', subnet.addr);
    if (subnet.bits > 30 || this.address.isUnspecified) {
      invalid(`address: ${subnet} leaves no addresses to give; use a network of /30 or larger`);
    }
    this.#subnet = subnet;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? random32;
    this.mac = options.mac === undefined ? MacAddr.random(this.#random) : MacAddr.from(options.mac);
    this.#leaseTime = options.leaseTime ?? 3600;
    const whole = Number.isInteger(this.#leaseTime) || this.#leaseTime === Number.POSITIVE_INFINITY;
    if (!whole || this.#leaseTime < MIN_LEASE) {
      invalid(`leaseTime: whole seconds, at least ${MIN_LEASE}, got ${this.#leaseTime}`);
    }
    this.#authoritative = options.authoritative ?? true;
    this.#answerArp = options.answerArp ?? true;
    this.#identity = {
      address: this.address,
      mac: this.mac,
      network: encodeNetworkOptions(options, subnet, this.#leaseTime),
      staticLeases: options.staticLeases ?? [],
    };
    const reserved = this.#reserved();
    const [start, end] = this.#range();
    this.#table = new LeaseTable({
      start,
      end,
      limit: positive('maxLeases', options.maxLeases ?? 4096),
      maxOffers: positive('maxOffers', options.maxOffers ?? 256),
      maxPerStation: positive('maxLeasesPerStation', options.maxLeasesPerStation ?? 64),
      reserved,
      statics: readStatics(options.staticLeases ?? [], subnet, reserved),
    });
    this.stats = {
      discovers: 0,
      offers: 0,
      requests: 0,
      acks: 0,
      naks: 0,
      declines: 0,
      releases: 0,
      informs: 0,
      expired: 0,
      probeConflicts: 0,
      dropMalformed: 0,
      dropOtherServer: 0,
      dropNotHolder: 0,
      dropNoAddress: 0,
      dropUnknown: 0,
      table: this.#table.stats,
    };
    this.#timer = this.#clock.timer(() => this.#onTimer());
  }

  /** The leases in force. */
  get leases(): DhcpServerLease[] {
    const now = this.#clock.now;
    return [...this.#table.values()]
      .filter((binding) => binding.state === 'bound' && binding.expires > now)
      .map(describe);
  }

  /** How many addresses are known to the server in any state: at most `maxLeases` and a few static ones. */
  get tableSize(): number {
    return this.#table.size;
  }

  /** The leases in force, for a file. */
  exportLeases(): DhcpLeaseRecord[] {
    const shift = this.#clock.wall - this.#clock.now;
    return this.leases.map((lease) => ({
      address: lease.address.toString(),
      mac: lease.mac.toString(),
      clientId: lease.clientId === null ? null : hex(lease.clientId),
      hostname: lease.hostname,
      expires: lease.expires === Number.POSITIVE_INFINITY ? null : lease.expires + shift,
    }));
  }

  /** Takes back what `exportLeases` gave. Gives how many leases still hold; others, and those outside the range, are left out. */
  importLeases(records: readonly DhcpLeaseRecord[]): number {
    const now = this.#clock.now;
    const shift = this.#clock.wall - now;
    let taken = 0;
    for (const record of records) {
      const ip = address4('importLeases', record.address).v4;
      const mac = MacAddr.from(record.mac).value;
      const clientId = record.clientId === null ? undefined : unhex(record.clientId);
      const key = clientKey(mac, clientId);
      const expires = record.expires === null ? Number.POSITIVE_INFINITY : record.expires - shift;
      const fixed = this.#table.staticFor(key, mac);
      if (expires <= now || (fixed !== ip && !this.#table.isFree(ip, now))) continue;
      const binding = this.#table.allocate(key, mac, -1, ip, now);
      if (binding === null || binding.ip !== ip) continue;
      binding.clientId = clientId ?? null;
      binding.hostname = record.hostname;
      this.#set(binding, 'bound', expires);
      taken++;
    }
    return taken;
  }

  setHandler(handler: FrameHandler): void {
    this.#handler = handler;
  }

  send(frame: Frame): void {
    const { buf, off, len } = frame;
    if (this.#closed || len < ETHERNET_HEADER) return;
    const at = off + ETHERNET_HEADER;
    const type = get16(buf, off + 12);
    if (type === EtherType.ARP) {
      this.#onArp(buf, at, len - ETHERNET_HEADER);
      return;
    }
    if (type !== EtherType.IPV4) return;
    const size = ipLength(buf, at, len - ETHERNET_HEADER);
    if (size < 0 || buf[at] >>> 4 !== 4 || buf[at + 9] !== IpProtocol.UDP) return;
    const header = (buf[at] & 15) * 4;
    const udp = at + header;
    if ((get16(buf, at + 6) & 0x3fff) !== 0 || size < header + 8) return;
    if (get16(buf, udp + 2) !== DHCP_SERVER_PORT) return;
    const length = get16(buf, udp + 4);
    const trusted = (frame.offload & (CHECKSUM_PARTIAL | CHECKSUM_TRUSTED)) !== 0;
    if (
      length < 8 ||
      header + length > size ||
      (!trusted && !verifyTransport(buf, at, IpProtocol.UDP, udp, length)) ||
      !ipv4ChecksumOk(buf, at)
    ) {
      this.stats.dropMalformed++;
      return;
    }
    const message = parseDhcp(buf, udp + 8, length - 8);
    if (message === null || message.op !== 1 || message.mac % 2 ** 48 === 0) {
      this.stats.dropMalformed++;
      return;
    }
    this.#onMessage(message, frame.src, getInt32(buf, at + 16) >>> 0);
  }

  close(): void {
    this.#closed = true;
    this.#timer.cancel();
    this.#probes.clear();
    this.#handler = dropFrame;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #onMessage(message: DhcpMessage, station: number, dst: number): void {
    const counted = message.giaddr === 0 ? station : -1;
    switch (message.type) {
      case DhcpType.DISCOVER:
        this.stats.discovers++;
        this.#onDiscover(message, station, counted);
        return;
      case DhcpType.REQUEST:
        this.stats.requests++;
        this.#onRequest(message, station, counted, dst);
        return;
      case DhcpType.DECLINE:
        this.#onDecline(message);
        return;
      case DhcpType.RELEASE:
        this.#onRelease(message);
        return;
      case DhcpType.INFORM:
        this.stats.informs++;
        if (!this.#subnet.contains(IpAddr.v4(message.ciaddr))) this.stats.dropUnknown++;
        else this.#reply(message, DhcpType.ACK, 0, station);
        return;
    }
    this.stats.dropMalformed++;
  }

  #onDiscover(message: DhcpMessage, station: number, counted: number): void {
    const key = keyOf(message);
    const now = this.#clock.now;
    const wanted = optionU32(message.options, DhcpOption.REQUESTED_ADDRESS);
    const binding = this.#table.allocate(key, message.mac, counted, wanted, now);
    if (binding === null) {
      this.stats.dropNoAddress++;
      return;
    }
    const known = binding.state === 'bound' && binding.expires > now;
    const fresh = binding.state === 'free' && binding.expires === 0;
    this.#note(binding, message);
    if (!known) this.#set(binding, 'offered', now + OFFER_TIME);
    const wait = this.#options.conflictProbe ?? 0;
    if (wait > 0 && fresh && !binding.isStatic && this.#probes.size < MAX_PROBES) {
      this.#probe({ binding, message, station, deadline: now + wait, tries: 1 });
    } else if (!this.#probes.has(binding.ip)) {
      this.#offer(message, binding, station);
    }
  }

  #offer(message: DhcpMessage, binding: Binding, station: number): void {
    this.stats.offers++;
    this.#reply(message, DhcpType.OFFER, binding.ip, station);
  }

  /** RFC 2131 §4.3.2: what kind of request it is shows in what it carries. */
  #onRequest(message: DhcpMessage, station: number, counted: number, dst: number): void {
    const { options } = message;
    const key = keyOf(message);
    const chosen = optionU32(options, DhcpOption.SERVER_ID);
    const wanted = optionU32(options, DhcpOption.REQUESTED_ADDRESS);
    const own = this.#table.byKey(key);
    if (chosen >= 0) {
      if (chosen !== this.address.v4) {
        this.stats.dropOtherServer++;
        // The client has taken another server's offer: ours need not wait to lapse.
        if (own?.state === 'offered') this.#table.remove(own);
        return;
      }
      if (wanted < 0 || message.ciaddr !== 0) this.stats.dropMalformed++;
      else this.#grant(message, key, wanted, station, counted, true);
      return;
    }
    const ip = message.ciaddr !== 0 ? message.ciaddr : wanted;
    if (ip <= 0) {
      this.stats.dropMalformed++;
      return;
    }
    // A renewal is addressed to the server that gave the lease; somebody else's would be unicast to somebody else.
    const direct = message.ciaddr !== 0 && dst === this.address.v4;
    this.#grant(message, key, ip, station, counted, direct);
  }

  #grant(
    message: DhcpMessage,
    key: string,
    ip: number,
    station: number,
    counted: number,
    addressedToUs: boolean,
  ): void {
    const now = this.#clock.now;
    const own = this.#table.byKey(key);
    const fixed = this.#table.staticFor(key, message.mac);
    const onLink = this.#subnet.contains(IpAddr.v4(ip));
    const holds = own !== undefined && own.ip === ip && (fixed < 0 || fixed === ip);
    // Authoritative, a server takes over what is free: its own memory may be younger than its clients' leases.
    const mayTake = fixed >= 0 ? fixed === ip : this.#table.isFree(ip, now);
    if (onLink && (holds || (mayTake && (this.#authoritative || addressedToUs)))) {
      const binding = this.#table.allocate(key, message.mac, counted, ip, now);
      if (binding !== null && binding.ip === ip) {
        const renewed = binding.state === 'bound' && binding.expires > now;
        this.#note(binding, message);
        this.#set(binding, 'bound', now + this.#leaseTime * 1000);
        this.stats.acks++;
        this.#reply(message, DhcpType.ACK, ip, station);
        this.#emit(renewed ? 'renew' : 'lease', binding);
        return;
      }
      if (binding !== null && binding.state === 'free') this.#table.remove(binding);
    }
    if (this.#authoritative || addressedToUs || own !== undefined) {
      this.stats.naks++;
      this.#reply(message, DhcpType.NAK, 0, station);
    } else {
      this.stats.dropUnknown++;
    }
  }

  /** Only of the address that this client was given by this server, and of nobody else's. */
  #onDecline(message: DhcpMessage): void {
    const own = this.#table.byKey(keyOf(message));
    const wanted = optionU32(message.options, DhcpOption.REQUESTED_ADDRESS);
    const server = optionU32(message.options, DhcpOption.SERVER_ID);
    const holds = own !== undefined && own.ip === wanted && own.state === 'bound';
    if (!holds || server !== this.address.v4) {
      this.stats.dropNotHolder++;
      return;
    }
    this.stats.declines++;
    this.#emit('decline', own);
    this.#set(own, 'quarantined', this.#clock.now + QUARANTINE);
  }

  #onRelease(message: DhcpMessage): void {
    const own = this.#table.byKey(keyOf(message));
    const server = optionU32(message.options, DhcpOption.SERVER_ID);
    const holds = own !== undefined && own.ip === message.ciaddr && own.state === 'bound';
    if (!holds || (server >= 0 && server !== this.address.v4)) {
      this.stats.dropNotHolder++;
      return;
    }
    this.stats.releases++;
    this.#emit('release', own);
    this.#set(own, 'free', this.#clock.now);
  }

  #probe(probe: Probe): void {
    this.#probes.set(probe.binding.ip, probe);
    this.#arm(probe.deadline);
    this.#sendArp(ArpOperation.REQUEST, this.address.w3, 0, probe.binding.ip | 0, BROADCAST_MAC);
  }

  #onArp(buf: Uint8Array, at: number, len: number): void {
    const operation = arpOperation(buf, at, len);
    if (operation < 0) return;
    const sender = arpSenderIp(buf, at);
    const mac = arpSenderMac(buf, at);
    const probe = this.#probes.get(sender >>> 0);
    if (probe !== undefined && mac !== probe.message.mac) {
      this.#probeFailed(probe);
      return;
    }
    if (operation !== ArpOperation.REQUEST || arpTargetIp(buf, at) !== this.address.w3) return;
    if (this.#answerArp) this.#sendArp(ArpOperation.REPLY, this.address.w3, mac, sender, mac);
  }

  /** Somebody has the address without our leave: it is set aside, and the client gets another. */
  #probeFailed(probe: Probe): void {
    const { binding, message, station, tries } = probe;
    const now = this.#clock.now;
    this.#probes.delete(binding.ip);
    this.stats.probeConflicts++;
    const { key } = binding;
    this.#set(binding, 'quarantined', now + QUARANTINE);
    if (tries >= 4) return;
    const counted = message.giaddr === 0 ? station : -1;
    const next = this.#table.allocate(key, message.mac, counted, -1, now);
    if (next === null) {
      this.stats.dropNoAddress++;
      return;
    }
    this.#note(next, message);
    this.#set(next, 'offered', now + OFFER_TIME);
    const wait = this.#options.conflictProbe ?? 0;
    this.#probe({ binding: next, message, station, deadline: now + wait, tries: tries + 1 });
  }

  #onTimer(): void {
    const now = this.#clock.now;
    for (const probe of [...this.#probes.values()]) {
      if (probe.deadline > now) continue;
      this.#probes.delete(probe.binding.ip);
      if (probe.binding.state === 'offered')
        this.#offer(probe.message, probe.binding, probe.station);
    }
    for (const binding of this.#table.sweep(now)) {
      this.stats.expired++;
      this.#emit('expire', binding);
    }
    let next = this.#table.nextExpiry();
    for (const probe of this.#probes.values()) next = Math.min(next, probe.deadline);
    if (next < Number.POSITIVE_INFINITY) this.#timer.arm(next);
  }

  #set(binding: Binding, state: Binding['state'], expires: number): void {
    this.#table.set(binding, state, expires);
    if (state !== 'free') this.#arm(expires);
  }

  #arm(deadline: number): void {
    if (deadline < this.#timer.deadline && !this.#closed) this.#timer.arm(deadline);
  }

  #note(binding: Binding, message: DhcpMessage): void {
    binding.mac = message.mac;
    binding.clientId = message.options.get(DhcpOption.CLIENT_ID) ?? null;
    binding.hostname = optionText(message.options, DhcpOption.HOST_NAME) ?? binding.hostname;
  }

  #emit(type: DhcpServerEvent['type'], binding: Binding): void {
    this.#options.onEvent?.({ type, lease: describe(binding) });
  }

  #reply(message: DhcpMessage, type: DhcpType, yiaddr: number, station: number): void {
    const buf = pool.take(HEADROOM + MAX_REPLY);
    const id = this.#random() & 0xffff;
    const len = writeReply(buf, HEADROOM, this.#identity, message, type, yiaddr, station, id);
    this.#handler(new Frame(buf, HEADROOM, len));
    pool.give(buf);
  }

  #sendArp(op: number, senderIp: number, targetMac: number, targetIp: number, dst: number): void {
    const buf = pool.take(HEADROOM + 64);
    writeEthernet(buf, HEADROOM, dst, this.mac.value, EtherType.ARP);
    const at = HEADROOM + ETHERNET_HEADER;
    writeArp(buf, at, op, this.mac.value, senderIp, targetMac, targetIp);
    this.#handler(new Frame(buf, HEADROOM, ETHERNET_HEADER + ARP_LENGTH));
    pool.give(buf);
  }

  #reserved(): Set<number> {
    const reserved = new Set([this.address.v4, this.#subnet.network.addr.v4, this.#subnet.last.v4]);
    for (const router of this.#options.routers ?? []) reserved.add(address4('routers', router).v4);
    for (const server of this.#options.dns ?? []) reserved.add(address4('dns', server).v4);
    return reserved;
  }

  #range(): [number, number] {
    const network = this.#subnet.network.addr.v4;
    const last = this.#subnet.last.v4;
    const { range } = this.#options;
    if (range === undefined) return [network + 1, last - 1];
    const start = address4('range', range[0]).v4;
    const end = address4('range', range[1]).v4;
    if (start < network || end > last || start > end) {
      invalid(`range: ${range[0]} to ${range[1]} is not within ${this.#subnet.network}`);
    }
    return [start, end];
  }
}

function keyOf(message: DhcpMessage): string {
  return clientKey(message.mac, message.options.get(DhcpOption.CLIENT_ID));
}

function describe(binding: Binding): DhcpServerLease {
  return {
    address: IpAddr.v4(binding.ip),
    mac: MacAddr.fromNumber(binding.mac),
    clientId: binding.clientId,
    hostname: binding.hostname,
    expires: binding.expires,
    isStatic: binding.isStatic,
  };
}

function positive(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1) invalid(`${name}: expected 1 or more, got ${value}`);
  return value;
}

function hex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

function unhex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
