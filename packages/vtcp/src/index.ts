export { buildSegment, type SegmentFields } from './build-segment.ts';
export type {
  AckSample,
  CongestionConfig,
  CongestionController,
  CongestionFactory,
} from './congestion/congestion.ts';
export { TcpError, type TcpErrorCode } from './errors.ts';
export { Endpoints, type Flow, FlowKey } from './flow.ts';
export { ACK, CWR, ECE, FIN, PSH, RST, Segment, SYN, TCP_HEADER, URG } from './segment.ts';
export { SipHash } from './siphash.ts';
export { TcpStack } from './stack.ts';
export { SynCookies } from './syn-cookie.ts';
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
