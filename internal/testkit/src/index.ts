export {
  type DeviceRig,
  type L2Rig,
  type L3Rig,
  l2DeviceSuite,
  l3DeviceSuite,
  type SuiteApi,
} from './compliance.ts';
export {
  type ArpFields,
  type Dissection,
  dissectFrame,
  dissectPacket,
  type EtherFields,
  type IcmpFields,
  type IpFields,
  slowChecksum,
  type TcpFields,
  type UdpFields,
} from './dissect.ts';
export {
  arpMismatches,
  assertPacket,
  describePacket,
  type ExpectedArp,
  type ExpectedPacket,
  packetMismatches,
} from './packets.ts';
export { poisoningPipeL2, poisoningPipeL3, poisonL2, poisonL3 } from './poison.ts';
export { VirtualClock } from './virtual-clock.ts';
