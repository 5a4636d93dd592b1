/** The local socket by which the stock `wg` talks to a device of ours. */

import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { PktkitError } from '@pktkit/core';
import type { WireGuard } from '../device.ts';
import { answerUapi, MAX_REQUEST, type UapiPort } from '../uapi.ts';

/** Where `wg` looks for sockets. */
const FOLDER = '/var/run/wireguard';
/** Clients at a time; `wg` makes one connection for each command. */
const MAX_CLIENTS = 16;

export interface UapiServerOptions {
  /** The interface's name for `wg`: up to 15 letters, digits and `_=+.-`. */
  name?: string | undefined;
  /** The socket's path, in place of `/var/run/wireguard/NAME.sock`. */
  path?: string | undefined;
}

export class UapiServer {
  readonly path: string;
  /** Settles when the socket is closed. */
  readonly closed: Promise<void>;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.path = path;
    this.closed = new Promise((resolve) => server.once('close', resolve));
  }

  /** Rejects when another program serves this path. What a program that has died left there is replaced. */
  static async open(
    device: WireGuard,
    port: UapiPort,
    options: UapiServerOptions,
  ): Promise<UapiServer> {
    const path = options.path ?? defaultPath(options.name);
    if (await isServed(path)) {
      throw new PktkitError('EADDRINUSE', `another program serves ${path}`);
    }
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    rmSync(path, { force: true });
    const server = createServer();
    const uapi = new UapiServer(server, path);
    server.maxConnections = MAX_CLIENTS;
    server.on('connection', (socket) => uapi.#serve(device, port, socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    // Whoever may connect may read the private key.
    chmodSync(path, 0o600);
    server.on('error', () => uapi.close());
    return uapi;
  }

  /** The socket's file goes with it. Idempotent. */
  close(): void {
    for (const client of this.#clients) client.destroy();
    this.#server.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #serve(device: WireGuard, port: UapiPort, socket: Socket): void {
    this.#clients.add(socket);
    socket.setEncoding('utf8');
    let text = '';
    let last: Promise<void> = Promise.resolve();
    socket.on('data', (chunk: string) => {
      // A request ends with an empty line; what was looked through before has none.
      const from = Math.max(0, text.length - 1);
      text += chunk;
      for (let end = text.indexOf('\n\n', from); end >= 0; end = text.indexOf('\n\n')) {
        const request = text.slice(0, end);
        text = text.slice(end + 2);
        // One after the other: a change of the port takes a while.
        last = last.then(async () => {
          const answer = await answerUapi(device, port, request);
          if (!socket.destroyed) socket.write(answer);
        });
      }
      if (text.length > MAX_REQUEST) socket.destroy();
    });
    socket.on('end', () => {
      void last.then(() => socket.end());
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#clients.delete(socket));
  }
}

function defaultPath(name: string | undefined): string {
  if (name === undefined || !/^[A-Za-z0-9_=+.-]{1,15}$/.test(name)) {
    throw new PktkitError(
      'WG_INVALID_CONFIG',
      `name: expected an interface name of 1 to 15 letters, digits and _=+.-, got ${JSON.stringify(name)}`,
    );
  }
  return `${FOLDER}/${name}.sock`;
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
