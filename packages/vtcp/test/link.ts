/** Two stacks on a simulated link in virtual time: loss, delay, reordering, duplication, a bottleneck with a queue. */

import { Accept, type Packet } from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import { TcpStack, type TcpStackOptions } from '../src/index.ts';

export interface LinkOptions {
  /** One way, milliseconds. */
  delay?: number;
  loss?: number;
  /** Part of the packets that are held back by `reorderDelay`. */
  reorder?: number;
  reorderDelay?: number;
  duplicate?: number;
  /** Bits a second; none unless told. */
  rate?: number;
  /** Bytes of the bottleneck's queue. */
  queue?: number;
  /** Loss in bursts: just after a loss the next are lost with this probability. */
  burst?: number;
  mtu?: number;
  /** Marks instead of dropping when the queue is half full (ECN). */
  mark?: boolean;
}

/** A small seeded generator: xorshift32. */
export function seeded(seed: number): () => number {
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** How long a burst can last after its last loss, in milliseconds. */
const BURST_TIME = 20;

export class Direction {
  lost = 0;
  sent = 0;
  bytes = 0;
  /** Drops what it says true to. */
  filter: (packet: Packet, index: number) => boolean = () => false;
  /** Sees every packet that enters. */
  tap: (packet: Packet) => void = () => {};
  readonly #clock: VirtualClock;
  readonly #options: LinkOptions;
  readonly #random: () => number;
  #deliver: (packet: Packet) => void = () => {};
  #freeAt = 0;
  #lostAt = Number.NEGATIVE_INFINITY;
  #queue: Array<{ at: number; packet: Packet }> = [];
  #head = 0;
  readonly #timer;

  constructor(clock: VirtualClock, options: LinkOptions, random: () => number) {
    this.#clock = clock;
    this.#options = options;
    this.#random = random;
    this.#timer = clock.timer(() => this.#run());
  }

  connect(deliver: (packet: Packet) => void): void {
    this.#deliver = deliver;
  }

  #chance(p: number | undefined): boolean {
    return p !== undefined && p > 0 && this.#random() / 2 ** 32 < p;
  }

  send(packet: Packet): void {
    const o = this.#options;
    this.tap(packet);
    const index = this.sent++;
    this.bytes += packet.len;
    if (this.filter(packet, index)) {
      this.lost++;
      return;
    }
    const inBurst = o.burst !== undefined && this.#clock.now - this.#lostAt < BURST_TIME;
    if (this.#chance(inBurst ? o.burst : o.loss)) {
      this.#lostAt = this.#clock.now;
      this.lost++;
      return;
    }
    if (o.mtu !== undefined && packet.len > o.mtu) {
      this.lost++;
      return;
    }
    let at = this.#clock.now;
    const copy = packet.clone();
    if (o.rate !== undefined) {
      const backlog = ((Math.max(this.#freeAt, at) - at) * o.rate) / 8000;
      if (o.queue !== undefined && backlog + packet.len > o.queue) {
        this.lost++;
        return;
      }
      if (o.mark && o.queue !== undefined && backlog > o.queue / 2 && (copy.buf[1] & 3) === 2) {
        copy.buf[1] |= 3;
      }
      this.#freeAt = Math.max(this.#freeAt, at) + (packet.len * 8000) / o.rate;
      at = this.#freeAt;
    }
    at += o.delay ?? 0;
    if (this.#chance(o.reorder)) at += o.reorderDelay ?? 5;
    this.#insert(at, copy);
    if (this.#chance(o.duplicate)) this.#insert(at + 0.01, copy.clone());
  }

  #insert(at: number, packet: Packet): void {
    const queue = this.#queue;
    let i = queue.length;
    while (i > this.#head && queue[i - 1].at > at) i--;
    if (i === queue.length) queue.push({ at, packet });
    else queue.splice(i, 0, { at, packet });
    if (i === this.#head) this.#timer.arm(at);
  }

  #run(): void {
    const now = this.#clock.now;
    const queue = this.#queue;
    while (this.#head < queue.length && queue[this.#head].at <= now) {
      this.#deliver(queue[this.#head++].packet);
    }
    if (this.#head * 2 > queue.length) {
      queue.splice(0, this.#head);
      this.#head = 0;
    }
    if (this.#head < queue.length) this.#timer.arm(queue[this.#head].at);
  }
}

export interface Pair {
  clock: VirtualClock;
  a: TcpStack;
  b: TcpStack;
  ab: Direction;
  ba: Direction;
}

export function pair(
  link: LinkOptions = {},
  seed = 1,
  a: Partial<TcpStackOptions> = {},
  b: Partial<TcpStackOptions> = {},
): Pair {
  const clock = new VirtualClock();
  const random = seeded(seed);
  const ab = new Direction(clock, link, random);
  const ba = new Direction(clock, link, random);
  const offload = a.offload ?? Accept.CHECKSUM;
  const stackA = new TcpStack({ clock, random, output: (p) => ab.send(p), offload, ...a });
  const stackB = new TcpStack({ clock, random, output: (p) => ba.send(p), offload, ...b });
  ab.connect((p) => stackB.handlePacket(p));
  ba.connect((p) => stackA.handlePacket(p));
  return { clock, a: stackA, b: stackB, ab, ba };
}
