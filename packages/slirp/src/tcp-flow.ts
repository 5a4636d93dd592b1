/**
 * One TCP flow: a virtual connection to the guest and a socket of the host, joined so that neither side can be told from
 * the other. Bytes are held in exactly one place at a time: what the host's socket has not taken stays in the guest's
 * receive window, what the guest has not acknowledged in the connection's send buffer; so back-pressure needs no queue.
 *
 *     guest ── SYN ──▶ SynRequest ── dial ──▶ host socket        SYN-ACK only after the dial
 *     guest ── data ─▶ peek ─▶ write, consume when taken         FIN ─▶ shutdown, RST ─▶ reset
 *     guest ◀─ write ── onData, paused when it does not fit      FIN, RST likewise
 */

import type { IpAddr, Packet } from '@pktkit/core';
import type { SynRequest, TcpConnection, TcpError } from '@pktkit/vtcp';
import type { HostErrorCode, HostStream, HostStreamEvents } from './sockets.ts';

/** What a flow tells its owner. */
export interface FlowOwner {
  /** Events of host sockets run in a batch, so that what they cause leaves at once. */
  beginBatch(): void;
  endBatch(): void;
  /** The dial succeeded and the guest is being answered. */
  opened(flow: TcpFlow): void;
  /** The dial failed: the owner gives the flow another socket (true) or answers the guest. */
  failed(flow: TcpFlow, error: HostErrorCode): boolean;
  /** Both sides are gone. Called once for each flow. */
  ended(flow: TcpFlow): void;
  countUp(bytes: number): void;
  countDown(bytes: number): void;
}

/** Where a flow may be dialled. */
export interface Target {
  readonly address: IpAddr;
  readonly port: number;
}

export class TcpFlow implements HostStreamEvents {
  /** When the dial is given up; for the owner's queue. */
  deadline: number = Number.POSITIVE_INFINITY;
  /** The guest's SYN while it waits for the dial; null for flows that came from outside. */
  readonly request: SynRequest | null;
  /** That SYN as it came, for an ICMP error to quote; null once it is answered. */
  syn: Packet | null = null;
  /** What is dialled next when this dial fails. */
  alternatives: readonly Target[] = [];
  readonly #owner: FlowOwner;
  #stream: HostStream | null = null;
  #connection: TcpConnection | null = null;
  #streamGone = false;
  #connectionGone = false;
  #ended = false;
  /** Bytes at the front of the receive buffer that the host's socket still reads from. */
  #lent = 0;
  #guestEnded = false;
  #hostEnded = false;
  /** What the connection's send buffer did not take of one read; reading stands still meanwhile. */
  #held: Uint8Array | null = null;

  constructor(owner: FlowOwner, request: SynRequest | null) {
    this.#owner = owner;
    this.request = request;
    if (request !== null) request.onCancel = () => this.#onCancel();
  }

  /** Gives the flow its socket; set before any event of it. */
  setStream(stream: HostStream): void {
    this.#stream = stream;
  }

  /** Gives the flow its connection to the guest; reading from the host starts once it is established. */
  setConnection(connection: TcpConnection): void {
    this.#connection = connection;
    connection.onConnected = () => this.#stream?.resume();
    connection.onReadable = () => this.#pump();
    connection.onWritable = () => this.#flushHeld();
    connection.onEnd = () => this.#onGuestEnd();
    connection.onClosed = (error) => this.#onGuestClosed(error);
  }

  /** Resets both sides: the namespace goes, or the owner has given up. */
  abort(): void {
    if (this.#ended) return;
    if (this.request?.pending) this.request.reject();
    this.#connection?.abort();
    this.#dropStream(true);
    this.#end();
  }

  // --- the host's socket ---

  onConnected(): void {
    this.#owner.beginBatch();
    const connection = this.request?.accept() ?? null;
    if (connection === null) {
      // The guest has given up meanwhile.
      this.#dropStream(true);
      this.#end();
    } else {
      this.setConnection(connection);
      this.#owner.opened(this);
    }
    this.#owner.endBatch();
  }

  onData(buf: Uint8Array, off: number, len: number): boolean {
    const connection = this.#connection;
    if (connection === null || this.#connectionGone) return false;
    this.#owner.beginBatch();
    this.#owner.countDown(len);
    const taken = connection.write(buf, off, len);
    if (taken < len) this.#held = buf.slice(off + taken, off + len);
    this.#owner.endBatch();
    return taken === len;
  }

  onEnd(): void {
    this.#hostEnded = true;
    if (this.#held !== null) return;
    this.#owner.beginBatch();
    this.#connection?.shutdown();
    this.#owner.endBatch();
  }

  onDrain(): void {
    this.#owner.beginBatch();
    const lent = this.#lent;
    this.#lent = 0;
    if (lent > 0 && !this.#connectionGone) this.#connection?.consume(lent);
    this.#pump();
    this.#owner.endBatch();
  }

  onClosed(error: HostErrorCode | null): void {
    this.#streamGone = true;
    this.#stream = null;
    this.#owner.beginBatch();
    const connection = this.#connection;
    if (connection === null) {
      if (this.#owner.failed(this, error ?? 'ECONNABORTED')) this.#streamGone = false;
      else this.#connectionGone = true;
    } else if (error !== null || !this.#hostEnded || !this.#guestEnded) {
      // Not in order: what is still on its way to the guest is void, as with a kernel's RST.
      if (!this.#connectionGone) connection.abort();
    }
    this.#endWhenGone();
    this.#owner.endBatch();
  }

  // --- the guest's connection ---

  #onCancel(): void {
    if (this.#connection !== null || this.#ended) return;
    this.#dropStream(true);
    this.#end();
  }

  /** Lends the host's socket what the guest has sent; the window opens when the kernel has taken it. */
  #pump(): void {
    const connection = this.#connection;
    const stream = this.#stream;
    if (connection === null || stream === null || this.#connectionGone) return;
    while (this.#lent === 0) {
      const bytes = connection.peek();
      if (bytes.length === 0) return;
      this.#owner.countUp(bytes.length);
      if (!stream.write(bytes)) {
        this.#lent = bytes.length;
        return;
      }
      connection.consume(bytes.length);
    }
  }

  #flushHeld(): void {
    const connection = this.#connection;
    const held = this.#held;
    if (connection === null || held === null) return;
    const taken = connection.write(held);
    if (taken < held.length) {
      this.#held = taken === 0 ? held : held.slice(taken);
      return;
    }
    this.#held = null;
    if (this.#hostEnded) connection.shutdown();
    else this.#stream?.resume();
  }

  #onGuestEnd(): void {
    this.#guestEnded = true;
    this.#stream?.shutdown();
  }

  #onGuestClosed(error: TcpError | null): void {
    this.#connectionGone = true;
    this.#held = null;
    // In order on both sides: the socket closes by itself once its FIN is out.
    if (error !== null) this.#dropStream(true);
    this.#endWhenGone();
  }

  #dropStream(reset: boolean): void {
    const stream = this.#stream;
    this.#stream = null;
    this.#streamGone = true;
    if (reset) stream?.reset();
    else stream?.close();
  }

  #endWhenGone(): void {
    if (this.#streamGone && this.#connectionGone) this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#owner.ended(this);
  }
}
