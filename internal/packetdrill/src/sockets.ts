/**
 * The socket calls of a script over the engine: file descriptors, blocking and non-blocking calls, options and errors the
 * way a kernel gives them.
 */

import type { Clock, IpAddr } from '@pktkit/core';
import type {
  KeepAliveOptions,
  TcpConnection,
  TcpError,
  TcpListener,
  TcpOptions,
  TcpStack,
} from '@pktkit/vtcp';
import type { ScriptCall, Value } from './ast.ts';
import { CONSTANTS, numberOf, textOf } from './socket-values.ts';
import { congestionControl } from './sysctl.ts';
import type { CallOutcome, PendingCall } from './target.ts';
import { infoOf } from './tcp-info.ts';

export interface SocketCallsOptions {
  clock: Clock;
  stack: TcpStack;
  /** Of every socket made from now on. */
  defaults: TcpOptions;
  local: IpAddr;
  remote: IpAddr;
  bindPort: number;
  connectPort: number;
}

interface Socket {
  nonBlocking: boolean;
  options: TcpOptions;
  keepAlive: KeepAliveOptions;
  bound: boolean;
  listener: TcpListener | null;
  accepted: TcpConnection[];
  connection: TcpConnection | null;
  connected: boolean;
  /** Not reported by a call yet. */
  error: string | null;
  closed: boolean;
  readShut: boolean;
  writeShut: boolean;
  lingerZero: boolean;
}

/** An attempt at a call: null means that it would block. */
type Attempt = () => Result | null;

interface Result {
  result: number;
  errno?: string;
  out?: CallOutcome['out'];
}

const O_NONBLOCK = 0x800;

export class SocketCalls {
  readonly #env: SocketCallsOptions;
  readonly #sockets = new Map<number, Socket>();
  readonly #blocked = new Set<{ attempt: Attempt; pending: PendingCall }>();
  #lastConnection: TcpConnection | null = null;

  constructor(options: SocketCallsOptions) {
    this.#env = options;
  }

  start(call: ScriptCall): PendingCall {
    const pending: PendingCall = { outcome: null };
    const { attempt, nonBlocking } = this.#attempt(call);
    const result = attempt();
    if (result !== null) this.#finish(pending, result);
    else if (nonBlocking) this.#finish(pending, { result: -1, errno: 'EAGAIN' });
    else this.#blocked.add({ attempt, pending });
    return pending;
  }

  tcpInfo(): Map<string, number> {
    return this.#lastConnection === null ? new Map() : infoOf(this.#lastConnection.info);
  }

  #finish(pending: PendingCall, { result, errno, out }: Result): void {
    pending.outcome = {
      at: this.#env.clock.now / 1000,
      result,
      errno: errno ?? null,
      out: out ?? new Map(),
    };
  }

  /** Something happened: calls that were blocked try again. */
  #wake(): void {
    for (const blocked of this.#blocked) {
      const result = blocked.attempt();
      if (result === null) continue;
      this.#blocked.delete(blocked);
      this.#finish(blocked.pending, result);
    }
  }

  #attempt(call: ScriptCall): { attempt: Attempt; nonBlocking: boolean } {
    const { name, args } = call;
    if (name === 'socket') {
      const flags = numberOf(args[1]) ?? 0;
      return { attempt: () => ({ result: this.#open(flags) }), nonBlocking: true };
    }
    if (name === 'poll') return { attempt: () => this.#poll(args), nonBlocking: false };
    const fd = numberOf(args[0]) ?? -1;
    const socket = this.#sockets.get(fd);
    if (socket === undefined) {
      return { attempt: () => ({ result: -1, errno: 'EBADF' }), nonBlocking: true };
    }
    if (socket.connection !== null) this.#lastConnection = socket.connection;
    const flags = numberOf(args[3]) ?? 0;
    const nonBlocking = socket.nonBlocking || (flags & (CONSTANTS.get('MSG_DONTWAIT') ?? 0)) !== 0;
    const attempt = this.#socketCall(name, args, fd, socket);
    return { attempt, nonBlocking };
  }

  #socketCall(name: string, args: Value[], fd: number, socket: Socket): Attempt {
    const done = (body: () => void) => () => {
      body();
      return { result: 0 };
    };
    switch (name) {
      case 'fcntl':
        return () => this.#fcntl(socket, numberOf(args[1]), numberOf(args[2]) ?? 0);
      case 'bind':
        return done(() => {
          socket.bound = true;
        });
      case 'listen':
        return () => this.#listen(socket, numberOf(args[1]) ?? 1);
      case 'accept':
      case 'accept4':
        return () => this.#accept(socket, numberOf(args[3]) ?? 0);
      case 'connect':
        return this.#connect(socket);
      case 'read':
      case 'recv':
      case 'recvfrom':
        return () => this.#read(socket, numberOf(args[2]) ?? 0);
      case 'write':
      case 'send':
      case 'sendto':
        return this.#write(socket, numberOf(args[2]) ?? 0);
      case 'sendmsg':
      case 'writev':
        return this.#write(
          socket,
          vectorLength(name === 'writev' ? args[1] : field(args[1], 'msg_iov')),
        );
      case 'recvmsg':
      case 'readv': {
        const length = vectorLength(name === 'readv' ? args[1] : field(args[1], 'msg_iov'));
        return () => this.#read(socket, length);
      }
      case 'shutdown':
        return () => this.#shutdown(socket, numberOf(args[1]) ?? 0);
      case 'close':
        return done(() => this.#close(fd, socket));
      case 'setsockopt':
        return () => this.#setOption(socket, args);
      case 'getsockopt':
        return () => this.#getOption(socket, args);
      case 'ioctl':
        return () => this.#ioctl(socket, numberOf(args[1]));
      default:
        throw new Error(`the call ${name} is not supported`);
    }
  }

  #open(type: number): number {
    let fd = 3;
    while (this.#sockets.has(fd)) fd++;
    this.#sockets.set(fd, newSocket({ ...this.#env.defaults }, (type & O_NONBLOCK) !== 0));
    return fd;
  }

  #fcntl(socket: Socket, command: number | null, flags: number): Result {
    if (command === CONSTANTS.get('F_GETFL')) {
      return { result: 2 | (socket.nonBlocking ? O_NONBLOCK : 0) };
    }
    socket.nonBlocking = (flags & O_NONBLOCK) !== 0;
    return { result: 0 };
  }

  #listen(socket: Socket, backlog: number): Result {
    if (socket.listener !== null) return { result: 0 };
    socket.listener = this.#env.stack.listen({
      port: this.#env.bindPort,
      backlog,
      options: connectionOptions(socket),
      onConnection: (connection) => {
        socket.accepted.push(connection);
        this.#wake();
      },
    });
    return { result: 0 };
  }

  #accept(socket: Socket, flags: number): Result | null {
    if (socket.listener === null) return { result: -1, errno: 'EINVAL' };
    const connection = socket.accepted.shift();
    if (connection === undefined) return null;
    const fd = this.#open(flags);
    const accepted = this.#sockets.get(fd) as Socket;
    accepted.options = { ...socket.options };
    accepted.connected = true;
    this.#adopt(accepted, connection);
    return { result: fd };
  }

  #connect(socket: Socket): Attempt {
    let begun = false;
    return () => {
      if (socket.error !== null) return takeError(socket);
      if (socket.connected) return begun ? { result: 0 } : { result: -1, errno: 'EISCONN' };
      if (socket.connection === null) {
        begun = true;
        const { stack, local, remote, connectPort, bindPort } = this.#env;
        const connection = stack.connect({
          local,
          ...(socket.bound ? { localPort: bindPort } : {}),
          remote,
          remotePort: connectPort,
          options: connectionOptions(socket),
        });
        this.#adopt(socket, connection);
        return socket.nonBlocking ? { result: -1, errno: 'EINPROGRESS' } : null;
      }
      return begun ? null : { result: -1, errno: 'EALREADY' };
    };
  }

  #adopt(socket: Socket, connection: TcpConnection): void {
    socket.connection = connection;
    this.#lastConnection = connection;
    const wake = () => this.#wake();
    connection.onConnected = () => {
      socket.connected = true;
      wake();
    };
    connection.onReadable = wake;
    connection.onWritable = wake;
    connection.onEnd = wake;
    connection.onClosed = (error: TcpError | null) => {
      socket.closed = true;
      socket.error = error?.code ?? null;
      wake();
    };
  }

  #read(socket: Socket, length: number): Result | null {
    const { connection } = socket;
    if (connection === null) return { result: -1, errno: 'ENOTCONN' };
    const wanted = Math.min(length, connection.readable);
    if (wanted > 0) return { result: connection.read(new Uint8Array(wanted)) };
    if (socket.error !== null) return takeError(socket);
    if (socket.readShut || connection.ended || socket.closed) return { result: 0 };
    return null;
  }

  /** A blocking write returns once all of it has been taken, a non-blocking one with what fits. */
  #write(socket: Socket, length: number): Attempt {
    const bytes = new Uint8Array(length);
    let written = 0;
    return () => {
      const { connection } = socket;
      if (connection === null) return { result: -1, errno: 'ENOTCONN' };
      if (socket.error !== null) return written > 0 ? { result: written } : takeError(socket);
      if (socket.writeShut || socket.closed) return { result: -1, errno: 'EPIPE' };
      if (!socket.connected) return null;
      written += connection.write(bytes, written, length - written);
      if (written === length || (socket.nonBlocking && written > 0)) return { result: written };
      return null;
    };
  }

  #shutdown(socket: Socket, how: number): Result {
    if (socket.connection === null || socket.closed) return { result: -1, errno: 'ENOTCONN' };
    if (how !== CONSTANTS.get('SHUT_WR')) socket.readShut = true;
    if (how !== CONSTANTS.get('SHUT_RD')) {
      socket.writeShut = true;
      socket.connection.shutdown();
    }
    this.#wake();
    return { result: 0 };
  }

  #close(fd: number, socket: Socket): void {
    this.#sockets.delete(fd);
    socket.listener?.close();
    for (const connection of socket.accepted) connection.abort();
    if (socket.connection === null) return;
    if (socket.lingerZero) socket.connection.abort();
    else socket.connection.close();
  }

  #ioctl(socket: Socket, request: number | null): Result {
    if (socket.connection === null) return { result: -1, errno: 'EINVAL' };
    const { info } = socket.connection;
    const value =
      request === CONSTANTS.get('SIOCINQ')
        ? info.receiveQueue
        : request === CONSTANTS.get('SIOCOUTQ')
          ? info.sendQueue
          : info.unsent;
    return { result: 0, out: new Map([[2, value]]) };
  }

  #poll(args: Value[]): Result | null {
    const list = args[0];
    if (list?.kind !== 'list') throw new Error('poll takes a list of {fd=…, events=…, revents=…}');
    const out = new Map<string, number>();
    let ready = 0;
    for (const item of list.items) {
      if (item.kind !== 'fields') continue;
      const socket = this.#sockets.get(numberOf(item.fields.get('fd')) ?? -1);
      const events = (numberOf(item.fields.get('events')) ?? 0) | 8 | 16;
      const revents = socket === undefined ? 0 : eventsOf(socket) & events;
      if (revents !== 0) ready++;
      out.set('revents', revents);
    }
    const waits = (numberOf(args[2]) ?? 0) !== 0;
    return ready === 0 && waits ? null : { result: ready, out: new Map([[0, out]]) };
  }

  #setOption(socket: Socket, args: Value[]): Result {
    const level = numberOf(args[1]);
    const name = numberOf(args[2]);
    const value = numberOf(args[3]) ?? 0;
    const { options, connection } = socket;
    const is = (wanted: string) => name === CONSTANTS.get(wanted);
    if (level === CONSTANTS.get('SOL_SOCKET')) {
      if (is('SO_SNDBUF')) options.sendBuffer = value;
      else if (is('SO_RCVBUF')) {
        options.receiveBuffer = value;
        options.initialReceiveBuffer = value;
      } else if (is('SO_LINGER')) {
        const off = numberOf(field(args[3], 'onoff')) ?? 0;
        socket.lingerZero = off !== 0 && (numberOf(field(args[3], 'linger')) ?? 0) === 0;
      } else if (is('SO_KEEPALIVE')) {
        options.keepAlive = value !== 0 ? socket.keepAlive : false;
        connection?.setKeepAlive(options.keepAlive);
      } else if (!is('SO_REUSEADDR') && !is('SO_REUSEPORT') && !is('SO_PRIORITY')) {
        throw new Error(`the socket option ${name} is not supported`);
      }
      return { result: 0 };
    }
    if (is('TCP_NODELAY')) {
      options.noDelay = value !== 0;
      connection?.setNoDelay(options.noDelay);
    } else if (is('TCP_CORK')) connection?.setCork(value !== 0);
    else if (is('TCP_MAXSEG')) options.mss = value;
    else if (is('TCP_KEEPIDLE')) socket.keepAlive.idle = value * 1000;
    else if (is('TCP_KEEPINTVL')) socket.keepAlive.interval = value * 1000;
    else if (is('TCP_KEEPCNT')) socket.keepAlive.count = value;
    else if (is('TCP_SYNCNT')) options.synRetries = value;
    else if (is('TCP_LINGER2')) options.finTimeout = value * 1000;
    else if (is('TCP_USER_TIMEOUT')) {
      options.userTimeout = value;
      connection?.setUserTimeout(value);
    } else if (is('TCP_CONGESTION')) {
      options.congestionControl = congestionControl(textOf(args[3]) ?? '');
    } else throw new Error(`the TCP option ${name} is not supported`);
    if (options.keepAlive) connection?.setKeepAlive(socket.keepAlive);
    return { result: 0 };
  }

  #getOption(socket: Socket, args: Value[]): Result {
    const name = numberOf(args[2]);
    let value: number;
    if (name === CONSTANTS.get('SO_ERROR') && numberOf(args[1]) === CONSTANTS.get('SOL_SOCKET')) {
      value = ERRNO_NUMBERS[takeError(socket)?.errno ?? ''] ?? 0;
    } else if (name === CONSTANTS.get('TCP_MAXSEG')) {
      value = socket.connection?.info.mss ?? socket.options.mss ?? 536;
    } else if (name === CONSTANTS.get('TCP_INFO')) {
      return { result: 0 };
    } else {
      throw new Error(`reading the option ${name} is not supported`);
    }
    return { result: 0, out: new Map([[3, value]]) };
  }
}

function newSocket(options: TcpOptions, nonBlocking: boolean): Socket {
  return {
    nonBlocking,
    options,
    keepAlive: {},
    bound: false,
    listener: null,
    accepted: [],
    connection: null,
    connected: false,
    error: null,
    closed: false,
    readShut: false,
    writeShut: false,
    lingerZero: false,
  };
}

function connectionOptions(socket: Socket): TcpOptions {
  return { ...socket.options };
}

function takeError(socket: Socket): Result {
  const errno = socket.error;
  socket.error = null;
  return errno === null ? { result: 0 } : { result: -1, errno };
}

function eventsOf(socket: Socket): number {
  const IN = 1;
  const OUT = 4;
  if (socket.listener !== null) return socket.accepted.length > 0 ? IN : 0;
  const { connection } = socket;
  if (connection === null) return OUT | 16;
  let events = 0;
  const ended = connection.ended || socket.closed || socket.readShut;
  if (connection.readable > 0 || ended) events |= IN;
  if (ended) events |= 0x2000;
  if (socket.connected && !socket.closed && !socket.writeShut && connection.writable > 0) {
    events |= OUT;
  }
  if (socket.closed) events |= OUT | 16;
  if (socket.error !== null) events |= 8;
  return events;
}

function field(value: Value | undefined, name: string): Value | undefined {
  return value?.kind === 'fields' ? value.fields.get(name) : undefined;
}

/** The bytes of `[{..., 1000}, {..., 500}]`. */
function vectorLength(value: Value | undefined): number {
  if (value?.kind !== 'list') throw new Error('expected a list of {..., length}');
  return value.items.reduce(
    (sum, item) => sum + (item.kind === 'fields' ? (numberOf(item.items[1]) ?? 0) : 0),
    0,
  );
}

const ERRNO_NUMBERS: Readonly<Record<string, number>> = {
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
};
