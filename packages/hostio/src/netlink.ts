/**
 * A route netlink socket: bytes in, the kernel's answer out. The kernel works a request off within the `send` call, so the
 * answer is there when that returns and nothing has to wait.
 */

import { PktkitError } from '@pktkit/core';
import { Arena } from './arena.ts';
import { adopt, closeDescriptor } from './descriptor.ts';
import { AF_NETLINK, EINTR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_RAW } from './linux.ts';
import { HostError, libc } from './native.ts';

const NLMSG_DONE = 3;
const NLMSG_ERROR = 2;
/** The kernel fills dumps in pieces of up to 32 KiB. */
const BUFFER = 65536;

/** A kernel answer: `type` and the bytes behind the 16-byte message header. */
export interface NetlinkMessage {
  readonly type: number;
  readonly payload: Uint8Array;
}

export class NetlinkSocket {
  readonly #fd: number;
  readonly #arena: Arena = new Arena(BUFFER);
  #sequence = 0;
  #open = true;

  constructor() {
    const api = libc();
    const fd = api.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) throw new HostError('socket', api.errno(), 'netlink');
    this.#fd = adopt(fd);
  }

  /**
   * Sends one message (its length and sequence number are filled in) and gives what the kernel answered, acknowledgement
   * excluded. Throws `HostError` with the kernel's errno; `what` says in it what was asked for.
   */
  request(message: Uint8Array, what: string): NetlinkMessage[] {
    if (!this.#open) throw new PktkitError('PKT_CLOSED', 'the netlink socket is closed');
    if (message.length > BUFFER) throw new RangeError(`a request of ${message.length} bytes`);
    const api = libc();
    const { bytes, view, base } = this.#arena;
    this.#sequence = (this.#sequence + 1) >>> 0;
    const sequence = this.#sequence;
    bytes.set(message);
    view.setUint32(0, message.length, true);
    view.setUint32(8, sequence, true);
    let sent: number;
    do sent = api.write(this.#fd, base, message.length);
    while (sent < 0 && api.errno() === EINTR);
    if (sent < 0) throw new HostError('netlink', api.errno(), what);
    const answers: NetlinkMessage[] = [];
    while (!this.#collect(sequence, answers, what));
    return answers;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeDescriptor(this.#fd);
    this.#arena.release();
  }

  /** Reads one piece of the answer; true when it was the last. */
  #collect(sequence: number, answers: NetlinkMessage[], what: string): boolean {
    const api = libc();
    const { bytes, view, base } = this.#arena;
    const n = api.read(this.#fd, base, BUFFER);
    if (n < 0) {
      const errno = api.errno();
      if (errno === EINTR) return false;
      throw new HostError('netlink', errno, what);
    }
    let done = false;
    for (let at = 0; at + 16 <= n; ) {
      const length = view.getUint32(at, true);
      if (length < 16 || at + length > n) break;
      const type = view.getUint16(at + 4, true);
      if (view.getUint32(at + 8, true) === sequence) {
        if (type === NLMSG_ERROR || type === NLMSG_DONE) {
          const errno = length >= 20 ? -view.getInt32(at + 16, true) : 0;
          if (errno > 0) throw new HostError('netlink', errno, what);
          done = true;
        } else {
          // An acknowledgement follows a single answer, since every request asks for one; DONE ends a dump.
          answers.push({ type, payload: bytes.slice(at + 16, at + length) });
        }
      }
      at += (length + 3) & ~3;
    }
    return done;
  }
}
