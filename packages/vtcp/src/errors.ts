import { PktkitError } from '@pktkit/core';

/**
 * Why a connection ended, or could not begin; the codes are those that Node gives for the kernel's sockets.
 *
 * - `ECONNREFUSED`: the SYN was answered by RST (or by an ICMP port unreachable).
 * - `ECONNRESET`: the peer sent RST after the handshake.
 * - `ETIMEDOUT`: retransmissions, keepalive or the user timeout ran out.
 * - `EHOSTUNREACH`, `ENETUNREACH`: ICMP said so while connecting, or last before the retransmissions ran out.
 * - `ECONNABORTED`: this side aborted (`abort`, or the stack was closed).
 * - `EADDRINUSE`, `EADDRNOTAVAIL`: the local port is taken, or no ephemeral port is free for this destination.
 * - `ENOBUFS`: a limit of the stack has been reached.
 */
export type TcpErrorCode =
  | 'ECONNREFUSED'
  | 'ECONNRESET'
  | 'ETIMEDOUT'
  | 'EHOSTUNREACH'
  | 'ENETUNREACH'
  | 'ECONNABORTED'
  | 'EADDRINUSE'
  | 'EADDRNOTAVAIL'
  | 'ENOBUFS';

export class TcpError extends PktkitError {
  override readonly code: TcpErrorCode;

  constructor(code: TcpErrorCode, message: string) {
    super(code, message);
    this.name = 'TcpError';
    this.code = code;
  }
}
