/**
 * A TCP connection as Node's streams know it: a `Duplex` with what `http`, `tls` and others use of `net.Socket`.
 *
 * Back-pressure is the TCP window: nothing is taken from the connection before the stream is read, and a write completes
 * when the send buffer has taken it. `end()` half-closes, `destroy()` closes (unread data is answered by RST, as the
 * kernel does), `resetAndDestroy()` sends RST.
 */

import { Duplex } from 'node:stream';
import type { Clock, IpAddr, Timer } from '@pktkit/core';
import type { TcpConnection, TcpError } from '@pktkit/vtcp';
import { socketError } from './errors.ts';

export interface VSocketOptions {
  clock: Clock;
  /** Keeps the writable side open after the peer has ended. Off unless told, as in `net`. */
  allowHalfOpen?: boolean | undefined;
  /** Bytes that the stream buffers on either side in front of TCP's own buffers; 16 KiB unless told. */
  highWaterMark?: number | undefined;
}

/** Bytes of one `'data'` chunk at most. */
const CHUNK = 65536;

export class VSocket extends Duplex {
  readonly #clock: Clock;
  #connection: TcpConnection | null = null;
  #local: Endpoint | null = null;
  #remote: Endpoint | null = null;
  #connecting = true;
  #connectedOnce = false;
  #holding = false;
  #referenced = true;
  /** The stream wants bytes. */
  #wanted = false;
  #bytesRead = 0;
  #bytesWritten = 0;
  /** A write that waits for the connection, or for room in its buffer. */
  #chunks: readonly Uint8Array[] = [];
  #chunk = 0;
  #chunkAt = 0;
  #written: ((error?: Error | null) => void) | null = null;
  #finishing: ((error?: Error | null) => void) | null = null;
  #idleTimer: Timer | null = null;
  #idleFor = 0;
  #noDelay: boolean | null = null;
  #keepAlive: { on: boolean; idle: number | undefined } | null = null;
  #cancelConnect: () => void = () => {};

  constructor(options: VSocketOptions) {
    super({
      allowHalfOpen: options.allowHalfOpen ?? false,
      ...(options.highWaterMark === undefined ? {} : { highWaterMark: options.highWaterMark }),
    });
    this.#clock = options.clock;
    this.#hold();
  }

  /** A stream over a connection that exists, such as one that slirp's or vtcp's `listen` gives. */
  static over(connection: TcpConnection, options: VSocketOptions): VSocket {
    const socket = new VSocket(options);
    socket.attach(connection);
    return socket;
  }

  // --- what the client does with a socket that is still to be connected ---

  /** Who is asked to stop connecting when the socket is destroyed before. */
  onCancelConnect(cancel: () => void): void {
    this.#cancelConnect = cancel;
  }

  /** Gives the socket its established connection. */
  attach(connection: TcpConnection): void {
    this.#connecting = false;
    this.#connectedOnce = true;
    this.#connection = connection;
    this.#local = endpoint(connection.local, connection.localPort);
    this.#remote = endpoint(connection.remote, connection.remotePort);
    connection.onReadable = () => this.#pull();
    connection.onWritable = () => this.#push();
    connection.onEnd = () => {
      this.#touch();
      this.push(null);
    };
    connection.onClosed = (error) => this.#onClosed(error);
    if (this.#noDelay !== null) connection.setNoDelay(this.#noDelay);
    if (this.#keepAlive !== null) this.setKeepAlive(this.#keepAlive.on, this.#keepAlive.idle);
  }

  /** Says that the socket is connected and starts what was written meanwhile. */
  announce(): void {
    if (this.destroyed) return;
    this.#touch();
    this.emit('connect');
    this.emit('ready');
    this.#push();
    if (this.#finishing !== null) this.#finish();
    this.#pull();
  }

  // --- net.Socket's surface ---

  get connecting(): boolean {
    return this.#connecting && !this.destroyed;
  }

  get pending(): boolean {
    return !this.#connectedOnce;
  }

  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.connecting) return 'opening';
    if (this.readable && this.writable) return 'open';
    if (this.readable) return 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  get localAddress(): string | undefined {
    return this.#local?.address;
  }

  get localPort(): number | undefined {
    return this.#local?.port;
  }

  get localFamily(): string | undefined {
    return this.#local?.family;
  }

  get remoteAddress(): string | undefined {
    return this.#remote?.address;
  }

  get remotePort(): number | undefined {
    return this.#remote?.port;
  }

  get remoteFamily(): string | undefined {
    return this.#remote?.family;
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** Bytes handed to TCP and those still waiting in the stream, as `net` counts them. */
  get bytesWritten(): number {
    return this.#bytesWritten + this.writableLength;
  }

  get timeout(): number | undefined {
    return this.#idleFor > 0 ? this.#idleFor : undefined;
  }

  /** The connection underneath, for its `info` and tuning; null while connecting. */
  get tcp(): TcpConnection | null {
    return this.#connection;
  }

  address(): { address: string; port: number; family: string } | Record<string, never> {
    return this.#local === null ? {} : { ...this.#local };
  }

  setNoDelay(on = true): this {
    this.#noDelay = on;
    this.#connection?.setNoDelay(on);
    return this;
  }

  /** `initialDelay` is the silence before the first probe, in milliseconds; 0 leaves it as it is. */
  setKeepAlive(on = false, initialDelay = 0): this {
    this.#keepAlive = { on, idle: initialDelay > 0 ? initialDelay : undefined };
    this.#connection?.setKeepAlive(on && initialDelay > 0 ? { idle: initialDelay } : on);
    return this;
  }

  /** `'timeout'` after so many milliseconds without traffic; 0 switches it off. The socket is not closed by it. */
  setTimeout(milliseconds: number, callback?: () => void): this {
    if (!(milliseconds >= 0 && milliseconds < 2 ** 31)) {
      throw new RangeError(`a timeout is 0 to 2147483647 milliseconds, got ${milliseconds}`);
    }
    this.#idleFor = milliseconds;
    if (milliseconds === 0) {
      this.#idleTimer?.cancel();
      if (callback) this.removeListener('timeout', callback);
      return this;
    }
    this.#idleTimer ??= this.#clock.timer(() => this.emit('timeout'));
    this.#touch();
    if (callback) this.once('timeout', callback);
    return this;
  }

  /** Keeps the process alive while the socket is open (the default). */
  ref(): this {
    this.#referenced = true;
    if (!this.closed && !this.destroyed) this.#hold();
    return this;
  }

  unref(): this {
    this.#referenced = false;
    this.#release();
    return this;
  }

  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  /** RST instead of FIN. */
  resetAndDestroy(): this {
    if (this.#connection === null) {
      return this.destroy(this.#connecting ? undefined : socketError('ECONNABORTED', 'reset'));
    }
    this.#connection.abort();
    return this.destroy();
  }

  // --- Duplex ---

  override _read(): void {
    this.#wanted = true;
    this.#pull();
  }

  override _write(
    chunk: Uint8Array,
    _encoding: BufferEncoding,
    callback: (error?: Error | null) => void,
  ): void {
    this.#chunks = [plain(chunk)];
    this.#startWrite(callback);
  }

  override _writev(
    chunks: Array<{ chunk: Uint8Array }>,
    callback: (error?: Error | null) => void,
  ): void {
    this.#chunks = chunks.map(({ chunk }) => plain(chunk));
    this.#startWrite(callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#finishing = callback;
    if (this.#connection !== null) this.#finish();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#idleTimer?.cancel();
    if (this.#connecting) this.#cancelConnect();
    this.#connecting = false;
    const connection = this.#connection;
    if (connection === null) {
      this.#release();
    } else {
      // What was written still goes out; the clock stays held until it has.
      connection.onReadable = () => {};
      connection.onWritable = () => {};
      connection.onEnd = () => {};
      if (isOver(connection)) this.#release();
      else connection.onClosed = () => this.#release();
      connection.close();
    }
    const written = this.#written;
    this.#written = null;
    written?.(error ?? socketError('EPIPE', 'write'));
    callback(error);
  }

  // --- between stream and connection ---

  #startWrite(callback: (error?: Error | null) => void): void {
    this.#chunk = 0;
    this.#chunkAt = 0;
    this.#written = callback;
    if (this.#connection !== null) this.#push();
  }

  /** Hands over what is being written as far as there is room. */
  #push(): void {
    const connection = this.#connection;
    const written = this.#written;
    if (connection === null || written === null) return;
    while (this.#chunk < this.#chunks.length) {
      const chunk = this.#chunks[this.#chunk];
      const left = chunk.length - this.#chunkAt;
      const taken = connection.write(chunk, this.#chunkAt, left);
      this.#bytesWritten += taken;
      if (taken > 0) this.#touch();
      if (taken < left) {
        this.#chunkAt += taken;
        return;
      }
      this.#chunk++;
      this.#chunkAt = 0;
    }
    this.#chunks = [];
    this.#written = null;
    written();
  }

  #finish(): void {
    const finishing = this.#finishing;
    this.#finishing = null;
    this.#connection?.shutdown();
    finishing?.();
  }

  /** Moves received bytes into the stream while it wants them. */
  #pull(): void {
    const connection = this.#connection;
    if (connection === null) return;
    while (this.#wanted) {
      const readable = connection.readable;
      if (readable === 0) return;
      const chunk = Buffer.allocUnsafeSlow(Math.min(readable, CHUNK));
      const length = connection.read(plain(chunk));
      this.#bytesRead += length;
      this.#touch();
      this.#wanted = this.push(length === chunk.length ? chunk : chunk.subarray(0, length));
    }
  }

  #onClosed(error: TcpError | null): void {
    this.#release();
    if (error === null || this.destroyed) return;
    const { address, port } = this.#remote ?? {};
    const failed = socketError(
      error.code,
      this.#written === null ? 'read' : 'write',
      // Node names the peer of a connect only.
      this.#connectedOnce ? undefined : address,
      this.#connectedOnce ? undefined : port,
    );
    failed.cause = error;
    this.destroy(failed);
  }

  #touch(): void {
    if (this.#idleFor > 0) this.#idleTimer?.arm(this.#clock.now + this.#idleFor);
  }

  #hold(): void {
    if (this.#holding || !this.#referenced) return;
    this.#holding = true;
    this.#clock.hold();
  }

  #release(): void {
    if (!this.#holding) return;
    this.#holding = false;
    this.#clock.release();
  }
}

interface Endpoint {
  readonly address: string;
  readonly port: number;
  readonly family: 'IPv4' | 'IPv6';
}

function endpoint(address: IpAddr, port: number): Endpoint {
  return { address: address.toString(), port, family: address.family === 4 ? 'IPv4' : 'IPv6' };
}

/** The engine sees only plain arrays: one shape in its loops. */
function plain(chunk: Uint8Array): Uint8Array {
  return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}

function isOver(connection: TcpConnection): boolean {
  return connection.state === 'CLOSED' || connection.state === 'TIME-WAIT';
}
