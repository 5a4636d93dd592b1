/**
 * Counters of one virtual host. TCP's own are in `client.tcp.stats`, those of fragments in `client.reassembly`,
 * DNS's in `client.resolver.stats`.
 */

export interface VClientStats {
  packetsIn: number;
  packetsOut: number;
  udpIn: number;
  udpOut: number;
  /** Echo requests answered. */
  echoReplies: number;
  /** ICMP errors received that were about one of our sockets. */
  icmpErrorsIn: number;
  icmpErrorsOut: number;
  fragmentsIn: number;
  reassembled: number;
  fragmentsOut: number;
  /** Not a valid IP packet, or a transport header that does not fit into it. */
  dropMalformed: number;
  dropChecksum: number;
  /** For an address that this host does not have. */
  dropNotOurs: number;
  /** From an address that cannot be a source. */
  dropMartian: number;
  dropProtocol: number;
  dropIcmp: number;
  /** UDP to a port that nobody has; answered by "port unreachable". */
  dropNoPort: number;
  /** ICMP errors held back by the rate limit. */
  dropIcmpLimit: number;
  dropClosed: number;
}

export function newStats(): VClientStats {
  return {
    packetsIn: 0,
    packetsOut: 0,
    udpIn: 0,
    udpOut: 0,
    echoReplies: 0,
    icmpErrorsIn: 0,
    icmpErrorsOut: 0,
    fragmentsIn: 0,
    reassembled: 0,
    fragmentsOut: 0,
    dropMalformed: 0,
    dropChecksum: 0,
    dropNotOurs: 0,
    dropMartian: 0,
    dropProtocol: 0,
    dropIcmp: 0,
    dropNoPort: 0,
    dropIcmpLimit: 0,
    dropClosed: 0,
  };
}
