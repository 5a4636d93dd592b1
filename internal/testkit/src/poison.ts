/**
 * The borrow checker that the language does not have. A poisoned device hands out every window as a fresh copy and
 * scrambles that copy when the handler (or `send`) returns: whoever kept a view instead of a clone reads garbage, and
 * the test that looks at it fails. The bytes in front of and behind the window are garbage from the start, because a
 * callee may write in front and nobody may read beyond.
 */

import {
  dropFrame,
  Frame,
  type FrameHandler,
  type L2Device,
  type L3Device,
  Packet,
  type PacketHandler,
  type PipeOptions,
  type Prefix,
  pipeL2,
  pipeL3,
} from '@pktkit/core';

const FRONT = 128;
const BEHIND = 64;
const GARBAGE = 0xdb;

/** A copy of `len` bytes in the middle of garbage, `FRONT` bytes in. */
function surrounded(buf: Uint8Array, off: number, len: number): Uint8Array {
  const copy = new Uint8Array(FRONT + len + BEHIND).fill(GARBAGE);
  copy.set(buf.subarray(off, off + len), FRONT);
  return copy;
}

/** Calls `use` with a window on a copy and scrambles the copy afterwards, also when `use` throws. */
function lendFrame(frame: Frame, use: (frame: Frame) => void): void {
  const copy = surrounded(frame.buf, frame.off, frame.len);
  try {
    use(new Frame(copy, FRONT, frame.len, frame.offload));
  } finally {
    copy.fill(GARBAGE);
  }
}

function lendPacket(packet: Packet, use: (packet: Packet) => void): void {
  const copy = surrounded(packet.buf, packet.off, packet.len);
  try {
    use(new Packet(copy, FRONT, packet.len, packet.offload));
  } finally {
    copy.fill(GARBAGE);
  }
}

/** `device` with poisoned windows in both directions; everything else passes through. */
export function poisonL2<D extends L2Device>(device: D): L2Device & { readonly inner: D } {
  return {
    inner: device,
    get mac() {
      return device.mac;
    },
    get mtu() {
      return device.mtu;
    },
    get accepts() {
      return device.accepts;
    },
    setHandler(handler: FrameHandler): void {
      // `dropFrame` tells a device that its cable is out.
      device.setHandler(handler === dropFrame ? dropFrame : (frame) => lendFrame(frame, handler));
    },
    send(frame: Frame): void {
      lendFrame(frame, (lent) => device.send(lent));
    },
    close(): void {
      device.close();
    },
  };
}

/** `device` with poisoned windows in both directions; everything else passes through. */
export function poisonL3<D extends L3Device>(device: D): L3Device & { readonly inner: D } {
  return {
    inner: device,
    get addrs() {
      return device.addrs;
    },
    setAddrs(addrs: readonly Prefix[]): void {
      device.setAddrs(addrs);
    },
    get mtu() {
      return device.mtu;
    },
    get accepts() {
      return device.accepts;
    },
    setHandler(handler: PacketHandler): void {
      device.setHandler((packet) => lendPacket(packet, handler));
    },
    send(packet: Packet): void {
      lendPacket(packet, (lent) => device.send(lent));
    },
    close(): void {
      device.close();
    },
  };
}

/** A cable between two Ethernet ports that scrambles every frame after delivery. */
export function poisoningPipeL2(options: PipeOptions = {}): [L2Device, L2Device] {
  const [a, b] = pipeL2(options);
  return [poisonL2(a), poisonL2(b)];
}

/** A cable between two IP ports that scrambles every packet after delivery. */
export function poisoningPipeL3(options: PipeOptions = {}): [L3Device, L3Device] {
  const [a, b] = pipeL3(options);
  return [poisonL3(a), poisonL3(b)];
}
