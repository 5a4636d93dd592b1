/** Counters and bounds of one slirp, over all its namespaces. */

export interface SlirpStats {
  packetsIn: number;
  packetsOut: number;
  /** TCP flows that are open now, dials included. */
  tcpFlows: number;
  /** Dials under way now. */
  tcpDials: number;
  /** Flows whose dial succeeded. */
  tcpOpened: number;
  /** Dials that the destination refused. */
  tcpRefused: number;
  /** Dials that failed otherwise. */
  tcpFailed: number;
  /** Dials that were given up after `dialTimeout`. */
  tcpTimedOut: number;
  tcpBytesUp: number;
  tcpBytesDown: number;
  /** UDP mappings that are open now: one host socket each. */
  udpMappings: number;
  udpUp: number;
  udpDown: number;
  udpBytesUp: number;
  udpBytesDown: number;
  /** Errors of host sockets on a UDP mapping; the mapping lives on. */
  udpErrors: number;
  /** Connections and datagrams that came through a port forward. */
  forwarded: number;
  dnsQueries: number;
  dnsAnswers: number;
  /** Queries answered with SERVFAIL because no name server of the host gave an answer. */
  dnsFailed: number;
  echoReplies: number;
  /** ICMP errors sent to guests. */
  icmpErrors: number;
  fragmentsIn: number;
  reassembled: number;
  fragmentsOut: number;

  /** Not a valid IP packet, or a transport header that does not fit into it. */
  dropMalformed: number;
  dropChecksum: number;
  /** Source or destination that never leaves: multicast, broadcast, loopback, mapped. */
  dropMartian: number;
  /** A protocol other than TCP, UDP and ICMP. */
  dropProtocol: number;
  /** ICMP that is neither an echo request nor about one of our flows. */
  dropIcmp: number;
  /** Fragments that could not be put together. */
  dropFragment: number;
  /** Refused by the guards or by `allow`. */
  dropPolicy: number;
  dropTtl: number;
  /** TCP: too many flows, or too many dials at once. */
  dropFlowLimit: number;
  dropDialLimit: number;
  /** UDP: too many mappings, or a full queue of the host's socket. */
  dropMappingLimit: number;
  dropUdpQueue: number;
  /** UDP from a peer that the guest has not written to (RFC 4787 §5). */
  dropUdpFiltered: number;
  dropDnsLimit: number;
  /** Echo requests to the outside, which this provider cannot send: answered as administratively prohibited. */
  dropEcho: number;
  /** ICMP errors held back by the rate limit. */
  dropIcmpLimit: number;
  /** Sent to a namespace that has been disconnected, or after `close`. */
  dropClosed: number;
}

export function newStats(): SlirpStats {
  return {
    packetsIn: 0,
    packetsOut: 0,
    tcpFlows: 0,
    tcpDials: 0,
    tcpOpened: 0,
    tcpRefused: 0,
    tcpFailed: 0,
    tcpTimedOut: 0,
    tcpBytesUp: 0,
    tcpBytesDown: 0,
    udpMappings: 0,
    udpUp: 0,
    udpDown: 0,
    udpBytesUp: 0,
    udpBytesDown: 0,
    udpErrors: 0,
    forwarded: 0,
    dnsQueries: 0,
    dnsAnswers: 0,
    dnsFailed: 0,
    echoReplies: 0,
    icmpErrors: 0,
    fragmentsIn: 0,
    reassembled: 0,
    fragmentsOut: 0,
    dropMalformed: 0,
    dropChecksum: 0,
    dropMartian: 0,
    dropProtocol: 0,
    dropIcmp: 0,
    dropFragment: 0,
    dropPolicy: 0,
    dropTtl: 0,
    dropFlowLimit: 0,
    dropDialLimit: 0,
    dropMappingLimit: 0,
    dropUdpQueue: 0,
    dropUdpFiltered: 0,
    dropDnsLimit: 0,
    dropEcho: 0,
    dropIcmpLimit: 0,
    dropClosed: 0,
  };
}

export interface SlirpLimits {
  /** TCP flows of all namespaces together; 16,384 unless told. Beyond, SYNs are dropped. */
  flows?: number | undefined;
  /** TCP flows of one namespace; 8,192 unless told. */
  flowsPerNamespace?: number | undefined;
  /** Dials under way of all namespaces together; 4,096 unless told. Beyond, SYNs are dropped and tried again by the guest. */
  dials?: number | undefined;
  /** Dials under way of one namespace; 1,024 unless told. */
  dialsPerNamespace?: number | undefined;
  /** UDP mappings of all namespaces together; 8,192 unless told. Beyond, the longest idle one of the namespace goes. */
  mappings?: number | undefined;
  /** UDP mappings of one namespace; 2,048 unless told. */
  mappingsPerNamespace?: number | undefined;
  /** Peers that one UDP mapping remembers; 256 unless told. Beyond, the oldest is forgotten. */
  peersPerMapping?: number | undefined;
  /** DNS queries under way; 512 unless told. */
  dnsQueries?: number | undefined;
  /** Bytes of TCP that one namespace may hold in buffers; 256 MiB unless told. */
  bufferedBytes?: number | undefined;
  /** ICMP errors a second to one namespace (RFC 1812 §4.3.2.8); 100 unless told. */
  icmpErrors?: number | undefined;
}

export type ResolvedLimits = { readonly [K in keyof SlirpLimits]-?: number };

export function resolveLimits(limits: SlirpLimits): ResolvedLimits {
  const resolved = {
    flows: limits.flows ?? 16_384,
    flowsPerNamespace: limits.flowsPerNamespace ?? 8_192,
    dials: limits.dials ?? 4_096,
    dialsPerNamespace: limits.dialsPerNamespace ?? 1_024,
    mappings: limits.mappings ?? 8_192,
    mappingsPerNamespace: limits.mappingsPerNamespace ?? 2_048,
    peersPerMapping: limits.peersPerMapping ?? 256,
    dnsQueries: limits.dnsQueries ?? 512,
    bufferedBytes: limits.bufferedBytes ?? 256 << 20,
    icmpErrors: limits.icmpErrors ?? 100,
  };
  for (const [name, value] of Object.entries(resolved)) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(`limits.${name} is a positive integer, got ${value}`);
    }
  }
  return resolved;
}
