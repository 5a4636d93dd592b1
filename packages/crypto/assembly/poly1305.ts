/**
 * Poly1305 (RFC 8439 §2.5) with h in limbs of 32 bits and 64-bit products: 21 multiplications a block. The clamped r
 * (§2.5: 28 bits a limb, two low bits clear above the first) makes 5 r / 4 an integer, which folds 2^130 back.
 *
 * Carries move one limb a block and no further, which keeps the chain between blocks short. Bounds, in units of 2^32:
 * h0 <= 2.25 and h1 … h3 <= 2 before a block is added, so that h0 + m0 <= 3.25 and the others 3. With r <= 2^28 and
 * 5 r / 4 <= 1.25 * 2^28 the largest sum, x0, is 3.25 + 3 * 3 * 1.25 = 14.5 times 2^60: below 2^64.
 *
 * No branch or address depends on key or text.
 */

const MASK32: u64 = 0xffffffff;

let r0: u64 = 0;
let r1: u64 = 0;
let r2: u64 = 0;
let r3: u64 = 0;
let h0: u64 = 0;
let h1: u64 = 0;
let h2: u64 = 0;
let h3: u64 = 0;
let h4: u64 = 0;

/** Takes r from the one-time key. */
export function polyInit(key: usize): void {
  r0 = <u64>load<u32>(key) & 0x0fffffff;
  r1 = <u64>load<u32>(key, 4) & 0x0ffffffc;
  r2 = <u64>load<u32>(key, 8) & 0x0ffffffc;
  r3 = <u64>load<u32>(key, 12) & 0x0ffffffc;
  h0 = 0;
  h1 = 0;
  h2 = 0;
  h3 = 0;
  h4 = 0;
}

/** `len` is a multiple of 16: every block of the AEAD is full, padded with zeros (§2.8). */
export function polyUpdate(src: usize, len: i32): void {
  const p0 = r0;
  const p1 = r1;
  const p2 = r2;
  const p3 = r3;
  const q0 = (p0 >> 2) * 5;
  const q1 = p1 + (p1 >> 2);
  const q2 = p2 + (p2 >> 2);
  const q3 = p3 + (p3 >> 2);
  const q4 = p0 & 3;
  let a0 = h0;
  let a1 = h1;
  let a2 = h2;
  let a3 = h3;
  let a4 = h4;
  const end = src + len;
  while (src < end) {
    a0 += <u64>load<u32>(src);
    a1 += <u64>load<u32>(src, 4);
    a2 += <u64>load<u32>(src, 8);
    a3 += <u64>load<u32>(src, 12);
    a4 += 1;
    const x0 = a0 * p0 + a1 * q3 + (a2 * q2 + a3 * q1) + a4 * q0;
    const x1 = a0 * p1 + a1 * p0 + (a2 * q3 + a3 * q2) + a4 * q1;
    const x2 = a0 * p2 + a1 * p1 + (a2 * p0 + a3 * q3) + a4 * q2;
    const x3 = a0 * p3 + a1 * p2 + (a2 * p1 + a3 * p0) + a4 * q3;
    const x4 = a4 * q4 + (x3 >> 32);
    a0 = (x0 & MASK32) + (x4 >> 2) * 5;
    a1 = (x1 & MASK32) + (x0 >> 32);
    a2 = (x2 & MASK32) + (x1 >> 32);
    a3 = (x3 & MASK32) + (x2 >> 32);
    a4 = x4 & 3;
    src += 16;
  }
  h0 = a0;
  h1 = a1;
  h2 = a2;
  h3 = a3;
  h4 = a4;
}

/** Reduces h fully, adds s, the key's second half, writes the tag and forgets r and h. */
export function polyFinish(tag: usize, key: usize): void {
  // Two carry passes leave h below 2^130 + a little, all limbs of 32 bits.
  let a0 = h0;
  let a1 = h1 + (a0 >> 32);
  let a2 = h2 + (a1 >> 32);
  let a3 = h3 + (a2 >> 32);
  let a4 = h4 + (a3 >> 32);
  a0 = (a0 & MASK32) + (a4 >> 2) * 5;
  a1 = (a1 & MASK32) + (a0 >> 32);
  a2 = (a2 & MASK32) + (a1 >> 32);
  a3 = (a3 & MASK32) + (a2 >> 32);
  a4 = (a4 & 3) + (a3 >> 32);
  a0 &= MASK32;
  a1 &= MASK32;
  a2 &= MASK32;
  a3 &= MASK32;

  // h >= 2^130 - 5 exactly when h + 5 reaches 2^130: then 5 is added, and what passes 2^128 falls away.
  let carry = (a0 + 5) >> 32;
  carry = (a1 + carry) >> 32;
  carry = (a2 + carry) >> 32;
  carry = (a3 + carry) >> 32;
  const over = ((a4 + carry) >> 2) * 5;

  carry = a0 + over + <u64>load<u32>(key, 16);
  store<u32>(tag, <u32>carry);
  carry = a1 + (carry >> 32) + <u64>load<u32>(key, 20);
  store<u32>(tag, <u32>carry, 4);
  carry = a2 + (carry >> 32) + <u64>load<u32>(key, 24);
  store<u32>(tag, <u32>carry, 8);
  carry = a3 + (carry >> 32) + <u64>load<u32>(key, 28);
  store<u32>(tag, <u32>carry, 12);

  r0 = 0;
  r1 = 0;
  r2 = 0;
  r3 = 0;
  h0 = 0;
  h1 = 0;
  h2 = 0;
  h3 = 0;
  h4 = 0;
}
