/** The engine's facts under the names and in the units of the kernel's `tcp_info`: segments and microseconds. */

import type { TcpInfo } from '@pktkit/vtcp';
import { INFO_CONSTANTS } from './socket-values.ts';

const RECOVERY = { open: 0, disorder: 1, cwr: 2, recovery: 3, loss: 4 } as const;

const STATES: Readonly<Record<string, string>> = {
  ESTABLISHED: 'TCP_ESTABLISHED',
  'SYN-SENT': 'TCP_SYN_SENT',
  'SYN-RECEIVED': 'TCP_SYN_RECV',
  'FIN-WAIT-1': 'TCP_FIN_WAIT1',
  'FIN-WAIT-2': 'TCP_FIN_WAIT2',
  'TIME-WAIT': 'TCP_TIME_WAIT',
  CLOSED: 'TCP_CLOSE',
  'CLOSE-WAIT': 'TCP_CLOSE_WAIT',
  'LAST-ACK': 'TCP_LAST_ACK',
  LISTEN: 'TCP_LISTEN',
  CLOSING: 'TCP_CLOSING',
};

export function infoOf(info: TcpInfo): Map<string, number> {
  const segments = (bytes: number) => Math.ceil(bytes / info.mss);
  const micros = (milliseconds: number) => Math.round(milliseconds * 1000);
  const options =
    (info.timestamps ? 1 : 0) |
    (info.sack ? 2 : 0) |
    (info.sendScale >= 0 ? 4 : 0) |
    (info.ecn ? 8 : 0) |
    (info.ecnSeen ? 16 : 0);
  return new Map([
    ['tcpi_state', INFO_CONSTANTS.get(STATES[info.state]) ?? 0],
    ['tcpi_ca_state', RECOVERY[info.recovery]],
    ['tcpi_retransmits', info.backoff],
    ['tcpi_backoff', info.backoff],
    ['tcpi_options', options],
    ['tcpi_snd_wscale', Math.max(0, info.sendScale)],
    ['tcpi_rcv_wscale', Math.max(0, info.receiveScale)],
    ['tcpi_rto', micros(info.rto)],
    ['tcpi_snd_mss', info.mss],
    ['tcpi_unacked', segments(info.sendQueue - info.unsent)],
    ['tcpi_sacked', segments(info.sacked)],
    ['tcpi_lost', segments(info.lost)],
    ['tcpi_retrans', segments(info.retransmitting)],
    ['tcpi_pmtu', info.pathMtu],
    ['tcpi_rtt', micros(info.srtt)],
    ['tcpi_rttvar', micros(info.rttvar)],
    ['tcpi_min_rtt', micros(info.minRtt)],
    // The kernel's "infinite" threshold.
    ['tcpi_snd_ssthresh', Math.min(0x7fffffff, Math.floor(info.ssthresh / info.mss))],
    ['tcpi_snd_cwnd', Math.floor(info.cwnd / info.mss)],
    ['tcpi_reordering', info.reordering],
    ['tcpi_reord_seen', info.reorderSeen ? 1 : 0],
    ['tcpi_total_retrans', info.retransmits],
    ['tcpi_bytes_acked', info.bytesAcked],
    ['tcpi_bytes_received', info.bytesReceived],
    ['tcpi_bytes_sent', info.bytesSent],
    ['tcpi_bytes_retrans', info.bytesRetransmitted],
    ['tcpi_segs_out', info.segmentsOut],
    ['tcpi_segs_in', info.segmentsIn],
    ['tcpi_data_segs_out', info.dataSegmentsOut],
    ['tcpi_data_segs_in', info.dataSegmentsIn],
    ['tcpi_notsent_bytes', info.unsent],
    ['tcpi_dsack_dups', info.dsacks],
    ['SK_MEMINFO_RCVBUF', info.receiveBuffer],
  ]);
}
