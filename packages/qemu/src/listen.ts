/** The listening side: a device for each guest that connects. */

import { lstatSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { type L2Acceptor, PktkitError } from '@pktkit/core';
import { netOptions, type StreamAddress } from './address.ts';
import { QemuDevice, type QemuDeviceOptions } from './device.ts';

/** Those of each device, but for the address, which is always a random one. */
export interface ListenOptions extends Omit<QemuDeviceOptions, 'mac'> {
  /** Guests connected at the same time; further ones are turned away. 256 unless told. */
  maxGuests?: number | undefined;
}

export interface QemuListenerStats {
  accepted: number;
  /** Turned away because `maxGuests` were connected. */
  refused: number;
  /** Times that the system could not accept (no descriptors, no memory); listening goes on. */
  acceptErrors: number;
}

/**
 * Accepts guests. Iterating gives a device for each; devices live on when the listener closes, but those that nobody has
 * taken are closed with it.
 */
export class QemuListener implements L2Acceptor {
  readonly stats: QemuListenerStats = { accepted: 0, refused: 0, acceptErrors: 0 };
  readonly #server: Server;
  readonly #options: ListenOptions;
  readonly #maxGuests: number;
  readonly #guests = new Set<QemuDevice>();
  readonly #waiting: QemuDevice[] = [];
  readonly #takers: ((result: IteratorResult<QemuDevice>) => void)[] = [];
  readonly #closed: Promise<void>;
  #isClosed = false;

  /** For this package: `listen` makes listeners. */
  constructor(server: Server, options: ListenOptions) {
    const { maxGuests = 256 } = options;
    if (!Number.isInteger(maxGuests) || maxGuests < 1) {
      throw new RangeError(`maxGuests must be a positive integer, got ${maxGuests}`);
    }
    this.#server = server;
    this.#options = options;
    this.#maxGuests = maxGuests;
    // Checks the options before anything is opened.
    new QemuDevice(options).close();
    server.on('connection', (socket) => this.#accept(socket));
    this.#closed = new Promise((resolve) => {
      server.once('close', () => resolve());
    });
  }

  /** The path, or the address and port that the system chose. */
  get address(): StreamAddress {
    const address = this.#server.address();
    if (address === null) throw new PktkitError('PKT_CLOSED', 'the listener is closed');
    if (typeof address === 'string') return { path: address };
    return { port: address.port, host: address.address };
  }

  /** Guests that are connected. */
  get guests(): ReadonlySet<QemuDevice> {
    return this.#guests;
  }

  /** Stops listening, closes the devices that nobody has taken and ends all iterations. */
  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#server.close();
      for (const device of this.#waiting.splice(0)) device.close();
      for (const take of this.#takers.splice(0)) take({ done: true, value: undefined });
    }
    // The server's own 'close' waits for its connections; the port itself is free at once.
    if (this.#guests.size === 0) await this.#closed;
  }

  [Symbol.asyncIterator](): AsyncIterator<QemuDevice> {
    return {
      next: () => {
        const device = this.#waiting.shift();
        if (device !== undefined) return Promise.resolve({ done: false, value: device });
        if (this.#isClosed) return Promise.resolve({ done: true, value: undefined });
        return new Promise((resolve) => this.#takers.push(resolve));
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accept(socket: Socket): void {
    if (this.#guests.size >= this.#maxGuests || this.#isClosed) {
      this.stats.refused++;
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    this.stats.accepted++;
    socket.setNoDelay(true);
    const device = new QemuDevice(this.#options);
    this.#guests.add(device);
    void device.closed.then(() => {
      this.#guests.delete(device);
      const index = this.#waiting.indexOf(device);
      if (index >= 0) this.#waiting.splice(index, 1);
    });
    device.connect(socket);
    const take = this.#takers.shift();
    if (take !== undefined) take({ done: false, value: device });
    else this.#waiting.push(device);
  }
}

/**
 * Listens for guests: `qemu-system-… -netdev stream,id=n0,server=off,addr.type=unix,addr.path=PATH` or
 * `-netdev socket,id=n0,connect=HOST:PORT`. Rejects with the system's error (`EADDRINUSE`, `EACCES`).
 */
export async function listen(
  address: StreamAddress,
  options: ListenOptions = {},
): Promise<QemuListener> {
  const where = netOptions(address);
  if ('path' in where) await removeStaleSocket(where.path);
  const server = createServer({ pauseOnConnect: true });
  const listener = new QemuListener(server, options);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.removeListener('error', reject);
      // A guest that could not be accepted (EMFILE, say) must not end the service for the others.
      server.on('error', () => {
        listener.stats.acceptErrors++;
      });
      resolve();
    });
  });
  return listener;
}

/**
 * A process that was killed leaves its socket file behind, and listening there fails. Removed is only what is a socket
 * and refuses connections, so that nothing listens there.
 */
async function removeStaleSocket(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw new PktkitError(
      'PKT_INVALID_CONFIG',
      `${path} exists and is not a socket: remove it or choose another path`,
    );
  }
  const code = await new Promise<string>((resolve) => {
    const probe = createConnection({ path }, () => {
      probe.destroy();
      resolve('EADDRINUSE');
    });
    probe.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
  });
  if (code === 'ECONNREFUSED') rmSync(path, { force: true });
}
