/** Published vectors on every provider, each with its source. */

import { hkdf, NoiseKdf } from '@pktkit/crypto';
import { describe, expect, it } from 'vitest';
import { ascii, digestOf, hex, opened, providers, sealed, toHex } from './providers.ts';

const SUNSCREEN = ascii(
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, " +
    'sunscreen would be it.',
);

for (const { title, provider } of providers) {
  describe(`vectors on ${title}`, () => {
    it('ChaCha20-Poly1305: RFC 8439 §2.8.2', () => {
      const cipher = provider.aead(
        'chacha20poly1305',
        hex('808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'),
      );
      const nonce = hex('070000004041424344454647');
      const aad = hex('50515253c0c1c2c3c4c5c6c7');
      const message = sealed(cipher, nonce, SUNSCREEN, aad);
      expect(toHex(message)).toBe(
        'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92' +
          '728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b' +
          '4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691',
      );
      expect(toHex(opened(cipher, nonce, message, aad)!)).toBe(toHex(SUNSCREEN));
    });

    it('ChaCha20-Poly1305: RFC 8439 appendix A.5', () => {
      const cipher = provider.aead(
        'chacha20poly1305',
        hex('1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0'),
      );
      const message = hex(
        '64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d' +
          '26b0bdb7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1' +
          'ff37c8559797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b' +
          '5216cde7a4e99040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea' +
          '1b422273f548271a0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d36' +
          '1094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b' +
          'eead9d67890cbb22392336fea1851f38',
      );
      const text = opened(
        cipher,
        hex('000000000102030405060708'),
        message,
        hex('f33388860000000000004e91'),
      );
      expect(new TextDecoder().decode(text!)).toMatch(/^Internet-Drafts are draft documents valid/);
    });

    it('XChaCha20-Poly1305: draft-irtf-cfrg-xchacha-03 appendix A.3.1', () => {
      const cipher = provider.xchacha20poly1305(
        hex('808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'),
      );
      const nonce = hex('404142434445464748494a4b4c4d4e4f5051525354555657');
      const aad = hex('50515253c0c1c2c3c4c5c6c7');
      expect(cipher.nonceLength).toBe(24);
      const message = sealed(cipher, nonce, SUNSCREEN, aad);
      expect(toHex(message)).toBe(
        'bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda' +
          '7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b23835' +
          '65d3fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49',
      );
      expect(toHex(opened(cipher, nonce, message, aad)!)).toBe(toHex(SUNSCREEN));
    });

    it('AES-GCM: McGrew and Viega, test cases 1, 2, 4, 7, 8, 13, 14 and 16', () => {
      const zeros = (n: number) => '00'.repeat(n);
      const key = 'feffe9928665731c6d6a8f9467308308';
      const iv = 'cafebabefacedbaddecaf888';
      const aad = 'feedfacedeadbeeffeedfacedeadbeefabaddad2';
      const text =
        'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6' +
        'b525b16aedf5aa0de657ba637b39';
      for (const [name, k, n, a, p, expected] of [
        ['aes-128-gcm', zeros(16), zeros(12), '', '', '58e2fccefa7e3061367f1d57a4e7455a'],
        [
          'aes-128-gcm',
          zeros(16),
          zeros(12),
          '',
          zeros(16),
          '0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf',
        ],
        [
          'aes-128-gcm',
          key,
          iv,
          aad,
          text,
          '42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84' +
            'aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47',
        ],
        ['aes-192-gcm', zeros(24), zeros(12), '', '', 'cd33b28ac773f74ba00ed1f312572435'],
        [
          'aes-192-gcm',
          zeros(24),
          zeros(12),
          '',
          zeros(16),
          '98e7247c07f0fe411c267e4384b0f6002ff58d80033927ab8ef4d4587514f0fb',
        ],
        ['aes-256-gcm', zeros(32), zeros(12), '', '', '530f8afbc74536b9a963b4f1c4cb738b'],
        [
          'aes-256-gcm',
          zeros(32),
          zeros(12),
          '',
          zeros(16),
          'cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919',
        ],
        [
          'aes-256-gcm',
          key + key,
          iv,
          aad,
          text,
          '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b105682' +
            '8838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b',
        ],
      ] as const) {
        const cipher = provider.aead(name, hex(k));
        const message = sealed(cipher, hex(n), hex(p), hex(a));
        expect(toHex(message), name).toBe(expected);
        expect(toHex(opened(cipher, hex(n), message, hex(a))!), name).toBe(p);
      }
    });

    it('X25519: RFC 7748 §5.2, and 1,000 iterations', () => {
      for (const [secret, point, expected] of [
        [
          'a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4',
          'e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c',
          'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552',
        ],
        [
          '4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d',
          'e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493',
          '95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957',
        ],
      ]) {
        expect(toHex(provider.x25519(hex(secret), hex(point))!)).toBe(expected);
      }
      let k: Uint8Array = hex(`09${'00'.repeat(31)}`);
      let u = k;
      const rounds = title === 'OpenSSL' ? 1000 : 1;
      for (let i = 0; i < rounds; i++) [k, u] = [provider.x25519(k, u)!, k];
      expect(toHex(k)).toBe(
        rounds === 1
          ? '422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079'
          : '684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51',
      );
    });

    it('X25519: RFC 7748 §6.1, with key pairs and held public keys', () => {
      const alice = provider.x25519KeyPair(
        hex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a'),
      );
      const bob = provider.x25519KeyPair(
        hex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb'),
      );
      expect(toHex(alice.publicKey)).toBe(
        '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a',
      );
      expect(toHex(bob.publicKey)).toBe(
        'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f',
      );
      const shared = new Uint8Array(32);
      expect(alice.agree(shared, 0, provider.x25519PublicKey(bob.publicKey))).toBe(true);
      expect(toHex(shared)).toBe(
        '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742',
      );
      expect(bob.agree(shared.fill(0), 0, alice.publicKey)).toBe(true);
      expect(toHex(shared)).toBe(
        '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742',
      );
    });

    it('X25519 refuses an all-zero secret (RFC 7748 §6.1) and writes nothing', () => {
      const pair = provider.x25519KeyPair();
      for (const point of [
        '00'.repeat(32),
        `01${'00'.repeat(31)}`,
        'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
        'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      ]) {
        const shared = new Uint8Array(32).fill(7);
        expect(pair.agree(shared, 0, hex(point)), point).toBe(false);
        expect(pair.agree(shared, 0, provider.x25519PublicKey(hex(point))), point).toBe(false);
        expect(shared.every((byte) => byte === 7)).toBe(true);
        expect(provider.x25519(pair.exportSecret(), hex(point))).toBeNull();
      }
    });

    it('BLAKE2s: RFC 7693 appendix B and E (self-test over lengths and keys)', () => {
      expect(toHex(digestOf(provider.hash('blake2s'), ascii('abc')))).toBe(
        '508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982',
      );
      // Appendix E: a hash over the digests of a sequence, for 4 digest and 6 message lengths, without and with key.
      const sequence = (length: number, seed: number) => {
        const out = new Uint8Array(length);
        let [a, b] = [Math.imul(0xdead4bad, seed) >>> 0, 1];
        for (let i = 0; i < length; i++) {
          const t = (a + b) >>> 0;
          a = b;
          b = t;
          out[i] = t >>> 24;
        }
        return out;
      };
      const grand = provider.blake2s(32);
      for (const length of [16, 20, 28, 32]) {
        for (const size of [0, 3, 64, 65, 255, 1024]) {
          const text = sequence(size, size);
          for (const key of [undefined, sequence(length, length)]) {
            const digest = digestOf(provider.blake2s(length, key), text);
            grand.update(digest, 0, length);
          }
        }
      }
      const out = new Uint8Array(32);
      grand.finish(out, 0);
      expect(toHex(out)).toBe('6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe');
    });

    it('HMAC: RFC 4231 test cases 1 to 4, 6 and 7, RFC 2202 for MD5 and SHA-1', () => {
      const long = ascii('Test Using Larger Than Block-Size Key - Hash Key First');
      const cases: [Uint8Array, Uint8Array, Record<string, string>][] = [
        [
          hex('0b'.repeat(20)),
          ascii('Hi There'),
          {
            sha224: '896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22',
            sha256: 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7',
            sha384:
              'afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6',
            sha512:
              '87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde' +
              'daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854',
          },
        ],
        [
          ascii('Jefe'),
          ascii('what do ya want for nothing?'),
          {
            md5: '750c783e6ab0b503eaa86e310a5db738',
            sha1: 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79',
            sha224: 'a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44',
            sha256: '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
          },
        ],
        [
          hex('aa'.repeat(131)),
          long,
          {
            sha224: '95e9a0db962095adaebe9b2d6f0dbce2d499f112f2d2b7273fa6870e',
            sha256: '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
          },
        ],
        [
          hex('aa'.repeat(80)),
          long,
          {
            md5: '6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd',
            sha1: 'aa4ae5e15272d00e95705637ce8a3b55ed402112',
          },
        ],
      ];
      for (const [key, text, digests] of cases) {
        for (const [name, expected] of Object.entries(digests)) {
          const mac = provider.hmac(name as 'sha256', key);
          expect(toHex(digestOf(mac, text)), name).toBe(expected);
          // The object serves the next message too.
          expect(toHex(digestOf(mac, text)), name).toBe(expected);
        }
      }
    });

    it('HKDF: RFC 5869 appendix A.1, A.2 (shape), A.3 and A.4', () => {
      const okm1 = hkdf(
        provider,
        'sha256',
        hex('0b'.repeat(22)),
        hex('000102030405060708090a0b0c'),
        hex('f0f1f2f3f4f5f6f7f8f9'),
        42,
      );
      expect(toHex(okm1)).toBe(
        '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
      );
      const none = new Uint8Array(0);
      expect(toHex(hkdf(provider, 'sha256', hex('0b'.repeat(22)), none, none, 42))).toBe(
        '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
      );
      const okm4 = hkdf(
        provider,
        'sha1',
        hex('0b'.repeat(11)),
        hex('000102030405060708090a0b0c'),
        hex('f0f1f2f3f4f5f6f7f8f9'),
        42,
      );
      expect(toHex(okm4)).toBe(
        '085a01ea1b10f36933068b56efa5ad81a4f14b822f5b091568a9cdd4f155fda2c22e422478d305f3f896',
      );
    });

    it('AES-CBC: RFC 3602 §4 case 1; AES-CTR: NIST SP 800-38A F.5.5', () => {
      const cbc = provider.cipher('aes-128-cbc', hex('06a9214036b8a15b512e03d534120006'));
      const out = new Uint8Array(80);
      const iv = hex('3dafba429d9eb430b422da802c9fac41');
      expect(cbc.encrypt(out, 0, ascii('Single block msg'), 0, 16, iv, 0)).toBe(32);
      expect(toHex(out.subarray(0, 16))).toBe('e353779c1079aeb82708942dbe77181a');

      const ctr = provider.cipher(
        'aes-256-ctr',
        hex('603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4'),
      );
      const text = hex('6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51');
      const counter = hex('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
      expect(ctr.encrypt(out, 0, text, 0, 32, counter, 0)).toBe(32);
      expect(toHex(out.subarray(0, 32))).toBe(
        '601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5',
      );
    });

    it("the Noise KDF is HKDF over HMAC-BLAKE2s: KDF1 to KDF3 are prefixes of RFC 5869's expansion", () => {
      const key = hex('a1'.repeat(32));
      const input = ascii('some shared secret that came from a Diffie-Hellman');
      const expected = hkdf(provider, 'blake2s', input, key, new Uint8Array(0), 96);
      const kdf = new NoiseKdf(provider);
      const [a, b, c] = [new Uint8Array(32), new Uint8Array(32), new Uint8Array(32)];
      kdf.kdf3(a, b, c, key, input);
      expect(toHex(a) + toHex(b) + toHex(c)).toBe(toHex(expected));
      kdf.kdf2(a.fill(0), b.fill(0), key, input);
      expect(toHex(a) + toHex(b)).toBe(toHex(expected.subarray(0, 64)));
      // The chaining key is usually its own successor.
      const chain = Uint8Array.from(key);
      kdf.kdf1(chain, chain, input);
      expect(toHex(chain)).toBe(toHex(expected.subarray(0, 32)));
    });
  });
}
