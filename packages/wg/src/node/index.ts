export type { Lookup } from './names.ts';
export {
  type ListenOptions,
  listen,
  type NamedPeerOptions,
  type PortDeviceOptions,
  WireGuardPort,
} from './port.ts';
export { configQr, configQrPng } from './qr.ts';
export { UapiServer, type UapiServerOptions } from './uapi-server.ts';
