export { AllowedIps } from './allowed-ips.ts';
export {
  ConfigFile,
  type EndpointName,
  formatConfig,
  formatEndpoint,
  type InterfaceConfig,
  type PeerConfig,
  parseConfig,
  parseEndpoint,
  type WgConfig,
  WgConfigError,
} from './config.ts';
export { DEFAULT_MTU, TIMINGS, type Timings } from './constants.ts';
export {
  type AllowedPeerOptions,
  WireGuard,
  type WireGuardOptions,
} from './device.ts';
export { Engine, type EngineOptions } from './engine.ts';
export type { EngineLimits } from './engine-core.ts';
export { onEthernet } from './ethernet-peers.ts';
export type {
  Identity,
  IdentityEvents,
  IdentityOptions,
  PeerOptions,
  PeerRequest,
} from './identity.ts';
export {
  derivePublicKey,
  formatKey,
  formatKeyHex,
  generatePresharedKey,
  generatePrivateKey,
  parseKey,
} from './keys.ts';
export { type Link, NO_ENDPOINT } from './link.ts';
export type { Peer, PeerStats } from './peer.ts';
export {
  PeerDevice,
  PeerNetworks,
  type PeerNetworksOptions,
} from './peer-networks.ts';
export type { EngineStats } from './stats.ts';
export { TunnelDevice, type TunnelStats } from './tunnel-device.ts';
export { answerUapi, MAX_REQUEST, type UapiPort } from './uapi.ts';
