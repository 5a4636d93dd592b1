/**
 * The send batches of this thread. Each is 600 KiB, so sockets with something to send share a few: whoever needs one
 * while all are taken makes the longest holder send early. Only sockets that wait for the kernel keep theirs; with
 * `MAX_BLOCKED` of those no more are made, which bounds the memory at 37 MiB a thread.
 */

import { SendBatch } from './udp-send.ts';

/** Batches made for sockets that the kernel has room for; as many are kept spare. */
export const MAX_BATCHES = 16;
/** Batches altogether, those included that wait for the kernel. */
export const MAX_BLOCKED = 64;

/** A socket that has a batch. */
export interface BatchHolder {
  /** It waits for the kernel: to flush it now is of no use. */
  readonly isBlocked: boolean;
  flush(): void;
}

const spare: SendBatch[] = [];
const holders: BatchHolder[] = [];
let made = 0;
let single: SendBatch | null = null;

/** An empty batch; null when all are held by sockets that wait for the kernel. */
export function takeBatch(holder: BatchHolder): SendBatch | null {
  let batch = spare.pop();
  if (batch === undefined && made >= MAX_BATCHES) {
    for (let i = 0; i < holders.length && batch === undefined; i++) {
      if (holders[i].isBlocked) continue;
      holders[i].flush();
      batch = spare.pop();
    }
  }
  if (batch === undefined) {
    if (made >= MAX_BLOCKED) return null;
    batch = new SendBatch();
    made++;
  }
  holders.push(holder);
  return batch;
}

export function giveBatch(batch: SendBatch, holder: BatchHolder): void {
  const at = holders.indexOf(holder);
  if (at >= 0) holders.splice(at, 1);
  batch.clear();
  if (spare.length < MAX_BATCHES) {
    spare.push(batch);
  } else {
    made--;
    batch.arena.release();
  }
}

/** The batch of those who send a single datagram at once; good until the next such call. */
export function singleBatch(): SendBatch {
  single ??= new SendBatch();
  return single;
}
