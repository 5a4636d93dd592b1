/** What the parts of one engine share. */

import type { Clock, Random32 } from '@pktkit/core';
import type { Timings } from './constants.ts';
import type { IndexTable } from './index-table.ts';
import type { KeySlab } from './key-slab.ts';
import type { Link } from './link.ts';
import type { Noise } from './noise.ts';
import type { Sealer } from './sealer.ts';
import type { Session } from './session.ts';
import type { StagingBudget } from './staging.ts';
import type { EngineStats } from './stats.ts';
import type { Tai64n } from './tai64n.ts';

/** Bounds of one engine, over all its identities. */
export interface EngineLimits {
  /** Peers; 65,536 unless told. More are refused with `PKT_LIMIT`. */
  readonly peers: number;
  /** Packets that wait for a handshake, for each peer: 128. The oldest makes room. */
  readonly stagedPackets: number;
  /** Bytes that wait for handshakes, over all peers: 16 MiB. */
  readonly stagedBytes: number;
  /** Valid initiations of unknown peers that wait for approval: 64. */
  readonly approvals: number;
  /** Handshake messages a second above which cookies are asked for: 500. */
  readonly handshakeRate: number;
  /** How many more at once: 128. */
  readonly handshakeBurst: number;
}

export const LIMITS: EngineLimits = {
  peers: 65536,
  stagedPackets: 128,
  stagedBytes: 16 * 1024 * 1024,
  approvals: 64,
  handshakeRate: 500,
  handshakeBurst: 128,
};

export interface EngineCore {
  readonly clock: Clock;
  readonly noise: Noise;
  readonly link: Link;
  readonly random: Random32;
  readonly timings: Timings;
  readonly limits: EngineLimits;
  readonly stats: EngineStats;
  readonly sessions: IndexTable<Session>;
  readonly slab: KeySlab;
  readonly stagingBudget: StagingBudget;
  readonly tai64n: Tai64n;
  readonly sealer: Sealer;
}
