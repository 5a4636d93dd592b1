/** A kernel that fails when told: system calls of this package are replaced, each by one that may refuse. */

import { type Libc, libc } from '../src/native.ts';

type Call = {
  [K in keyof Libc]: Libc[K] extends (...args: number[]) => number ? K : never;
}[keyof Libc];

/** The number of the error that a call shall fail with, or 0 for the real thing. */
export type Fault = (...args: number[]) => number;

/** Makes a system call fail as `fault` says, until the function that this gives is called. */
export function breakCall(name: Exclude<Call, 'errno'>, fault: Fault): () => void {
  const api = libc() as { -readonly [K in keyof Libc]: Libc[K] };
  const { errno } = api;
  const real = api[name] as (...args: number[]) => number;
  let forced = 0;
  // Said once, so that a later failure of another call shows its own reason.
  api.errno = () => {
    const said = forced;
    forced = 0;
    return said !== 0 ? said : errno();
  };
  (api as Record<Call, unknown>)[name] = (...args: number[]): number => {
    forced = fault(...args);
    return forced !== 0 ? -1 : real(...args);
  };
  return () => {
    api.errno = errno;
    (api as Record<Call, unknown>)[name] = real;
  };
}
