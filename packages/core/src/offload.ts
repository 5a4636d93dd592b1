/**
 * Work that a packet leaves to whoever carries it on. `offload` travels with the window as one small integer:
 *
 *     bit 17        bit 16        bits 15 … 0
 *     +-------------+-------------+------------------------------------------+
 *     | trusted     | partial     | payload bytes per wire segment, or 0     |
 *     +-------------+-------------+------------------------------------------+
 *
 * A non-zero segment size marks a super-segment: one TCP segment or UDP datagram of up to 64 KiB that stands for many on
 * the wire, each with that many payload bytes (the last with fewer). Its lengths in the IP header are those of the
 * whole; its checksum is partial or trusted, never one to verify.
 */

/** Segment size within `offload`; 0 for an ordinary packet. */
export const SEGMENT_SIZE_MASK = 0xffff;
/** The transport checksum field holds only the folded, uncomplemented sum of the pseudo-header. */
export const CHECKSUM_PARTIAL = 0x10000;
/** The packet never left this process, or a lower layer has verified it: the checksum need not be verified. */
export const CHECKSUM_TRUSTED = 0x20000;

/** What a device's `send` takes. */
export const Accept = {
  /** `CHECKSUM_PARTIAL` on ordinary packets. */
  CHECKSUM: 1,
  /** TCP super-segments over IPv4, over IPv6; they imply partial checksums. */
  TSO4: 2,
  TSO6: 4,
  /** UDP super-segments, both families. */
  USO: 8,
  ALL: 15,
} as const;
