/** Descriptors that close with the thread that owns them. */

import { closeSync, openSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { O_CLOEXEC } from './linux.ts';
import { libc } from './native.ts';

/**
 * Takes over a descriptor that a system call has returned; gives the number to use from now on.
 *
 * A worker that is terminated runs no more JavaScript, so nothing here could close its sockets. Node closes what `fs`
 * opened in that thread; so a number is opened there first, and the descriptor moved onto it.
 */
export function adopt(fd: number): number {
  if (isMainThread) return fd;
  const api = libc();
  const number = openSync('/dev/null', 'r');
  api.dup3(fd, number, O_CLOEXEC);
  api.close(fd);
  return number;
}

/** Closes a descriptor that came from `adopt` or from `fs`. */
export function closeDescriptor(fd: number): void {
  if (isMainThread) libc().close(fd);
  else closeSync(fd);
}
