// AssemblyScript. The Internet checksum's inner loop (RFC 1071) with 128-bit vectors, for long inputs.
// `pnpm --filter @pktkit/core kernel` compiles it into src/checksum-kernel.ts.

/**
 * The folded ones-complement sum of `len` bytes at `ptr`, in network byte order, not complemented.
 *
 * Words are added in the machine's little-endian order, which the sum's symmetry allows (RFC 1071 §2(B)), and swapped
 * once at the end. The multiply-add instruction pairs signed words, so each word is biased by -32768 first and the
 * biases are added back at the end. A lane takes less than 2^16 per vector: `len` up to 65,536 cannot overflow it.
 */
export function sum(ptr: usize, len: usize): u32 {
  const bias = i16x8.splat(-32768);
  const ones = i16x8.splat(1);
  let a = i32x4.splat(0);
  let b = i32x4.splat(0);
  let p = ptr;
  const end64 = ptr + (len & ~63);
  while (p < end64) {
    a = i32x4.add(a, i32x4.dot_i16x8_s(v128.xor(v128.load(p), bias), ones));
    b = i32x4.add(b, i32x4.dot_i16x8_s(v128.xor(v128.load(p, 16), bias), ones));
    a = i32x4.add(a, i32x4.dot_i16x8_s(v128.xor(v128.load(p, 32), bias), ones));
    b = i32x4.add(b, i32x4.dot_i16x8_s(v128.xor(v128.load(p, 48), bias), ones));
    p += 64;
  }
  const end16 = ptr + (len & ~15);
  while (p < end16) {
    a = i32x4.add(a, i32x4.dot_i16x8_s(v128.xor(v128.load(p), bias), ones));
    p += 16;
  }
  a = i32x4.add(a, b);
  let total =
    i64(i32x4.extract_lane(a, 0)) +
    i64(i32x4.extract_lane(a, 1)) +
    i64(i32x4.extract_lane(a, 2)) +
    i64(i32x4.extract_lane(a, 3));
  total += i64(len & ~15) << 14; // half as many words as bytes, 32768 each
  const end = ptr + len;
  while (p + 2 <= end) {
    total += i64(load<u16>(p));
    p += 2;
  }
  if (p < end) total += i64(load<u8>(p));
  total = (total & 0xffff) + (total >> 16);
  total = (total & 0xffff) + (total >> 16);
  total = (total & 0xffff) + (total >> 16);
  const folded = u32(total);
  return ((folded & 0xff) << 8) | (folded >> 8);
}
