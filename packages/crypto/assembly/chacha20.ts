/**
 * ChaCha20 (RFC 8439 §2.3, §2.4) on 128-bit lanes, four blocks at a time: lane j of vector i is word i of block j.
 * No branch or address depends on key or text.
 */

import { KEY, NONCE } from './layout';

const SIGMA0: i32 = 0x61707865;
const SIGMA1: i32 = 0x3320646e;
const SIGMA2: i32 = 0x79622d32;
const SIGMA3: i32 = 0x6b206574;

// @ts-ignore: decorator
@inline
function rotl16(x: v128): v128 {
  return i8x16.swizzle(x, i8x16(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
}

// @ts-ignore: decorator
@inline
function rotl8(x: v128): v128 {
  return i8x16.swizzle(x, i8x16(3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14));
}

// @ts-ignore: decorator
@inline
function rotl12(x: v128): v128 {
  return v128.or(i32x4.shl(x, 12), i32x4.shr_u(x, 20));
}

// @ts-ignore: decorator
@inline
function rotl7(x: v128): v128 {
  return v128.or(i32x4.shl(x, 7), i32x4.shr_u(x, 25));
}

/**
 * XORs the key stream of four blocks, from block `counter` on, to 256 bytes. Source and destination may be the same.
 */
export function xor256(dst: usize, src: usize, counter: i32): void {
  const count = i32x4.add(i32x4.splat(counter), i32x4(0, 1, 2, 3));
  xorFour(dst, src, count, v128.load_splat<u32>(NONCE + 4));
}

/**
 * Block 0 for the nonce and for the three whose second word is greater by 1, 2 and 3: 64 bytes each, of which the first 32
 * are the message's one-time key (RFC 8439 §2.6).
 */
export function keysAhead(dst: usize): void {
  for (let done = 0; done < 256; done += 16) v128.store(dst + done, i64x2.splat(0));
  const counters = i32x4.add(v128.load_splat<u32>(NONCE + 4), i32x4(0, 1, 2, 3));
  xorFour(dst, dst, i32x4.splat(0), counters);
}

/** Four blocks that differ in word 12, the block counter, and word 14, the second of the nonce. */
// @ts-ignore: decorator
@inline
function xorFour(dst: usize, src: usize, w12: v128, w14: v128): void {
  const c0 = i32x4.splat(SIGMA0);
  const c1 = i32x4.splat(SIGMA1);
  const c2 = i32x4.splat(SIGMA2);
  const c3 = i32x4.splat(SIGMA3);

  let x0 = c0;
  let x1 = c1;
  let x2 = c2;
  let x3 = c3;
  let x4 = v128.load_splat<u32>(KEY);
  let x5 = v128.load_splat<u32>(KEY + 4);
  let x6 = v128.load_splat<u32>(KEY + 8);
  let x7 = v128.load_splat<u32>(KEY + 12);
  let x8 = v128.load_splat<u32>(KEY + 16);
  let x9 = v128.load_splat<u32>(KEY + 20);
  let x10 = v128.load_splat<u32>(KEY + 24);
  let x11 = v128.load_splat<u32>(KEY + 28);
  let x12 = w12;
  let x13 = v128.load_splat<u32>(NONCE);
  let x14 = w14;
  let x15 = v128.load_splat<u32>(NONCE + 8);

  for (let i = 0; i < 10; i++) {
    x0 = i32x4.add(x0, x4); x12 = rotl16(v128.xor(x12, x0));
    x8 = i32x4.add(x8, x12); x4 = rotl12(v128.xor(x4, x8));
    x0 = i32x4.add(x0, x4); x12 = rotl8(v128.xor(x12, x0));
    x8 = i32x4.add(x8, x12); x4 = rotl7(v128.xor(x4, x8));
    x1 = i32x4.add(x1, x5); x13 = rotl16(v128.xor(x13, x1));
    x9 = i32x4.add(x9, x13); x5 = rotl12(v128.xor(x5, x9));
    x1 = i32x4.add(x1, x5); x13 = rotl8(v128.xor(x13, x1));
    x9 = i32x4.add(x9, x13); x5 = rotl7(v128.xor(x5, x9));
    x2 = i32x4.add(x2, x6); x14 = rotl16(v128.xor(x14, x2));
    x10 = i32x4.add(x10, x14); x6 = rotl12(v128.xor(x6, x10));
    x2 = i32x4.add(x2, x6); x14 = rotl8(v128.xor(x14, x2));
    x10 = i32x4.add(x10, x14); x6 = rotl7(v128.xor(x6, x10));
    x3 = i32x4.add(x3, x7); x15 = rotl16(v128.xor(x15, x3));
    x11 = i32x4.add(x11, x15); x7 = rotl12(v128.xor(x7, x11));
    x3 = i32x4.add(x3, x7); x15 = rotl8(v128.xor(x15, x3));
    x11 = i32x4.add(x11, x15); x7 = rotl7(v128.xor(x7, x11));
    x0 = i32x4.add(x0, x5); x15 = rotl16(v128.xor(x15, x0));
    x10 = i32x4.add(x10, x15); x5 = rotl12(v128.xor(x5, x10));
    x0 = i32x4.add(x0, x5); x15 = rotl8(v128.xor(x15, x0));
    x10 = i32x4.add(x10, x15); x5 = rotl7(v128.xor(x5, x10));
    x1 = i32x4.add(x1, x6); x12 = rotl16(v128.xor(x12, x1));
    x11 = i32x4.add(x11, x12); x6 = rotl12(v128.xor(x6, x11));
    x1 = i32x4.add(x1, x6); x12 = rotl8(v128.xor(x12, x1));
    x11 = i32x4.add(x11, x12); x6 = rotl7(v128.xor(x6, x11));
    x2 = i32x4.add(x2, x7); x13 = rotl16(v128.xor(x13, x2));
    x8 = i32x4.add(x8, x13); x7 = rotl12(v128.xor(x7, x8));
    x2 = i32x4.add(x2, x7); x13 = rotl8(v128.xor(x13, x2));
    x8 = i32x4.add(x8, x13); x7 = rotl7(v128.xor(x7, x8));
    x3 = i32x4.add(x3, x4); x14 = rotl16(v128.xor(x14, x3));
    x9 = i32x4.add(x9, x14); x4 = rotl12(v128.xor(x4, x9));
    x3 = i32x4.add(x3, x4); x14 = rotl8(v128.xor(x14, x3));
    x9 = i32x4.add(x9, x14); x4 = rotl7(v128.xor(x4, x9));
  }

  quarter(dst, src, 0,
    i32x4.add(x0, c0), i32x4.add(x1, c1), i32x4.add(x2, c2), i32x4.add(x3, c3));
  quarter(dst, src, 16,
    i32x4.add(x4, v128.load_splat<u32>(KEY)), i32x4.add(x5, v128.load_splat<u32>(KEY + 4)),
    i32x4.add(x6, v128.load_splat<u32>(KEY + 8)), i32x4.add(x7, v128.load_splat<u32>(KEY + 12)));
  quarter(dst, src, 32,
    i32x4.add(x8, v128.load_splat<u32>(KEY + 16)), i32x4.add(x9, v128.load_splat<u32>(KEY + 20)),
    i32x4.add(x10, v128.load_splat<u32>(KEY + 24)), i32x4.add(x11, v128.load_splat<u32>(KEY + 28)));
  quarter(dst, src, 48,
    i32x4.add(x12, w12), i32x4.add(x13, v128.load_splat<u32>(NONCE)),
    i32x4.add(x14, w14), i32x4.add(x15, v128.load_splat<u32>(NONCE + 8)));
}

/** Transposes four words of four blocks and XORs them: 16 bytes, at `off`, of each block. */
// @ts-ignore: decorator
@inline
function quarter(dst: usize, src: usize, off: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab0 = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const cd0 = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const ab1 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cd1 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  dst += off;
  src += off;
  v128.store(dst, v128.xor(v128.shuffle<i64>(ab0, cd0, 0, 2), v128.load(src)));
  v128.store(dst, v128.xor(v128.shuffle<i64>(ab0, cd0, 1, 3), v128.load(src, 64)), 64);
  v128.store(dst, v128.xor(v128.shuffle<i64>(ab1, cd1, 0, 2), v128.load(src, 128)), 128);
  v128.store(dst, v128.xor(v128.shuffle<i64>(ab1, cd1, 1, 3), v128.load(src, 192)), 192);
}

/** The key stream of one block, 64 bytes, to `dst`: one row of the state per vector. */
export function block(dst: usize, counter: i32): void {
  const a0 = i32x4(SIGMA0, SIGMA1, SIGMA2, SIGMA3);
  const b0 = v128.load(KEY);
  const c0 = v128.load(KEY, 16);
  const d0 = i32x4.replace_lane(v128.load(NONCE - 4), 0, counter);
  let a = a0;
  let b = b0;
  let c = c0;
  let d = d0;
  for (let i = 0; i < 10; i++) {
    a = i32x4.add(a, b); d = rotl16(v128.xor(d, a));
    c = i32x4.add(c, d); b = rotl12(v128.xor(b, c));
    a = i32x4.add(a, b); d = rotl8(v128.xor(d, a));
    c = i32x4.add(c, d); b = rotl7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    a = i32x4.add(a, b); d = rotl16(v128.xor(d, a));
    c = i32x4.add(c, d); b = rotl12(v128.xor(b, c));
    a = i32x4.add(a, b); d = rotl8(v128.xor(d, a));
    c = i32x4.add(c, d); b = rotl7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);
  }
  v128.store(dst, i32x4.add(a, a0));
  v128.store(dst, i32x4.add(b, b0), 16);
  v128.store(dst, i32x4.add(c, c0), 32);
  v128.store(dst, i32x4.add(d, d0), 48);
}
