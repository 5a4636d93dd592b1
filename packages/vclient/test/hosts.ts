/** Virtual hosts on one cable in virtual time, every window poisoned. */

import { connectL3, type Packet } from '@pktkit/core';
import { poisonL3, VirtualClock } from '@pktkit/testkit';
import { VClient, type VClientOptions } from '@pktkit/vclient';

export const A4 = '192.0.2.1';
export const B4 = '192.0.2.2';
export const A6 = '2001:db8::1';
export const B6 = '2001:db8::2';

export interface Pair {
  readonly clock: VirtualClock;
  readonly a: VClient;
  readonly b: VClient;
}

/** Two hosts back to back. */
export function pair(aOptions: VClientOptions = {}, bOptions: VClientOptions = {}): Pair {
  const clock = new VirtualClock();
  const a = new VClient({ clock, addrs: [`${A4}/24`, `${A6}/64`], ...aOptions });
  const b = new VClient({ clock, addrs: [`${B4}/24`, `${B6}/64`], ...bOptions });
  connectL3(poisonL3(a), poisonL3(b));
  return { clock, a, b };
}

/** One host whose packets the test sees and makes. */
export function lone(options: VClientOptions = {}): {
  clock: VirtualClock;
  host: VClient;
  sent: Packet[];
} {
  const clock = new VirtualClock();
  const host = new VClient({ clock, addrs: [`${A4}/24`, `${A6}/64`], ...options });
  const sent: Packet[] = [];
  host.setHandler((packet) => sent.push(packet.clone()));
  return { clock, host, sent };
}
