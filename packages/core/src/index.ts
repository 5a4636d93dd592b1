export type { ArpStats } from './adapter/arp-host.ts';
export type {
  DhcpClientOptions,
  DhcpClientState,
  DhcpClientStats,
  DhcpLease,
  DhcpLossReason,
} from './adapter/dhcp-client.ts';
export { DhcpClient, type DhcpClientLink } from './adapter/dhcp-client.ts';
export { adapt, L2Adapter } from './adapter/l2-adapter.ts';
export type { NdpStats } from './adapter/ndp-host.ts';
export {
  NeighborCache,
  type NeighborLink,
  NeighborState,
  type NeighborStats,
} from './adapter/neighbor-cache.ts';
export type { L2AdapterOptions, L2AdapterStats, NetworkConfig } from './adapter/options.ts';
export {
  copyBytes,
  equalBytes,
  fromHex,
  get16,
  get24,
  get32,
  getInt32,
  put16,
  put24,
  put32,
  toHex,
} from './bytes.ts';
export {
  checksum,
  combine,
  completeChecksum,
  copyAndSum,
  pseudoHeaderSum,
  pseudoHeaderSum4,
  sum,
  transportChecksum,
  update16,
  update32,
  updateUdp16,
  updateUdp32,
  verifyTransport,
} from './checksum.ts';
export { type Clock, FlushQueue, systemClock, type Timer, TimerQueue } from './clock.ts';
export {
  type AbortSignalLike,
  connectL2,
  connectL3,
  type ServeOptions,
  serve,
} from './connect.ts';
export {
  type Disconnect,
  disconnect,
  dropFrame,
  dropPacket,
  type Ending,
  type FrameHandler,
  type L2Acceptor,
  type L2Connector,
  type L2Device,
  type L3Connector,
  type L3Device,
  type PacketHandler,
} from './device.ts';
export type { DhcpNetworkOptions, StaticLease } from './dhcp/options.ts';
export { DhcpServer } from './dhcp/server.ts';
export type {
  DhcpLeaseRecord,
  DhcpServerEvent,
  DhcpServerLease,
  DhcpServerOptions,
  DhcpServerStats,
} from './dhcp/server-options.ts';
export { PktkitError, type PktkitErrorCode } from './errors.ts';
export { FlowTable, type FlowTableOptions } from './flow-table.ts';
export { fragment4, fragment6 } from './fragment.ts';
export { Frame } from './frame.ts';
export { hashSecret, hashWord, spread } from './hash.ts';
export {
  ErrorLimiter,
  MAX_ICMP_ERROR,
  mayAnswerWithError,
  writeIcmpError,
} from './icmp-error.ts';
export {
  type ImpairOptions,
  type ImpairStats,
  impair,
  L2Impair,
  L3Impair,
} from './impair.ts';
export { IpAddr, type IpFamily, Prefix, V4_MAPPED_WORD } from './ip.ts';
export {
  L2Hub,
  type L2HubOptions,
  type L2HubStats,
  type L2PortOptions,
  type L2PortStats,
} from './l2-hub.ts';
export { L3Hub, type L3HubOptions, type L3HubStats } from './l3-hub.ts';
export { MacAddr, readMac, writeMac } from './mac.ts';
export { Accept, CHECKSUM_PARTIAL, CHECKSUM_TRUSTED, SEGMENT_SIZE_MASK } from './offload.ts';
export { ipLength, Packet } from './packet.ts';
export {
  Direction,
  LINKTYPE_ETHERNET,
  LINKTYPE_RAW,
  PcapngWriter,
  type PcapSink,
} from './pcapng.ts';
export { L2PipeEnd, L3PipeEnd, type PipeOptions, type PipeStats, pipeL2, pipeL3 } from './pipe.ts';
export { BufferPool, HEADROOM, type PoolStats, pool, TAILROOM } from './pool.ts';
export {
  type RaPrefixOptions,
  RaServer,
  type RaServerOptions,
  type RaServerStats,
} from './ra-server.ts';
export { fillRandom, type Random32, random32, randomBelow } from './random.ts';
export { Reassembler, type ReassemblerOptions, type ReassemblerStats } from './reassembly.ts';
export { RouteTable, type RouteTableOptions } from './route-table.ts';
export { type OffloadStats, offloadStats } from './segment.ts';
export { sendL2, sendL3 } from './software-offload.ts';
export { L2Tap, L3Tap, type TapOptions, type TapStats, tap } from './tap.ts';
export {
  ARP_LENGTH,
  ArpOperation,
  arpOperation,
  arpSenderIp,
  arpSenderMac,
  arpTargetIp,
  writeArp,
} from './wire/arp.ts';
export {
  type DhcpMessage,
  DhcpOption,
  type DhcpRoute,
  DhcpType,
  parseDhcp,
  writeDhcp,
} from './wire/dhcp.ts';
export {
  ETHERNET_HEADER,
  ETHERNET_MIN_FRAME,
  EtherType,
  ethernetHeaderLength,
  VLAN_TAG,
  writeEthernet,
} from './wire/ethernet.ts';
export * as icmp from './wire/icmp.ts';
export {
  ICMP_CHECKSUM,
  ICMP_HEADER,
  IcmpTimeExceeded,
  IcmpType,
  IcmpUnreachable,
} from './wire/icmp.ts';
export * as icmpv6 from './wire/icmpv6.ts';
export {
  ICMPV6_CHECKSUM,
  ICMPV6_HEADER,
  Icmpv6TimeExceeded,
  Icmpv6Type,
  Icmpv6Unreachable,
} from './wire/icmpv6.ts';
export * as ipv4 from './wire/ipv4.ts';
export {
  IPV4_CHECKSUM,
  IPV4_DF,
  IPV4_DST,
  IPV4_FRAGMENT,
  IPV4_HEADER,
  IPV4_ID,
  IPV4_MF,
  IPV4_OFFSET_MASK,
  IPV4_PROTOCOL,
  IPV4_SRC,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
  IpProtocol,
  type Ipv4Fields,
  type Ipv4Header,
  ipv4ChecksumOk,
  writeIpv4,
} from './wire/ipv4.ts';
export * as ipv6 from './wire/ipv6.ts';
export {
  IPV6_DST,
  IPV6_FRAGMENT_HEADER,
  IPV6_HEADER,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SRC,
  type Ipv6Fields,
  type Ipv6Header,
  ipv6Transport,
  writeIpv6,
} from './wire/ipv6.ts';
export {
  eui64Address,
  linkLocalAddress,
  NdpOption,
  NdpType,
  type PrefixInfo,
  type RouterAdvertisement,
  type RouterPreference,
  readRouterAdvertisement,
  solicitedNode,
  writeNeighborAdvertisement,
  writeNeighborSolicitation,
  writeRouterAdvertisement,
  writeRouterSolicitation,
} from './wire/ndp.ts';
export * as tcp from './wire/tcp.ts';
export {
  TCP_ACK,
  TCP_CHECKSUM,
  TCP_DATA_OFFSET,
  TCP_DST_PORT,
  TCP_FLAGS,
  TCP_HEADER,
  TCP_MAX_HEADER,
  TCP_SEQ,
  TCP_SRC_PORT,
  TCP_URGENT,
  TCP_WINDOW,
  TcpFlag,
} from './wire/tcp.ts';
export * as udp from './wire/udp.ts';
export {
  UDP_CHECKSUM,
  UDP_DST_PORT,
  UDP_HEADER,
  UDP_LENGTH,
  UDP_SRC_PORT,
} from './wire/udp.ts';
