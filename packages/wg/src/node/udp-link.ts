/** hostio's UDP socket as an engine's link. Endpoints are the socket's peer handles. */

import { IpAddr } from '@pktkit/core';
import type { UdpSocket } from '@pktkit/hostio';
import { type Link, NO_ENDPOINT } from '../link.ts';

export class UdpLink implements Link {
  /** Replaced when the port moves. */
  socket: UdpSocket;

  constructor(socket: UdpSocket) {
    this.socket = socket;
  }

  send(buf: Uint8Array, off: number, len: number, to: number, tos: number): void {
    this.socket.send(buf, off, len, to, tos);
  }

  describe(endpoint: number, out: Uint8Array, off: number): number {
    const address = this.socket.peerAddress(endpoint);
    const port = this.socket.peerPort(endpoint);
    const length = address.byteLength;
    address.write(out, off);
    out[off + length] = port >>> 8;
    out[off + length + 1] = port;
    return length + 2;
  }

  format(endpoint: number): string {
    return this.socket.formatPeer(endpoint);
  }

  /** `address` may name a zone: `fe80::1%eth0`. */
  intern(address: IpAddr | string, port: number): number {
    if (!this.#reaches(address)) return NO_ENDPOINT;
    const endpoint = this.socket.peer(address, port);
    // `peer` holds it for the caller; the engine holds what it keeps by itself.
    this.socket.releasePeer(endpoint);
    return endpoint;
  }

  retain(endpoint: number): void {
    this.socket.retainPeer(endpoint);
  }

  release(endpoint: number): void {
    this.socket.releasePeer(endpoint);
  }

  /** A socket bound to an IPv4 address sends no IPv6. */
  #reaches(address: IpAddr | string): boolean {
    if (this.socket.address.family === 6) return true;
    const ip = typeof address === 'string' ? IpAddr.tryParse(address) : address;
    return ip !== null && (ip.family === 4 || ip.isV4Mapped);
  }
}
