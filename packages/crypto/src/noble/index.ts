import type { CryptoProvider } from '../provider.ts';
import { compose, type Layer } from '../suite.ts';
import { nobleChaCha20Poly1305, nobleGcm, nobleXChaCha20Poly1305 } from './aead.ts';
import { nobleCbc, nobleCtr } from './cipher.ts';
import { nobleBlake2s, nobleHash, nobleHmac, nobleHmacBlake2s } from './hash.ts';
import { nobleX25519 } from './x25519.ts';

/** The layer that brings everything, under all others. */
export const nobleLayer: Layer = {
  label: 'noble',
  suite: {
    chacha20poly1305: nobleChaCha20Poly1305,
    'aes-gcm': nobleGcm,
    xchacha20poly1305: nobleXChaCha20Poly1305,
    x25519: nobleX25519,
    blake2s: nobleBlake2s,
    'hmac-blake2s': nobleHmacBlake2s,
    hash: nobleHash,
    hmac: nobleHmac,
    'aes-cbc': nobleCbc,
    'aes-ctr': nobleCtr,
  },
};

let provider: CryptoProvider | undefined;

/** Plain JavaScript from the audited noble packages: runs anywhere. */
export function nobleProvider(): CryptoProvider {
  provider ??= compose('noble', [nobleLayer]);
  return provider;
}
