/** Opens a device of the operating system that this runs on. */

import type { L3Device } from '@pktkit/core';
import { PktkitError } from '@pktkit/core';
import type { NetworkInterface } from './interface.ts';
import { type DeviceOptions, TapDevice, type TapOptions, TunDevice } from './linux-device.ts';
import { UtunDevice } from './utun-device.ts';

/**
 * An IP device whose other end is a network interface of the host. Linux: needs root or CAP_NET_ADMIN, or a persistent
 * interface that the user owns. For macOS, see `openUtunDevice`.
 *
 * @example
 * const tun = openTun({ addrs: ['10.0.0.1/24', 'fd00::1/64'] });
 * tun.setHandler((packet) => console.log(packet.version, packet.len));
 */
export function openTun(options: DeviceOptions = {}): TunDevice {
  needs('TUN', 'linux');
  return new TunDevice(options);
}

/** An Ethernet device whose other end is a network interface of the host; see `openTun`. */
export function openTap(options: TapOptions = {}): TapDevice {
  needs('TAP', 'linux');
  return new TapDevice(options);
}

/** The same on macOS, with the utun interface that its kernel has. Needs root. */
export function openUtunDevice(options: DeviceOptions = {}): UtunDevice {
  needs('utun', 'darwin');
  return new UtunDevice(options);
}

/** `openTun` or `openUtunDevice`, whichever this system has. */
export function openIpDevice(options: DeviceOptions = {}): L3Device & NetworkInterface {
  return process.platform === 'darwin' ? openUtunDevice(options) : openTun(options);
}

function needs(kind: string, platform: 'linux' | 'darwin'): void {
  const here = process.platform;
  if (here === platform) return;
  const advice =
    here === 'win32'
      ? 'on Windows there is none: it would take the Wintun driver. Use the QEMU, WireGuard or user-mode NAT packages, which need no device, or WSL 2'
      : here === 'darwin'
        ? 'macOS has only utun: use openUtunDevice, or openIpDevice for either'
        : `it is made on ${platform === 'linux' ? 'Linux' : 'macOS'}, this is ${here}`;
  throw new PktkitError('PKT_UNSUPPORTED', `no ${kind} device here: ${advice}`);
}
