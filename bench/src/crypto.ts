/** Seal and open per tier, X25519, BLAKE2s and the Noise KDF. Each `run` does its work `iterations` times. */

import {
  type AeadName,
  type CryptoProvider,
  NoiseKdf,
  nobleProvider,
  wasmProviderSync,
} from '@pktkit/crypto';
import { nodeProvider, opensslProvider } from '@pktkit/crypto/node';

export interface CryptoBench {
  readonly id: string;
  readonly unit: 'ns' | 'µs';
  run(iterations: number): void;
}

export function benches(): CryptoBench[] {
  const noble = nobleProvider();
  const wasm = wasmProviderSync();
  const node = nodeProvider({ wasm: false });
  const evp = opensslProvider({ publicOnly: true });
  const openssl = opensslProvider();
  const list: CryptoBench[] = [];
  for (const [tier, provider] of Object.entries({ noble, wasm, node, evp, openssl })) {
    for (const len of [64, 1420]) {
      list.push(...aead(`crypto.chacha`, tier, provider, 'chacha20poly1305', len));
      if (tier !== 'wasm') list.push(...aead(`crypto.gcm`, tier, provider, 'aes-256-gcm', len));
    }
  }
  for (const [tier, provider] of Object.entries({ noble, node, openssl })) {
    list.push(...x25519(tier, provider));
  }
  for (const [tier, provider] of Object.entries({ noble, wasm }))
    list.push(...hashes(tier, provider));
  return list;
}

function aead(
  area: string,
  tier: string,
  provider: CryptoProvider,
  name: AeadName,
  len: number,
): CryptoBench[] {
  const cipher = provider.aead(name, provider.randomBytes(name === 'aes-128-gcm' ? 16 : 32));
  const src = provider.randomBytes(2048);
  const dst = new Uint8Array(2048);
  const message = new Uint8Array(2048);
  cipher.sealCounter(message, 16, src, 32, len, 7, 0);
  return [
    {
      id: `${area}.seal.${len}.${tier}`,
      unit: 'ns',
      run(iterations) {
        for (let i = 0; i < iterations; i++) cipher.sealCounter(dst, 16, src, 32, len, i, 0);
      },
    },
    {
      id: `${area}.open.${len}.${tier}`,
      unit: 'ns',
      run(iterations) {
        let good = 0;
        for (let i = 0; i < iterations; i++) {
          if (cipher.openCounter(dst, 32, message, 16, len, 7, 0)) good++;
        }
        if (good !== iterations) throw new Error(`${area} ${tier}: a good message was refused`);
      },
    },
  ];
}

function x25519(tier: string, provider: CryptoProvider): CryptoBench[] {
  const pair = provider.x25519KeyPair();
  const peer = provider.x25519KeyPair().publicKey;
  const held = provider.x25519PublicKey(peer);
  const shared = new Uint8Array(32);
  return [
    {
      id: `crypto.x25519.${tier}`,
      unit: 'µs',
      run(iterations) {
        for (let i = 0; i < iterations; i++) pair.agree(shared, 0, held);
      },
    },
    {
      id: `crypto.x25519.ephemeral.${tier}`,
      unit: 'µs',
      run(iterations) {
        for (let i = 0; i < iterations; i++) pair.agree(shared, 0, peer);
      },
    },
    {
      id: `crypto.x25519.keypair.${tier}`,
      unit: 'µs',
      run(iterations) {
        for (let i = 0; i < iterations; i++) provider.x25519KeyPair().wipe();
      },
    },
  ];
}

function hashes(tier: string, provider: CryptoProvider): CryptoBench[] {
  const key = provider.randomBytes(32);
  const text = provider.randomBytes(256);
  const out = new Uint8Array(32);
  const other = new Uint8Array(32);
  const hash = provider.hash('blake2s');
  const mac = provider.blake2s(16, key);
  const kdf = new NoiseKdf(provider);
  return [
    {
      id: `crypto.blake2s.64.${tier}`,
      unit: 'ns',
      run(iterations) {
        for (let i = 0; i < iterations; i++) {
          hash.update(text, 0, 64);
          hash.finish(out, 0);
        }
      },
    },
    {
      id: `crypto.mac1.116.${tier}`,
      unit: 'ns',
      run(iterations) {
        for (let i = 0; i < iterations; i++) {
          mac.update(text, 0, 116);
          mac.finish(out, 0);
        }
      },
    },
    {
      id: `crypto.kdf2.${tier}`,
      unit: 'ns',
      run(iterations) {
        for (let i = 0; i < iterations; i++) kdf.kdf2(out, other, key, key);
      },
    },
  ];
}
