/**
 * One pair of keys, from our initiation or their accepted one until it is dropped. The index that names it to the peer
 * stays the same all along.
 *
 *     pending ──response──▶ current ──newer session──▶ previous ──▶ dropped
 *                              ▲
 *     (their initiation)  next ┘ by the first message that the initiator sends with it
 */

import type { CounterAead } from '@pktkit/crypto';
import { REJECT_COUNTER_HIGH, REJECT_COUNTER_LOW } from './constants.ts';
import type { InitiatorHandshake } from './noise.ts';
import type { Peer } from './peer.ts';
import { ReplayWindow } from './replay.ts';

export class Session {
  readonly peer: Peer;
  /** The index by which the peer names this session. */
  localIndex: number = 0;
  /** The index by which the peer knows it; 0 until the handshake is through. */
  remoteIndex: number = 0;
  readonly isInitiator: boolean;
  /** When the keys were derived, in the clock's milliseconds. */
  createdAt: number = 0;
  /** Counter of the next message out, in two halves. */
  sendLow: number = 0;
  sendHigh: number = 0;
  sealer: CounterAead | null = null;
  opener: CounterAead | null = null;
  readonly replay: ReplayWindow = new ReplayWindow();
  /** Present while we wait for the response. */
  handshake: InitiatorHandshake | null = null;

  constructor(peer: Peer, isInitiator: boolean) {
    this.peer = peer;
    this.isInitiator = isInitiator;
  }

  /** Messages sealed with this session. */
  get sent(): number {
    return this.sendHigh * 0x100000000 + this.sendLow;
  }

  /** The counter has reached Reject-After-Messages. */
  get isSpent(): boolean {
    return this.sendHigh === REJECT_COUNTER_HIGH && this.sendLow >= REJECT_COUNTER_LOW;
  }

  wipe(): void {
    this.sealer?.wipe();
    this.opener?.wipe();
    this.sealer = null;
    this.opener = null;
    this.handshake?.state.wipe();
    this.handshake?.ephemeral.wipe();
    this.handshake = null;
  }
}
