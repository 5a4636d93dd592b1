export { type ImpairOptions, type ImpairStats, impair } from '@pktkit/core';
export {
  assertCleanCapture,
  Capture,
  type CaptureCheck,
  type CaptureOptions,
  type CaptureReport,
  countInCapture,
  inspectCapture,
} from './capture.ts';
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
export { bootGuest, type GuestKernel, type GuestOptions, guestKernel } from './guest.ts';
export {
  freeSubnet,
  Netns,
  type NetnsOptions,
  type Subnet,
  sweepStale,
  type VethOptions,
  withNetns,
} from './netns.ts';
export {
  arpMismatches,
  assertPacket,
  describePacket,
  type ExpectedArp,
  type ExpectedPacket,
  packetMismatches,
} from './packets.ts';
export { poisoningPipeL2, poisoningPipeL3, poisonL2, poisonL3 } from './poison.ts';
export { BackgroundProcess, type RunOptions, type RunResult, run, spawn } from './process.ts';
export {
  findTool,
  missingRequirements,
  type Requirements,
  requireTools,
  scaled,
  TOOL_PACKAGES,
} from './requirements.ts';
export { type UntilOptions, until } from './until.ts';
export { VirtualClock } from './virtual-clock.ts';
