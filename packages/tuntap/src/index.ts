export type {
  AddressInfo,
  AddressOptions,
  LinkInfo,
  NetworkInterface,
  Route,
  RouteInfo,
  RouteScope,
} from './interface.ts';
export {
  type DeviceOptions,
  type DeviceStats,
  TapDevice,
  type TapOptions,
  TunDevice,
} from './linux-device.ts';
export { LinuxInterface } from './linux-interface.ts';
export { openIpDevice, openTap, openTun, openUtunDevice } from './open.ts';
export { type RunCommand, UtunDevice, type UtunStats } from './utun-device.ts';
