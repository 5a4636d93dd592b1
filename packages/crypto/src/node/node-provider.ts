import { CryptoError } from '../errors.ts';
import { nobleLayer, nobleProvider } from '../noble/index.ts';
import type { CryptoProvider, ProviderName } from '../provider.ts';
import { compose, type Layer } from '../suite.ts';
import { wasmLayer, wasmProviderSync } from '../wasm/index.ts';
import { kernel, kernelMissing } from '../wasm/kernel.ts';
import { nodeAead } from './aead.ts';
import { nodeCipher } from './cipher.ts';
import { nodeHash, nodeHmac } from './hash.ts';
import { openSslLayers } from './openssl/index.ts';
import { nodeX25519 } from './x25519.ts';

export interface ProviderOptions {
  /** Forces a tier; the environment variable `PKTKIT_CRYPTO` does the same. By default the fastest that works. */
  readonly name?: ProviderName | undefined;
}

export interface NodeProviderOptions {
  /** Serve ChaCha20-Poly1305 and BLAKE2s from WebAssembly, which is faster than Node's interface. Default true. */
  readonly wasm?: boolean | undefined;
}

export interface OpenSslProviderOptions {
  /** Use OpenSSL's public EVP functions only, none of what it exports beside them. Default false. */
  readonly publicOnly?: boolean | undefined;
}

/**
 * The fastest provider of this machine: OpenSSL through koffi, or, where koffi does not load or nothing passes its
 * self-test, node:crypto with the WebAssembly kernels. `describe()` says what serves each primitive, and why.
 */
export function provider(options: ProviderOptions = {}): CryptoProvider {
  const name = options.name ?? forcedByEnvironment();
  switch (name) {
    case 'noble':
      return nobleProvider();
    case 'wasm':
      return wasmProviderSync();
    case 'node':
      return nodeProvider();
    case 'openssl':
      return opensslProvider();
    case undefined:
      return cached('best', makeBest);
    default:
      throw new TypeError(
        `unknown crypto provider ${JSON.stringify(name)}: noble, wasm, node or openssl`,
      );
  }
}

/** node:crypto, over the WebAssembly kernels where they run, over noble. */
export function nodeProvider(options: NodeProviderOptions = {}): CryptoProvider {
  const wasm = options.wasm ?? true;
  return cached(`node ${wasm}`, () => compose('node', nodeLayers(wasm, [])));
}

/** OpenSSL through koffi for the AEADs and X25519. Throws `CRYPTO_UNAVAILABLE` where none of that works. */
export function opensslProvider(options: OpenSslProviderOptions = {}): CryptoProvider {
  const publicOnly = options.publicOnly ?? false;
  return cached(`openssl ${publicOnly}`, () => {
    const { layers, notes } = openSsl(publicOnly);
    if (layers.length === 0) {
      throw new CryptoError(
        'CRYPTO_UNAVAILABLE',
        `OpenSSL cannot be used: ${notes.join('; ')}. Install koffi, or use nodeProvider()`,
      );
    }
    return compose('openssl', [...nodeLayers(true, notes), ...layers]);
  });
}

const providers = new Map<string, CryptoProvider>();

function cached(name: string, make: () => CryptoProvider): CryptoProvider {
  let made = providers.get(name);
  if (made === undefined) {
    made = make();
    providers.set(name, made);
  }
  return made;
}

function makeBest(): CryptoProvider {
  const { layers, notes } = openSsl(false);
  return compose(layers.length > 0 ? 'openssl' : 'node', [...nodeLayers(true, notes), ...layers]);
}

function openSsl(publicOnly: boolean): ReturnType<typeof openSslLayers> {
  const missing = kernelMissing();
  // The native code shares the kernels' memory and takes short messages and one-time keys from them.
  if (missing !== null) return { layers: [], notes: [`openssl: ${missing}`] };
  return openSslLayers(kernel(), publicOnly);
}

function nodeLayers(wasm: boolean, notes: readonly string[]): Layer[] {
  const node: Layer = {
    label: `node:crypto (OpenSSL ${process.versions.openssl})`,
    suite: {
      chacha20poly1305: (key) => nodeAead('chacha20poly1305', key),
      'aes-gcm': nodeAead,
      x25519: nodeX25519,
      hash: nodeHash,
      hmac: nodeHmac,
      'aes-cbc': nodeCipher,
      'aes-ctr': nodeCipher,
    },
    notes,
  };
  if (!wasm) return [nobleLayer, node];
  const missing = kernelMissing();
  if (missing === null) return [nobleLayer, node, wasmLayer(kernel())];
  return [nobleLayer, { ...node, notes: [...notes, `wasm: ${missing}`] }];
}

function forcedByEnvironment(): ProviderName | undefined {
  const name = process.env.PKTKIT_CRYPTO;
  return name === undefined || name === '' ? undefined : (name as ProviderName);
}
