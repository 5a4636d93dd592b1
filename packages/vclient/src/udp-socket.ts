/** A UDP socket of a virtual host: bound or connected, with a bounded queue for who does not take messages by callback. */

import type { Clock, IpAddr } from '@pktkit/core';
import { abortReason, socketError } from './errors.ts';
import type { Binding } from './ports.ts';

export interface UdpSender {
  readonly address: IpAddr;
  readonly port: number;
}

export interface UdpMessage extends UdpSender {
  /** The receiver's own copy. */
  readonly data: Uint8Array;
}

export interface UdpSocketStats {
  received: number;
  sent: number;
  /** Messages dropped because nobody took the queued ones. */
  dropQueueFull: number;
}

export interface UdpSocketOptions {
  /** Takes each message at once; without it messages wait for `receive`. */
  onMessage?: ((message: UdpMessage) => void) | undefined;
  /** Of a connected socket: its peer has answered "port unreachable" (`ECONNREFUSED`) or cannot be reached. */
  onError?: ((error: Error) => void) | undefined;
  /** Bytes that wait for `receive`; 256 KiB unless told. Beyond, messages are dropped and counted. */
  queueBytes?: number | undefined;
  /** Messages that wait for `receive`; 1,024 unless told. */
  queueMessages?: number | undefined;
}

/** What a socket asks of its host. */
export interface UdpHost {
  readonly clock: Clock;
  /** Gives a system error's code when the datagram cannot leave, else null. */
  sendUdp(socket: VUdpSocket, data: Uint8Array, address: IpAddr, port: number): string | null;
  closeUdp(socket: VUdpSocket): void;
}

interface Taker {
  resolve(message: UdpMessage): void;
  reject(error: Error): void;
}

export class VUdpSocket implements Binding {
  readonly localAddress: IpAddr | null;
  readonly localPort: number;
  readonly remoteAddress: IpAddr | null;
  readonly remotePort: number;
  readonly stats: UdpSocketStats = { received: 0, sent: 0, dropQueueFull: 0 };
  readonly #host: UdpHost;
  readonly #options: UdpSocketOptions;
  readonly #maxBytes: number;
  readonly #maxMessages: number;
  #queue: UdpMessage[] = [];
  #queuedBytes = 0;
  readonly #takers: Taker[] = [];
  #pendingError: Error | null = null;
  #closed = false;

  constructor(host: UdpHost, binding: Binding, options: UdpSocketOptions) {
    this.#host = host;
    this.localAddress = binding.localAddress;
    this.localPort = binding.localPort;
    this.remoteAddress = binding.remoteAddress;
    this.remotePort = binding.remotePort;
    this.#options = options;
    this.#maxBytes = options.queueBytes ?? 256 << 10;
    this.#maxMessages = options.queueMessages ?? 1024;
    host.clock.hold();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Bytes that wait for `receive`. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /**
   * Sends one datagram, in fragments when it is larger than the MTU. A connected socket needs no address. Throws
   * `EMSGSIZE` above what UDP can carry, `ENETUNREACH` without an address of that family, `ECONNREFUSED` when the peer
   * has refused an earlier one.
   */
  send(data: Uint8Array, address?: IpAddr, port?: number): void {
    if (this.#closed) throw socketError('EBADF', 'send');
    this.#throwPending('send');
    const to = address ?? this.remoteAddress;
    const toPort = port ?? this.remotePort;
    if (to === null || toPort === 0) {
      throw socketError('EDESTADDRREQ', 'send', address, port);
    }
    const code = this.#host.sendUdp(this, data, to, toPort);
    if (code !== null) throw socketError(code, 'send', to, toPort);
    this.stats.sent++;
  }

  /** The next message. Rejects with the socket's error, or when it is closed or `signal` fires. */
  receive(options: { signal?: AbortSignal | undefined } = {}): Promise<UdpMessage> {
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(abortReason(signal));
    const message = this.#queue.shift();
    if (message !== undefined) {
      this.#queuedBytes -= message.data.length;
      return Promise.resolve(message);
    }
    if (this.#closed) return Promise.reject(socketError('EBADF', 'recv'));
    const pending = this.#pendingError;
    if (pending !== null) {
      this.#pendingError = null;
      return Promise.reject(pending);
    }
    return new Promise((resolve, reject) => {
      const settle = () => signal?.removeEventListener('abort', onAbort);
      const taker: Taker = {
        resolve: (received) => {
          settle();
          resolve(received);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      const onAbort = () => {
        const at = this.#takers.indexOf(taker);
        if (at >= 0) this.#takers.splice(at, 1);
        reject(abortReason(signal as AbortSignal));
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#takers.push(taker);
    });
  }

  async *[Symbol.asyncIterator](): AsyncIterator<UdpMessage> {
    while (!this.#closed) {
      try {
        yield await this.receive();
      } catch (error) {
        if (this.#closed) return;
        throw error;
      }
    }
  }

  /** Frees the port at once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#host.closeUdp(this);
    this.#host.clock.release();
    for (const taker of this.#takers.splice(0)) taker.reject(socketError('EBADF', 'recv'));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Called by the host with borrowed bytes. */
  deliver(buf: Uint8Array, off: number, len: number, address: IpAddr, port: number): void {
    const { onMessage } = this.#options;
    const taker = this.#takers.length > 0 ? this.#takers.shift() : undefined;
    if (
      onMessage === undefined &&
      taker === undefined &&
      (this.#queue.length >= this.#maxMessages || this.#queuedBytes + len > this.#maxBytes)
    ) {
      this.stats.dropQueueFull++;
      return;
    }
    this.stats.received++;
    const message: UdpMessage = { data: buf.slice(off, off + len), address, port };
    if (onMessage !== undefined) {
      onMessage(message);
    } else if (taker !== undefined) {
      taker.resolve(message);
    } else {
      this.#queue.push(message);
      this.#queuedBytes += len;
    }
  }

  /** Called by the host when an ICMP error tells of a datagram of this (connected) socket. */
  fail(code: string): void {
    const error = socketError(code, 'recv', this.remoteAddress ?? undefined, this.remotePort);
    const { onError } = this.#options;
    if (onError !== undefined) {
      onError(error);
      return;
    }
    const taker = this.#takers.shift();
    if (taker !== undefined) taker.reject(error);
    else this.#pendingError = error;
  }

  #throwPending(syscall: string): void {
    const error = this.#pendingError;
    if (error === null) return;
    this.#pendingError = null;
    (error as Error & { syscall: string }).syscall = syscall;
    throw error;
  }
}
