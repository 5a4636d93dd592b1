/**
 * The Internet checksum (RFC 1071): a 16-bit ones-complement sum, whole, in parts, or kept up to date (RFC 1624).
 *
 * Sums here are folded to 16 bits and not complemented; a *checksum* is the complement, as headers carry it. Nothing
 * checks bounds: callers have validated the lengths.
 *
 * Short inputs are added in plain JavaScript. Long ones go through a WebAssembly kernel with 128-bit vectors (1500 bytes:
 * 51 ns and 22 to copy in, against 300); where WebAssembly SIMD is missing, they are added by 32-bit words.
 */

import { copyBytes, get16, put16 } from './bytes.ts';
import { CHECKSUM_KERNEL } from './checksum-kernel.ts';
import { instantiateWasm } from './platform.ts';

/** The folded ones-complement sum of `len` bytes; an odd last byte counts as if a zero followed. */
export function sum(buf: Uint8Array, off: number, len: number, initial = 0): number {
  if (len < KERNEL_FROM) return sumShort(buf, off, len, initial);
  return sumLong(buf, off, len, initial);
}

/** The complement of `sum`: what a header's field takes. */
export function checksum(buf: Uint8Array, off: number, len: number, initial = 0): number {
  return ~sum(buf, off, len, initial) & 0xffff;
}

/** The sum of two folded sums. The bytes behind `a` must have been even in number. */
export function combine(a: number, b: number): number {
  const total = a + b;
  return (total & 0xffff) + (total >>> 16);
}

/**
 * The sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1). Addresses are read from the IP header at `ipOff`, of
 * either family; `length` is that of the transport header and its payload, in up to 32 bits.
 */
export function pseudoHeaderSum(
  buf: Uint8Array,
  ipOff: number,
  protocol: number,
  length: number,
): number {
  const rest = protocol + (length >>> 16) + (length & 0xffff);
  if (buf[ipOff] >>> 4 === 4) return sumShort(buf, ipOff + 12, 8, rest);
  return sumShort(buf, ipOff + 8, 32, rest);
}

/** `pseudoHeaderSum` for IPv4 addresses at hand as 32-bit integers. */
export function pseudoHeaderSum4(
  src: number,
  dst: number,
  protocol: number,
  length: number,
): number {
  return fold(
    (src >>> 16) +
      (src & 0xffff) +
      (dst >>> 16) +
      (dst & 0xffff) +
      protocol +
      (length >>> 16) +
      (length & 0xffff),
  );
}

/**
 * A header's checksum after one of its 16-bit words has changed from `before` to `after` (RFC 1624 §3, equation 3, which
 * is exact where its predecessor gave a negative zero).
 */
export function update16(check: number, before: number, after: number): number {
  return ~fold((~check & 0xffff) + (~before & 0xffff) + (after & 0xffff)) & 0xffff;
}

/** `update16` for a 32-bit word at an even offset, such as an address or a sequence number. */
export function update32(check: number, before: number, after: number): number {
  return (
    ~fold(
      (~check & 0xffff) + (~before >>> 16) + (~before & 0xffff) + (after >>> 16) + (after & 0xffff),
    ) & 0xffff
  );
}

/** `update16` for UDP, where 0 says that the sender made no checksum and a computed 0 is sent as 0xffff (RFC 768). */
export function updateUdp16(check: number, before: number, after: number): number {
  return check === 0 ? 0 : update16(check, before, after) || 0xffff;
}

/** `update32` for UDP; see `updateUdp16`. */
export function updateUdp32(check: number, before: number, after: number): number {
  return check === 0 ? 0 : update32(check, before, after) || 0xffff;
}

/**
 * The checksum of the transport message of `len` bytes at `at`, whose checksum field must hold 0. The IP header at `ipOff`
 * gives the addresses. Serves every protocol with a pseudo-header: TCP, UDP, ICMPv6.
 */
export function transportChecksum(
  buf: Uint8Array,
  ipOff: number,
  protocol: number,
  at: number,
  len: number,
): number {
  const check = checksum(buf, at, len, pseudoHeaderSum(buf, ipOff, protocol, len));
  return check === 0 && protocol === UDP ? 0xffff : check;
}

/**
 * Whether the checksum of a TCP, UDP or ICMPv6 message is right. A UDP checksum of 0 is none over IPv4 and a fault over
 * IPv6 (RFC 8200 §8.1).
 */
export function verifyTransport(
  buf: Uint8Array,
  ipOff: number,
  protocol: number,
  at: number,
  len: number,
): boolean {
  if (protocol === UDP && get16(buf, at + 6) === 0) return buf[ipOff] >>> 4 === 4;
  return sum(buf, at, len, pseudoHeaderSum(buf, ipOff, protocol, len)) === 0xffff;
}

/**
 * Completes a partial checksum (`CHECKSUM_PARTIAL`): the field at `field` holds the sum of the pseudo-header, the rest of
 * the message is added.
 */
export function completeChecksum(
  buf: Uint8Array,
  protocol: number,
  at: number,
  len: number,
  field: number,
): void {
  const check = checksum(buf, at, len);
  put16(buf, field, check === 0 && protocol === UDP ? 0xffff : check);
}

/** Copies `len` bytes and gives their sum, for less than the two steps cost one by one. */
export function copyAndSum(
  dst: Uint8Array,
  dstOff: number,
  src: Uint8Array,
  srcOff: number,
  len: number,
  initial = 0,
): number {
  if (len < KERNEL_FROM || len > KERNEL_MAX || kernel === null) {
    copyBytes(dst, dstOff, src, srcOff, len);
    return sum(dst, dstOff, len, initial);
  }
  const part = srcOff === 0 && len === src.length ? src : src.subarray(srcOff, srcOff + len);
  kernelMemory.set(part, KERNEL_INPUT);
  dst.set(part, dstOff);
  return fold(kernel(KERNEL_INPUT, len) + initial);
}

/** As in `IpProtocol`; written out, because the headers' files import this one. */
const UDP = 17;

/** From here on copying into the kernel's memory pays (measured: even at about 100 bytes). */
const KERNEL_FROM = 112;
/** What the kernel takes at once: its lanes cannot overflow, and an even part keeps the words aligned. */
const KERNEL_MAX = 65536;
/** AssemblyScript leaves the bytes below free for its own data. */
const KERNEL_INPUT = 1024;
/** Whole buffers up to this size are copied in, since making a view on a part costs more than the copy saves. */
const WHOLE_COPY = 4096;

const wasm = instantiateWasm(CHECKSUM_KERNEL);
const kernel = (wasm?.sum ?? null) as ((at: number, len: number) => number) | null;
const kernelMemory: Uint8Array =
  wasm === null
    ? new Uint8Array(0)
    : new Uint8Array((wasm.memory as { buffer: ArrayBuffer }).buffer);

function fold(total: number): number {
  const once = (total & 0xffff) + (total >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

function sumLong(buf: Uint8Array, off: number, len: number, initial: number): number {
  let at = off;
  let left = len;
  let total = initial;
  while (left > 0) {
    const part = Math.min(left, KERNEL_MAX);
    if (kernel === null) {
      total = sumWords(buf, at, part, total);
    } else if (buf.length <= WHOLE_COPY) {
      kernelMemory.set(buf, KERNEL_INPUT);
      total = fold(total + kernel(KERNEL_INPUT + at, part));
    } else {
      kernelMemory.set(buf.subarray(at, at + part), KERNEL_INPUT);
      total = fold(total + kernel(KERNEL_INPUT, part));
    }
    at += part;
    left -= part;
  }
  return total;
}

/** The buffer last added without the kernel, and a view on all of it: making one costs as much as adding 200 bytes. */
let viewed: Uint8Array = kernelMemory;
let view: DataView = new DataView(kernelMemory.buffer);

/** For long inputs: up to 64 KiB, whose words add up to less than 2^46, so that a double holds the sum exactly. */
function sumWords(buf: Uint8Array, off: number, len: number, initial: number): number {
  if (buf !== viewed) {
    view = new DataView(buf.buffer, buf.byteOffset, buf.byteLength);
    viewed = buf;
  }
  const words = view;
  let total = 0;
  let i = off;
  const end16 = off + (len & ~15);
  for (; i < end16; i += 16) {
    total +=
      words.getUint32(i) +
      words.getUint32(i + 4) +
      words.getUint32(i + 8) +
      words.getUint32(i + 12);
  }
  const low = total >>> 0;
  const high = (total - low) / 2 ** 32;
  return sumShort(buf, i, len & 15, fold(initial + high + (low >>> 16) + (low & 0xffff)));
}

/** Up to 64 KiB: no intermediate value leaves 32 bits. */
function sumShort(buf: Uint8Array, off: number, len: number, initial: number): number {
  let high = 0;
  let low = 0;
  let i = off;
  const end8 = off + (len & ~7);
  for (; i < end8; i += 8) {
    high += buf[i] + buf[i + 2] + buf[i + 4] + buf[i + 6];
    low += buf[i + 1] + buf[i + 3] + buf[i + 5] + buf[i + 7];
  }
  const end2 = off + (len & ~1);
  for (; i < end2; i += 2) {
    high += buf[i];
    low += buf[i + 1];
  }
  if ((len & 1) !== 0) high += buf[i];
  return fold(initial + high * 256 + low);
}
