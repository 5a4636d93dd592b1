/**
 * A UDP port of the host that leads to a guest. Each peer outside becomes a port on the gateway's address, the peer's own
 * where it is free, so that the guest's answers find their way back.
 */

import type { IpAddr, Timer } from '@pktkit/core';
import type { Context } from './context.ts';
import type { PacketMaker } from './packets.ts';
import type { HostDatagramEvents, HostDatagrams, HostErrorCode } from './sockets.ts';

/** Ports on the gateway's address that stand for peers outside. */
export type ForwardPorts = Map<string, UdpForwardPeer>;

/** Peers of one forward; beyond, the longest idle one is forgotten. */
const MAX_PEERS = 1024;
const SWEEP = 5000;
const FIRST_PORT = 32768;
const PORTS = 28232;

export interface UdpForwardPeer {
  readonly forward: UdpForward;
  readonly address: string;
  readonly port: number;
  readonly gatewayPort: number;
  lastUsed: number;
}

export class UdpForward implements HostDatagramEvents {
  readonly #context: Context;
  readonly #maker: PacketMaker;
  readonly #ports: ForwardPorts;
  readonly #gateway: IpAddr;
  readonly #guest: IpAddr;
  readonly #guestPort: number;
  readonly #peers = new Map<string, UdpForwardPeer>();
  readonly #timer: Timer;
  readonly socket: HostDatagrams;
  /** Why the host's socket failed; null while it works. */
  failed: HostErrorCode | null = null;

  constructor(
    context: Context,
    maker: PacketMaker,
    ports: ForwardPorts,
    host: { readonly address: string; readonly port: number; readonly family: 4 | 6 },
    gateway: IpAddr,
    guest: IpAddr,
    guestPort: number,
  ) {
    this.#context = context;
    this.#maker = maker;
    this.#ports = ports;
    this.#gateway = gateway;
    this.#guest = guest;
    this.#guestPort = guestPort;
    this.#timer = context.clock.timer(() => this.#sweep());
    this.socket = context.provider.datagrams(host.family, this, host);
  }

  onMessage(bytes: Uint8Array, address: string, port: number): void {
    const { clock, stats } = this.#context;
    const peer = this.#peers.get(`${address} ${port}`) ?? this.#addPeer(address, port);
    if (peer === null) {
      stats.dropMappingLimit++;
      return;
    }
    clock.beginBatch();
    peer.lastUsed = clock.now;
    stats.forwarded++;
    stats.udpDown++;
    stats.udpBytesDown += bytes.length;
    this.#maker.udp(this.#gateway, peer.gatewayPort, this.#guest, this.#guestPort, bytes);
    clock.endBatch();
  }

  /** The guest's answer to a peer. */
  answer(peer: UdpForwardPeer, payload: Uint8Array): void {
    const { clock, stats } = this.#context;
    peer.lastUsed = clock.now;
    if (!this.socket.send(payload, peer.address, peer.port)) {
      stats.dropUdpQueue++;
      return;
    }
    stats.udpUp++;
    stats.udpBytesUp += payload.length;
  }

  onError(): void {
    this.#context.stats.udpErrors++;
  }

  onClosed(error: HostErrorCode): void {
    this.failed = error;
  }

  close(): void {
    this.#timer.cancel();
    this.socket.close();
    for (const peer of [...this.#peers.values()]) this.#forget(peer);
  }

  #addPeer(address: string, port: number): UdpForwardPeer | null {
    if (this.#peers.size >= MAX_PEERS) {
      let oldest: UdpForwardPeer | null = null;
      for (const peer of this.#peers.values()) {
        if (oldest === null || peer.lastUsed < oldest.lastUsed) oldest = peer;
      }
      if (oldest !== null) this.#forget(oldest);
    }
    const gatewayPort = this.#freePort(port);
    if (gatewayPort === 0) return null;
    const peer = { forward: this, address, port, gatewayPort, lastUsed: this.#context.clock.now };
    this.#peers.set(`${address} ${port}`, peer);
    this.#ports.set(forwardKey(gatewayPort, this.#guest, this.#guestPort), peer);
    if (this.#peers.size === 1) this.#timer.arm(this.#context.clock.now + SWEEP);
    return peer;
  }

  #freePort(wanted: number): number {
    for (let tries = 0; tries < 16; tries++) {
      const port = tries === 0 ? wanted : FIRST_PORT + (this.#context.random() % PORTS);
      if (!this.#ports.has(forwardKey(port, this.#guest, this.#guestPort))) return port;
    }
    return 0;
  }

  #forget(peer: UdpForwardPeer): void {
    this.#peers.delete(`${peer.address} ${peer.port}`);
    this.#ports.delete(forwardKey(peer.gatewayPort, this.#guest, this.#guestPort));
  }

  #sweep(): void {
    const { clock, timeouts } = this.#context;
    for (const peer of [...this.#peers.values()]) {
      if (clock.now - peer.lastUsed >= timeouts.udp) this.#forget(peer);
    }
    if (this.#peers.size > 0) this.#timer.arm(clock.now + SWEEP);
  }
}

export function forwardKey(gatewayPort: number, guest: IpAddr, guestPort: number): string {
  return `${gatewayPort} ${guest} ${guestPort}`;
}
