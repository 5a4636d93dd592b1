import type { Packet } from '@pktkit/core';
import type {
  ConnectOptions,
  ListenOptions,
  TcpConnection,
  TcpListener,
  TcpStackOptions,
  TcpStackStats,
} from './types.ts';

export type {
  AckSample,
  CongestionConfig,
  CongestionController,
  CongestionFactory,
} from './congestion/congestion.ts';
export { TcpError, type TcpErrorCode } from './errors.ts';
export { type TcpTraceEvent, traceLine } from './trace.ts';
export type {
  ConnectOptions,
  KeepAliveOptions,
  ListenOptions,
  SynRequest,
  TcpConnection,
  TcpInfo,
  TcpListener,
  TcpOptions,
  TcpStackLimits,
  TcpStackOptions,
  TcpStackStats,
  TcpState,
} from './types.ts';

export declare class TcpStack {
  constructor(options: TcpStackOptions);
  readonly stats: TcpStackStats;
  /** Largest IP packet of the link. */
  mtu: number;
  /** Connections in any state but TIME-WAIT. */
  readonly connections: number;
  /** Takes a validated IP packet that holds TCP; the window is borrowed. Never calls out: handlers run at the batch's end. */
  handlePacket(packet: Packet): void;
  /** Takes an ICMP or ICMPv6 packet; true when it was an error about one of this stack's flows. */
  handleIcmp(packet: Packet): boolean;
  /** Throws `TcpError` when the port is taken, none is free, or a limit is reached. */
  connect(options: ConnectOptions): TcpConnection;
  /** Throws `TcpError` `EADDRINUSE`. */
  listen(options: ListenOptions): TcpListener;
  /** Resets every connection. */
  close(): void;
}
