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
export { PktkitError, type PktkitErrorCode } from './errors.ts';
export { Frame } from './frame.ts';
export { IpAddr, type IpFamily, Prefix, V4_MAPPED_WORD } from './ip.ts';
export { MacAddr, readMac, writeMac } from './mac.ts';
export { Accept, CHECKSUM_PARTIAL, CHECKSUM_TRUSTED, SEGMENT_SIZE_MASK } from './offload.ts';
export { ipLength, Packet } from './packet.ts';
export { L2PipeEnd, L3PipeEnd, type PipeOptions, type PipeStats, pipeL2, pipeL3 } from './pipe.ts';
export { BufferPool, HEADROOM, type PoolStats, pool, TAILROOM } from './pool.ts';
export { fillRandom, type Random32, random32, randomBelow } from './random.ts';
export { sendL2, sendL3 } from './software-offload.ts';
export {
  ETHERNET_HEADER,
  ETHERNET_MIN_FRAME,
  EtherType,
  ethernetHeaderLength,
  VLAN_TAG,
  writeEthernet,
} from './wire/ethernet.ts';
export { IPV4_DF, IPV4_HEADER, IPV4_MF, IPV4_OFFSET_MASK, IpProtocol } from './wire/ipv4.ts';
export { IPV6_FRAGMENT_HEADER, IPV6_HEADER, ipv6Transport } from './wire/ipv6.ts';
