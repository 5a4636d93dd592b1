/**
 * UDP sockets of the host behind one interface, in two tiers: `batched` makes Linux system calls that move up to 64 KiB of
 * datagrams at a time; `portable` is `node:dgram` and runs wherever Node does.
 */

import type { Clock, IpAddr } from '@pktkit/core';
import type { Netns } from './netns.ts';

/**
 * Takes one datagram: `len` bytes at `off`, lent until this returns. Bytes in front of the window may be overwritten, those
 * behind it may belong to the next datagram. `from` is a handle of the sender, for `send`. `tos` is the traffic class (DSCP
 * in the upper six bits, ECN in the lower two), or -1 where it is not known.
 */
export type UdpReceive = (
  buf: Uint8Array,
  off: number,
  len: number,
  from: number,
  tos: number,
) => void;

/** An error that the network or the kernel reported for datagrams to one peer. */
export interface UdpError {
  /** As Node names it: `ECONNREFUSED` when nobody listens, `EMSGSIZE`, `EHOSTUNREACH`, … */
  readonly code: string;
  /** The peer that they were for; -1 when it is not known. */
  readonly peer: number;
  /** With `EMSGSIZE`: the largest IP packet that the path takes; otherwise 0. */
  readonly mtu: number;
}

export interface UdpOptions {
  onReceive: UdpReceive;
  /** Told of ICMP errors and of sends that the kernel refused. The socket goes on. */
  onError?: ((error: UdpError) => void) | undefined;
  /** An address of this host. All of both families (`::`) unless told; `0.0.0.0` is IPv4 only. */
  address?: IpAddr | string | undefined;
  /** A free one unless told. */
  port?: number | undefined;
  /** `auto`, the default, is `batched` where it works and `portable` elsewhere. */
  io?: 'auto' | 'portable' | 'batched' | undefined;
  /** The one peer of a connected socket: `send` to its handle `remote`, others are not heard. */
  connect?: { readonly address: IpAddr | string; readonly port: number } | undefined;
  /** Takes no IPv4 on an IPv6 address. */
  ipv6Only?: boolean | undefined;
  /** Several sockets share the port and the kernel spreads flows among them: SO_REUSEPORT. */
  reusePort?: boolean | undefined;
  /** Allows sending to broadcast addresses. */
  broadcast?: boolean | undefined;
  /** Kernel buffers in bytes, as far as the system allows; 4 MiB unless told. */
  receiveBuffer?: number | undefined;
  sendBuffer?: number | undefined;
  /** Traffic class of datagrams that `send` gives none. Batched only. */
  tos?: number | undefined;
  /** Mark of what is sent, for routing rules (`ip rule … fwmark`): SO_MARK, 32 bits. Needs CAP_NET_ADMIN. Batched only. */
  mark?: number | undefined;
  /** Sets the don't-fragment bit and reports `EMSGSIZE` beyond the path's MTU. Batched only. */
  dontFragment?: boolean | undefined;
  /** Answers leave from the address that the peer last wrote to (IP_PKTINFO). On where it matters unless told. */
  stickySource?: boolean | undefined;
  /** Peers remembered at a time, 1 to 262,144; 65,536 unless told. Beyond, one that was not heard lately is forgotten. */
  maxPeers?: number | undefined;
  /** The socket is made in this network namespace. Batched only. */
  netns?: Netns | undefined;
  clock?: Clock | undefined;
}

export interface UdpStats {
  received: number;
  receivedBytes: number;
  sent: number;
  sentBytes: number;
  /** Calls that moved them: `received / receiveCalls` datagrams per call. */
  receiveCalls: number;
  sendCalls: number;
  /**
   * Sends that were made again without segmentation because the kernel or the route refused it; 1 from the start where
   * the kernel knows none (before Linux 4.18). It costs speed only.
   */
  gsoFallbacks: number;
  /** 1 where the kernel merges nothing that arrives (before Linux 5.0). It costs speed only. */
  groFallbacks: number;
  /** Calls that a signal interrupted; they are made again. */
  interrupted: number;
  /** Datagrams that the kernel dropped because its receive buffer was full. */
  dropReceiveFull: number;
  /** Datagrams from senders that the full table had no room for. */
  dropPeers: number;
  /** Datagrams cut off by the kernel. */
  dropTruncated: number;
  /** Datagrams not sent: no room in the kernel and in the queue; refused by the kernel; longer than UDP carries. */
  dropSendFull: number;
  dropSendError: number;
  dropTooLong: number;
  /** Datagrams for a handle whose peer has been forgotten. */
  dropStalePeer: number;
  /** Datagrams sent after close, or closed upon by a handler of errors. */
  dropClosed: number;
  /** Errors reported by the network (ICMP). */
  networkErrors: number;
}

export function udpStats(): UdpStats {
  return {
    received: 0,
    receivedBytes: 0,
    sent: 0,
    sentBytes: 0,
    receiveCalls: 0,
    sendCalls: 0,
    gsoFallbacks: 0,
    groFallbacks: 0,
    interrupted: 0,
    dropReceiveFull: 0,
    dropPeers: 0,
    dropTruncated: 0,
    dropSendFull: 0,
    dropSendError: 0,
    dropTooLong: 0,
    dropStalePeer: 0,
    dropClosed: 0,
    networkErrors: 0,
  };
}

/** The most that fits one UDP datagram over IPv4 (RFC 768, RFC 791). */
export const MAX_DATAGRAM = 65507;

export interface UdpSocket {
  readonly io: 'portable' | 'batched';
  readonly address: IpAddr;
  readonly port: number;
  /** The handle of a connected socket's peer, else -1. */
  readonly remote: number;
  readonly stats: Readonly<UdpStats>;
  /** Settles when the socket has closed. */
  readonly closed: Promise<void>;
  /**
   * The handle of a peer; `address` may name a zone (`fe80::1%eth0`). It stays good until `releasePeer`. Handles that
   * `onReceive` gives may be recycled when the table is full: `retainPeer` keeps one, `send` to a recycled one is dropped.
   */
  peer(address: IpAddr | string, port: number): number;
  retainPeer(handle: number): void;
  releasePeer(handle: number): void;
  /** `192.0.2.1:53`, `[2001:db8::1]:53`; for a forgotten peer an empty string. */
  formatPeer(handle: number): string;
  peerAddress(handle: number): IpAddr;
  peerPort(handle: number): number;
  /**
   * Sends a datagram, whose bytes are copied. Datagrams leave together when the clock's batch ends, in order for each
   * peer; those of one length to one peer as a single segmented send.
   */
  send(buf: Uint8Array, off: number, len: number, to: number, tos?: number): void;
  /** Sends what is queued now. */
  flush(): void;
  /** Another mark: see `UdpOptions.mark`. Throws `EPERM` without the privilege, `PKT_UNSUPPORTED` in the portable tier. */
  setMark(mark: number): void;
  /** An open socket keeps the process alive; after `unref` it does not. */
  ref(): void;
  unref(): void;
  /** Idempotent. What is queued is sent first. */
  close(): void;
  [Symbol.dispose](): void;
}
