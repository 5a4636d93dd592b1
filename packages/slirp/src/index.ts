export type { UdpFiltering } from './context.ts';
export { type NodeSocketsOptions, nodeSockets } from './node-sockets.ts';
export type { FlowRequest, FlowVerdict, PolicyOptions } from './policy.ts';
export {
  type ForwardOptions,
  type PortForward,
  Slirp,
  type SlirpListenOptions,
  type SlirpOptions,
} from './slirp.ts';
export type {
  DatagramOptions,
  DialOptions,
  HostDatagramEvents,
  HostDatagrams,
  HostErrorCode,
  HostListener,
  HostStream,
  HostStreamEvents,
  SocketProvider,
} from './sockets.ts';
export type { SlirpLimits, SlirpStats } from './stats.ts';
