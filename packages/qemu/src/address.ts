/** Where a stream socket listens or connects: a path, or a port of a host. */

import { PktkitError } from '@pktkit/core';

export interface UnixAddress {
  /** A unix socket's path. */
  path: string;
  port?: undefined;
  host?: undefined;
}

export interface TcpAddress {
  path?: undefined;
  /** 0 lets the system choose, when listening. */
  port: number;
  /** `127.0.0.1` unless told: whoever reaches the port is on the virtual network. */
  host?: string | undefined;
}

export type StreamAddress = UnixAddress | TcpAddress;

/** What `node:net` takes. Throws when the address is incomplete or says two things. */
export function netOptions(
  address: StreamAddress,
): { path: string } | { port: number; host: string } {
  const { path, port, host = '127.0.0.1' } = address;
  if (path !== undefined && port !== undefined) {
    throw new PktkitError('PKT_INVALID_CONFIG', 'give either a path or a port, not both');
  }
  if (path !== undefined) {
    // The kernel's limit for sun_path, with the closing zero; Node would report a puzzling EINVAL.
    const bytes = Buffer.byteLength(path);
    if (bytes === 0 || bytes > 107) {
      const what = `a unix socket's path has 1 … 107 bytes, ${JSON.stringify(path)} has ${bytes}`;
      throw new PktkitError('PKT_INVALID_CONFIG', `${what}: choose a shorter path`);
    }
    return { path };
  }
  if (port === undefined || !Number.isInteger(port) || port < 0 || port > 65535) {
    throw new PktkitError('PKT_INVALID_CONFIG', `port must be 0 … 65535, got ${port}`);
  }
  return { port, host };
}
