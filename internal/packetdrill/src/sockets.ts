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
import { CONSTANTS, fieldOf, numberOf, textOf, vectorLength } from './socket-values.ts';
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
  /** `TCP_CORK`. */
  corked: boolean;
  /** `TCP_INQ`. */
  tellQueue: boolean;
  /** When data came last, or the connection began. */
  heardAt: number;
}

/** An attempt at a call: null means that it would block. */
type Attempt = () => Result | null;

interface Result {
  result: number;
  errno?: string;
  out?: CallOutcome['out'];
}

const O_NONBLOCK = 0x800;
const MSG_MORE = 0x8000;

export class SocketCalls {
  readonly #env: SocketCallsOptions;
  readonly #sockets = new Map<number, Socket>();
  readonly #blocked = new Set<{ attempt: Attempt; pending: PendingCall }>();
  #last: Socket | null = null;

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
    const last = this.#last;
    if (last === null || last.connection === null) return new Map();
    const since = Math.round(this.#env.clock.now - last.heardAt);
    return infoOf(last.connection.info).set('tcpi_last_data_recv', since);
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
      const number = numberOf(call.result);
      return { attempt: () => ({ result: this.#open(flags, number) }), nonBlocking: true };
    }
    if (name === 'poll') return { attempt: () => this.#poll(args), nonBlocking: false };
    const fd = numberOf(args[0]) ?? -1;
    const socket = this.#sockets.get(fd);
    if (socket === undefined) {
      return { attempt: () => ({ result: -1, errno: 'EBADF' }), nonBlocking: true };
    }
    if (socket.connection !== null) this.#last = socket;
    const flags = numberOf(args[name === 'sendmsg' || name === 'recvmsg' ? 2 : 3]) ?? 0;
    const nonBlocking = socket.nonBlocking || (flags & (CONSTANTS.get('MSG_DONTWAIT') ?? 0)) !== 0;
    const attempt = this.#socketCall(call, flags, fd, socket);
    return { attempt, nonBlocking };
  }

  #socketCall(call: ScriptCall, flags: number, fd: number, socket: Socket): Attempt {
    const { name, args } = call;
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
        return () => this.#accept(socket, flags, numberOf(call.result));
      case 'connect':
        return this.#connect(socket);
      case 'read':
      case 'recv':
      case 'recvfrom':
        return () => this.#read(socket, numberOf(args[2]) ?? 0);
      case 'write':
      case 'send':
      case 'sendto':
        return this.#write(socket, numberOf(args[2]) ?? 0, name === 'write' ? 0 : flags);
      case 'sendmsg':
        return this.#write(socket, vectorLength(fieldOf(args[1], 'msg_iov')), flags);
      case 'writev':
        return this.#write(socket, vectorLength(args[1]), 0);
      case 'readv':
        return () => this.#read(socket, vectorLength(args[1]));
      case 'recvmsg':
        return () => this.#receiveMessage(socket, vectorLength(fieldOf(args[1], 'msg_iov')));
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

  /** Scripts number descriptors as they like: `wanted` is what the script expects of the call. */
  #open(type: number, wanted: number | null): number {
    let fd = wanted !== null && wanted >= 0 ? wanted : 3;
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

  #accept(socket: Socket, flags: number, wanted: number | null): Result | null {
    if (socket.listener === null) return { result: -1, errno: 'EINVAL' };
    const connection = socket.accepted.shift();
    if (connection === undefined) return null;
    const fd = this.#open(flags, wanted);
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
    this.#last = socket;
    socket.heardAt = this.#env.clock.now;
    const wake = () => this.#wake();
    connection.onConnected = () => {
      socket.connected = true;
      socket.heardAt = this.#env.clock.now;
      wake();
    };
    connection.onReadable = () => {
      socket.heardAt = this.#env.clock.now;
      wake();
    };
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

  /** With `TCP_INQ` the rest comes along; 1 in place of 0 says that the end of file is there to be read. */
  #receiveMessage(socket: Socket, length: number): Result | null {
    const result = this.#read(socket, length);
    const { connection } = socket;
    if (result === null || result.result < 0 || connection === null || !socket.tellQueue) {
      return result;
    }
    const left = connection.readable === 0 && connection.ended ? 1 : connection.readable;
    return { ...result, out: new Map([[1, [new Map([['cmsg_data', left]])]]]) };
  }

  /** A blocking write returns once all of it has been taken, a non-blocking one with what fits. */
  #write(socket: Socket, length: number, flags: number): Attempt {
    const bytes = new Uint8Array(length);
    let written = 0;
    return () => {
      const { connection } = socket;
      if (connection !== null && socket.connected) {
        connection.setCork(socket.corked || (flags & MSG_MORE) !== 0);
      }
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
    const out: Array<Map<string, number>> = [];
    let ready = 0;
    for (const item of list.items) {
      if (item.kind !== 'fields') continue;
      const socket = this.#sockets.get(numberOf(item.fields.get('fd')) ?? -1);
      const events = (numberOf(item.fields.get('events')) ?? 0) | 8 | 16;
      const revents = socket === undefined ? 0 : eventsOf(socket) & events;
      if (revents !== 0) ready++;
      out.push(new Map([['revents', revents]]));
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
        const off = numberOf(fieldOf(args[3], 'onoff')) ?? 0;
        socket.lingerZero = off !== 0 && (numberOf(fieldOf(args[3], 'linger')) ?? 0) === 0;
      } else if (is('SO_KEEPALIVE')) {
        options.keepAlive = value !== 0 ? socket.keepAlive : false;
        connection?.setKeepAlive(options.keepAlive);
      } else if (!is('SO_REUSEADDR') && !is('SO_REUSEPORT') && !is('SO_PRIORITY')) {
        throw new Error(`the socket option ${name} is not supported`);
      }
      return { result: 0 };
    }
    if (level === CONSTANTS.get('SOL_IP')) {
      if (is('IP_TOS')) options.dscp = value >> 2;
      else if (!is('IP_MTU_DISCOVER')) throw new Error(`the IP option ${name} is not supported`);
      return { result: 0 };
    }
    if (is('TCP_NODELAY')) {
      options.noDelay = value !== 0;
      connection?.setNoDelay(options.noDelay);
      // It pushes what is queued now, corked or not (tcp(7)); the cork is back with the next write.
      if (options.noDelay) connection?.setCork(false);
    } else if (is('TCP_CORK')) {
      socket.corked = value !== 0;
      connection?.setCork(socket.corked);
    } else if (is('TCP_INQ')) socket.tellQueue = value !== 0;
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
    } else if (name === CONSTANTS.get('SO_SNDBUF') && numberOf(args[1]) === 1) {
      // A kernel gives twice what was asked for (socket(7)).
      value = 2 * (socket.options.sendBuffer ?? 0);
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
    corked: false,
    tellQueue: false,
    heardAt: 0,
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

const ERRNO_NUMBERS: Readonly<Record<string, number>> = {
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
};
