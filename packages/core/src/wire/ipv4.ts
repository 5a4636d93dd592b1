/**
 * IPv4 header (RFC 791 §3.1).
 *
 *      0       4       8               16    19                     31
 *     +-------+-------+---------------+-----+------------------------+
 *     |version|  IHL  |  DSCP     ECN |         total length         |   0
 *     +-------+-------+---------------+-----+------------------------+
 *     |        identification         |0 D M|    fragment offset     |   4
 *     +---------------+---------------+-----+------------------------+
 *     |      TTL      |   protocol    |       header checksum        |   8
 *     +---------------+---------------+------------------------------+
 *     |                        source address                        |  12
 *     +--------------------------------------------------------------+
 *     |                      destination address                     |  16
 *     +--------------------------------------------------------------+
 */

/** Protocol and next-header numbers of the IANA registry. */
export const IpProtocol = {
  HOP_BY_HOP: 0,
  ICMP: 1,
  IGMP: 2,
  TCP: 6,
  UDP: 17,
  IPV6_ROUTE: 43,
  IPV6_FRAGMENT: 44,
  GRE: 47,
  ESP: 50,
  AH: 51,
  ICMPV6: 58,
  IPV6_NO_NEXT: 59,
  IPV6_OPTIONS: 60,
  SCTP: 132,
} as const;
export type IpProtocol = number;

export const IPV4_HEADER = 20;
/** Flags of the 16-bit word at offset 6. */
export const IPV4_DF = 0x4000;
export const IPV4_MF = 0x2000;
export const IPV4_OFFSET_MASK = 0x1fff;
