/** The wiring's last step in front of a device: whatever offload it does not take is done here in software. */

import type { L2Device, L3Device } from './device.ts';
import type { Frame } from './frame.ts';
import { Accept, CHECKSUM_PARTIAL, SEGMENT_SIZE_MASK } from './offload.ts';
import type { Packet } from './packet.ts';
import { offloadStats, sendCompleted, sendSegments, superSegmentKind } from './segment.ts';
import { EtherType } from './wire/ethernet.ts';

const WORK = SEGMENT_SIZE_MASK | CHECKSUM_PARTIAL;

/** Sends a frame, segmented and with full checksums where the device does not take that work. */
export function sendL2(device: L2Device, frame: Frame): void {
  if ((frame.offload & WORK) === 0) device.send(frame);
  else offloadL2(device, frame);
}

/** Sends a packet, segmented and with full checksums where the device does not take that work. */
export function sendL3(device: L3Device, packet: Packet): void {
  if ((packet.offload & WORK) === 0) device.send(packet);
  else offloadL3(device, packet);
}

function offloadL2(device: L2Device, frame: Frame): void {
  const { buf, off, len, offload } = frame;
  const { accepts } = device;
  if ((accepts & Accept.ALL) === Accept.ALL) {
    device.send(frame);
    return;
  }
  const { etherType, headerLen } = frame;
  if (etherType !== EtherType.IPV4 && etherType !== EtherType.IPV6) {
    offloadStats.dropMalformed++;
    return;
  }
  if ((offload & SEGMENT_SIZE_MASK) !== 0) {
    const kind = superSegmentKind(buf, off + headerLen, len - headerLen);
    if ((accepts & kind) !== 0) device.send(frame);
    else sendSegments(device, null, buf, off, headerLen, len, offload);
  } else if ((accepts & Accept.CHECKSUM) !== 0) {
    device.send(frame);
  } else {
    sendCompleted(device, null, buf, off, headerLen, len, offload);
  }
}

function offloadL3(device: L3Device, packet: Packet): void {
  const { buf, off, len, offload } = packet;
  const { accepts } = device;
  if ((accepts & Accept.ALL) === Accept.ALL) {
    device.send(packet);
  } else if ((offload & SEGMENT_SIZE_MASK) !== 0) {
    if ((accepts & superSegmentKind(buf, off, len)) !== 0) device.send(packet);
    else sendSegments(null, device, buf, off, 0, len, offload);
  } else if ((accepts & Accept.CHECKSUM) !== 0) {
    device.send(packet);
  } else {
    sendCompleted(null, device, buf, off, 0, len, offload);
  }
}
