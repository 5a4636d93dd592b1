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
  /** Loss in bursts: once lost, the next are lost with this probability. */
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
  #lastLost = false;
  #queue: Array<{ at: number; packet: Packet; order: number }> = [];
  #order = 0;
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
    const lost = this.#chance(this.#lastLost && o.burst ? o.burst : o.loss);
    this.#lastLost = lost;
    if (lost) {
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
    while (i > 0 && queue[i - 1].at > at) i--;
    queue.splice(i, 0, { at, packet, order: this.#order++ });
    if (i === 0) this.#timer.arm(at);
  }

  #run(): void {
    const now = this.#clock.now;
    const queue = this.#queue;
    let due = 0;
    while (due < queue.length && queue[due].at <= now) due++;
    const batch = queue.splice(0, due);
    for (const { packet } of batch) this.#deliver(packet);
    if (queue.length > 0) this.#timer.arm(queue[0].at);
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
