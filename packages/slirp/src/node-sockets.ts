/** The host's sockets through `node:net` and `node:dgram`: portable, one event per read. */

import { createSocket, type Socket as DgramSocket } from 'node:dgram';
import { getServers } from 'node:dns';
import { createServer, Socket, type SocketConstructorOpts } from 'node:net';
import { networkInterfaces, platform } from 'node:os';
import { IpAddr, type IpFamily } from '@pktkit/core';
import type {
  DatagramOptions,
  DialOptions,
  HostDatagramEvents,
  HostDatagrams,
  HostListener,
  HostStream,
  HostStreamEvents,
  SocketProvider,
} from './sockets.ts';

export interface NodeSocketsOptions {
  /** Bytes that Node may queue on one UDP socket before datagrams are dropped; 1 MiB unless told. */
  udpQueue?: number | undefined;
  /** Size of the kernel's receive buffer of UDP sockets; the system's default unless told. */
  udpReceiveBuffer?: number | undefined;
}

/** Node's own sockets as a provider. */
export function nodeSockets(options: NodeSocketsOptions = {}): SocketProvider {
  const udpQueue = options.udpQueue ?? 1 << 20;
  return {
    dial: (address, port, events, dialOptions) => dial(address, port, events, dialOptions),
    listen,
    datagrams: (family, events, datagramOptions) =>
      new NodeDatagrams(family, events, datagramOptions, udpQueue, options.udpReceiveBuffer),
    resolvers: () => getServers().map(readServer),
    hostAddresses,
  };
}

const READ_SIZE = 65536;
/**
 * One buffer for all sockets: it is filled and handed over within one wake-up. On Windows a read is started long before
 * it completes, so there each socket owns one.
 */
const sharedReads = platform() === 'win32' ? null : new Uint8Array(READ_SIZE);

function dial(
  address: IpAddr,
  port: number,
  events: HostStreamEvents,
  options: DialOptions,
): HostStream {
  const buffer = sharedReads ?? new Uint8Array(READ_SIZE);
  let stream: NodeStream | null = null;
  // `onread` is an option of the constructor too, which the types do not know.
  const socket = new Socket({
    allowHalfOpen: true,
    onread: {
      buffer,
      callback: (length: number) => stream!.deliver(buffer, 0, length),
    },
  } as SocketConstructorOpts);
  stream = new NodeStream(socket, events);
  socket.on('connect', () => events.onConnected());
  // Without this Node would start to read by itself as soon as it is connected.
  socket.pause();
  socket.setNoDelay(true);
  socket.connect({
    host: address.toString(),
    port,
    family: address.family,
    ...(options.from === undefined ? {} : { localAddress: options.from.toString() }),
  });
  return stream;
}

class NodeStream implements HostStream {
  readonly #socket: Socket;
  readonly #events: HostStreamEvents;
  #error: string | null = null;
  #done = false;
  #draining = false;
  readonly #onWritten = (error?: Error | null): void => {
    // The callback of an earlier write may come after a later one was queued: only an empty queue is a drained one.
    if (error || this.#done || !this.#draining || this.#socket.writableLength > 0) return;
    this.#draining = false;
    this.#events.onDrain();
  };

  constructor(socket: Socket, events: HostStreamEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.on('end', () => {
      if (!this.#done) events.onEnd();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#error = error.code ?? 'EIO';
    });
    socket.on('close', () => {
      if (this.#done) return;
      this.#done = true;
      events.onClosed(this.#error);
    });
  }

  /** Bytes that Node has read. False stops reading. */
  deliver(buf: Uint8Array, off: number, len: number): boolean {
    return this.#done ? false : this.#events.onData(buf, off, len);
  }

  write(bytes: Uint8Array): boolean {
    const socket = this.#socket;
    socket.write(bytes, this.#onWritten);
    // Node tries the system call first: an empty queue means that the kernel has copied everything.
    if (socket.writableLength === 0) return true;
    this.#draining = true;
    return false;
  }

  shutdown(): void {
    this.#socket.end();
  }

  resume(): void {
    this.#socket.resume();
  }

  reset(): void {
    this.#done = true;
    const socket = this.#socket;
    // Before the connection is there, Node would wait for it in order to reset it. While a shutdown is under way the reset
    // fails with EINVAL and leaves a handle that never closes: the process would then spin at its end.
    const shuttingDown = socket.writableEnded && !socket.writableFinished;
    if (socket.connecting || shuttingDown) socket.destroy();
    else socket.resetAndDestroy();
  }

  close(): void {
    this.#done = true;
    this.#socket.destroy();
  }
}

function listen(
  address: string,
  port: number,
  accept: (stream: HostStream, remote: string, remotePort: number) => HostStreamEvents | null,
): Promise<HostListener> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    // Events come later, so the stream may be handed out before its events are known.
    let events: HostStreamEvents | null = null;
    const stream = new NodeStream(socket, {
      onConnected: () => {},
      onData: (buf, off, len) => events?.onData(buf, off, len) ?? false,
      onEnd: () => events?.onEnd(),
      onDrain: () => events?.onDrain(),
      onClosed: (error) => events?.onClosed(error),
    });
    socket.on('data', (chunk: Buffer) => {
      if (
        !stream.deliver(
          new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length),
          0,
          chunk.length,
        )
      ) {
        socket.pause();
      }
    });
    // Listening for data has started the flow.
    socket.pause();
    events = accept(stream, socket.remoteAddress ?? '', socket.remotePort ?? 0);
    if (events === null) stream.reset();
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address, port, exclusive: true }, () => {
      server.removeListener('error', reject);
      // Out of descriptors: the connection is lost, the listener is not.
      server.on('error', () => {});
      const bound = server.address() as { address: string; port: number };
      resolve({
        address: bound.address,
        port: bound.port,
        close: () => {
          server.close();
          for (const socket of sockets) socket.destroy();
        },
      });
    });
  });
}

class NodeDatagrams implements HostDatagrams {
  readonly #socket: DgramSocket;
  readonly #connected: boolean;
  readonly #queueLimit: number;
  readonly #onSent: (error: Error | null) => void;
  #bound = false;
  #closed = false;
  /** What was sent to a connected socket before its connect was through. */
  #early: Uint8Array[] = [];

  constructor(
    family: IpFamily,
    events: HostDatagramEvents,
    options: DatagramOptions,
    queueLimit: number,
    receiveBuffer: number | undefined,
  ) {
    const { connect } = options;
    this.#connected = connect !== undefined;
    this.#queueLimit = queueLimit;
    this.#onSent = (error) => {
      if (error === null || this.#closed) return;
      const { code, address, port } = error as NodeJS.ErrnoException & {
        address?: string;
        port?: number;
      };
      events.onError(code ?? 'EIO', address ?? null, port ?? 0);
    };
    this.#socket = createSocket({
      type: family === 4 ? 'udp4' : 'udp6',
      ipv6Only: family === 6,
      // Addresses are literals here. Answering at once keeps Node from deferring every datagram by a turn.
      lookup: (host, _options, callback) => callback(null, host, family),
      ...(receiveBuffer === undefined ? {} : { recvBufferSize: receiveBuffer }),
    });
    this.#socket.on('message', (message, from) => {
      events.onMessage(
        new Uint8Array(message.buffer, message.byteOffset, message.length),
        from.address,
        from.port,
      );
    });
    this.#socket.on('error', (error: NodeJS.ErrnoException) => {
      const code = error.code ?? 'EIO';
      // A pending ICMP error is reported on the next receive; only a failure to bind ends the socket.
      if (this.#bound) {
        events.onError(code, connect?.address ?? null, connect?.port ?? 0);
        return;
      }
      this.close();
      // Binding may fail within this very constructor; events come later.
      queueMicrotask(() => events.onClosed(code));
    });
    this.#socket.on('listening', () => {
      this.#bound = true;
      if (connect !== undefined) {
        // Node gives the callback an error that its types do not mention: no route, say.
        const onConnect = (error?: NodeJS.ErrnoException | null) => {
          if (this.#closed) return;
          if (error != null) {
            this.close();
            events.onClosed(error.code ?? 'EIO');
            return;
          }
          for (const bytes of this.#early) this.#socket.send(bytes, this.#onSent);
          this.#early = [];
        };
        this.#socket.connect(connect.port, connect.address, onConnect);
      }
    });
    this.#socket.bind({ port: options.port ?? 0, address: options.address, exclusive: true });
  }

  get localPort(): number {
    return this.#bound && !this.#closed ? this.#socket.address().port : 0;
  }

  send(bytes: Uint8Array, address: string, port: number): boolean {
    if (this.#closed) return false;
    const socket = this.#socket;
    if (socket.getSendQueueSize() + bytes.length > this.#queueLimit) return false;
    // What the kernel does not take at once stays queued by reference.
    const copy = bytes.slice();
    if (!this.#connected) {
      socket.send(copy, 0, copy.length, port, address, this.#onSent);
    } else if (isConnected(socket)) {
      socket.send(copy, this.#onSent);
    } else {
      this.#early.push(copy);
    }
    return true;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#early = [];
    this.#socket.close();
  }
}

function isConnected(socket: DgramSocket): boolean {
  try {
    socket.remoteAddress();
    return true;
  } catch {
    return false;
  }
}

/** Reads `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`, as Node lists its name servers. */
function readServer(text: string): { address: string; port: number } {
  const match = /^\[(.+)\]:(\d+)$/.exec(text) ?? /^([0-9.]+):(\d+)$/.exec(text);
  return match === null
    ? { address: text, port: 53 }
    : { address: match[1], port: Number(match[2]) };
}

function hostAddresses(): IpAddr[] {
  const found: IpAddr[] = [];
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { address } of addresses ?? []) {
      const parsed = IpAddr.tryParse(address.replace(/%.*$/, ''));
      if (parsed !== null) found.push(parsed);
    }
  }
  return found;
}
