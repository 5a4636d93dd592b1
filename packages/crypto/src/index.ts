export { CryptoError, type CryptoErrorCode } from './errors.ts';
export { hkdf, NoiseKdf } from './kdf.ts';
export { nobleProvider } from './noble/index.ts';
export { fillRandom } from './platform.ts';
export type {
  Aead,
  AeadName,
  Cipher,
  CipherName,
  CounterAead,
  CryptoProvider,
  Hasher,
  HashName,
  KeyInput,
  Mac,
  Primitive,
  ProviderDescription,
  ProviderName,
  Wipeable,
  X25519KeyPair,
  X25519PublicKey,
} from './provider.ts';
export { Secret } from './secret.ts';
export { wasmProvider, wasmProviderSync } from './wasm/index.ts';
export { equalConstantTime, TAG_LENGTH } from './windows.ts';
