/** A transfer for a seed: the seed also makes the link and the options, so that every combination has its turn. */

import type { TcpOptions } from '../src/index.ts';
import { type LinkOptions, seeded } from './link.ts';
import { runTransfer } from './transfer.ts';

/** 2 % loss, 20 ms, 3 % reordering. */
export const PLAIN: LinkOptions = { delay: 10, loss: 0.02, reorder: 0.03, reorderDelay: 4 };

export function linkOf(seed: number): LinkOptions {
  const random = seeded(seed + 77);
  const pick = <T>(...of: T[]): T => of[random() % of.length] as T;
  const link: LinkOptions = {
    delay: pick(0, 0.5, 5, 20, 75),
    loss: pick(0, 0.001, 0.01, 0.03),
    burst: pick(0, 0, 0.5),
    reorder: pick(0, 0, 0.02, 0.2),
    reorderDelay: pick(1, 5, 30),
    duplicate: pick(0, 0, 0.01, 0.1),
  };
  if (pick(true, false)) {
    link.rate = pick(20e6, 200e6);
    link.queue = pick(32 << 10, 256 << 10, 2 << 20);
    link.mark = pick(true, false);
  }
  return link;
}

export function optionsOf(seed: number): TcpOptions {
  const random = seeded(seed + 1234567);
  const pick = <T>(...of: T[]): T => of[random() % of.length] as T;
  return {
    sack: pick(true, true, true, false),
    timestamps: pick(true, true, false),
    windowScale: pick(true, true, true, false),
    rack: pick(true, true, false),
    frto: pick(true, false),
    tailLossProbe: pick(true, true, false),
    ecn: pick<boolean | 'passive'>(true, 'passive', false),
    pacing: pick(false, false, true),
    hystart: pick(true, false),
    noDelay: pick(true, false),
    delayedAck: pick(0, 40),
    congestionControl: pick<'cubic' | 'newreno' | 'highspeed'>(
      'cubic',
      'cubic',
      'newreno',
      'highspeed',
    ),
    sendBuffer: pick(16 << 10, 256 << 10, 4 << 20),
    receiveBuffer: pick(16 << 10, 256 << 10, 4 << 20),
  };
}

/** What went wrong, or null; and the virtual milliseconds it took. */
export function runSeed(
  seed: number,
  bytes: number,
  link: LinkOptions,
): { what: string | null; took: number } {
  try {
    const down = Math.floor(bytes / 10);
    const options = link === PLAIN ? {} : optionsOf(seed);
    const result = runTransfer({ link, seed, up: bytes, down, options, within: 36_000_000 });
    const what = !result.upIntact
      ? 'the bytes up differ'
      : !result.downIntact
        ? 'the bytes down differ'
        : result.errors[0] !== null || result.errors[1] !== null
          ? `closed with ${result.errors}`
          : result.left !== 0
            ? `${result.left} connections left`
            : null;
    return { what, took: result.took };
  } catch (error) {
    return { what: String(error), took: 0 };
  }
}
