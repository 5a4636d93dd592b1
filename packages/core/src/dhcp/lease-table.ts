/**
 * Who has which address, for a DHCP server. One record per address and at most one per client, so that an address can never
 * be two clients' (the record of a lease that has ended goes when its address is given to somebody else).
 *
 * States: `offered` (lapses), `bound` (expires), `quarantined` (declined or seen in use), `free` (ended; remembered, so that
 * the client gets it back, until somebody else needs it).
 *
 * Bounds: as many records as the range has addresses, at most `limit`; offers are at most `maxOffers` and give way to newer
 * ones, oldest first, when they run out; a quarter of the range at most is quarantined.
 */

export type BindingState = 'offered' | 'bound' | 'quarantined' | 'free';

export interface Binding {
  /** Unsigned 32 bits. */
  readonly ip: number;
  /** The client, as `clientKey` names it; empty while quarantined. */
  key: string;
  mac: number;
  clientId: Uint8Array | null;
  hostname: string | null;
  state: BindingState;
  /** The clock's milliseconds. */
  expires: number;
  isStatic: boolean;
  /** The station that asked for it, to count what one station holds. */
  station: number;
}

export interface LeaseTableOptions {
  /** Inclusive, unsigned. */
  start: number;
  end: number;
  limit: number;
  maxOffers: number;
  maxPerStation: number;
  /** Addresses of the range that nobody gets: the server's, routers', the network's own. */
  reserved: ReadonlySet<number>;
  /** By client key or by `macKey`. */
  statics: ReadonlyMap<string, number>;
}

export interface LeaseTableStats {
  /** Offers that gave way to newer ones. */
  offersEvicted: number;
  /** Requests refused because the range is used up, or one station holds too much. */
  exhausted: number;
  stationLimit: number;
}

export class LeaseTable {
  readonly stats: LeaseTableStats = { offersEvicted: 0, exhausted: 0, stationLimit: 0 };
  readonly #options: LeaseTableOptions;
  /** Maps keep order of insertion: records that are taken in again go to the end, so the first is the oldest. */
  readonly #byIp: Map<number, Binding> = new Map();
  readonly #byKey: Map<string, Binding> = new Map();
  readonly #offers: Set<Binding> = new Set();
  readonly #quarantined: Set<Binding> = new Set();
  readonly #free: Set<Binding> = new Set();
  readonly #staticIps: ReadonlySet<number>;
  readonly #size: number;
  #next: number;

  constructor(options: LeaseTableOptions) {
    this.#options = options;
    this.#staticIps = new Set(options.statics.values());
    this.#size = options.end - options.start + 1;
    this.#next = options.start;
  }

  get size(): number {
    return this.#byIp.size;
  }

  byKey(key: string): Binding | undefined {
    return this.#byKey.get(key);
  }

  byIp(ip: number): Binding | undefined {
    return this.#byIp.get(ip);
  }

  values(): IterableIterator<Binding> {
    return this.#byIp.values();
  }

  /** The address reserved for a client by configuration, or -1. */
  staticFor(key: string, mac: number): number {
    const { statics } = this.#options;
    return statics.get(key) ?? statics.get(macKey(mac)) ?? -1;
  }

  inRange(ip: number): boolean {
    return ip >= this.#options.start && ip <= this.#options.end;
  }

  /**
   * The client's record for an address that it may have: reserved for it, its own, `wanted` when that is free, else any.
   * Null when there is none. The caller sets the state.
   */
  allocate(key: string, mac: number, station: number, wanted: number, now: number): Binding | null {
    const fixed = this.staticFor(key, mac);
    const own = this.#byKey.get(key);
    if (fixed >= 0) {
      const holder = this.#byIp.get(fixed);
      // Somebody else's quarantine or lease of before the reservation lasts until it ends.
      if (holder !== undefined && holder.key !== key && !this.#isTakeable(holder, now)) return null;
      return this.#claim(fixed, key, mac, station, true);
    }
    if (own !== undefined && !own.isStatic && !this.#staticIps.has(own.ip)) return own;
    if (this.#heldBy(station) >= this.#options.maxPerStation) {
      this.stats.stationLimit++;
      return null;
    }
    if (this.isFree(wanted, now)) return this.#claim(wanted, key, mac, station, false);
    const ip = this.#findFree(now);
    if (ip < 0) {
      this.stats.exhausted++;
      return null;
    }
    return this.#claim(ip, key, mac, station, false);
  }

  /** Whether the address could be given to a new client: in the range, nobody's, and not reserved. */
  isFree(ip: number, now: number): boolean {
    if (!this.inRange(ip) || this.#options.reserved.has(ip) || this.#staticIps.has(ip))
      return false;
    const holder = this.#byIp.get(ip);
    return holder === undefined || this.#isTakeable(holder, now);
  }

  /** Sets a record's state; makes room among offers and quarantined addresses. */
  set(binding: Binding, state: BindingState, expires: number): void {
    this.#offers.delete(binding);
    this.#quarantined.delete(binding);
    this.#free.delete(binding);
    binding.state = state;
    binding.expires = expires;
    if (state === 'offered') {
      this.#offers.add(binding);
      if (this.#offers.size > this.#options.maxOffers) this.#evictOffer();
    } else if (state === 'free') {
      this.#free.add(binding);
    } else if (state === 'quarantined') {
      this.#byKey.delete(binding.key);
      binding.key = '';
      this.#quarantined.add(binding);
      const most = Math.max(1, Math.floor(Math.min(this.#size, this.#options.limit) / 4));
      if (this.#quarantined.size > most) this.#delete(first(this.#quarantined));
    }
  }

  /** Ends what is over. Gives the bindings that were in force and have expired. */
  sweep(now: number): Binding[] {
    const expired: Binding[] = [];
    for (const binding of this.#byIp.values()) {
      if (binding.state === 'free' || binding.expires > now) continue;
      if (binding.state === 'bound') {
        expired.push(binding);
        this.set(binding, 'free', 0);
      } else {
        this.#delete(binding);
      }
    }
    return expired;
  }

  /** When `sweep` is due next. */
  nextExpiry(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const binding of this.#byIp.values()) {
      if (binding.state !== 'free' && binding.expires < next) next = binding.expires;
    }
    return next;
  }

  /** Forgets a record. */
  remove(binding: Binding): void {
    this.#delete(binding);
  }

  /** Marks an address that turned out to be in use by somebody unknown. */
  quarantine(ip: number, until: number): void {
    if (!this.inRange(ip)) return;
    const known = this.#byIp.get(ip) ?? this.#insert(ip, '', 0, 0, false);
    this.set(known, 'quarantined', until);
  }

  #isTakeable(holder: Binding, now: number): boolean {
    return holder.state === 'free' || holder.expires <= now;
  }

  #heldBy(station: number): number {
    if (station < 0) return 0;
    let count = 0;
    for (const binding of this.#byIp.values()) {
      if (
        binding.station === station &&
        (binding.state === 'bound' || binding.state === 'offered')
      ) {
        count++;
      }
    }
    return count;
  }

  #claim(ip: number, key: string, mac: number, station: number, isStatic: boolean): Binding {
    const holder = this.#byIp.get(ip);
    if (holder !== undefined && holder.key === key) {
      holder.isStatic = isStatic;
      return holder;
    }
    if (holder !== undefined) this.#delete(holder);
    const own = this.#byKey.get(key);
    if (own !== undefined) this.#delete(own);
    return this.#insert(ip, key, mac, station, isStatic);
  }

  #insert(ip: number, key: string, mac: number, station: number, isStatic: boolean): Binding {
    const binding: Binding = {
      ip,
      key,
      mac,
      clientId: null,
      hostname: null,
      state: 'free',
      expires: 0,
      isStatic,
      station,
    };
    this.#byIp.set(ip, binding);
    if (key !== '') this.#byKey.set(key, binding);
    this.#free.add(binding);
    return binding;
  }

  #delete(binding: Binding): void {
    this.#byIp.delete(binding.ip);
    if (this.#byKey.get(binding.key) === binding) this.#byKey.delete(binding.key);
    this.#offers.delete(binding);
    this.#quarantined.delete(binding);
    this.#free.delete(binding);
  }

  #evictOffer(): void {
    this.stats.offersEvicted++;
    this.#delete(first(this.#offers));
  }

  /**
   * An address without a record first, then the one that ended longest ago, then the oldest offer. Looks at no more
   * addresses than there are records and reservations, and one.
   */
  #findFree(now: number): number {
    const { start, end, reserved, limit } = this.#options;
    const steps = Math.min(this.#size, this.#byIp.size + reserved.size + this.#staticIps.size + 1);
    if (this.#byIp.size < limit) {
      for (let i = 0; i < steps; i++) {
        const ip = this.#next;
        this.#next = ip === end ? start : ip + 1;
        const taken = this.#byIp.has(ip) || reserved.has(ip) || this.#staticIps.has(ip);
        if (!taken) return ip;
      }
    }
    for (const binding of this.#free) {
      if (this.isFree(binding.ip, now)) return binding.ip;
    }
    for (const binding of this.#offers) {
      if (binding.isStatic || this.#staticIps.has(binding.ip)) continue;
      this.stats.offersEvicted++;
      this.#delete(binding);
      return binding.ip;
    }
    return -1;
  }
}

export function macKey(mac: number): string {
  return `mac:${mac.toString(16).padStart(12, '0')}`;
}

/** RFC 2131 §4.2: a client is known by its identifier, else by its hardware address. */
export function clientKey(mac: number, clientId: Uint8Array | undefined): string {
  if (clientId === undefined || clientId.length < 2) return macKey(mac);
  let key = 'id:';
  for (const byte of clientId) key += byte.toString(16).padStart(2, '0');
  return key;
}

function first<T>(set: Set<T>): T {
  return set.values().next().value as T;
}
