/**
 * What a packetdrill script says, as data. The language is that of google/packetdrill: timed packets, socket calls with
 * their results, shell commands and assertions, in the order in which they happen.
 */

/** Times are seconds, as scripts write them. */
export type ScriptTime =
  | { kind: 'absolute'; at: number }
  | { kind: 'relative'; after: number }
  | { kind: 'absolute-range'; from: number; to: number }
  | { kind: 'relative-range'; from: number; to: number }
  /** `*`: whenever it happens. */
  | { kind: 'any' };

export interface Script {
  file: string;
  /** `--name=value` lines in front of the first event. */
  options: Map<string, string>;
  /** `// kernel differs: why` among the comments: the script is ours, and a kernel is known to do otherwise. */
  kernelDiffers: string | null;
  /** A shell command in front of the first event. */
  init: string | null;
  events: ScriptEvent[];
}

export type ScriptEvent = {
  line: number;
  /** The event as written, for reports. */
  text: string;
  time: ScriptTime;
} & (
  | { kind: 'packet'; packet: ScriptPacket }
  | { kind: 'call'; call: ScriptCall }
  | { kind: 'command'; command: string }
  | { kind: 'code'; code: string }
);

export interface ScriptPacket {
  direction: 'in' | 'out';
  ecn: 'noecn' | 'ect0' | 'ect1' | 'ect01' | 'ce' | null;
  body: TcpPacket | IcmpPacket;
}

export interface TcpPacket {
  kind: 'tcp';
  /** TCP flag bits. `null` when the script does not care. */
  flags: number;
  /** Relative to the sender's initial sequence number. */
  seq: number;
  end: number;
  payload: number;
  /** Relative to the other side's initial sequence number; `null` without ACK. */
  ack: number | null;
  /** The field as it is on the wire; `null` when any will do. */
  window: number | null;
  urgent: number | null;
  /** `null` for `<...>`: any options will do. */
  options: TcpOption[] | null;
}

export type TcpOption =
  | { kind: 'nop' | 'eol' | 'sackOK' }
  | { kind: 'mss'; value: number }
  | { kind: 'wscale'; value: number }
  | { kind: 'timestamp'; value: number | null; echo: number | null }
  | { kind: 'sack'; blocks: Array<{ left: number; right: number }> };

export interface IcmpPacket {
  kind: 'icmp';
  /** ICMP names of the script: `unreachable`, `packet_too_big`, `time_exceeded`. */
  type: string;
  code: string | null;
  mtu: number | null;
  /** The echoed TCP segment's sequence range, relative. */
  echoed: { seq: number; payload: number } | null;
}

export interface ScriptCall {
  name: string;
  args: Value[];
  /** Present for a blocking call written `start...end call()`: when it returns. */
  end: { at: number; relative: boolean } | null;
  result: Value;
  /** `EAGAIN` and the like, after a result of -1. */
  errno: string | null;
}

export type Value =
  | { kind: 'number'; value: number }
  /** `...`: whatever it is. */
  | { kind: 'ellipsis' }
  | { kind: 'string'; value: string }
  /** `O_RDWR|O_NONBLOCK`: one or more names. */
  | { kind: 'names'; names: string[] }
  | { kind: 'list'; items: Value[] }
  | { kind: 'fields'; fields: Map<string, Value>; items: Value[] };
