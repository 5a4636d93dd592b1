export { HostError, tryLibc } from './native.ts';
export { type NetlinkMessage, NetlinkSocket } from './netlink.ts';
export { inNetns, type Netns, netnsPath } from './netns.ts';
export { openPacket, PacketDevice, type PacketOptions, type PacketStats } from './packet-socket.ts';
export { type ReactorStats, reactorStats } from './reactor.ts';
export {
  TunDescriptor,
  type TunDescriptorOptions,
  type TunDescriptorStats,
  type TunReceive,
} from './tun-descriptor.ts';
export { bindUdp } from './udp.ts';
export type {
  UdpError,
  UdpOptions,
  UdpReceive,
  UdpSocket,
  UdpStats,
} from './udp-types.ts';
export {
  controlAddress,
  controlInfo,
  isUtunPacket,
  openUtun,
  UTUN_HEADER,
  type UtunPort,
  utunUnit,
  writeUtunHeader,
} from './utun-descriptor.ts';
export { readVnet, VNET_HEADER, VNET_INVALID, writeVnet } from './vnet.ts';
