/** Errors in the shape that Node gives those of the kernel's sockets, so that `http`, `tls` and database drivers react properly. */

import type { IpAddr } from '@pktkit/core';

/** `errno` numbers as Linux has them, negated as libuv does. */
const ERRNO: Readonly<Record<string, number>> = {
  EACCES: -13,
  EADDRINUSE: -98,
  EADDRNOTAVAIL: -99,
  ECONNABORTED: -103,
  ECONNREFUSED: -111,
  ECONNRESET: -104,
  EHOSTUNREACH: -113,
  EINVAL: -22,
  EMSGSIZE: -90,
  ENETDOWN: -100,
  ENETUNREACH: -101,
  ENOBUFS: -105,
  EPIPE: -32,
  ETIMEDOUT: -110,
};

export interface SocketError extends Error {
  code: string;
  errno?: number;
  syscall: string;
  address?: string;
  port?: number;
  localAddress?: string;
  localPort?: number;
}

/** `connect ECONNREFUSED 192.0.2.1:80`, with the fields that Node's own errors carry. */
export function socketError(
  code: string,
  syscall: string,
  address?: IpAddr | string | undefined,
  port?: number | undefined,
): SocketError {
  const where =
    address === undefined ? '' : port === undefined ? ` ${address}` : ` ${address}:${port}`;
  const error = new Error(`${syscall} ${code}${where}`) as SocketError;
  error.code = code;
  if (ERRNO[code] !== undefined) error.errno = ERRNO[code];
  error.syscall = syscall;
  if (address !== undefined) error.address = String(address);
  if (port !== undefined) error.port = port;
  return error;
}

/** A failed look-up as `dns.lookup` reports it: `getaddrinfo ENOTFOUND example.test`. */
export function lookupError(code: string, hostname: string): SocketError & { hostname: string } {
  const error = new Error(`getaddrinfo ${code} ${hostname}`) as SocketError & { hostname: string };
  error.code = code;
  error.syscall = 'getaddrinfo';
  error.hostname = hostname;
  return error;
}

/** What `signal` was aborted with, as an error that streams take. */
export function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error
    ? signal.reason
    : new Error('the operation was aborted', { cause: signal.reason });
}
