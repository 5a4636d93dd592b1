/**
 * A stub resolver (RFC 1034 §5.3.1) that speaks through the virtual network: several servers in turn, retries, TCP for
 * truncated answers, EDNS0, aliases, a cache bounded by number and time to live, a search list and a hosts table.
 */

import type { LookupAddress, LookupOptions } from 'node:dns';
import { type Clock, IpAddr, type Random32, random32 } from '@pktkit/core';
import { lookupError } from '../errors.ts';
import { DnsCache } from './cache.ts';
import {
  type Answer,
  decodeAnswer,
  encodeQuery,
  followChain,
  isAskable,
  Rcode,
  type RecordType,
} from './message.ts';

/** A name server: an address, and a port other than 53 where need be. */
export interface DnsServer {
  readonly address: IpAddr;
  readonly port: number;
}

/** How messages travel; the client's own UDP and TCP. */
export interface DnsTransport {
  /**
   * Sends `query` by UDP from a port of its own and gives what `accept` makes of the first message it takes. Null when
   * the server has not answered in time, or is known not to.
   */
  udp<T>(
    server: DnsServer,
    query: Uint8Array,
    accept: (message: Uint8Array) => T | null,
    timeout: number,
  ): Promise<T | null>;
  /** The same by TCP. */
  tcp<T>(
    server: DnsServer,
    query: Uint8Array,
    accept: (message: Uint8Array) => T | null,
    timeout: number,
  ): Promise<T | null>;
}

export interface ResolverOptions {
  /** How long one server is waited for, in milliseconds; 2,000 unless told. */
  timeout?: number | undefined;
  /** Rounds over all servers; 2 unless told. */
  attempts?: number | undefined;
  /** Names that are known without asking, each with its addresses. */
  hosts?: Readonly<Record<string, string | readonly string[]>> | undefined;
  /** Suffixes that are tried for names with fewer than `ndots` dots. */
  search?: readonly string[] | undefined;
  /** 1 unless told. */
  ndots?: number | undefined;
  /** Answers kept; 1,000 unless told, 0 for none. */
  cacheSize?: number | undefined;
  /** Longest time an answer is kept, in seconds; 86,400 unless told. */
  maxTtl?: number | undefined;
}

export interface ResolverStats {
  queries: number;
  cacheHits: number;
  answers: number;
  nxdomain: number;
  timeouts: number;
  tcpFallbacks: number;
  /** Messages that did not belong to the query: wrong id, question or direction. */
  mismatched: number;
  failures: number;
}

export interface ResolveOptions {
  /** 4 or 6; both unless told. */
  family?: 0 | 4 | 6 | undefined;
  signal?: AbortSignal | undefined;
}

type LookupCallback = (
  error: NodeJS.ErrnoException | null,
  address: string | LookupAddress[],
  family?: number,
) => void;

/** More aliases in a row than any honest zone has. */
const MAX_ALIASES = 8;
/** Bound of negative answers (RFC 2308 §5 recommends one to three hours at most), in seconds. */
const MAX_NEGATIVE_TTL = 900;
const NEGATIVE_TTL = 30;

/** A name's addresses of one family. An empty list: the name exists, or is unknown (`exists` false). */
interface Found {
  readonly addresses: readonly IpAddr[];
  readonly exists: boolean;
}

export class Resolver {
  /** Asked in this order. */
  servers: readonly DnsServer[] = [];
  search: readonly string[];
  readonly stats: ResolverStats = {
    queries: 0,
    cacheHits: 0,
    answers: 0,
    nxdomain: 0,
    timeouts: 0,
    tcpFallbacks: 0,
    mismatched: 0,
    failures: 0,
  };
  readonly #transport: DnsTransport;
  readonly #random: Random32;
  readonly #timeout: number;
  readonly #attempts: number;
  readonly #ndots: number;
  readonly #maxTtl: number;
  readonly #hosts: ReadonlyMap<string, readonly IpAddr[]>;
  readonly #cache: DnsCache<Found>;
  readonly #underWay = new Map<string, Promise<Found>>();
  /** The families that this host can use, so that it asks for no others. */
  readonly #families: () => { v4: boolean; v6: boolean };

  constructor(
    clock: Clock,
    transport: DnsTransport,
    families: () => { v4: boolean; v6: boolean },
    options: ResolverOptions = {},
    random: Random32 = random32,
  ) {
    this.#transport = transport;
    this.#families = families;
    this.#random = random;
    this.#timeout = options.timeout ?? 2000;
    this.#attempts = options.attempts ?? 2;
    this.#ndots = options.ndots ?? 1;
    this.#maxTtl = options.maxTtl ?? 86_400;
    this.search = options.search ?? [];
    this.#cache = new DnsCache(clock, options.cacheSize ?? 1000);
    this.#hosts = new Map(
      Object.entries(options.hosts ?? {}).map(([name, addresses]) => [
        name.toLowerCase(),
        (typeof addresses === 'string' ? [addresses] : addresses).map(IpAddr.parse),
      ]),
    );
  }

  /**
   * The addresses of a host, in order of preference: IPv6 first where this host has it (RFC 6724). Literal addresses come
   * back as they are. Rejects with `ENOTFOUND` when there are none, `EAI_AGAIN` when no server answered.
   */
  async resolve(hostname: string, options: ResolveOptions = {}): Promise<IpAddr[]> {
    const { family = 0, signal } = options;
    signal?.throwIfAborted();
    const literal = IpAddr.tryParse(hostname);
    if (literal !== null) {
      if (family !== 0 && literal.family !== family) throw lookupError('ENOTFOUND', hostname);
      return [literal];
    }
    const { v4, v6 } = this.#families();
    const parts: Promise<IpAddr[]>[] = [];
    if (family === 6 || (family === 0 && v6)) parts.push(this.resolveFamily(hostname, 6, signal));
    if (family === 4 || (family === 0 && (v4 || !v6))) {
      parts.push(this.resolveFamily(hostname, 4, signal));
    }
    const settled = await Promise.allSettled(parts);
    const addresses = settled.flatMap((part) => (part.status === 'fulfilled' ? part.value : []));
    if (addresses.length > 0) return addresses;
    for (const part of settled) if (part.status === 'rejected') throw part.reason;
    throw lookupError('ENOTFOUND', hostname);
  }

  /** The addresses of one family; an empty list when the host has none of it but exists. */
  async resolveFamily(hostname: string, family: 4 | 6, signal?: AbortSignal): Promise<IpAddr[]> {
    const known = this.#hosts.get(hostname.replace(/\.$/, '').toLowerCase());
    if (known !== undefined) return known.filter((address) => address.family === family);
    if (!isAskable(hostname)) throw lookupError('ENOTFOUND', hostname);
    const type = family === 4 ? 'A' : 'AAAA';
    let exists = false;
    for (const name of this.#candidates(hostname)) {
      const found = await abortable(this.#find(name, type), signal);
      if (found.addresses.length > 0) return [...found.addresses];
      exists ||= found.exists;
    }
    if (exists) return [];
    throw lookupError('ENOTFOUND', hostname);
  }

  /** One question, asked as it is: no search list, no cache. Rejects with `EAI_AGAIN` when no server answered. */
  async query(name: string, type: RecordType): Promise<Answer> {
    if (this.servers.length === 0) throw lookupError('EAI_AGAIN', name);
    for (let attempt = 0; attempt < this.#attempts; attempt++) {
      for (const server of this.servers) {
        const answer = await this.#ask(server, name, type);
        if (answer === null) continue;
        // Anything else is the server's own trouble: another one may do better.
        if (answer.rcode === Rcode.NOERROR || answer.rcode === Rcode.NXDOMAIN) {
          this.stats.answers++;
          if (answer.rcode === Rcode.NXDOMAIN) this.stats.nxdomain++;
          return answer;
        }
      }
    }
    this.stats.failures++;
    throw lookupError('EAI_AGAIN', name);
  }

  /** In the shape of `dns.lookup`, for options named `lookup`. */
  readonly lookup = (
    hostname: string,
    options: LookupOptions | number | LookupCallback,
    callback?: LookupCallback,
  ): void => {
    const done = (typeof options === 'function' ? options : callback) as LookupCallback;
    const { family, all } =
      typeof options === 'number'
        ? { family: options, all: false }
        : typeof options === 'function'
          ? { family: 0, all: false }
          : { family: options.family ?? 0, all: options.all ?? false };
    const wanted =
      family === 4 || family === 'IPv4' ? 4 : family === 6 || family === 'IPv6' ? 6 : 0;
    this.resolve(hostname, { family: wanted }).then(
      (addresses) => {
        const list = addresses.map((address) => ({
          address: address.toString(),
          family: address.family,
        }));
        if (all) done(null, list);
        else done(null, list[0].address, list[0].family);
      },
      (error: NodeJS.ErrnoException) => done(error, all ? [] : ''),
    );
  };

  clearCache(): void {
    this.#cache.clear();
  }

  #candidates(hostname: string): string[] {
    if (hostname.endsWith('.')) return [hostname.slice(0, -1)];
    const expanded = this.search.map((suffix) => `${hostname}.${suffix.replace(/^\.|\.$/g, '')}`);
    const dots = hostname.split('.').length - 1;
    return (dots >= this.#ndots ? [hostname, ...expanded] : [...expanded, hostname]).filter(
      isAskable,
    );
  }

  /** Through the cache; equal questions at the same time share one query. */
  #find(name: string, type: 'A' | 'AAAA'): Promise<Found> {
    const key = `${type} ${name.toLowerCase()}`;
    const cached = this.#cache.get(key);
    if (cached !== undefined) {
      this.stats.cacheHits++;
      return Promise.resolve(cached);
    }
    let search = this.#underWay.get(key);
    if (search === undefined) {
      search = this.#follow(key, name, type).finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, search);
    }
    return search;
  }

  async #follow(key: string, name: string, type: 'A' | 'AAAA'): Promise<Found> {
    let at = name;
    let ttl = this.#maxTtl;
    for (let aliases = 0; aliases <= MAX_ALIASES; aliases++) {
      const answer = await this.query(at, type);
      const chain = followChain(answer.records, at, type);
      ttl = Math.min(ttl, chain.ttl);
      if (chain.addresses.length > 0) {
        const found = { addresses: chain.addresses, exists: true };
        this.#cache.set(key, found, ttl);
        return found;
      }
      if (chain.next === null || answer.rcode === Rcode.NXDOMAIN) {
        const found = { addresses: [], exists: answer.rcode !== Rcode.NXDOMAIN };
        const negative = Math.min(answer.negativeTtl || NEGATIVE_TTL, MAX_NEGATIVE_TTL, ttl);
        this.#cache.set(key, found, negative);
        return found;
      }
      at = chain.next;
    }
    throw lookupError('ENOTFOUND', name);
  }

  async #ask(server: DnsServer, name: string, type: RecordType): Promise<Answer | null> {
    let answer = await this.#exchange(server, name, type, true);
    // RFC 6891 §7: a server that does not know EDNS0 says "format error".
    if (answer?.rcode === Rcode.FORMERR) answer = await this.#exchange(server, name, type, false);
    return answer;
  }

  async #exchange(
    server: DnsServer,
    name: string,
    type: RecordType,
    edns: boolean,
  ): Promise<Answer | null> {
    const id = this.#random() & 0xffff;
    const query = encodeQuery(id, name, type, edns);
    const accept = (message: Uint8Array): Answer | null => {
      const answer = decodeAnswer(message, id, name, type);
      if (answer === null) this.stats.mismatched++;
      return answer;
    };
    this.stats.queries++;
    const answer = await this.#transport.udp(server, query, accept, this.#timeout);
    if (answer === null) {
      this.stats.timeouts++;
      return null;
    }
    if (!answer.truncated) return answer;
    this.stats.tcpFallbacks++;
    return this.#transport.tcp(server, query, accept, this.#timeout * 2);
  }
}

/** Gives up waiting, not the work: others may wait for the same. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
