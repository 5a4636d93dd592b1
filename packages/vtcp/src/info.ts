/** A snapshot of a connection in the terms of the kernel's `tcp_info`. */

import type { Connection } from './connection.ts';
import { pacingRate } from './pacing.ts';
import { seqDiff } from './seq.ts';
import { PHASE_NAMES } from './state.ts';
import type { TcpInfo } from './types.ts';

export function connectionInfo(c: Connection): TcpInfo {
  return {
    state: c.state,
    congestionControl: c.cc.name,
    recovery: PHASE_NAMES[c.phase],
    timestamps: c.tsOn,
    sack: c.sackOn,
    sendScale: c.scaleOn ? c.sndScale : -1,
    receiveScale: c.scaleOn ? c.rcvScale : -1,
    ecn: c.ecnOn,
    ecnSeen: c.ecnSeen,
    mss: c.mss,
    peerMss: c.peerMss,
    pathMtu: c.pathMtu,
    cwnd: c.cc.cwnd,
    ssthresh: c.cc.ssthresh,
    inFlight: c.inFlight,
    sacked: c.board.sackedBytes,
    lost: c.board.lostBytes,
    retransmitting: c.board.retransmittedBytes,
    srtt: c.rtt.srtt,
    rttvar: c.rtt.rttvar,
    minRtt: c.rtt.minRtt,
    rto: c.rtt.rto,
    backoff: c.rtt.backoff,
    reordering: c.dupThresh,
    reorderSeen: c.reordering,
    sendWindow: c.sndWnd,
    receiveWindow: Math.max(0, seqDiff(c.rcvAdv, c.rcvNxt)),
    receiveBuffer: c.rcvBuf,
    sendQueue: c.send.length,
    unsent: Math.max(0, seqDiff(c.send.end, c.nxt)),
    receiveQueue: c.receive.readable,
    outOfOrder: c.receive.outOfOrder,
    pacingRate: c.config.pacing ? pacingRate(c) : 0,
    bytesSent: c.bytesSent,
    bytesAcked: c.bytesAcked,
    bytesReceived: c.bytesReceived,
    segmentsOut: c.segmentsOut,
    segmentsIn: c.segmentsIn,
    dataSegmentsOut: c.dataSegmentsOut,
    dataSegmentsIn: c.dataSegmentsIn,
    ...c.lossesSoFar,
  };
}
