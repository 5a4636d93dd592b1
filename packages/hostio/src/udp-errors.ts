/** The error queue of a socket: ICMP errors for datagrams that it sent (ip(7), IP_RECVERR). */

import { Arena } from './arena.ts';
import { EINTR, MSG_DONTWAIT } from './linux.ts';
import {
  CMSG_HEADER,
  IOVEC,
  IP_RECVERR,
  IPV6_RECVERR,
  MMSGHDR,
  MSG_CONTROL,
  MSG_CONTROLLEN,
  MSG_ERRQUEUE,
  MSG_FLAGS,
  MSG_IOV,
  MSG_IOVLEN,
  MSG_NAME,
  MSG_NAMELEN,
  SOL_IP,
  SOL_IPV6,
} from './msghdr.ts';
import type { Libc } from './native.ts';
import { SOCKADDR_SIZE, sockaddrPort, sockaddrWord, sockaddrZone } from './sockaddr.ts';

/**
 * An error for a datagram to the address in words; `mtu` is what the path takes when that was the reason. `isLocal`: it is
 * the kernel's own, about the call that has just failed. False when the socket has been closed meanwhile: its
 * descriptor's number may be somebody else's.
 */
export type OnQueuedError = (
  isLocal: boolean,
  errno: number,
  mtu: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  port: number,
  zone: number,
) => boolean;

/** Read at one time, so that a flood of errors does not hold up the data. */
const AT_ONCE = 64;
const EMSGSIZE = 90;
const SO_EE_ORIGIN_LOCAL = 1;
const NAME_AT = MMSGHDR;
const IOVEC_AT = NAME_AT + 32;
const CONTROL_AT = IOVEC_AT + IOVEC;
const CONTROL = 512;
/** The start of the datagram that failed, which nobody reads. */
const DATA_AT = CONTROL_AT + CONTROL;
const DATA = 64;

let arena: Arena | null = null;

/** Takes errors off the queue; gives how many there were. */
export function readErrors(api: Libc, fd: number, onError: OnQueuedError): number {
  arena ??= prepared();
  const { base, bytes, u32 } = arena;
  for (let found = 0; ; found++) {
    if (found === AT_ONCE) return found;
    u32[MSG_NAMELEN >>> 2] = SOCKADDR_SIZE;
    u32[MSG_CONTROLLEN >>> 2] = CONTROL;
    u32[MSG_FLAGS >>> 2] = 0;
    let n: number;
    do n = api.recvmsg(fd, base, MSG_ERRQUEUE | MSG_DONTWAIT);
    while (n < 0 && api.errno() === EINTR);
    if (n < 0) return found;
    const error = findError(arena);
    if (error < 0) continue;
    // struct sock_extended_err: errno, origin, type, code, padding, info, data.
    const errno = u32[error >>> 2];
    const mtu = errno === EMSGSIZE ? u32[(error + 8) >>> 2] : 0;
    const word = (index: number) => sockaddrWord(arena as Arena, NAME_AT, index);
    const named = u32[MSG_NAMELEN >>> 2] > 0;
    const port = named ? sockaddrPort(arena, NAME_AT) : 0;
    const zone = named ? sockaddrZone(arena, NAME_AT) : 0;
    const isLocal = bytes[error + 4] === SO_EE_ORIGIN_LOCAL;
    const open = onError(isLocal, errno, mtu, word(0), word(1), word(2), word(3), port, zone);
    if (!open) return found + 1;
  }
}

function prepared(): Arena {
  const made = new Arena(DATA_AT + DATA);
  made.putU64(MSG_NAME, made.base + NAME_AT);
  made.putU64(MSG_IOV, made.base + IOVEC_AT);
  made.putU64(MSG_IOVLEN, 1);
  made.putU64(MSG_CONTROL, made.base + CONTROL_AT);
  made.putU64(IOVEC_AT, made.base + DATA_AT);
  made.putU64(IOVEC_AT + 8, DATA);
  return made;
}

function findError({ u32 }: Arena): number {
  const end = CONTROL_AT + u32[MSG_CONTROLLEN >>> 2];
  for (let at = CONTROL_AT; at + CMSG_HEADER <= end; ) {
    const length = u32[at >>> 2];
    if (length < CMSG_HEADER) return -1;
    const level = u32[(at + 8) >>> 2];
    const type = u32[(at + 12) >>> 2];
    if (
      (level === SOL_IP && type === IP_RECVERR) ||
      (level === SOL_IPV6 && type === IPV6_RECVERR)
    ) {
      return at + CMSG_HEADER;
    }
    at += (length + 7) & ~7;
  }
  return -1;
}
