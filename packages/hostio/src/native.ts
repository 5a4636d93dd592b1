/**
 * The C library, through koffi. The only module that declares system calls.
 *
 * Pointers are plain numbers: koffi passes them in 36 ns, against 60 ns for a buffer. Nothing checks such a number, so
 * every address comes from an `Arena` (see `arena.ts`) and every call here is synchronous: the kernel keeps no pointer
 * once a call has returned.
 */

import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { PktkitError } from '@pktkit/core';

/** System calls as functions on numbers: descriptors, addresses, lengths. -1 means failure, `errno()` says why. */
export interface Libc {
  readonly errno: () => number;
  readonly address: (buffer: ArrayBufferLike) => number;
  readonly read: (fd: number, buf: number, len: number) => number;
  readonly write: (fd: number, buf: number, len: number) => number;
  readonly close: (fd: number) => number;
  readonly dup3: (from: number, to: number, flags: number) => number;
  readonly fcntl: (fd: number, command: number, arg: number) => number;
  readonly ioctl: (fd: number, request: number, arg: number) => number;
  readonly socket: (domain: number, type: number, protocol: number) => number;
  readonly bind: (fd: number, addr: number, len: number) => number;
  readonly connect: (fd: number, addr: number, len: number) => number;
  readonly getsockname: (fd: number, addr: number, len: number) => number;
  readonly setsockopt: (fd: number, level: number, name: number, at: number, len: number) => number;
  readonly getsockopt: (fd: number, level: number, name: number, at: number, len: number) => number;
  readonly sendmsg: (fd: number, msg: number, flags: number) => number;
  readonly recvmsg: (fd: number, msg: number, flags: number) => number;
  readonly sendmmsg: (fd: number, msgs: number, count: number, flags: number) => number;
  readonly recvmmsg: (
    fd: number,
    msgs: number,
    count: number,
    flags: number,
    timeout: number,
  ) => number;
  readonly epollCreate1: (flags: number) => number;
  readonly epollCtl: (epfd: number, op: number, fd: number, event: number) => number;
  readonly epollWait: (epfd: number, events: number, max: number, timeout: number) => number;
  readonly setns: (fd: number, type: number) => number;
}

type Koffi = typeof import('koffi');

let loaded: Libc | null = null;
let failure: PktkitError | null = null;

/** Null where system calls cannot be made from here: another system than Linux, or koffi is not installed. */
export function tryLibc(): Libc | null {
  if (loaded === null && failure === null) {
    try {
      loaded = load();
    } catch (error) {
      failure = error instanceof PktkitError ? error : unsupported('koffi does not load', error);
    }
  }
  return loaded;
}

/** Throws `PKT_UNSUPPORTED` with what to do about it. */
export function libc(): Libc {
  const api = tryLibc();
  if (api === null) throw failure as PktkitError;
  return api;
}

function load(): Libc {
  const { platform, arch } = process;
  if (platform !== 'linux') {
    throw unsupported(`system calls are made on Linux only, this is ${platform}`);
  }
  // The structures in `linux.ts` are those of the 64-bit little-endian ABIs.
  if (arch !== 'x64' && arch !== 'arm64') {
    throw unsupported(`structure layouts are known for x64 and arm64, this is ${arch}`);
  }
  const koffi = loadKoffi();
  const c = koffi.load(null);
  return {
    errno: koffi.errno,
    address: (buffer) => Number(koffi.address(buffer)),
    read: c.func('read', 'long', ['int', 'uintptr_t', 'size_t']),
    write: c.func('write', 'long', ['int', 'uintptr_t', 'size_t']),
    close: c.func('close', 'int', ['int']),
    dup3: c.func('dup3', 'int', ['int', 'int', 'int']),
    fcntl: c.func('fcntl', 'int', ['int', 'int', 'uintptr_t']),
    ioctl: c.func('ioctl', 'int', ['int', 'ulong', 'uintptr_t']),
    socket: c.func('socket', 'int', ['int', 'int', 'int']),
    bind: c.func('bind', 'int', ['int', 'uintptr_t', 'uint']),
    connect: c.func('connect', 'int', ['int', 'uintptr_t', 'uint']),
    getsockname: c.func('getsockname', 'int', ['int', 'uintptr_t', 'uintptr_t']),
    setsockopt: c.func('setsockopt', 'int', ['int', 'int', 'int', 'uintptr_t', 'uint']),
    getsockopt: c.func('getsockopt', 'int', ['int', 'int', 'int', 'uintptr_t', 'uintptr_t']),
    sendmsg: c.func('sendmsg', 'long', ['int', 'uintptr_t', 'int']),
    recvmsg: c.func('recvmsg', 'long', ['int', 'uintptr_t', 'int']),
    sendmmsg: c.func('sendmmsg', 'int', ['int', 'uintptr_t', 'uint', 'int']),
    recvmmsg: c.func('recvmmsg', 'int', ['int', 'uintptr_t', 'uint', 'int', 'uintptr_t']),
    epollCreate1: c.func('epoll_create1', 'int', ['int']),
    epollCtl: c.func('epoll_ctl', 'int', ['int', 'int', 'int', 'uintptr_t']),
    epollWait: c.func('epoll_wait', 'int', ['int', 'uintptr_t', 'int', 'int']),
    setns: c.func('setns', 'int', ['int', 'int']),
  };
}

function loadKoffi(): Koffi {
  try {
    return createRequire(import.meta.url)('koffi') as Koffi;
  } catch (error) {
    throw unsupported(
      'the optional dependency koffi is missing: install it with `npm install koffi`',
      error,
    );
  }
}

function unsupported(message: string, cause?: unknown): PktkitError {
  return new PktkitError('PKT_UNSUPPORTED', message, { cause });
}

/** A system call that failed. `code` is Node's name for the error (`EPERM`), `errno` its number. */
export class HostError extends PktkitError {
  readonly errno: number;
  readonly syscall: string;

  constructor(syscall: string, errno: number, what: string) {
    const code = errnoName(errno);
    super(code, `${what}: ${syscall} failed with ${code}`);
    this.name = 'HostError';
    this.errno = errno;
    this.syscall = syscall;
  }
}

let names: Map<number, string> | null = null;

/** `EPERM` for 1; the bare number for one that has no name here. */
export function errnoName(errno: number): string {
  names ??= new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));
  return names.get(errno) ?? LINUX_ONLY[errno] ?? `errno ${errno}`;
}

/** Linux numbers that libuv has no name for. */
const LINUX_ONLY: Readonly<Record<number, string>> = {
  19: 'ENODEV',
  77: 'EBADFD',
  100: 'ENETDOWN',
};
