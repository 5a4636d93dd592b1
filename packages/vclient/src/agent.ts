/** Node's HTTP agents with sockets of a virtual host: they serve `http`, `https`, axios, got and node-fetch. */

import { type AgentOptions, Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent, type AgentOptions as HttpsAgentOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import type { VSocket } from './vsocket.ts';

/** Opens a socket; the client's `connect`. */
export type Connect = (options: { host: string; port: number }) => VSocket;

interface Target {
  host?: string | null | undefined;
  port?: number | string | null | undefined;
}

export class VHttpAgent extends HttpAgent {
  readonly #connect: Connect;

  constructor(connect: Connect, options: AgentOptions = {}) {
    super(options);
    this.#connect = connect;
  }

  override createConnection(options: Target): Duplex {
    return this.#connect({ host: options.host ?? 'localhost', port: Number(options.port ?? 80) });
  }
}

export class VHttpsAgent extends HttpsAgent {
  readonly #connect: Connect;

  constructor(connect: Connect, options: HttpsAgentOptions = {}) {
    super(options);
    this.#connect = connect;
  }

  override createConnection(options: Target & ConnectionOptions): Duplex {
    const socket = this.#connect({
      host: options.host ?? 'localhost',
      port: Number(options.port ?? 443),
    });
    return tlsConnect({ ...options, socket });
  }
}
