/** PKCS #7 padding (RFC 5652 §6.3) for 16-byte blocks, checked without a branch or an index on what it says. */

/** The text followed by 1 to 16 bytes of padding. */
export function padBlocks(src: Uint8Array, srcOff: number, len: number): Uint8Array {
  const padding = 16 - (len % 16);
  const padded = new Uint8Array(len + padding).fill(padding, len);
  padded.set(src.subarray(srcOff, srcOff + len));
  return padded;
}

/** The length without padding, or -1 when the padding is wrong. `len` is a multiple of 16 and not 0. */
export function unpaddedLength(buf: Uint8Array, off: number, len: number): number {
  const padding = buf[off + len - 1];
  // 1 to 16, as a mask: -1 when bad.
  let bad = ((padding - 1) >> 31) | ((16 - padding) >> 31);
  for (let i = 0; i < 16; i++) {
    // -1 for the last `padding` bytes of the block.
    const inside = (i - padding) >> 31;
    bad |= inside & (buf[off + len - 1 - i] ^ padding);
  }
  // A wrong byte leaves low bits, a wrong length all of them.
  return bad === 0 ? len - padding : -1;
}
