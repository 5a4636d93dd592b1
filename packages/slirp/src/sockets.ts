/**
 * What slirp needs from the outside world. `nodeSockets()` serves it with `node:net` and `node:dgram`; a proxy, a test or
 * a platform without Node's sockets brings its own. Calls start something and return at once; events come later, never
 * from within the call that started it.
 */

import type { IpAddr, IpFamily } from '@pktkit/core';

/** A code of the operating system, such as `ECONNREFUSED`. */
export type HostErrorCode = string;

/** What happens to a host's TCP socket. After `onClosed` nothing comes any more. */
export interface HostStreamEvents {
  /** The dial succeeded. Not called for accepted sockets. */
  onConnected(): void;
  /** Borrowed bytes. False stops reading until `resume`; the bytes of this call have been taken in any case. */
  onData(buf: Uint8Array, off: number, len: number): boolean;
  /** The peer has sent FIN; nothing more is going to be read. */
  onEnd(): void;
  /** The bytes of the last `write` that gave false may be reused. */
  onDrain(): void;
  /** The socket is gone: null after both ways ended in order, else why. */
  onClosed(error: HostErrorCode | null): void;
}

/** A TCP socket of the host. It starts without reading: call `resume`. */
export interface HostStream {
  /** True: the kernel has taken all bytes. False: they must stay as they are until `onDrain`; nothing is written meanwhile. */
  write(bytes: Uint8Array): boolean;
  /** FIN behind what was written. */
  shutdown(): void;
  resume(): void;
  /** RST; no event follows. */
  reset(): void;
  /** Frees the socket at once; no event follows. */
  close(): void;
}

export interface HostDatagramEvents {
  /** Borrowed bytes, with the sender. */
  onMessage(bytes: Uint8Array, address: string, port: number): void;
  /** Sending to `address` failed; the socket stays usable. On a connected socket this is also an ICMP error received. */
  onError(error: HostErrorCode, address: string | null, port: number): void;
  /** The socket could not be opened or has failed for good. */
  onClosed(error: HostErrorCode): void;
}

/** A UDP socket of the host. */
export interface HostDatagrams {
  /** Copies `bytes` when it cannot send them at once. False: the queue of the socket is full and the datagram was dropped. */
  send(bytes: Uint8Array, address: string, port: number): boolean;
  /** 0 until known. */
  readonly localPort: number;
  close(): void;
}

export interface HostListener {
  readonly address: string;
  readonly port: number;
  close(): void;
}

export interface DialOptions {
  /** Local address to dial from. */
  from?: IpAddr | undefined;
}

export interface DatagramOptions {
  /** Local address; the wildcard unless told. */
  address?: string | undefined;
  /** Local port; 0, any, unless told. */
  port?: number | undefined;
  /** Only this peer: ICMP errors about it are then reported by the host. */
  connect?: { readonly address: string; readonly port: number } | undefined;
}

export interface SocketProvider {
  dial(address: IpAddr, port: number, events: HostStreamEvents, options: DialOptions): HostStream;
  /** Rejects with the system's error (`EADDRINUSE`…). For each connection `accept` gives its events, or null to refuse it. */
  listen(
    address: string,
    port: number,
    accept: (stream: HostStream, remote: string, remotePort: number) => HostStreamEvents | null,
  ): Promise<HostListener>;
  /** A socket of one family. Throws the system's error when there is none to be had. */
  datagrams(family: IpFamily, events: HostDatagramEvents, options: DatagramOptions): HostDatagrams;
  /** The host's name servers as `address` and `port`, in its order of preference. */
  resolvers(): readonly { readonly address: string; readonly port: number }[];
  /** Every address by which the host is its own peer, loopback included. */
  hostAddresses(): readonly IpAddr[];
}
