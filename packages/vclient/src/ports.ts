/** UDP ports of one host: who has which, and ephemeral ones at random (RFC 6056 §3.3.1, simple randomisation). */

import type { IpAddr } from '@pktkit/core';
import { type Random32, randomBelow } from '@pktkit/core';

/** What a port is bound to: null stands for every address of both families. */
export interface Binding {
  readonly localAddress: IpAddr | null;
  readonly localPort: number;
  /** Set: only datagrams of this peer. */
  readonly remoteAddress: IpAddr | null;
  readonly remotePort: number;
}

const FIRST_EPHEMERAL = 32768;
const LAST_EPHEMERAL = 60999;

export class PortTable<T extends Binding> {
  readonly #random: Random32;
  readonly #ports = new Map<number, T[]>();
  #size = 0;

  constructor(random: Random32) {
    this.#random = random;
  }

  /** Bindings of all ports. */
  get size(): number {
    return this.#size;
  }

  /** A free ephemeral port, or 0 when there is none. */
  ephemeral(): number {
    const count = LAST_EPHEMERAL - FIRST_EPHEMERAL + 1;
    const start = randomBelow(count, this.#random);
    for (let i = 0; i < count; i++) {
      const port = FIRST_EPHEMERAL + ((start + i) % count);
      if (!this.#ports.has(port)) return port;
    }
    return 0;
  }

  /** False when the port is taken for this address, or for all. */
  add(binding: T): boolean {
    const taken = this.#ports.get(binding.localPort);
    if (taken === undefined) {
      this.#ports.set(binding.localPort, [binding]);
    } else {
      if (taken.some((other) => collide(other, binding))) return false;
      taken.push(binding);
    }
    this.#size++;
    return true;
  }

  remove(binding: T): void {
    const bindings = this.#ports.get(binding.localPort);
    const at = bindings?.indexOf(binding) ?? -1;
    if (bindings === undefined || at < 0) return;
    this.#size--;
    if (bindings.length === 1) this.#ports.delete(binding.localPort);
    else bindings.splice(at, 1);
  }

  /** Who a datagram is for: a connected binding before one of this address before a wildcard. */
  find(local: IpAddr, localPort: number, remote: IpAddr, remotePort: number): T | null {
    const bindings = this.#ports.get(localPort);
    if (bindings === undefined) return null;
    let best: T | null = null;
    let bestScore = -1;
    for (const binding of bindings) {
      let score = 0;
      if (binding.localAddress !== null) {
        if (!binding.localAddress.equals(local)) continue;
        score = 1;
      }
      if (binding.remoteAddress !== null) {
        if (binding.remotePort !== remotePort || !binding.remoteAddress.equals(remote)) continue;
        score += 2;
      }
      if (score > bestScore) {
        best = binding;
        bestScore = score;
      }
    }
    return best;
  }

  values(): T[] {
    return [...this.#ports.values()].flat();
  }
}

function collide(a: Binding, b: Binding): boolean {
  if (
    a.localAddress !== null &&
    b.localAddress !== null &&
    !a.localAddress.equals(b.localAddress)
  ) {
    return false;
  }
  // Two connected sockets may share a port as long as their peers differ.
  if (a.remoteAddress === null || b.remoteAddress === null) {
    return a.remoteAddress === b.remoteAddress;
  }
  return a.remotePort === b.remotePort && a.remoteAddress.equals(b.remoteAddress);
}
