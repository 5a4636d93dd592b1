/** Opens a device of the operating system that this runs on. */

import { PktkitError } from '@pktkit/core';
import { type DeviceOptions, TapDevice, type TapOptions, TunDevice } from './linux-device.ts';

/**
 * An IP device whose other end is a network interface of the host. Needs root or CAP_NET_ADMIN, or a persistent interface
 * that the user owns.
 *
 * @example
 * const tun = openTun({ addrs: ['10.0.0.1/24', 'fd00::1/64'] });
 * tun.setHandler((packet) => console.log(packet.version, packet.len));
 */
export function openTun(options: DeviceOptions = {}): TunDevice {
  onLinux('TUN');
  return new TunDevice(options);
}

/** An Ethernet device whose other end is a network interface of the host; see `openTun`. */
export function openTap(options: TapOptions = {}): TapDevice {
  onLinux('TAP');
  return new TapDevice(options);
}

function onLinux(kind: string): void {
  if (process.platform === 'linux') return;
  throw new PktkitError('PKT_UNSUPPORTED', `${kind} devices are made on Linux only`);
}
