/** A port that waits for connections. What a SYN does to it is decided by the stack. */

import type { IpAddr } from '@pktkit/core';
import type { TcpConfig } from './config.ts';
import type { Connection } from './connection.ts';
import type { ListenOptions, TcpConnection, TcpListener } from './types.ts';

export class Listener implements TcpListener {
  readonly address: IpAddr | null;
  readonly port: number;
  readonly config: TcpConfig;
  readonly backlog: number;
  readonly onConnection: (connection: TcpConnection) => void;
  paused = false;
  readonly pending: Set<Connection> = new Set<Connection>();
  readonly #detach: (listener: Listener) => void;
  readonly #count: (change: number) => void;

  constructor(
    options: ListenOptions,
    config: TcpConfig,
    detach: (listener: Listener) => void,
    count: (change: number) => void,
  ) {
    this.address = options.address ?? null;
    this.port = options.port;
    this.backlog = options.backlog ?? 128;
    this.config = config;
    this.onConnection = options.onConnection;
    this.#detach = detach;
    this.#count = count;
  }

  get halfOpen(): number {
    return this.pending.size;
  }

  enter(connection: Connection): void {
    connection.listener = this;
    this.pending.add(connection);
    this.#count(1);
  }

  /** The handshake has completed, or failed. */
  leave(connection: Connection): void {
    connection.listener = null;
    if (this.pending.delete(connection)) this.#count(-1);
  }

  close(): void {
    this.#detach(this);
    for (const connection of [...this.pending]) connection.abort();
  }
}
