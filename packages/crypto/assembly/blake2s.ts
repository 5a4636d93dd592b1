/**
 * BLAKE2s (RFC 7693 §3.2): one row of the working state per vector, one message word per lane. The words' order in each
 * round (§2.7) is written out, so no address depends on data.
 */

import { BLAKE_INPUT, BLAKE_STATE } from './layout';

// @ts-ignore: decorator
@inline
function words(m: usize, i: usize, j: usize, k: usize, l: usize): v128 {
  let x = v128.load_zero<u32>(m + 4 * i);
  x = v128.load_lane<u32>(m + 4 * j, x, 1);
  x = v128.load_lane<u32>(m + 4 * k, x, 2);
  return v128.load_lane<u32>(m + 4 * l, x, 3);
}

// @ts-ignore: decorator
@inline
function rotr16(x: v128): v128 {
  return i8x16.swizzle(x, i8x16(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
}

// @ts-ignore: decorator
@inline
function rotr12(x: v128): v128 {
  return v128.or(i32x4.shr_u(x, 12), i32x4.shl(x, 20));
}

// @ts-ignore: decorator
@inline
function rotr8(x: v128): v128 {
  return i8x16.swizzle(x, i8x16(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12));
}

// @ts-ignore: decorator
@inline
function rotr7(x: v128): v128 {
  return v128.or(i32x4.shr_u(x, 7), i32x4.shl(x, 25));
}

/**
 * Compresses `count` blocks of 64 bytes at BLAKE_INPUT, of which the last holds `lastLength` bytes of the message and, when
 * `final` is not 0, ends it.
 */
export function blake2sBlocks(count: i32, lastLength: i32, final: i32): void {
  let h0 = v128.load(BLAKE_STATE);
  let h1 = v128.load(BLAKE_STATE, 16);
  let length = load<u64>(BLAKE_STATE, 32);
  let m: usize = BLAKE_INPUT;
  for (let i = 1; i <= count; i++) {
    const last = i == count;
    length += last ? lastLength : 64;
    let a = h0;
    let b = h1;
    let c = i32x4(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a);
    let d = v128.xor(
      i32x4(0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19),
      i32x4.replace_lane(
        i64x2.replace_lane(i64x2.splat(0), 0, length),
        2,
        last && final != 0 ? -1 : 0,
      ),
    );

    // Round 0.
    a = i32x4.add(i32x4.add(a, b), words(m, 0, 2, 4, 6));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 1, 3, 5, 7));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    a = i32x4.add(i32x4.add(a, b), words(m, 8, 10, 12, 14));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 9, 11, 13, 15));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);

    // Round 1.
    a = i32x4.add(i32x4.add(a, b), words(m, 14, 4, 9, 13));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 10, 8, 15, 6));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    a = i32x4.add(i32x4.add(a, b), words(m, 1, 0, 11, 5));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 12, 2, 7, 3));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);

    // Round 2.
    a = i32x4.add(i32x4.add(a, b), words(m, 11, 12, 5, 15));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 8, 0, 2, 13));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    a = i32x4.add(i32x4.add(a, b), words(m, 10, 3, 7, 9));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 14, 6, 1, 4));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);

    // Round 3.
    a = i32x4.add(i32x4.add(a, b), words(m, 7, 3, 13, 11));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 9, 1, 12, 14));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    a = i32x4.add(i32x4.add(a, b), words(m, 2, 5, 4, 15));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 6, 10, 0, 8));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);

    // Round 4.
    a = i32x4.add(i32x4.add(a, b), words(m, 9, 5, 2, 10));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 0, 7, 4, 15));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    a = i32x4.add(i32x4.add(a, b), words(m, 14, 11, 6, 3));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 1, 12, 8, 13));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);

    // Round 5.
    a = i32x4.add(i32x4.add(a, b), words(m, 2, 6, 0, 8));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 12, 10, 11, 3));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    a = i32x4.add(i32x4.add(a, b), words(m, 4, 7, 15, 1));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 13, 5, 14, 9));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);

    // Round 6.
    a = i32x4.add(i32x4.add(a, b), words(m, 12, 1, 14, 4));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 5, 15, 13, 10));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    a = i32x4.add(i32x4.add(a, b), words(m, 0, 6, 9, 8));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 7, 3, 2, 11));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);

    // Round 7.
    a = i32x4.add(i32x4.add(a, b), words(m, 13, 7, 12, 3));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 11, 14, 1, 9));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    a = i32x4.add(i32x4.add(a, b), words(m, 5, 15, 8, 2));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 0, 4, 6, 10));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);

    // Round 8.
    a = i32x4.add(i32x4.add(a, b), words(m, 6, 14, 11, 0));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 15, 9, 3, 8));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    a = i32x4.add(i32x4.add(a, b), words(m, 12, 13, 1, 10));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 2, 7, 4, 5));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);

    // Round 9.
    a = i32x4.add(i32x4.add(a, b), words(m, 10, 8, 7, 1));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 2, 4, 6, 5));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    a = i32x4.add(i32x4.add(a, b), words(m, 15, 9, 3, 13));
    d = rotr16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(m, 11, 14, 12, 0));
    d = rotr8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotr7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);
    h0 = v128.xor(h0, v128.xor(a, c));
    h1 = v128.xor(h1, v128.xor(b, d));
    m += 64;
  }
  v128.store(BLAKE_STATE, h0);
  v128.store(BLAKE_STATE, h1, 16);
  store<u64>(BLAKE_STATE, length, 32);
}
