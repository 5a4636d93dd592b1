/**
 * Ethernet II framing with 802.1Q and 802.1ad tags (IEEE 802.3 §3.2, 802.1Q §9.6).
 *
 *     0                   6                  12      14
 *     +-------------------+-------------------+-------+----------+
 *     | destination       | source            | type  | payload  |
 *     +-------------------+-------------------+-------+----------+
 *     a tag between source and type: TPID (2) | PCP 3, DEI 1, VID 12
 */

import { get16, put16 } from '../bytes.ts';
import { writeMac } from '../mac.ts';

export const EtherType = {
  IPV4: 0x0800,
  ARP: 0x0806,
  VLAN: 0x8100,
  IPV6: 0x86dd,
  /** Service tag of 802.1ad ("QinQ"). */
  QINQ: 0x88a8,
} as const;
export type EtherType = number;

export const ETHERNET_HEADER = 14;
export const VLAN_TAG = 4;
/** Without the frame check sequence, which no device here carries. */
export const ETHERNET_MIN_FRAME = 60;

const TYPE = 12;

/** Bytes in front of the payload: 14, and 4 more for each of up to two tags. Needs 14 bytes; never reads past `len`. */
export function ethernetHeaderLength(buf: Uint8Array, off: number, len: number): number {
  let at = TYPE;
  let type = get16(buf, off + at);
  while ((type === EtherType.VLAN || type === EtherType.QINQ) && at < TYPE + 2 * VLAN_TAG) {
    if (len < at + VLAN_TAG + 2) break;
    at += VLAN_TAG;
    type = get16(buf, off + at);
  }
  return at + 2;
}

/** Writes an untagged header of 14 bytes. Addresses are 48-bit integers. */
export function writeEthernet(
  buf: Uint8Array,
  off: number,
  dst: number,
  src: number,
  type: EtherType,
): void {
  writeMac(buf, off, dst);
  writeMac(buf, off + 6, src);
  put16(buf, off + TYPE, type);
}
