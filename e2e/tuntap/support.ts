/** What the TUN and TAP suites share. */

import { Frame, type L2Device, type L3Device } from '@pktkit/core';
import { openPacket } from '@pktkit/hostio';
import { type DeviceRig, Netns, until } from '@pktkit/testkit';
import type { DeviceOptions, TapDevice, TapOptions, TunDevice } from '@pktkit/tuntap';
import * as tuntap from '@pktkit/tuntap';

export const NEEDS = { tools: ['ip'], files: ['/dev/net/tun'] } as const;

const opened: Array<{ close(): void }> = [];

export function openTun(options: DeviceOptions): TunDevice {
  return track(tuntap.openTun(options));
}

export function openTap(options: TapOptions): TapDevice {
  return track(tuntap.openTap(options));
}

/** An open device keeps the process alive: one that a failed test leaves behind would hide the failure. */
function track<D extends { close(): void }>(device: D): D {
  opened.push(device);
  return device;
}

/** Bodies get a namespace of their own, which goes with everything in it. */
export async function inNamespace(
  label: string,
  body: (ns: Netns) => Promise<void>,
): Promise<void> {
  const ns = await Netns.create({ label });
  try {
    await body(ns);
  } finally {
    for (const device of opened.splice(0)) device.close();
    await ns.close();
  }
}

/** The kernel's end of a device, held by a packet socket: what it sees is what the device sent, and the reverse. */
async function rig<D extends TunDevice | TapDevice>(
  open: (netns: string) => D,
): Promise<DeviceRig<D>> {
  const ns = await Netns.create({ label: 'rig' });
  const device = open(ns.name);
  const far = openPacket({ interface: device.name, netns: ns.name });
  const received: Uint8Array[] = [];
  far.setHandler((frame) => received.push(frame.bytes.slice()));
  return {
    device,
    received,
    inject(bytes) {
      far.send(Frame.of(bytes));
      far.flush();
    },
    until: (condition) => until(condition, { every: 1 }).then(() => {}),
    settle: () => new Promise((resolve) => setTimeout(resolve, 50)),
    async close() {
      far.close();
      await ns.close();
    },
  };
}

export const tunRig = (offload: boolean) => (): Promise<DeviceRig<L3Device>> =>
  rig<TunDevice>((netns) => openTun({ netns, offload }));

export const tapRig = (offload: boolean) => (): Promise<DeviceRig<L2Device>> =>
  rig<TapDevice>((netns) => openTap({ netns, offload }));

/** The names of a namespace's interfaces. */
export async function interfaces(ns: Netns): Promise<string[]> {
  const links = await ns.ipJson<Array<{ ifname: string }>>('link', 'show');
  return links.map(({ ifname }) => ifname);
}
