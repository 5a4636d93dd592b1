/** A guest behind slirp in one process, every window poisoned: what most tests start from. */

import { connectL3, type L3Device, pipeL3 } from '@pktkit/core';
import { Slirp, type SlirpOptions } from '@pktkit/slirp';
import { poisonL3 } from '@pktkit/testkit';
import { VClient, type VClientOptions } from '@pktkit/vclient';

export const GATEWAY4 = '10.0.2.2';
export const GATEWAY6 = 'fd00::2';
export const GUEST4 = '10.0.2.15';
const GUEST6 = 'fd00::15';

export interface Lan {
  readonly slirp: Slirp;
  readonly guest: VClient;
  close(): void;
}

export function lan(options: Partial<SlirpOptions> = {}, guestOptions: VClientOptions = {}): Lan {
  const slirp = new Slirp({
    addrs: [`${GATEWAY4}/24`, `${GATEWAY6}/64`],
    hostLoopback: true,
    ...options,
  });
  const guest = newGuest({ clock: options.clock, mtu: options.mtu, ...guestOptions });
  connectL3(poisonL3(guest), poisonL3(slirp));
  return {
    slirp,
    guest,
    close: () => {
      guest.close();
      slirp.close();
    },
  };
}

export function newGuest(options: VClientOptions = {}): VClient {
  return new VClient({
    addrs: [`${GUEST4}/24`, `${GUEST6}/64`],
    dns: [GATEWAY4],
    ...options,
  });
}

/** A guest in a namespace of its own behind `slirp`; gives what undoes it. */
export function join(slirp: Slirp, guest: VClient): { device: L3Device; leave: () => void } {
  const [near, far] = pipeL3();
  connectL3(poisonL3(guest), near);
  const leave = slirp.connectL3(far);
  return { device: far, leave };
}
