/**
 * Project Wycheproof (C2SP/wycheproof, testvectors_v1, Apache-2.0) on every provider. The files are not part of this
 * repository: they are read from the folder that `PKTKIT_VECTORS` names, or from `shared/vectors` beside the repository.
 */

import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type AeadName, hkdf } from '@pktkit/crypto';
import { describe, expect, it } from 'vitest';
import { digestOf, hex, opened, providers, sealed, toHex } from './providers.ts';

interface Case {
  tcId: number;
  comment: string;
  result: 'valid' | 'invalid' | 'acceptable';
  flags: string[];
  [field: string]: unknown;
}

interface Group {
  ivSize: number;
  keySize: number;
  tagSize: number;
  tests: (Case & Record<string, string>)[];
}

const named = process.env.PKTKIT_VECTORS;
const folder = resolve(
  named ?? fileURLToPath(new URL('../../../../shared/vectors', import.meta.url)),
);
const present = existsSync(resolve(folder, 'x25519_test.json'));
// Who names a folder wants the cases run.
if (!present && named !== undefined) {
  throw new Error(
    `PKTKIT_VECTORS: ${folder} holds no files of Wycheproof such as x25519_test.json`,
  );
}
if (!present) {
  process.stderr.write(
    `\n*** Wycheproof NOT RUN: no vectors in ${folder}; name their folder in PKTKIT_VECTORS ***\n\n`,
  );
}

function load(name: string): Group[] {
  return JSON.parse(readFileSync(resolve(folder, `${name}_test.json`), 'utf8')).testGroups;
}

for (const { title, provider } of providers) {
  describe.skipIf(!present)(`Wycheproof on ${title}`, () => {
    it('ChaCha20-Poly1305', () => {
      const ran = aeadCases('chacha20_poly1305', 96, () => 'chacha20poly1305');
      expect(ran).toBeGreaterThan(300);
    });

    it('AES-GCM', () => {
      const ran = aeadCases('aes_gcm', 96, (group) => `aes-${group.keySize}-gcm` as AeadName);
      expect(ran).toBeGreaterThan(150);
    });

    it('XChaCha20-Poly1305', () => {
      let ran = 0;
      for (const group of load('xchacha20_poly1305')) {
        if (group.ivSize !== 192) continue;
        for (const test of group.tests) {
          aeadCase(test, provider.xchacha20poly1305(hex(test.key)));
          ran++;
        }
      }
      expect(ran).toBeGreaterThan(280);
    });

    it('X25519', () => {
      let ran = 0;
      for (const group of load('x25519')) {
        for (const test of group.tests) {
          const shared = provider.x25519(hex(test.private), hex(test.public));
          const expected = hex(test.shared);
          // RFC 7748 §6.1: the all-zero secret is refused; everything else must agree, odd encodings included.
          const zero = expected.every((byte) => byte === 0);
          expect(shared && toHex(shared), label(test)).toBe(zero ? null : test.shared);
          ran++;
        }
      }
      expect(ran).toBeGreaterThan(500);
    });

    it('HMAC-SHA256', () => {
      let ran = 0;
      for (const group of load('hmac_sha256')) {
        for (const test of group.tests) {
          const mac = provider.hmac('sha256', hex(test.key));
          const message = hex(test.msg);
          const tag = hex(test.tag);
          mac.update(message, 0, message.length);
          expect(mac.verify(tag, 0, tag.length), label(test)).toBe(test.result === 'valid');
          if (test.result === 'valid') {
            const digest = digestOf(mac, message).subarray(0, tag.length);
            expect(toHex(digest), label(test)).toBe(test.tag);
          }
          mac.wipe();
          ran++;
        }
      }
      expect(ran).toBeGreaterThan(170);
    });

    it('HKDF-SHA256', () => {
      let ran = 0;
      for (const group of load('hkdf_sha256')) {
        for (const test of group.tests) {
          const derive = () =>
            hkdf(
              provider,
              'sha256',
              hex(test.ikm),
              hex(test.salt),
              hex(test.info),
              test.size as unknown as number,
            );
          if (test.result === 'valid') expect(toHex(derive()), label(test)).toBe(test.okm);
          else expect(derive, label(test)).toThrow(RangeError);
          ran++;
        }
      }
      expect(ran).toBeGreaterThan(80);
    });

    it('AES-CBC with PKCS #7 padding', () => {
      let ran = 0;
      for (const group of load('aes_cbc_pkcs5')) {
        for (const test of group.tests) {
          const name = `aes-${group.keySize}-cbc` as 'aes-128-cbc';
          const cipher = provider.cipher(name, hex(test.key));
          const [iv, text, message] = [hex(test.iv), hex(test.msg), hex(test.ct)];
          const out = new Uint8Array(message.length + 16);
          const got = cipher.decrypt(out, 0, message, 0, message.length, iv, 0);
          if (test.result === 'valid') {
            expect(toHex(out.subarray(0, got)), label(test)).toBe(test.msg);
            const written = cipher.encrypt(out, 0, text, 0, text.length, iv, 0);
            expect(toHex(out.subarray(0, written)), label(test)).toBe(test.ct);
          } else {
            expect(got, label(test)).toBe(-1);
          }
          ran++;
        }
      }
      expect(ran).toBeGreaterThan(200);
    });

    function aeadCases(file: string, ivSize: number, name: (group: Group) => AeadName): number {
      let ran = 0;
      for (const group of load(file)) {
        for (const test of group.tests) {
          if (group.ivSize !== ivSize) {
            // Other nonce lengths are not offered: the window check is what stands in their way.
            const short = hex(test.iv);
            if (short.length >= 12) continue;
            const cipher = provider.aead(name(group), hex(test.key));
            expect(() => sealed(cipher, short, hex(test.msg)), label(test)).toThrow(RangeError);
          } else {
            aeadCase(test, provider.aead(name(group), hex(test.key)));
            ran++;
          }
        }
      }
      return ran;
    }

    function aeadCase(
      test: Group['tests'][0],
      cipher: ReturnType<typeof provider.xchacha20poly1305>,
    ) {
      const [iv, aad, text] = [hex(test.iv), hex(test.aad), hex(test.msg)];
      const message = hex(test.ct + test.tag);
      const got = opened(cipher, iv, message, aad);
      if (test.result === 'valid') {
        expect(got && toHex(got), label(test)).toBe(test.msg);
        expect(toHex(sealed(cipher, iv, text, aad)), label(test)).toBe(test.ct + test.tag);
      } else {
        expect(got, label(test)).toBeNull();
      }
      cipher.wipe();
    }
  });
}

function label(test: Case): string {
  return `case ${test.tcId}: ${test.comment} ${test.flags.join(' ')}`;
}
