import { nobleLayer } from '../noble/index.ts';
import type { CryptoProvider } from '../provider.ts';
import { compose, type Layer } from '../suite.ts';
import { nodeAead } from './aead.ts';
import { nodeCipher } from './cipher.ts';
import { nodeHash, nodeHmac } from './hash.ts';
import { nodeX25519 } from './x25519.ts';

export const nodeLayer: Layer = {
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
};

let provider: CryptoProvider | undefined;

/** Node's own cryptography for all that it serves faster than plain JavaScript does. */
export function nodeProvider(): CryptoProvider {
  provider ??= compose('node', [nobleLayer, nodeLayer]);
  return provider;
}
