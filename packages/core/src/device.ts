/**
 * The contracts that every package keeps. A device is a port seen from outside: `send` gives it something to carry
 * away, its handler is called with what it brings.
 *
 * Rules (the reasons are in ARCHITECTURE.md):
 * - A window is borrowed until the handler or `send` returns. Who keeps it calls `clone()`.
 * - Calls are synchronous and may come back into the caller before they return: mutate first, emit last.
 * - `send` never throws for what the bytes say; it drops and counts. After `close` it drops and counts too.
 */

import type { Frame } from './frame.ts';
import type { Prefix } from './ip.ts';
import type { MacAddr } from './mac.ts';
import type { Packet } from './packet.ts';

export type FrameHandler = (frame: Frame) => void;
export type PacketHandler = (packet: Packet) => void;

/** An Ethernet port. */
export interface L2Device {
  readonly mac: MacAddr;
  /** Largest payload of one frame in bytes, without the Ethernet header: 1500 on ordinary Ethernet. */
  readonly mtu: number;
  /** Offloads that `send` takes, as `Accept` bits. The wiring does the rest in software. */
  readonly accepts: number;
  /** Replaces the handler; what arrives while there is none is dropped and counted. */
  setHandler(handler: FrameHandler): void;
  send(frame: Frame): void;
  /** Idempotent; frees everything at once. */
  close(): void;
}

/** An IP port. */
export interface L3Device {
  /** The addresses of this port with their networks, both families, any number. */
  readonly addrs: readonly Prefix[];
  setAddrs(addrs: readonly Prefix[]): void;
  /** Largest packet in bytes, IP header included. */
  readonly mtu: number;
  /** Offloads that `send` takes, as `Accept` bits. */
  readonly accepts: number;
  setHandler(handler: PacketHandler): void;
  send(packet: Packet): void;
  close(): void;
}

/** Undoes a connection; idempotent. Also usable with `using`. */
export interface Disconnect {
  (): void;
  [Symbol.dispose](): void;
}

/** Takes Ethernet devices as ports of one network: `L2Hub`. */
export interface L2Connector {
  connectL2(device: L2Device): Disconnect;
}

/** Takes IP devices, each as a namespace of its own or as a port: `L3Hub`, a slirp stack, a NAT. */
export interface L3Connector {
  connectL3(device: L3Device): Disconnect;
}

/** Gives a device for each guest that attaches. */
export interface L2Acceptor extends AsyncIterable<L2Device> {}

/** A device that can end by itself, as a guest's link does. */
export interface Ending {
  /** Settles when the device has closed, for whatever reason; never rejects. */
  readonly closed: Promise<void>;
}

/** Makes a `Disconnect` of a function that is then called at most once. */
export function disconnect(undo: () => void): Disconnect {
  let done = false;
  const once = () => {
    if (done) return;
    done = true;
    undo();
  };
  return Object.assign(once, { [Symbol.dispose]: once });
}

/** Handlers start as this, so that a call site has one shape and needs no null check. */
export function dropFrame(_frame: Frame): void {}
export function dropPacket(_packet: Packet): void {}
