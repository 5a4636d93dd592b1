export { type Attachment, attach } from './attach.ts';
export type { Answer, RecordType } from './dns/message.ts';
export {
  type DnsServer,
  type DnsTransport,
  type ResolveOptions,
  Resolver,
  type ResolverOptions,
  type ResolverStats,
} from './dns/resolver.ts';
export type { SocketError } from './errors.ts';
export type { PingOptions, PingReply } from './icmp.ts';
export type { VClientStats } from './stats.ts';
export {
  type UdpMessage,
  type UdpSender,
  type UdpSocketOptions,
  type UdpSocketStats,
  VUdpSocket,
} from './udp-socket.ts';
export {
  type ConnectOptions,
  type ListenOptions,
  type NameConfig,
  type UdpOptions,
  VClient,
  type VClientOptions,
} from './vclient.ts';
export { VServer, type VServerEvents } from './vserver.ts';
export { VSocket, type VSocketOptions } from './vsocket.ts';
