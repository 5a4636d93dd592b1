export type {
  AckSample,
  CongestionConfig,
  CongestionController,
  CongestionFactory,
} from './congestion/congestion.ts';
export { TcpError, type TcpErrorCode } from './errors.ts';
export { TcpStack } from './stack.ts';
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
