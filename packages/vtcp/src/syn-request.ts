/** A SYN that waits for its owner's decision: the owner of a user-mode NAT dials first and answers then. */

import type { Connection } from './connection.ts';
import { FLOW_REQUEST, Flow, type FlowKey } from './flow.ts';
import type { SynOptions } from './handshake.ts';
import { RST, type Segment } from './segment.ts';
import type { SynRequest, TcpConnection, TcpOptions } from './types.ts';

export interface RequestOwner {
  acceptRequest(request: PendingSyn, options: TcpOptions | undefined): Connection;
  rejectRequest(request: PendingSyn): void;
  removeRequest(request: PendingSyn): void;
}

export class PendingSyn extends Flow implements SynRequest {
  readonly kind: number = FLOW_REQUEST;
  readonly syn: SynOptions;
  deadline = 0.5;
  pending = true;
  older: PendingSyn | null = null;
  newer: PendingSyn | null = null;
  onCancel: () => void = () => {};
  readonly #owner: RequestOwner;

  constructor(owner: RequestOwner, key: FlowKey, syn: SynOptions) {
    super(key);
    this.#owner = owner;
    this.syn = syn;
  }

  accept(options?: TcpOptions): TcpConnection | null {
    if (!this.pending) return null;
    this.pending = false;
    return this.#owner.acceptRequest(this, options);
  }

  reject(): void {
    if (!this.pending) return;
    this.pending = false;
    this.#owner.rejectRequest(this);
  }

  drop(): void {
    if (!this.pending) return;
    this.pending = false;
    this.#owner.removeRequest(this);
  }

  /** A segment for this four-tuple while the owner decides. True when the peer has given up. */
  isCancelledBy(segment: Segment): boolean {
    // RFC 5961 §3 in this state: our next sequence number expected is the SYN's plus one; a retry begins with the SYN's own.
    if ((segment.flags & RST) === 0) return false;
    return segment.seq === ((this.syn.seq + 1) | 0) || segment.seq === this.syn.seq;
  }
}
