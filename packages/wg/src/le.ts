/** Little-endian words, as WireGuard's own headers have them. Nothing here checks bounds. */

/** Signed: an index is a bit pattern, and stays a small integer this way. */
export function getInt32le(buf: Uint8Array, off: number): number {
  return buf[off] | (buf[off + 1] << 8) | (buf[off + 2] << 16) | (buf[off + 3] << 24);
}

/** Unsigned: one half of a counter. */
export function get32le(buf: Uint8Array, off: number): number {
  return (buf[off] | (buf[off + 1] << 8) | (buf[off + 2] << 16) | (buf[off + 3] << 24)) >>> 0;
}

/** Takes signed and unsigned values alike. */
export function put32le(buf: Uint8Array, off: number, value: number): void {
  buf[off] = value;
  buf[off + 1] = value >>> 8;
  buf[off + 2] = value >>> 16;
  buf[off + 3] = value >>> 24;
}
