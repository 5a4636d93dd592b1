/**
 * Packets that wait for a handshake. Bounded twice: by number for each peer, by bytes over all peers of an engine. When it
 * is full the oldest packet of the peer makes room, as it is the one most likely given up by its sender.
 */

import type { Packet } from '@pktkit/core';

export interface StagingBudget {
  /** Bytes held by all queues together. */
  used: number;
  readonly limit: number;
}

export class Staging {
  readonly #budget: StagingBudget;
  readonly #limit: number;
  #packets: Packet[] = [];

  constructor(budget: StagingBudget, limit: number) {
    this.#budget = budget;
    this.#limit = limit;
  }

  get length(): number {
    return this.#packets.length;
  }

  /** Keeps a copy. Gives how many packets were lost over it: older ones, or this one itself. */
  push(packet: Packet): number {
    const budget = this.#budget;
    let lost = 0;
    while (
      this.#packets.length > 0 &&
      (this.#packets.length >= this.#limit || budget.used + packet.len > budget.limit)
    ) {
      this.#drop();
      lost++;
    }
    if (budget.used + packet.len > budget.limit) return lost + 1;
    budget.used += packet.len;
    this.#packets.push(packet.clone());
    return lost;
  }

  /** Empties the queue; the caller has the packets then. */
  take(): Packet[] {
    const packets = this.#packets;
    this.#packets = [];
    for (const packet of packets) this.#budget.used -= packet.len;
    return packets;
  }

  #drop(): void {
    const packet = this.#packets.shift() as Packet;
    this.#budget.used -= packet.len;
  }
}
