/** Opens UDP sockets in the tier that was asked for. */

import { tryLibc } from './native.ts';
import { BatchedUdpSocket } from './udp-batched.ts';
import { PortableUdpSocket } from './udp-portable.ts';
import type { UdpOptions, UdpSocket } from './udp-types.ts';

/**
 * Opens a UDP socket.
 *
 * @example
 * const socket = await bindUdp({
 *   port: 7,
 *   onReceive: (buf, off, len, from) => socket.send(buf, off, len, from),
 * });
 */
export async function bindUdp(options: UdpOptions): Promise<UdpSocket> {
  checkOptions(options);
  const { io = 'auto' } = options;
  if (io === 'portable' || (io === 'auto' && tryLibc() === null)) {
    return PortableUdpSocket.open(options);
  }
  return new BatchedUdpSocket(options);
}

function checkOptions(options: UdpOptions): void {
  const { io, port, tos, maxPeers } = options;
  if (typeof options.onReceive !== 'function') throw new TypeError('onReceive must be a function');
  if (io !== undefined && !['auto', 'portable', 'batched'].includes(io)) {
    throw new TypeError(`io is 'auto', 'portable' or 'batched', got ${JSON.stringify(io)}`);
  }
  checkRange('port', port, 0, 65535);
  checkRange('tos', tos, 0, 255);
  checkRange('maxPeers', maxPeers, 1, 1 << 18);
  checkRange('receiveBuffer', options.receiveBuffer, 1, 0x3fffffff);
  checkRange('sendBuffer', options.sendBuffer, 1, 0x3fffffff);
  checkRange('connect.port', options.connect?.port, 1, 65535);
}

function checkRange(name: string, value: number | undefined, min: number, max: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw new RangeError(`${name} is an integer from ${min} to ${max}, got ${value}`);
}
