/** What a script runs against: this project's engine in virtual time, or a kernel in real time. */

import type { ScriptCall } from './ast.ts';

export interface CapturedPacket {
  /** Seconds since the script began. */
  at: number;
  bytes: Uint8Array;
}

export interface CallOutcome {
  /** Seconds since the script began. */
  at: number;
  result: number;
  errno: string | null;
  /**
   * Values that the call wrote, by argument position: `getsockopt`'s and `ioctl`'s number, and for each descriptor of `poll`
   * and each control message of `recvmsg` the fields.
   */
  out: Map<number, number | Array<Map<string, number>>>;
}

/** A call that has begun; `outcome` is set once it has returned. */
export interface PendingCall {
  outcome: CallOutcome | null;
}

export interface Target {
  readonly name: string;
  /** Seconds since the script began. */
  readonly now: number;
  readonly localIp: Uint8Array;
  readonly remoteIp: Uint8Array;
  /** The port that scripts bind to (`bind(3, ..., ...)`) and connect to. */
  readonly bindPort: number;
  readonly connectPort: number;
  /** Added to every tolerance, in seconds: what a busy machine may be late in real time. */
  readonly slack: number;
  /** The script's time begins now. */
  begin(): void;
  /** Lets time pass until `at` seconds, or until `done` says so. */
  run(at: number, done: () => boolean): Promise<void>;
  /** Packets that left since the last call, in order. */
  takePackets(): CapturedPacket[];
  inject(bytes: Uint8Array): void;
  call(call: ScriptCall): PendingCall;
  /** `tcp_info` of the socket that a call named last, under the kernel's names and in its units. */
  tcpInfo(): Map<string, number>;
  /** A shell command of the script. Gives a remark when it was passed over. */
  command(command: string): Promise<string | null>;
  close(): Promise<void>;
}
