import type { TcpStackStats } from './types.ts';

export function newStats(): TcpStackStats {
  return {
    segmentsIn: 0,
    segmentsOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    activeOpens: 0,
    passiveOpens: 0,
    established: 0,
    failedConnects: 0,
    resetsIn: 0,
    resetsOut: 0,
    retransmits: 0,
    timeouts: 0,
    synCookiesSent: 0,
    synCookiesAccepted: 0,
    synCookiesRejected: 0,
    challengeAcks: 0,
    challengeAcksLimited: 0,
    timeWaitReused: 0,
    timeWaitEvicted: 0,
    icmpErrors: 0,
    outOfOrder: 0,
    duplicateData: 0,
    dropMalformed: 0,
    dropChecksum: 0,
    dropAddress: 0,
    dropFragment: 0,
    dropWindow: 0,
    dropPaws: 0,
    dropAck: 0,
    dropNoAck: 0,
    dropState: 0,
    dropSynLimit: 0,
    dropMemory: 0,
    dropPieces: 0,
    dropReset: 0,
    dropIcmp: 0,
    dropReplies: 0,
  };
}

/** What went wrong on a connection, under the names of `TcpInfo`: few have anything to count. */
export class LossCounts {
  retransmits = 0;
  bytesRetransmitted = 0;
  timeouts = 0;
  fastRecoveries = 0;
  tailLossProbes = 0;
  spuriousRecoveries = 0;
  dsacks = 0;
  duplicateAcks = 0;
}

export const NO_LOSSES: Readonly<LossCounts> = Object.freeze(new LossCounts());
