/** A TCP server on a virtual host: an emitter of `'connection'`, and an async iterable of sockets. */

import { EventEmitter } from 'node:events';
import { type Clock, IpAddr } from '@pktkit/core';
import type { TcpConnection, TcpListener, TcpStack } from '@pktkit/vtcp';
import { VSocket } from './vsocket.ts';

export interface VServerOptions {
  clock: Clock;
  stack: TcpStack;
  address: IpAddr | null;
  port: number;
  /** Connections that wait to be taken by the iterator; beyond, SYNs are left unanswered. */
  backlog: number;
  allowHalfOpen?: boolean | undefined;
  highWaterMark?: number | undefined;
  onSocket: (socket: VSocket) => void;
  onClose: () => void;
}

export interface VServerEvents {
  connection: [socket: VSocket];
  close: [];
}

/**
 * Sockets go to the `'connection'` listeners; without any, they wait for `accept()` or the iterator, and at most
 * `backlog` of them.
 */
export class VServer extends EventEmitter<VServerEvents> implements AsyncIterable<VSocket> {
  readonly #options: VServerOptions;
  readonly #listener: TcpListener;
  readonly #sockets = new Set<VSocket>();
  readonly #queue: VSocket[] = [];
  readonly #waiting: Array<(socket: VSocket | null) => void> = [];
  #closed = false;
  #referenced = true;

  constructor(options: VServerOptions) {
    super();
    this.#options = options;
    this.#listener = options.stack.listen({
      address: options.address,
      port: options.port,
      backlog: options.backlog,
      onConnection: (connection) => this.#onConnection(connection),
    });
    options.clock.hold();
  }

  get listening(): boolean {
    return !this.#closed;
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#sockets.size;
  }

  address(): { address: string; port: number; family: string } {
    const { address } = this.#listener;
    return {
      address: (address ?? IpAddr.ANY6).toString(),
      port: this.#listener.port,
      family: address?.family === 4 ? 'IPv4' : 'IPv6',
    };
  }

  /** The next connection; null when the server is closed. Rejects when `signal` fires first. */
  accept(options: { signal?: AbortSignal | undefined } = {}): Promise<VSocket | null> {
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    for (;;) {
      const socket = this.#queue.shift();
      if (socket === undefined) break;
      this.#regulate();
      socket.removeListener('error', ignoreError);
      if (!socket.destroyed) return Promise.resolve(socket);
    }
    if (this.#closed) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      const taker = (socket: VSocket | null) => {
        signal?.removeEventListener('abort', onAbort);
        resolve(socket);
      };
      const onAbort = () => {
        const at = this.#waiting.indexOf(taker);
        if (at >= 0) this.#waiting.splice(at, 1);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(taker);
    });
  }

  async *[Symbol.asyncIterator](): AsyncIterator<VSocket> {
    for (;;) {
      const socket = await this.accept();
      if (socket === null) return;
      yield socket;
    }
  }

  /** Keeps the process alive while the server listens (the default). */
  ref(): this {
    if (!this.#referenced && !this.#closed) this.#options.clock.hold();
    this.#referenced = true;
    return this;
  }

  unref(): this {
    if (this.#referenced && !this.#closed) this.#options.clock.release();
    this.#referenced = false;
    return this;
  }

  /** Stops listening; connections that were taken live on. Settles when all of them have closed. */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#listener.close();
      if (this.#referenced) this.#options.clock.release();
      for (const socket of this.#queue.splice(0)) socket.resetAndDestroy();
      for (const taker of this.#waiting.splice(0)) taker(null);
      this.#options.onClose();
      if (this.#sockets.size === 0) queueMicrotask(() => this.emit('close'));
    }
    if (this.#sockets.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.once('close', resolve));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #onConnection(connection: TcpConnection): void {
    const { clock, allowHalfOpen, highWaterMark } = this.#options;
    const socket = VSocket.over(connection, { clock, allowHalfOpen, highWaterMark });
    this.#options.onSocket(socket);
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      if (this.#closed && this.#sockets.size === 0) this.emit('close');
    });
    const taker = this.#waiting.shift();
    if (taker !== undefined) {
      taker(socket);
    } else if (this.listenerCount('connection') > 0) {
      this.emit('connection', socket);
    } else {
      // Nobody can listen for errors of a socket that nobody has yet; `accept` passes over those that failed.
      socket.on('error', ignoreError);
      this.#queue.push(socket);
      this.#regulate();
    }
  }

  /** A full queue leaves further SYNs unanswered: their senders try again. */
  #regulate(): void {
    this.#listener.paused = this.#queue.length >= this.#options.backlog;
  }
}

function ignoreError(): void {}
