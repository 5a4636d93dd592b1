/** Every provider against noble: same bytes, same refusals, at every length and alignment, in place and not. */

import { type AeadName, type CounterAead, nobleProvider } from '@pktkit/crypto';
import { describe, expect, it } from 'vitest';
import { digestOf, providers, randomFill, seeded, toHex } from './providers.ts';

const noble = nobleProvider();
const AEADS: readonly AeadName[] = [
  'chacha20poly1305',
  'aes-128-gcm',
  'aes-192-gcm',
  'aes-256-gcm',
];
const KEY_BYTES = { chacha20poly1305: 32, 'aes-128-gcm': 16, 'aes-192-gcm': 24, 'aes-256-gcm': 32 };

const LONGEST = 4096;

describe('every provider against noble', () => {
  for (const name of AEADS) {
    it(`${name}: every length from 0 to ${LONGEST}`, () => {
      const random = seeded(KEY_BYTES[name] + LONGEST);
      const key = randomFill(random, new Uint8Array(KEY_BYTES[name]));
      const ours = providers
        .filter(({ provider }) => provider !== noble)
        .map(({ title, provider }) => ({ title, cipher: provider.aead(name, key) }));
      const oracle = noble.aead(name, key);
      const big = new Arena(random, 3 * 8192);
      for (let len = 0; len <= LONGEST; len++) {
        compare({ ours, oracle }, big, random, len, random(16), random(16), random(40));
      }
    }, 120_000);
  }
});

for (const { title, provider } of providers) {
  if (provider === noble) continue;

  describe(`${title} against noble`, () => {
    const pairOf = (name: AeadName, key: Uint8Array): Pair => ({
      ours: [{ title, cipher: provider.aead(name, key) }],
      oracle: noble.aead(name, key),
    });

    it('chacha20poly1305: counters in any order, of two keys in turn', () => {
      const random = seeded(3);
      const pairs = [0, 1].map(() => {
        const key = randomFill(random, new Uint8Array(32));
        return pairOf('chacha20poly1305', key);
      });
      // Long ones: shorter messages make their key with their text.
      const src = randomFill(random, new Uint8Array(700));
      const expected = new Uint8Array(700 + 16);
      const sealed = new Uint8Array(700 + 16);
      const opened = new Uint8Array(700);
      const nonce = new Uint8Array(12);
      const check = (low: number, high: number, { ours: [{ cipher }], oracle }: Pair) => {
        const label = `${title}, counter ${high}:${low}`;
        oracle.sealCounter(expected, 0, src, 0, 700, low, high);
        cipher.sealCounter(sealed, 0, src, 0, 700, low, high);
        expectSame(sealed, expected, label);
        isTrue(cipher.openCounter(opened, 0, sealed, 0, 700, low, high), label);
        expectSame(opened, src, label);
        isTrue(!cipher.openCounter(opened, 0, sealed, 0, 700, low ^ 1, high), label);
      };
      const steps = [1, 1, 1, 1, 1, 1, 2, 3, 4, 5, -1, -2, -3, -4, 0, 7, 1000];
      for (const start of [0, 0x7fff_fff0, 0xffff_ff00]) {
        let low = start;
        for (let i = 0; i < 400; i++) {
          low = Math.min(Math.max(low + steps[random(steps.length)], 0), 0xffff_ffff);
          check(low, random(8) === 0 ? 1 : 0, pairs[random(2)]);
          // A whole nonce in between has a key of its own.
          if (random(8) === 0) {
            const { ours, oracle } = pairs[0];
            nonce[random(12)] = random(256);
            oracle.seal(expected, 0, src, 0, 700, nonce, 0, null, 0, 0);
            ours[0].cipher.seal(sealed, 0, src, 0, 700, nonce, 0, null, 0, 0);
            expectSame(sealed, expected, `${title}, nonce ${toHex(nonce)}`);
          }
        }
        // Up to the last counter of a high half, and into the next.
        for (let end = 0xffff_fff0; end <= 0xffff_ffff; end++) check(end, 5, pairs[0]);
        for (let next = 0; next < 6; next++) check(next, 6, pairs[0]);
      }
    });

    for (const name of AEADS) {
      it(`${name}: every alignment of source, destination and additional data`, () => {
        const random = seeded(7 + KEY_BYTES[name]);
        const key = randomFill(random, new Uint8Array(KEY_BYTES[name]));
        const pair = pairOf(name, key);
        const big = new Arena(random, 3 * 8192);
        for (let src = 0; src < 16; src++) {
          for (let dst = 0; dst < 16; dst++) {
            compare(
              pair,
              big,
              random,
              [17, 100, 700][(src + dst) % 3],
              src,
              dst,
              (src * 5 + dst) % 33,
            );
          }
        }
      });

      it(`${name}: fresh buffers, which are copied, and held ones, which are not`, () => {
        const random = seeded(99);
        const key = randomFill(random, new Uint8Array(KEY_BYTES[name]));
        const pair = pairOf(name, key);
        for (let i = 0; i < 60; i++) {
          compare(pair, new Arena(random, 3 * 2048), random, 600 + random(900), 3, 5, 8);
        }
      });

      it(`${name}: texts and additional data beyond every internal buffer`, () => {
        const random = seeded(3);
        const key = randomFill(random, new Uint8Array(KEY_BYTES[name]));
        const pair = pairOf(name, key);
        const big = new Arena(random, 3 * 300_000);
        for (const [len, aadLen] of [
          [65_279, 20],
          [65_280, 20],
          [65_281, 0],
          [65_536, 1],
          [65_537, 16],
          [200_003, 20],
          [100, 57_280],
          [100, 57_281],
          [1000, 57_345],
          [1000, 131_077],
          [131_072, 66_000],
        ]) {
          compare(pair, big, random, len, 1, 2, aadLen);
        }
      });
    }

    it('refuses what noble refuses: any flipped bit, a wrong nonce, wrong additional data', () => {
      for (const name of AEADS) {
        const random = seeded(1234);
        const key = randomFill(random, new Uint8Array(KEY_BYTES[name]));
        const cipher = provider.aead(name, key);
        for (const len of [0, 1, 16, 31, 64, 100, 449, 700]) {
          const nonce = randomFill(random, new Uint8Array(12));
          const aad = randomFill(random, new Uint8Array(13));
          const text = randomFill(random, new Uint8Array(len));
          const message = new Uint8Array(len + 16);
          cipher.seal(message, 0, text, 0, len, nonce, 0, aad, 0, 13);
          const out = new Uint8Array(len);
          const open = () => cipher.open(out, 0, message, 0, len, nonce, 0, aad, 0, 13);
          for (const bytes of [message, nonce, aad]) {
            for (let at = 0; at < bytes.length; at++) {
              const bit = 1 << random(8);
              bytes[at] ^= bit;
              out.fill(0xee);
              expect(open(), `${name} ${len} byte ${at}`).toBe(false);
              const untouched = out.every((byte) => byte === 0xee);
              expect(untouched || out.every((byte) => byte === 0), 'no plaintext released').toBe(
                true,
              );
              bytes[at] ^= bit;
            }
          }
          expect(open()).toBe(true);
          expect(toHex(out)).toBe(toHex(text));
        }
      }
    });

    it('X25519 for random keys', () => {
      const random = seeded(25519);
      for (let i = 0; i < 40; i++) {
        const secret = randomFill(random, new Uint8Array(32));
        const peer = randomFill(random, new Uint8Array(32));
        expect(toHex(provider.x25519Base(secret))).toBe(toHex(noble.x25519Base(secret)));
        const [ours, theirs] = [provider.x25519(secret, peer), noble.x25519(secret, peer)];
        expect(ours && toHex(ours)).toBe(theirs && toHex(theirs));
        const pair = provider.x25519KeyPair(secret);
        const held = new Uint8Array(40);
        expect(pair.agree(held, 5, provider.x25519PublicKey(peer))).toBe(theirs !== null);
        if (theirs !== null) expect(toHex(held.subarray(5, 37))).toBe(toHex(theirs));
        expect(toHex(pair.exportSecret())).toBe(toHex(secret));
      }
    });

    it('BLAKE2s and HMAC-BLAKE2s in one piece and in many', () => {
      const random = seeded(77);
      for (let len = 0; len < 400; len += 1 + (len > 140 ? random(20) : 0)) {
        const text = randomFill(random, new Uint8Array(len));
        const length = 1 + random(32);
        const key =
          random(3) === 0 ? undefined : randomFill(random, new Uint8Array(1 + random(32)));
        compareHash(random, provider.blake2s(length, key), noble.blake2s(length, key), text);
        const macKey = randomFill(random, new Uint8Array(random(130)));
        compareHash(random, provider.hmac('blake2s', macKey), noble.hmac('blake2s', macKey), text);
      }
      const long = randomFill(random, new Uint8Array(70_000));
      compareHash(random, provider.hash('blake2s'), noble.hash('blake2s'), long);
    });

    it('a MAC with a new key is a new MAC', () => {
      const random = seeded(12);
      for (const make of [
        (key: Uint8Array, from = provider) => from.hmac('blake2s', key),
        (key: Uint8Array, from = provider) => from.hmac('sha256', key),
        (key: Uint8Array, from = provider) => from.blake2s(16, key),
      ]) {
        const mac = make(new Uint8Array(32));
        for (let i = 0; i < 40; i++) {
          const key = randomFill(random, new Uint8Array(1 + random(32)));
          const text = randomFill(random, new Uint8Array(random(200)));
          mac.update(text, 0, text.length >> 1);
          mac.rekey(key);
          expect(key.some((byte) => byte !== 0) || key.length < 3, 'the key is left alone').toBe(
            true,
          );
          const expected = toHex(digestOf(make(key, noble), text));
          expect(toHex(digestOf(mac, text)), mac.name).toBe(expected);
          expect(toHex(digestOf(mac, text)), `${mac.name} again`).toBe(expected);
        }
        mac.wipe();
        expect(() => mac.rekey(new Uint8Array(32))).toThrow();
      }
    });

    it('hashes and HMAC', () => {
      const random = seeded(8);
      for (const name of ['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as const) {
        for (const len of [0, 1, 55, 56, 64, 111, 112, 128, 200, 1500]) {
          const text = randomFill(random, new Uint8Array(len));
          const key = randomFill(random, new Uint8Array(random(200)));
          compareHash(random, provider.hash(name), noble.hash(name), text);
          compareHash(random, provider.hmac(name, key), noble.hmac(name, key), text);
        }
      }
    });

    it('AES-CBC and AES-CTR, in place and not', () => {
      const random = seeded(16);
      for (const bits of [128, 192, 256] as const) {
        for (const mode of ['cbc', 'ctr'] as const) {
          const key = randomFill(random, new Uint8Array(bits / 8));
          const ours = provider.cipher(`aes-${bits}-${mode}`, key);
          const oracle = noble.cipher(`aes-${bits}-${mode}`, key);
          for (const len of [...Array(50).keys(), 256, 1420, 1424]) {
            const iv = randomFill(random, new Uint8Array(20));
            const text = randomFill(random, new Uint8Array(len + 40));
            const [one, other] = [new Uint8Array(len + 40), new Uint8Array(len + 40)];
            const n = ours.encrypt(one, 3, text, 7, len, iv, 4);
            expect(oracle.encrypt(other, 3, text, 7, len, iv, 4)).toBe(n);
            expect(toHex(one)).toBe(toHex(other));
            expect(ours.decrypt(one, 3, one, 3, n, iv, 4)).toBe(len);
            expect(toHex(one.subarray(3, 3 + len))).toBe(toHex(text.subarray(7, 7 + len)));
            if (mode === 'cbc') {
              // Rarely, garbage ends in what looks like padding; noble says what is right.
              other[3 + n - 17 + random(17)] ^= 1 << random(8);
              const [a, b] = [new Uint8Array(n), new Uint8Array(n)];
              const got = ours.decrypt(a, 0, other, 3, n, iv, 4);
              expect(got).toBe(oracle.decrypt(b, 0, other, 3, n, iv, 4));
            }
          }
        }
      }
    });
  });
}

interface Pair {
  readonly ours: ReadonlyArray<{ readonly title: string; readonly cipher: CounterAead }>;
  readonly oracle: CounterAead;
}

/** Buffers for source, destination and additional data, filled with noise that must stay where it is not asked for. */
class Arena {
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  readonly aad: Uint8Array;

  constructor(random: (bound: number) => number, size: number) {
    const third = size / 3;
    this.src = randomFill(random, new Uint8Array(third));
    this.dst = randomFill(random, new Uint8Array(third));
    this.aad = randomFill(random, new Uint8Array(third));
  }
}

/** One message, sealed by noble once, then by each of ours, which also open it. */
function compare(
  { ours, oracle }: Pair,
  arena: Arena,
  random: (bound: number) => number,
  len: number,
  srcOff: number,
  dstOff: number,
  aadLen: number,
): void {
  const { src, dst, aad } = arena;
  const nonce = randomFill(random, new Uint8Array(16));
  // Behind the text, in front of it as OpenVPN has it, or somewhere else.
  const behind = random(2) === 0;
  const textOff = dstOff + 16;
  const message = {
    len,
    srcOff,
    dstOff,
    textOff,
    tagOff: behind ? textOff + len : dstOff,
    nonce,
    nonceOff: random(5),
    aadOff: random(16),
    aadLen,
    low: random(0x1_0000_0000),
    high: random(0x1_0000_0000),
  };
  const { nonceOff, aadOff, tagOff, low, high } = message;
  const expected = dst.slice();
  oracle.seal(expected, textOff, src, srcOff, len, nonce, nonceOff, aad, aadOff, aadLen, tagOff);
  const counted = new Uint8Array(len + 16);
  oracle.sealCounter(counted, 0, src, srcOff, len, low, high);
  for (const { title, cipher } of ours) {
    const label = `${title}, ${cipher.name} length ${len}, source ${srcOff}, destination ${dstOff}, aad ${aadLen}`;
    const before = dst.slice();
    compareOne(cipher, arena, message, expected, counted, label);
    dst.set(before);
  }
}

interface Message {
  readonly len: number;
  readonly srcOff: number;
  readonly dstOff: number;
  readonly textOff: number;
  readonly tagOff: number;
  readonly nonce: Uint8Array;
  readonly nonceOff: number;
  readonly aadOff: number;
  readonly aadLen: number;
  readonly low: number;
  readonly high: number;
}

function compareOne(
  ours: CounterAead,
  { src, dst, aad }: Arena,
  message: Message,
  expected: Uint8Array,
  counted: Uint8Array,
  label: string,
): void {
  const { len, srcOff, dstOff, textOff, tagOff, nonce, nonceOff, aadOff, aadLen } = message;
  ours.seal(dst, textOff, src, srcOff, len, nonce, nonceOff, aad, aadOff, aadLen, tagOff);
  expectSame(dst, expected, `seal ${label}`);

  // In place, in a copy of the same buffer.
  const place = dst.slice();
  place.set(src.subarray(srcOff, srcOff + len), textOff);
  ours.seal(place, textOff, place, textOff, len, nonce, nonceOff, aad, aadOff, aadLen, tagOff);
  expectSame(place, expected, `seal in place ${label}`);

  const before = dst.slice();
  const back = src.slice();
  back.fill(0xaa, srcOff, srcOff + len);
  const good = ours.open(
    back,
    srcOff,
    dst,
    textOff,
    len,
    nonce,
    nonceOff,
    aad,
    aadOff,
    aadLen,
    tagOff,
  );
  isTrue(good, `open ${label}`);
  expectSame(back, src, `open ${label}`);
  expectSame(dst, before, `open leaves its source ${label}`);
  isTrue(
    ours.open(place, textOff, place, textOff, len, nonce, nonceOff, aad, aadOff, aadLen, tagOff),
    `open in place ${label}`,
  );
  expectSame(
    place.subarray(textOff, textOff + len),
    src.subarray(srcOff, srcOff + len),
    `open in place ${label}`,
  );

  const { low, high } = message;
  ours.sealCounter(place, dstOff, src, srcOff, len, low, high);
  expectSame(place.subarray(dstOff, dstOff + len + 16), counted, `seal counter ${label}`);
  isTrue(ours.openCounter(back, srcOff, place, dstOff, len, low, high), `open counter ${label}`);
  expectSame(back, src, `open counter ${label}`);
  isTrue(
    !ours.openCounter(back, srcOff, place, dstOff, len, low, high ^ 1),
    `another counter ${label}`,
  );
}

/** Says less than `expect`, and costs less: this runs a hundred thousand times. */
function isTrue(condition: boolean, label: string): void {
  if (!condition) expect.fail(label);
}

function compareHash(
  random: (bound: number) => number,
  ours: ReturnType<typeof noble.hash>,
  oracle: ReturnType<typeof noble.hash>,
  text: Uint8Array,
): void {
  const expected = toHex(digestOf(oracle, text));
  expect(toHex(digestOf(ours, text)), `${ours.name} ${text.length}`).toBe(expected);
  const out = new Uint8Array(ours.length + 3);
  for (let at = 0; at < text.length; ) {
    const piece = Math.min(text.length - at, 1 + random(text.length < 1000 ? 90 : 9000));
    ours.update(text, at, piece);
    at += piece;
  }
  ours.finish(out, 3);
  expect(toHex(out.subarray(3)), `${ours.name} ${text.length} in pieces`).toBe(expected);
}

function expectSame(got: Uint8Array, expected: Uint8Array, label: string): void {
  if (got.length === expected.length && Buffer.compare(got, expected) === 0) return;
  const at = got.findIndex((byte, i) => byte !== expected[i]);
  expect.fail(`${label}: differs at byte ${at}`);
}
