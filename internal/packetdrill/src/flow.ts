/**
 * Translates between a script's numbers and the wire's. Scripts count sequence numbers from each side's SYN and name
 * timestamps as they like; the wire has random offsets.
 */

import type { ScriptPacket, TcpOption, TcpPacket } from './ast.ts';
import { FLAG_LETTERS } from './parser.ts';
import { buildIcmpError, buildTcp, type Ecn, type FlowAddress, type WireTcp } from './wire.ts';

const SYN = FLAG_LETTERS.S;
const ACK = FLAG_LETTERS['.'];

export class Flow {
  readonly local: FlowAddress;
  readonly remote: FlowAddress;
  /** Wire minus script of what the remote side, the script, sends. */
  readonly #remoteOffset: number;
  #localOffset: number | null = null;
  readonly #timestamps = new Map<number, number>();
  #timestampOffset = 0;

  constructor(local: FlowAddress, remote: FlowAddress, remoteIsn: number) {
    this.local = local;
    this.remote = remote;
    this.#remoteOffset = remoteIsn;
  }

  owns(packet: WireTcp): boolean {
    return packet.source.port === this.local.port && packet.destination.port === this.remote.port;
  }

  /** The bytes of an inbound script packet. */
  inbound(packet: ScriptPacket): Uint8Array {
    const { body } = packet;
    if (body.kind === 'icmp') return this.#icmp(body);
    const options = (body.options ?? []).map((option): TcpOption => {
      if (option.kind === 'timestamp') {
        const echo = option.echo === null ? 0 : option.echo;
        return { kind: 'timestamp', value: option.value ?? 0, echo: this.#wireTimestamp(echo) };
      }
      if (option.kind !== 'sack') return option;
      const blocks = option.blocks.map(({ left, right }) => ({
        left: this.#localWire(left),
        right: this.#localWire(right),
      }));
      return { kind: 'sack', blocks };
    });
    return buildTcp({
      source: this.remote,
      destination: this.local,
      ecn: ECN_BITS[packet.ecn ?? 'noecn'],
      flags: body.flags,
      seq: (body.seq + this.#remoteOffset) >>> 0,
      ack: body.ack === null ? 0 : this.#localWire(body.ack),
      window: body.window ?? 65535,
      urgent: body.urgent ?? 0,
      options,
      payload: body.payload,
    });
  }

  /** What left, in the script's numbers; learns offsets from a first SYN and from expected timestamps. */
  outbound(packet: WireTcp, expected: TcpPacket | null): SeenTcp {
    if (this.#localOffset === null || (packet.flags & SYN) !== 0) {
      // A RST for a flow that never sent a SYN takes its number from the segment it answers (RFC 9293 §3.5.2).
      this.#localOffset = (packet.flags & SYN) !== 0 ? packet.seq : (this.#localOffset ?? 0);
    }
    const seq = signed(packet.seq - this.#localOffset);
    const options = packet.options.map((option): TcpOption => {
      if (option.kind === 'timestamp') return this.#scriptTimestamp(option, expected);
      if (option.kind !== 'sack') return option;
      const blocks = option.blocks.map(({ left, right }) => ({
        left: signed(left - this.#remoteOffset),
        right: signed(right - this.#remoteOffset),
      }));
      return { kind: 'sack', blocks };
    });
    return {
      kind: 'tcp',
      flags: packet.flags,
      seq,
      end: seq + packet.payload,
      payload: packet.payload,
      ack: (packet.flags & ACK) === 0 ? null : signed(packet.ack - this.#remoteOffset),
      window: packet.window,
      urgent: packet.urgent,
      options,
      ecn: packet.ecn,
    };
  }

  #localWire(script: number): number {
    return (script + (this.#localOffset ?? 0)) >>> 0;
  }

  #wireTimestamp(script: number): number {
    if (script === 0) return 0;
    return this.#timestamps.get(script) ?? (script + this.#timestampOffset) >>> 0;
  }

  #scriptTimestamp(seen: TcpOption & { kind: 'timestamp' }, expected: TcpPacket | null): TcpOption {
    const wanted = expected?.options?.find((option) => option.kind === 'timestamp');
    const value = seen.value ?? 0;
    if (wanted?.kind === 'timestamp' && wanted.value !== null && this.#timestamps.size === 0) {
      this.#timestampOffset = value - wanted.value;
    }
    const script = (value - this.#timestampOffset) >>> 0;
    if (wanted?.kind === 'timestamp' && wanted.value !== null) {
      this.#timestamps.set(wanted.value, value);
    }
    return { kind: 'timestamp', value: script, echo: seen.echo };
  }

  #icmp(error: ScriptPacket['body'] & { kind: 'icmp' }): Uint8Array {
    const v4 = this.local.ip.length === 4;
    const numbers = ICMP_ERRORS[v4 ? 4 : 6][`${error.type} ${error.code ?? ''}`.trim()];
    if (numbers === undefined) {
      throw new Error(`no ICMP error is called ${error.type} ${error.code ?? ''}`);
    }
    const quoted = buildTcp({
      source: this.local,
      destination: this.remote,
      ecn: 0,
      flags: ACK,
      seq: this.#localWire(error.echoed?.seq ?? 0),
      ack: this.#remoteOffset,
      window: 65535,
      urgent: 0,
      options: [],
      payload: error.echoed?.payload ?? 0,
    });
    const [type, code] = numbers;
    return buildIcmpError(
      this.remote.ip,
      this.local.ip,
      { type, code, mtu: error.mtu ?? 0 },
      quoted,
    );
  }
}

/** What the target sent, in the script's numbers. */
export type SeenTcp = TcpPacket & { ecn: Ecn };

export const ECN_BITS = { noecn: 0, ect1: 1, ect0: 2, ce: 3, ect01: 2 } as const;

const ICMP_ERRORS: Record<4 | 6, Record<string, [type: number, code: number]>> = {
  4: {
    'unreachable net_unreachable': [3, 0],
    'unreachable host_unreachable': [3, 1],
    'unreachable protocol_unreachable': [3, 2],
    'unreachable port_unreachable': [3, 3],
    'unreachable frag_needed': [3, 4],
    source_quench: [4, 0],
    'time_exceeded exc_ttl': [11, 0],
    time_exceeded: [11, 0],
  },
  6: {
    'unreachable net_unreachable': [1, 0],
    'unreachable host_unreachable': [1, 3],
    'unreachable addr_unreachable': [1, 3],
    'unreachable port_unreachable': [1, 4],
    packet_too_big: [2, 0],
    time_exceeded: [3, 0],
  },
};

function signed(sequence: number): number {
  return sequence | 0;
}
