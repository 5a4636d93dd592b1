/**
 * The numbers and structure layouts of Linux's UDP interface (`socket.h`, `in.h`, `in6.h`, `udp.h`, `errqueue.h`) on 64-bit
 * little-endian machines.
 *
 *     mmsghdr, 64 bytes                                      cmsghdr
 *      0 name    8 name length                                0 length, this header included
 *     16 iovecs 24 number of iovecs                           8 level
 *     32 control 40 control length                           12 type
 *     48 flags   56 bytes moved                              16 data, padded to 8
 */

export const MMSGHDR = 64;
export const MSG_NAME = 0;
export const MSG_NAMELEN = 8;
export const MSG_IOV = 16;
export const MSG_IOVLEN = 24;
export const MSG_CONTROL = 32;
export const MSG_CONTROLLEN = 40;
export const MSG_FLAGS = 48;
export const MSG_LEN = 56;
export const IOVEC = 16;
export const CMSG_HEADER = 16;

export const MSG_ERRQUEUE = 0x2000;

export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_BROADCAST = 6;
export const SO_REUSEPORT = 15;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SO_MARK = 36;
/** A control message with the number of datagrams dropped for want of room. */
export const SO_RXQ_OVFL = 40;

export const SOL_IP = 0;
export const IP_TOS = 1;
export const IP_PKTINFO = 8;
export const IP_MTU_DISCOVER = 10;
export const IP_RECVERR = 11;
export const IP_RECVTOS = 13;
export const IP_PMTUDISC_DO = 2;

export const SOL_IPV6 = 41;
export const IPV6_MTU_DISCOVER = 23;
export const IPV6_RECVERR = 25;
export const IPV6_V6ONLY = 26;
export const IPV6_RECVPKTINFO = 49;
export const IPV6_PKTINFO = 50;
export const IPV6_RECVTCLASS = 66;
export const IPV6_TCLASS = 67;

export const SOL_UDP = 17;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;
