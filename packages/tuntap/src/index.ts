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
export { openTap, openTun } from './open.ts';
