/**
 * The name server that guests find on the gateway's address: a query goes to the host's resolvers one after the other, its
 * answer back as it is. Each query travels from a socket of its own with a new id (RFC 5452 §9.2); when nobody answers, the
 * guest gets SERVFAIL at once instead of silence. TCP queries are ordinary flows to a resolver (`tcp-side.ts`).
 */

import { IpAddr as Address, get16, type IpAddr, put16, type Timer } from '@pktkit/core';
import type { Context } from './context.ts';
import type { HostDatagramEvents, HostDatagrams } from './sockets.ts';

const HEADER = 12;
const SERVFAIL = 2;
/** Flags of the second word: response, and the bits that an answer repeats (opcode, recursion desired). */
const RESPONSE = 0x8000;
const REPEATED = 0x7900;

export interface DnsAsker {
  readonly guest: IpAddr;
  readonly guestPort: number;
  /** The gateway's address that was asked. */
  readonly gateway: IpAddr;
}

/** Takes the answer back to the guest. */
export type DnsReply = (asker: DnsAsker, message: Uint8Array) => void;

export class DnsForwarder {
  readonly #context: Context;
  readonly #reply: DnsReply;
  readonly #queries = new Set<Query>();

  constructor(context: Context, reply: DnsReply) {
    this.#context = context;
    this.#reply = reply;
  }

  /** Takes a query; the bytes are borrowed. */
  ask(asker: DnsAsker, message: Uint8Array): void {
    const { stats, limits } = this.#context;
    // A response here would let two forwarders talk to each other for ever.
    if (message.length < HEADER || (get16(message, 2) & RESPONSE) !== 0) {
      stats.dropMalformed++;
      return;
    }
    if (this.#queries.size >= limits.dnsQueries || this.#isRepeated(asker, message)) {
      stats.dropDnsLimit++;
      return;
    }
    stats.dnsQueries++;
    const query = new Query(this.#context, asker, message.slice(), (answer) => {
      this.#queries.delete(query);
      if (answer === null) stats.dnsFailed++;
      else stats.dnsAnswers++;
      this.#context.clock.beginBatch();
      this.#reply(asker, answer ?? failure(query.message));
      this.#context.clock.endBatch();
    });
    this.#queries.add(query);
    query.next();
  }

  close(): void {
    for (const query of this.#queries) query.close();
    this.#queries.clear();
  }

  /** The guest repeats a question that is still being asked. */
  #isRepeated(asker: DnsAsker, message: Uint8Array): boolean {
    for (const query of this.#queries) {
      const other = query.asker;
      if (
        other.guestPort === asker.guestPort &&
        get16(query.message, 0) === get16(message, 0) &&
        other.guest.equals(asker.guest)
      ) {
        return true;
      }
    }
    return false;
  }
}

class Query implements HostDatagramEvents {
  readonly asker: DnsAsker;
  readonly message: Uint8Array;
  readonly #context: Context;
  readonly #servers: readonly { readonly address: string; readonly port: number }[];
  readonly #done: (answer: Uint8Array | null) => void;
  readonly #timer: Timer;
  readonly #id: number;
  #server = 0;
  #socket: HostDatagrams | null = null;

  constructor(
    context: Context,
    asker: DnsAsker,
    message: Uint8Array,
    done: (answer: Uint8Array | null) => void,
  ) {
    this.#context = context;
    this.asker = asker;
    this.message = message;
    this.#done = done;
    this.#servers = context.resolvers();
    this.#id = context.random() & 0xffff;
    this.#timer = context.clock.timer(() => this.next());
  }

  /** Asks the next server, or gives up. */
  next(): void {
    this.close();
    const { clock, provider, timeouts } = this.#context;
    for (;;) {
      const server = this.#servers[this.#server++];
      if (server === undefined) {
        this.#done(null);
        return;
      }
      const family = Address.tryParse(server.address)?.family;
      if (family === undefined) continue;
      try {
        this.#socket = provider.datagrams(family, this, { connect: server });
      } catch {
        continue;
      }
      const outgoing = this.message.slice();
      put16(outgoing, 0, this.#id);
      this.#timer.arm(clock.now + timeouts.dnsServer);
      this.#socket.send(outgoing, server.address, server.port);
      return;
    }
  }

  close(): void {
    this.#timer.cancel();
    this.#socket?.close();
    this.#socket = null;
  }

  onMessage(bytes: Uint8Array): void {
    if (!this.#isAnswer(bytes)) return;
    const answer = bytes.slice();
    put16(answer, 0, get16(this.message, 0));
    this.close();
    this.#done(answer);
  }

  onError(): void {
    this.next();
  }

  onClosed(): void {
    this.next();
  }

  /** Direction, id and question agree; the name's letters may have changed their case. */
  #isAnswer(bytes: Uint8Array): boolean {
    if (bytes.length < HEADER || get16(bytes, 0) !== this.#id) return false;
    if ((get16(bytes, 2) & RESPONSE) === 0) return false;
    const questions = get16(bytes, 4);
    if (questions === 0) return true;
    const end = questionEnd(this.message);
    if (end < 0 || bytes.length < end) return false;
    for (let i = HEADER; i < end; i++) if (lower(bytes[i]) !== lower(this.message[i])) return false;
    return true;
  }
}

/** Where the first question of a message ends; -1 when it has none that can be read. */
function questionEnd(message: Uint8Array): number {
  let at = HEADER;
  while (at < message.length) {
    const label = message[at];
    if (label === 0) return at + 5 <= message.length ? at + 5 : -1;
    // A question is the first name of its message: there is nothing that a pointer could point to.
    if (label > 63) return -1;
    at += 1 + label;
  }
  return -1;
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

/** "Server failure" for a query, with its question (RFC 1035 §4.1.1). */
function failure(query: Uint8Array): Uint8Array {
  const end = questionEnd(query);
  const answer = query.slice(0, end < 0 ? HEADER : end);
  put16(answer, 2, RESPONSE | (get16(query, 2) & REPEATED) | 0x80 | SERVFAIL);
  put16(answer, 4, end < 0 ? 0 : 1);
  put16(answer, 6, 0);
  put16(answer, 8, 0);
  put16(answer, 10, 0);
  return answer;
}
