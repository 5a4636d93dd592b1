/** Known answers that a fast primitive must give before it is used. */

import type { CounterAead, Mac } from './provider.ts';
import type { X25519Suite } from './suite.ts';

/** What a ChaCha20-Poly1305 or AES-GCM must do: seal to the known bytes, open them, refuse a flipped bit. */
export interface AeadAnswer {
  readonly key: string;
  readonly nonce: string;
  readonly aad: string;
  readonly text: string;
  readonly sealed: string;
}

/** RFC 8439 §2.8.2. */
export const CHACHA_ANSWER: AeadAnswer = {
  key: '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f',
  nonce: '070000004041424344454647',
  aad: '50515253c0c1c2c3c4c5c6c7',
  text:
    '4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a20496620' +
    '4920636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c' +
    '2073756e73637265656e20776f756c642062652069742e',
  sealed:
    'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92' +
    '728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b' +
    '4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691',
};

/** McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16. */
export const GCM_256_ANSWER: AeadAnswer = {
  key: 'feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308',
  nonce: 'cafebabefacedbaddecaf888',
  aad: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
  text:
    'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6' +
    'b525b16aedf5aa0de657ba637b39',
  sealed:
    '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056' +
    '828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b',
};

/** Test case 4 of the same. */
export const GCM_128_ANSWER: AeadAnswer = {
  key: 'feffe9928665731c6d6a8f9467308308',
  nonce: 'cafebabefacedbaddecaf888',
  aad: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
  text: GCM_256_ANSWER.text,
  sealed:
    '42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84' +
    'aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47',
};

/** `null`, or what went wrong. Wipes the cipher. */
export function testAead(
  make: (key: Uint8Array) => CounterAead,
  answer: AeadAnswer,
): string | null {
  const cipher = make(unhex(answer.key));
  const nonce = unhex(answer.nonce);
  const aad = unhex(answer.aad);
  const text = unhex(answer.text);
  const sealed = unhex(answer.sealed);
  const len = text.length;
  try {
    const out = new Uint8Array(len + 16);
    cipher.seal(out, 0, text, 0, len, nonce, 0, aad, 0, aad.length);
    if (!same(out, sealed)) return `${cipher.name}: sealed bytes differ from the known answer`;
    if (!cipher.open(out, 0, sealed, 0, len, nonce, 0, aad, 0, aad.length)) {
      return `${cipher.name}: refuses the known answer`;
    }
    if (!same(out.subarray(0, len), text)) return `${cipher.name}: opened bytes differ`;
    for (let at = 0; at < sealed.length; at++) {
      sealed[at] ^= 1;
      if (cipher.open(out, 0, sealed, 0, len, nonce, 0, aad, 0, aad.length)) {
        return `${cipher.name}: accepts a message with a flipped bit in byte ${at}`;
      }
      sealed[at] ^= 1;
    }
    return testCounter(cipher);
  } finally {
    cipher.wipe();
  }
}

/** The counter's form must give what the nonce's form gives, on a message of more than one internal step. */
function testCounter(cipher: CounterAead): string | null {
  const text = new Uint8Array(1500).fill(0x5a);
  const one = new Uint8Array(1516);
  const other = new Uint8Array(1516);
  const nonce = unhex('0000000044332211887766f5');
  cipher.seal(one, 0, text, 0, 1500, nonce, 0, null, 0, 0);
  cipher.sealCounter(other, 0, text, 0, 1500, 0x11223344, 0xf5667788);
  if (!same(one, other)) return `${cipher.name}: counter and nonce disagree`;
  if (!cipher.openCounter(other, 0, one, 0, 1500, 0x11223344, 0xf5667788)) {
    return `${cipher.name}: does not open what it sealed`;
  }
  return same(other.subarray(0, 1500), text) ? null : `${cipher.name}: opened bytes differ`;
}

/** RFC 7748 §6.1: both sides of the example, and a key of small order. */
export function testX25519(suite: X25519Suite): string | null {
  const alice = suite.keyPair(
    unhex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a'),
  );
  const bob = suite.keyPair(
    unhex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb'),
  );
  const expected = unhex('4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742');
  const shared = new Uint8Array(32);
  try {
    if (!alice.agree(shared, 0, bob.publicKey) || !same(shared, expected)) {
      return 'x25519: shared secret differs from the known answer';
    }
    if (!bob.agree(shared, 0, suite.publicKey(alice.publicKey)) || !same(shared, expected)) {
      return 'x25519: shared secret differs from the known answer';
    }
    return alice.agree(shared, 0, new Uint8Array(32)) ? 'x25519: accepts a zero secret' : null;
  } finally {
    alice.wipe();
    bob.wipe();
  }
}

/** RFC 7693 appendix B: BLAKE2s-256 of "abc". */
export function testBlake2s(make: (length: number, key: Uint8Array | null) => Mac): string | null {
  const hash = make(32, null);
  const digest = new Uint8Array(32);
  hash.update(unhex('616263'), 0, 3);
  hash.finish(digest, 0);
  const expected = '508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982';
  return same(digest, unhex(expected)) ? null : 'blake2s: digest differs from the known answer';
}

function unhex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++)
    bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
