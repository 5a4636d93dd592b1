export { Engine, type EngineOptions } from './engine.ts';
export type { EngineLimits } from './engine-core.ts';
export {
  Identity,
  type IdentityEvents,
  type IdentityOptions,
  type PeerOptions,
  type PeerRequest,
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
export { Peer, type PeerStats } from './peer.ts';
export type { EngineStats } from './stats.ts';
