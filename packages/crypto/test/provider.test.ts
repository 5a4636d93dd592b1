import { readFileSync } from 'node:fs';
import {
  CryptoError,
  equalConstantTime,
  nobleProvider,
  Secret,
  wasmProvider,
  wasmProviderSync,
} from '@pktkit/crypto';
import { provider as best, nodeProvider, opensslProvider } from '@pktkit/crypto/node';
import { afterEach, describe, expect, it } from 'vitest';
import { compile } from '../scripts/build-wasm.ts';
import { CHACHA_ANSWER, testAead, testBlake2s, testX25519 } from '../src/self-test.ts';
import * as kernelLayout from '../src/wasm/kernel.ts';
import { hex, providers, toHex } from './providers.ts';

describe('provider()', () => {
  afterEach(() => {
    delete process.env.PKTKIT_CRYPTO;
  });

  it('picks OpenSSL where koffi loads, and says what serves each primitive', () => {
    const chosen = best();
    expect(chosen.name).toBe('openssl');
    const { served, notes } = chosen.describe();
    expect(served.chacha20poly1305).toMatch(/^OpenSSL 3.*ChaCha20_ctr32 and Poly1305$/);
    const known = process.versions.openssl.startsWith('3.0.');
    expect(served['aes-gcm']).toMatch(known ? /^OpenSSL 3.*provider AES-GCM$/ : /^OpenSSL 3.*EVP$/);
    expect(served.x25519).toMatch(/ossl_x25519/);
    expect(served.xchacha20poly1305).toBe('noble');
    expect(served.blake2s).toBe('WebAssembly SIMD');
    expect(served.hmac).toMatch(/^node:crypto/);
    expect(notes).toEqual(known ? [] : [expect.stringMatching(/AES-GCM provider not used: known/)]);
    expect(best()).toBe(chosen);
  });

  it('can be forced, by option and by environment', async () => {
    expect(best({ name: 'noble' })).toBe(nobleProvider());
    expect(best({ name: 'wasm' })).toBe(wasmProviderSync());
    expect(best({ name: 'node' }).name).toBe('node');
    process.env.PKTKIT_CRYPTO = 'noble';
    expect(best().name).toBe('noble');
    expect(best({ name: 'node' }).name).toBe('node');
    process.env.PKTKIT_CRYPTO = 'rot13';
    expect(() => best()).toThrow(/unknown crypto provider "rot13": noble, wasm, node or openssl/);
    expect(await wasmProvider()).toBe(wasmProviderSync());
  });

  it('layers: public OpenSSL functions, node:crypto with and without WebAssembly', () => {
    const evp = opensslProvider({ publicOnly: true }).describe().served;
    expect(evp.chacha20poly1305).toMatch(/EVP$/);
    expect(evp['aes-gcm']).toMatch(/EVP$/);
    expect(nodeProvider().describe().served.chacha20poly1305).toBe('WebAssembly SIMD');
    expect(nodeProvider({ wasm: false }).describe().served.chacha20poly1305).toMatch(
      /^node:crypto/,
    );
  });
});

describe('self-tests catch a primitive that gives', () => {
  const noble = nobleProvider();

  it('wrong bytes', () => {
    const broken = (key: Uint8Array) => {
      const cipher = noble.aead('chacha20poly1305', key);
      const seal = cipher.seal.bind(cipher);
      cipher.seal = (dst, dstOff, src, srcOff, len, ...rest) => {
        seal(dst, dstOff, src, srcOff, len, ...rest);
        dst[dstOff + len - 1] ^= 1;
      };
      return cipher;
    };
    expect(testAead(broken, CHACHA_ANSWER)).toMatch(/differ/);
  });

  it('a good verdict for a forgery', () => {
    const broken = (key: Uint8Array) => {
      const cipher = noble.aead('chacha20poly1305', key);
      const open = cipher.open.bind(cipher);
      cipher.open = (...args) => open(...args) || true;
      return cipher;
    };
    expect(testAead(broken, CHACHA_ANSWER)).toMatch(/accepts a message with a flipped bit/);
  });

  it('another digest, another shared secret', () => {
    expect(testBlake2s((length) => noble.blake2s(length, hex('01')))).toMatch(/differs/);
    const swapped = {
      keyPair: () => noble.x25519KeyPair(hex('11'.repeat(32))),
      publicKey: (bytes: Uint8Array) => ({ bytes }),
    };
    expect(testX25519(swapped)).toMatch(/differs/);
  });
});

describe('the WebAssembly module', () => {
  it('is what assembly/ compiles to', () => {
    const committed = readFileSync(new URL('../src/wasm/module.ts', import.meta.url), 'utf8');
    expect(compile() === committed, 'run `pnpm wasm` in packages/crypto and commit').toBe(true);
  }, 60_000);

  it('and its host agree on where things stand', () => {
    const text = readFileSync(new URL('../assembly/layout.ts', import.meta.url), 'utf8');
    const host = new Map<string, unknown>(Object.entries(kernelLayout));
    const places = [...text.matchAll(/export const (\w+): usize = ([\d +]+);/g)];
    expect(places).toHaveLength(9);
    for (const [, name, sum] of places) {
      const value = sum.split('+').reduce((total, part) => total + Number(part), 0);
      expect(host.get(name), name).toBe(value);
    }
  });
});

for (const { title, provider } of providers) {
  describe(`misuse of ${title}`, () => {
    const key = new Uint8Array(32).fill(1);

    it('windows outside their buffers throw, and touch nothing', () => {
      for (const name of ['chacha20poly1305', 'aes-256-gcm'] as const) {
        const cipher = provider.aead(name, key);
        const buf = new Uint8Array(1600);
        const nonce = new Uint8Array(12);
        const seal = (dstOff: number, srcOff: number, len: number, tagOff?: number) => () =>
          cipher.seal(buf, dstOff, buf, srcOff, len, nonce, 0, null, 0, 0, tagOff);
        const open = (dstOff: number, srcOff: number, len: number, tagOff?: number) => () =>
          cipher.open(buf, dstOff, buf, srcOff, len, nonce, 0, null, 0, 0, tagOff);
        for (const bad of [
          seal(0, 0, 1600),
          seal(0, 0, 1585),
          seal(-1, 0, 10),
          seal(0, -1, 10),
          seal(0, 0, -1),
          seal(0, 0, 1.5),
          seal(0, Number.NaN, 4),
          seal(0, 0, 2 ** 31),
          seal(0, 0, 2 ** 32),
          seal(2 ** 31, 0, 10),
          seal(0, 0, 700, 699),
          seal(0, 0, 700, 1590),
          seal(10, 0, 700),
          seal(0, 10, 700),
          open(0, 0, 1585),
          open(0, -4, 10),
          open(1590, 0, 20),
          open(0, 0, 20, 1585),
          open(0, 5, 700),
          () => cipher.sealCounter(buf, 1590, buf, 0, 1, 0, 0),
          () => cipher.openCounter(buf, 0, buf, 1000, 600, 0, 0),
          () => cipher.seal(buf, 0, buf, 0, 9, nonce, 1, null, 0, 0),
          () => cipher.seal(buf, 0, buf, 0, 9, nonce, 0, nonce, 4, 9),
          () => cipher.seal(buf, 0, buf, 0, 9, nonce, 0, null, 0, 9),
        ]) {
          expect(bad).toThrow(RangeError);
        }
        expect(buf.every((byte) => byte === 0)).toBe(true);
        expect(() => cipher.seal(buf, 0, 'text' as never, 0, 9, nonce, 0, null, 0, 0)).toThrow();
      }
    });

    it('a detached buffer is a window without bytes', () => {
      for (const name of ['chacha20poly1305', 'aes-256-gcm'] as const) {
        const cipher = provider.aead(name, key);
        const src = new Uint8Array(1500);
        const dst = new Uint8Array(1516);
        for (let i = 0; i < 20; i++) cipher.sealCounter(dst, 0, src, 0, 1500, i, 0);
        structuredClone(src.buffer, { transfer: [src.buffer] });
        expect(() => cipher.sealCounter(dst, 0, src, 0, 1500, 0, 0)).toThrow(RangeError);
        expect(() => cipher.openCounter(src, 0, dst, 0, 1500, 19, 0)).toThrow(RangeError);
      }
    });

    it('a truncated message is a forgery, not an error', () => {
      for (const cipher of [
        provider.aead('chacha20poly1305', key),
        provider.aead('aes-256-gcm', key),
        provider.xchacha20poly1305(key),
      ]) {
        const nonce = new Uint8Array(24);
        const buf = new Uint8Array(8);
        expect(cipher.open(buf, 0, buf, 0, 8 - 16, nonce, 0, null, 0, 0)).toBe(false);
      }
    });

    it('keys of a wrong length and unknown names are refused with what is expected', () => {
      expect(() => provider.aead('chacha20poly1305', new Uint8Array(31))).toThrow(
        /chacha20poly1305 needs a key of 32 bytes, got 31/,
      );
      expect(() => provider.aead('aes-192-gcm', key)).toThrow(/24 bytes, got 32/);
      expect(() => provider.cipher('aes-128-cbc', key)).toThrow(/16 bytes, got 32/);
      expect(() => provider.aead('aes-512-gcm' as never, key)).toThrow(/unknown cipher/);
      expect(() => provider.hash('md4' as never)).toThrow(/unknown hash "md4"/);
      expect(() => provider.hmac('crc32' as never, key)).toThrow(/unknown hash/);
      expect(() => provider.blake2s(33)).toThrow(/1 to 32 bytes, not 33/);
      expect(() => provider.blake2s(16, new Uint8Array(33))).toThrow(/1 to 32 bytes, not 33/);
      expect(() => provider.x25519KeyPair(new Uint8Array(33))).toThrow(/32 bytes, got 33/);
      expect(() => provider.x25519PublicKey(new Uint8Array(3))).toThrow(/32 bytes, got 3/);
      const pair = provider.x25519KeyPair(key);
      expect(() => pair.agree(new Uint8Array(32), 0, new Uint8Array(31))).toThrow(RangeError);
      expect(() => pair.agree(new Uint8Array(32), 1, pair.publicKey)).toThrow(RangeError);
    });

    it('a wiped key does nothing any more', () => {
      const buf = new Uint8Array(2048);
      const nonce = new Uint8Array(24);
      for (const len of [16, 700]) {
        for (const cipher of [
          provider.aead('chacha20poly1305', key),
          provider.aead('aes-256-gcm', key),
          provider.xchacha20poly1305(key),
        ]) {
          cipher.seal(buf, 0, buf, 0, len, nonce, 0, null, 0, 0);
          cipher.wipe();
          cipher[Symbol.dispose]();
          const wiped = { code: 'CRYPTO_WIPED' };
          expect(() => cipher.seal(buf, 0, buf, 0, len, nonce, 0, null, 0, 0)).toThrow(
            expect.objectContaining(wiped),
          );
          expect(() => cipher.open(buf, 0, buf, 0, len, nonce, 0, null, 0, 0)).toThrow(CryptoError);
        }
      }
      const pair = provider.x25519KeyPair();
      pair.wipe();
      expect(() => pair.agree(buf, 0, pair.publicKey)).toThrow(CryptoError);
      expect(() => pair.exportSecret()).toThrow(CryptoError);
      for (const mac of [
        provider.hmac('sha256', key),
        provider.hmac('blake2s', key),
        provider.blake2s(16, key),
      ]) {
        mac.wipe();
        mac.wipe();
        expect(() => {
          mac.update(buf, 0, 1);
          mac.finish(buf, 0);
        }).toThrow(CryptoError);
      }
      const cbc = provider.cipher('aes-256-cbc', key);
      cbc.wipe();
      expect(() => cbc.encrypt(buf, 0, buf, 0, 16, nonce, 0)).toThrow(CryptoError);
      expect(
        key.every((byte) => byte === 1),
        "the caller's key is left alone",
      ).toBe(true);
    });

    it('a MAC verifies whole and truncated tags, starts over after each, and wants enough of one', () => {
      for (const mac of [
        provider.hmac('sha1', key),
        provider.hmac('blake2s', key),
        provider.blake2s(16, key),
      ]) {
        const text = new Uint8Array(100).fill(3);
        const tag = new Uint8Array(mac.length);
        mac.update(text, 0, 100);
        mac.finish(tag, 0);
        mac.update(text, 0, 40);
        mac.update(text, 40, 60);
        expect(mac.verify(tag, 0)).toBe(true);
        mac.update(text, 0, 99);
        expect(mac.verify(tag, 0)).toBe(false);
        mac.update(text, 0, 7);
        mac.reset();
        mac.update(text, 0, 100);
        expect(mac.verify(tag, 0, 12)).toBe(true);
        for (let at = 0; at < tag.length; at++) {
          tag[at] ^= 0x80;
          mac.update(text, 0, 100);
          expect(mac.verify(tag, 0)).toBe(false);
          tag[at] ^= 0x80;
        }
        expect(() => mac.verify(tag, 0, 4)).toThrow(RangeError);
        expect(() => mac.verify(tag, 0, mac.length + 1)).toThrow(RangeError);
      }
    });

    it('CBC refuses what is no whole number of blocks, and wants room for the padding', () => {
      const cbc = provider.cipher('aes-128-cbc', new Uint8Array(16));
      const iv = new Uint8Array(16);
      const buf = new Uint8Array(48);
      for (const len of [0, 1, 15, 17, -16]) {
        expect(cbc.decrypt(buf, 0, buf, 0, len, iv, 0)).toBe(-1);
      }
      expect(() => cbc.encrypt(new Uint8Array(16), 0, buf, 0, 16, iv, 0)).toThrow(RangeError);
    });

    it('random bytes differ, and key pairs without a secret are new', () => {
      expect(toHex(provider.randomBytes(32))).not.toBe(toHex(provider.randomBytes(32)));
      expect(
        provider
          .randomBytes(70_000)
          .subarray(65_536)
          .some((byte) => byte !== 0),
      ).toBe(true);
      expect(toHex(provider.x25519KeyPair().publicKey)).not.toBe(
        toHex(provider.x25519KeyPair().publicKey),
      );
    });
  });
}

describe('Secret', () => {
  it('copies, feeds keys, wipes and does not print', () => {
    const bytes = new Uint8Array(32).fill(5);
    const secret = new Secret(bytes);
    bytes.fill(6);
    const provider = nobleProvider();
    expect(toHex(provider.x25519Base(secret))).toBe(
      toHex(provider.x25519Base(new Uint8Array(32).fill(5))),
    );
    expect(JSON.stringify({ secret })).toBe('{"secret":"[secret]"}');
    expect(`${secret}`).toBe('[secret]');
    const live = secret.bytes;
    secret.wipe();
    expect(live.every((byte) => byte === 0)).toBe(true);
    expect(() => provider.x25519KeyPair(secret)).toThrow(
      expect.objectContaining({ code: 'CRYPTO_WIPED' }),
    );
    expect(() => new Secret('key' as never)).toThrow(TypeError);
  });

  it('comparison looks at every byte of both windows', () => {
    const a = hex('00112233');
    const b = hex('ff0011223344');
    expect(equalConstantTime(a, 0, b, 1, 4)).toBe(true);
    expect(equalConstantTime(a, 0, b, 0, 4)).toBe(false);
    expect(equalConstantTime(a, 0, b, 0, 0)).toBe(true);
    expect(() => equalConstantTime(a, 1, b, 1, 4)).toThrow(RangeError);
  });
});
