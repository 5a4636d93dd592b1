/**
 * Network namespaces. `setns` moves the calling thread only, and everything between entering and leaving runs on this
 * stack: no other JavaScript, no callback and no other thread sees the change. What is opened meanwhile belongs to the
 * namespace for good.
 */

import { closeSync, openSync } from 'node:fs';
import { PktkitError } from '@pktkit/core';
import { CLONE_NEWNET } from './linux.ts';
import { HostError, libc } from './native.ts';

/** A namespace: the path of its file (`/run/netns/NAME`, `/proc/PID/ns/net`), a name of `ip netns`, or a process. */
export type Netns = string | { readonly pid: number };

export function netnsPath(netns: Netns): string {
  if (typeof netns !== 'string') return `/proc/${netns.pid}/ns/net`;
  return netns.includes('/') ? netns : `/run/netns/${netns}`;
}

/** Runs `body` in a network namespace; at once when there is none to enter. `body` must be synchronous. */
export function inNetns<T>(netns: Netns | undefined, body: () => T): T {
  if (netns === undefined) return body();
  const api = libc();
  const home = openNetns('/proc/thread-self/ns/net');
  let there = -1;
  try {
    there = openNetns(netnsPath(netns));
    if (api.setns(there, CLONE_NEWNET) < 0) {
      throw new HostError('setns', api.errno(), `network namespace ${netnsPath(netns)}`);
    }
    try {
      return body();
    } finally {
      if (api.setns(home, CLONE_NEWNET) < 0) {
        // This thread would go on in the wrong namespace, unseen.
        process.abort();
      }
    }
  } finally {
    closeSync(home);
    if (there >= 0) closeSync(there);
  }
}

function openNetns(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw new PktkitError('PKT_INVALID_CONFIG', `no network namespace at ${path}`, { cause });
  }
}
