/**
 * The Linux kernel as a target: the same scripts over a TUN device and real sockets, in real time. The process must run as
 * root in a network namespace of its own (`unshare --net`): addresses and settings are changed freely.
 *
 * Every descriptor is non-blocking in truth; a call that should block is tried again until it returns.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import koffi from 'koffi';
import type { Script, ScriptCall, Value } from './ast.ts';
import { readCommand } from './commands.ts';
import { CONSTANTS, fieldOf, numberOf, textOf, vectorLength } from './socket-values.ts';
import type { CallOutcome, CapturedPacket, PendingCall, Target } from './target.ts';

const libc = koffi.load('libc.so.6');
koffi.struct('Vector', { base: 'void *', length: 'size_t' });
koffi.struct('MessageHeader', {
  name: 'void *',
  nameLength: 'uint32_t',
  vector: 'void *',
  vectorLength: 'size_t',
  control: 'void *',
  controlLength: 'size_t',
  flags: 'int',
});
const c = {
  open: libc.func('int open(const char *path, int flags)'),
  close: libc.func('int close(int fd)'),
  read: libc.func('intptr_t read(int fd, _Out_ uint8_t *buf, size_t len)'),
  write: libc.func('intptr_t write(int fd, const uint8_t *buf, size_t len)'),
  ioctl: libc.func('int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)'),
  socket: libc.func('int socket(int domain, int type, int protocol)'),
  bind: libc.func('int bind(int fd, const uint8_t *address, uint32_t len)'),
  listen: libc.func('int listen(int fd, int backlog)'),
  accept4: libc.func('int accept4(int fd, void *address, void *len, int flags)'),
  connect: libc.func('int connect(int fd, const uint8_t *address, uint32_t len)'),
  send: libc.func('intptr_t send(int fd, const uint8_t *buf, size_t len, int flags)'),
  recv: libc.func('intptr_t recv(int fd, _Out_ uint8_t *buf, size_t len, int flags)'),
  recvmsg: libc.func('intptr_t recvmsg(int fd, _Inout_ MessageHeader *message, int flags)'),
  shutdown: libc.func('int shutdown(int fd, int how)'),
  setsockopt: libc.func(
    'int setsockopt(int fd, int level, int name, const uint8_t *value, uint32_t len)',
  ),
  getsockopt: libc.func(
    'int getsockopt(int fd, int level, int name, _Inout_ uint8_t *value, _Inout_ uint32_t *len)',
  ),
  poll: libc.func('int poll(_Inout_ uint8_t *fds, unsigned long count, int timeout)'),
};

const O_RDWR = 2;
const O_NONBLOCK = 0x800;
const TUNSETIFF = 0x400454ca;
const IFF_TUN = 1;
const IFF_NO_PI = 0x1000;
const MSG_NOSIGNAL = 0x4000;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_MEMINFO = 55;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const TCP_CONGESTION = 13;
const POLLOUT = 4;
const CONTROL_ROOM = 64;

interface Descriptor {
  fd: number;
  nonBlocking: boolean;
  connecting: boolean;
}

type Attempt = () => Result | null;

interface Result {
  result: number;
  errno?: string | null;
  out?: CallOutcome['out'];
}

export class KernelTarget implements Target {
  readonly name = 'kernel';
  readonly localIp: Uint8Array;
  readonly remoteIp: Uint8Array;
  readonly bindPort = 8080;
  readonly connectPort = 8080;
  readonly slack = 0.008;
  readonly #v6: boolean;
  readonly #tun: number;
  #start = performance.now();
  readonly #buffer = new Uint8Array(65536);
  readonly #descriptors = new Map<number, Descriptor>();
  readonly #blocked = new Set<{ attempt: Attempt; pending: PendingCall }>();
  readonly #sleep = new Int32Array(new SharedArrayBuffer(4));
  #packets: CapturedPacket[] = [];
  /** Of every socket that is opened from now on; null leaves it to the kernel. */
  #congestion: string | null = null;
  #last: Descriptor | null = null;

  constructor(script: Script) {
    this.#v6 = script.options.get('ip_version') === 'ipv6';
    this.localIp = this.#v6 ? LOCAL6 : LOCAL4;
    this.remoteIp = this.#v6 ? REMOTE6 : REMOTE4;
    this.#tun = c.open('/dev/net/tun', O_RDWR | O_NONBLOCK);
    if (this.#tun < 0)
      throw new Error('cannot open /dev/net/tun: this needs root and the tun module');
    const request = new Uint8Array(40);
    request.set(new TextEncoder().encode('tun0'));
    new DataView(request.buffer).setUint16(16, IFF_TUN | IFF_NO_PI, true);
    if (c.ioctl(this.#tun, TUNSETIFF, request) !== 0) {
      throw new Error(`cannot make the device tun0: ${errno()}; run in a new network namespace`);
    }
    const mtu = script.options.get('mtu') ?? '1500';
    ip('link', 'set', 'lo', 'up');
    ip('link', 'set', 'tun0', 'mtu', mtu, 'up');
    if (this.#v6) {
      ip('-6', 'addr', 'add', 'fd3d:fa7b:d17d::1/48', 'dev', 'tun0', 'nodad');
    } else {
      ip('addr', 'add', '192.168.0.1/16', 'dev', 'tun0');
      ip('route', 'add', 'default', 'dev', 'tun0');
    }
  }

  get now(): number {
    return (performance.now() - this.#start) / 1000;
  }

  begin(): void {
    this.#start = performance.now();
  }

  async run(at: number, done: () => boolean): Promise<void> {
    for (;;) {
      this.#pump();
      if (done() || this.now >= at) return;
      // Near the end of the wait every microsecond counts, before it the other side needs the processor.
      if (at - this.now > 0.0005) Atomics.wait(this.#sleep, 0, 0, 0.2);
    }
  }

  takePackets(): CapturedPacket[] {
    this.#pump();
    const taken = this.#packets;
    this.#packets = [];
    return taken;
  }

  inject(bytes: Uint8Array): void {
    if (c.write(this.#tun, bytes, bytes.length) !== bytes.length) {
      throw new Error(`the device took no packet: ${errno()}`);
    }
    this.#pump();
  }

  call(call: ScriptCall): PendingCall {
    const pending: PendingCall = { outcome: null };
    const { attempt, nonBlocking } = this.#attempt(call);
    const result = attempt();
    if (result !== null) this.#finish(pending, result);
    else if (nonBlocking) this.#finish(pending, { result: -1, errno: 'EAGAIN' });
    else this.#blocked.add({ attempt, pending });
    return pending;
  }

  tcpInfo(): Map<string, number> {
    if (this.#last === null) return new Map();
    const value = new Uint8Array(256);
    const length = new Uint32Array([value.length]);
    if (c.getsockopt(this.#last.fd, IPPROTO_TCP, TCP_INFO, value, length) !== 0) return new Map();
    const view = new DataView(value.buffer);
    const info = new Map<string, number>();
    for (const [name, offset] of INFO_BYTES) info.set(name, value[offset]);
    for (const [name, offset] of INFO_WORDS) info.set(name, view.getUint32(offset, true));
    for (const [name, offset] of INFO_LONGS) {
      info.set(name, Number(view.getBigUint64(offset, true)));
    }
    const memory = new Uint8Array(36);
    const size = new Uint32Array([memory.length]);
    if (c.getsockopt(this.#last.fd, SOL_SOCKET, SO_MEMINFO, memory, size) === 0) {
      info.set('SK_MEMINFO_RCVBUF', new DataView(memory.buffer).getUint32(4, true));
    }
    info.set('tcpi_snd_wscale', value[6] & 15);
    info.set('tcpi_rcv_wscale', value[6] >>> 4);
    return info;
  }

  async command(command: string): Promise<string | null> {
    for (const step of readCommand(command)) {
      // Of a namespace's own sockets root may choose this, of the namespace not.
      if (step.kind === 'set' && step.name === 'net.ipv4.tcp_congestion_control') {
        this.#congestion = step.value;
      } else if (step.kind === 'set') setSysctl(step.name, step.value);
      else execFileSync('sh', ['-c', step.line], { stdio: ['ignore', 'ignore', 'inherit'] });
    }
    return null;
  }

  async close(): Promise<void> {
    for (const { fd } of this.#descriptors.values()) c.close(fd);
    this.#descriptors.clear();
    c.close(this.#tun);
  }

  /** Takes what left, and tries calls that were blocked. */
  #pump(): void {
    for (;;) {
      const length = c.read(this.#tun, this.#buffer, this.#buffer.length);
      if (length <= 0) break;
      const bytes = this.#buffer.slice(0, length);
      // The kernel also sends router solicitations and group reports.
      if (bytes[bytes[0] >>> 4 === 4 ? 9 : 6] === IPPROTO_TCP) {
        this.#packets.push({ at: this.now, bytes });
      }
    }
    for (const blocked of this.#blocked) {
      const result = blocked.attempt();
      if (result === null) continue;
      this.#blocked.delete(blocked);
      this.#finish(blocked.pending, result);
    }
  }

  #finish(pending: PendingCall, { result, errno: name, out }: Result): void {
    pending.outcome = { at: this.now, result, errno: name ?? null, out: out ?? new Map() };
  }

  #attempt(call: ScriptCall): { attempt: Attempt; nonBlocking: boolean } {
    const { name, args } = call;
    if (name === 'socket') {
      const flags = numberOf(args[1]) ?? 0;
      const number = numberOf(call.result);
      return { attempt: () => this.#open((flags & O_NONBLOCK) !== 0, number), nonBlocking: true };
    }
    if (name === 'poll') return { attempt: () => this.#poll(args), nonBlocking: false };
    const descriptor = this.#descriptors.get(numberOf(args[0]) ?? -1);
    if (descriptor === undefined) {
      return { attempt: () => ({ result: -1, errno: 'EBADF' }), nonBlocking: true };
    }
    this.#last = descriptor;
    const dontWait = ((numberOf(args[3]) ?? 0) & 0x40) !== 0;
    const attempt = this.#descriptorCall(call, descriptor);
    return { attempt, nonBlocking: descriptor.nonBlocking || dontWait };
  }

  #descriptorCall(call: ScriptCall, descriptor: Descriptor): Attempt {
    const { name, args } = call;
    const { fd } = descriptor;
    const length = numberOf(args[2]) ?? 0;
    switch (name) {
      case 'fcntl':
        return () => fcntl(descriptor, args);
      case 'bind':
        return () => once(c.bind(fd, ...this.#address(this.localIp, this.bindPort)));
      case 'listen':
        return () => once(c.listen(fd, numberOf(args[1]) ?? 1));
      case 'accept':
      case 'accept4':
        return () => this.#accept(fd, numberOf(args[3]) ?? 0, numberOf(call.result));
      case 'connect':
        return () => this.#connect(descriptor);
      case 'read':
      case 'recv':
        return () => maybe(c.recv(fd, new Uint8Array(length), length, numberOf(args[3]) ?? 0));
      case 'write':
      case 'send':
      case 'sendto':
        return this.#write(descriptor, length, name === 'write' ? 0 : (numberOf(args[3]) ?? 0));
      case 'writev':
        return this.#write(descriptor, vectorLength(args[1]), 0);
      case 'sendmsg':
        return this.#write(
          descriptor,
          vectorLength(fieldOf(args[1], 'msg_iov')),
          numberOf(args[2]) ?? 0,
        );
      case 'readv':
      case 'recvmsg': {
        const room = vectorLength(name === 'readv' ? args[1] : fieldOf(args[1], 'msg_iov'));
        return () => receiveMessage(fd, room, name === 'readv' ? 0 : (numberOf(args[2]) ?? 0));
      }
      case 'shutdown':
        return () => once(c.shutdown(fd, numberOf(args[1]) ?? 0));
      case 'close':
        return () => {
          this.#descriptors.delete(numberOf(args[0]) ?? -1);
          return once(c.close(fd));
        };
      case 'setsockopt':
        return () => setOption(fd, args);
      case 'getsockopt':
        return () => getOption(fd, args);
      case 'ioctl':
        return () => {
          const value = new Uint8Array(4);
          const result = c.ioctl(fd, numberOf(args[1]) ?? 0, value);
          const read = new DataView(value.buffer).getInt32(0, true);
          return { ...once(result), out: new Map([[2, read]]) };
        };
      default:
        throw new Error(`the call ${name} is not supported`);
    }
  }

  #open(nonBlocking: boolean, wanted: number | null): Result {
    const fd = c.socket(this.#v6 ? 10 : 2, 1 | O_NONBLOCK, IPPROTO_TCP);
    if (fd < 0) return once(fd);
    if (this.#congestion !== null) {
      const name = new TextEncoder().encode(this.#congestion);
      if (c.setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, name.length) !== 0) {
        throw new Error(`the kernel has no congestion control ${this.#congestion}: ${errno()}`);
      }
    }
    return { result: this.#adopt(fd, nonBlocking, wanted) };
  }

  /** Scripts number descriptors as they like. */
  #adopt(fd: number, nonBlocking: boolean, wanted: number | null): number {
    let number = wanted !== null && wanted >= 0 ? wanted : 3;
    while (this.#descriptors.has(number)) number++;
    const descriptor = { fd, nonBlocking, connecting: false };
    this.#descriptors.set(number, descriptor);
    this.#last = descriptor;
    return number;
  }

  #accept(listening: number, flags: number, wanted: number | null): Result | null {
    const fd = c.accept4(listening, null, null, O_NONBLOCK);
    if (fd < 0) return maybe(fd);
    return { result: this.#adopt(fd, (flags & O_NONBLOCK) !== 0, wanted) };
  }

  #connect(descriptor: Descriptor): Result | null {
    const { fd } = descriptor;
    if (descriptor.connecting && !descriptor.nonBlocking) {
      if (pollOne(fd, POLLOUT) === 0) return null;
      descriptor.connecting = false;
      const error = readInt(fd, SOL_SOCKET, SO_ERROR);
      return error === 0 ? { result: 0 } : { result: -1, errno: ERRNO[error] ?? String(error) };
    }
    const result = once(c.connect(fd, ...this.#address(this.remoteIp, this.connectPort)));
    if (result.errno === 'EINPROGRESS' && !descriptor.nonBlocking) {
      descriptor.connecting = true;
      return null;
    }
    return result;
  }

  #write(descriptor: Descriptor, length: number, flags: number): Attempt {
    const bytes = new Uint8Array(length);
    let written = 0;
    return () => {
      for (;;) {
        const left = length - written;
        const sent = Number(
          c.send(descriptor.fd, bytes.subarray(written), left, flags | MSG_NOSIGNAL),
        );
        if (sent < 0) {
          if (written > 0 && descriptor.nonBlocking) return { result: written };
          return maybe(sent);
        }
        written += sent;
        if (written === length || descriptor.nonBlocking) return { result: written };
      }
    };
  }

  #poll(args: Value[]): Result | null {
    const list = args[0];
    if (list?.kind !== 'list') throw new Error('poll takes a list of {fd=…, events=…, revents=…}');
    const out: Array<Map<string, number>> = [];
    let ready = 0;
    for (const item of list.items) {
      if (item.kind !== 'fields') continue;
      const fd = this.#descriptors.get(numberOf(item.fields.get('fd')) ?? -1)?.fd ?? -1;
      const revents = pollOne(fd, numberOf(item.fields.get('events')) ?? 0);
      if (revents !== 0) ready++;
      out.push(new Map([['revents', revents]]));
    }
    const waits = (numberOf(args[2]) ?? 0) !== 0;
    return ready === 0 && waits ? null : { result: ready, out: new Map([[0, out]]) };
  }

  /** A `sockaddr_in` or `sockaddr_in6` and its length. */
  #address(address: Uint8Array, port: number): [bytes: Uint8Array, length: number] {
    const bytes = new Uint8Array(this.#v6 ? 28 : 16);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, this.#v6 ? 10 : 2, true);
    view.setUint16(2, port);
    bytes.set(address, this.#v6 ? 8 : 4);
    return [bytes, bytes.length];
  }
}

/** A `recvmsg` into one piece of memory, with the first number of each control message. */
function receiveMessage(fd: number, room: number, flags: number): Result | null {
  const data = koffi.alloc('uint8_t', Math.max(1, room));
  const vector = koffi.alloc('Vector', 1);
  const control = koffi.alloc('uint8_t', CONTROL_ROOM);
  try {
    koffi.encode(vector, 'Vector', { base: data, length: room });
    const message = {
      name: null,
      nameLength: 0,
      vector,
      vectorLength: 1,
      control,
      controlLength: CONTROL_ROOM,
      flags: 0,
    };
    const result = maybe(c.recvmsg(fd, message, flags));
    if (result === null || result.result < 0 || Number(message.controlLength) < 20) return result;
    const bytes = Uint8Array.from(koffi.decode(control, 'uint8_t', CONTROL_ROOM));
    // A cmsghdr is its length, level and type; then the number.
    const value = new DataView(bytes.buffer).getInt32(16, true);
    return { ...result, out: new Map([[1, [new Map([['cmsg_data', value]])]]]) };
  } finally {
    for (const memory of [data, vector, control]) koffi.free(memory);
  }
}

function fcntl(descriptor: Descriptor, args: Value[]): Result {
  if (numberOf(args[1]) === CONSTANTS.get('F_GETFL')) {
    return { result: O_RDWR | (descriptor.nonBlocking ? O_NONBLOCK : 0) };
  }
  descriptor.nonBlocking = ((numberOf(args[2]) ?? 0) & O_NONBLOCK) !== 0;
  return { result: 0 };
}

function setOption(fd: number, args: Value[]): Result {
  const text = textOf(args[3]);
  let value: Uint8Array;
  if (text !== null) {
    value = new TextEncoder().encode(text);
  } else if (args[3]?.kind === 'fields') {
    const linger = args[3].fields;
    const words = ['onoff', 'linger'].map((name) => numberOf(linger.get(name)) ?? 0);
    value = new Uint8Array(Int32Array.from(words).buffer);
  } else {
    value = new Uint8Array(Int32Array.of(numberOf(args[3]) ?? 0).buffer);
  }
  return once(
    c.setsockopt(fd, numberOf(args[1]) ?? 0, numberOf(args[2]) ?? 0, value, value.length),
  );
}

function getOption(fd: number, args: Value[]): Result {
  const level = numberOf(args[1]) ?? 0;
  const name = numberOf(args[2]) ?? 0;
  if (level === IPPROTO_TCP && name === TCP_INFO) return { result: 0 };
  return { result: 0, out: new Map([[3, readInt(fd, level, name)]]) };
}

function readInt(fd: number, level: number, name: number): number {
  const value = new Uint8Array(4);
  if (c.getsockopt(fd, level, name, value, new Uint32Array([4])) !== 0) {
    throw new Error(`getsockopt: ${errno()}`);
  }
  return new DataView(value.buffer).getInt32(0, true);
}

function pollOne(fd: number, events: number): number {
  const entry = new Uint8Array(8);
  const view = new DataView(entry.buffer);
  view.setInt32(0, fd, true);
  view.setInt16(4, events, true);
  c.poll(entry, 1, 0);
  return view.getInt16(6, true);
}

function once(result: number | bigint): Result {
  return Number(result) < 0 ? { result: -1, errno: errno() } : { result: Number(result) };
}

/** Null when it would block. */
function maybe(result: number | bigint): Result | null {
  const done = once(result);
  return done.errno === 'EAGAIN' ? null : done;
}

function errno(): string {
  const number = koffi.errno();
  return ERRNO[number] ?? `errno ${number}`;
}

/** Not written when it is so already: a namespace may not set all that it may read. */
function setSysctl(name: string, value: string): void {
  const file = `/proc/sys/${name.replaceAll('.', '/')}`;
  const words = (text: string) => text.trim().split(/\s+/).join(' ');
  if (words(readFileSync(file, 'utf8')) !== words(value)) writeFileSync(file, value);
}

function ip(...args: string[]): void {
  execFileSync('ip', args);
}

const LOCAL4 = Uint8Array.of(192, 168, 0, 1);
const REMOTE4 = Uint8Array.of(192, 0, 2, 1);
// fd3d:fa7b:d17d::1 and fd3d:fa7b:d17d:8000::1
const LOCAL6 = Uint8Array.of(0xfd, 0x3d, 0xfa, 0x7b, 0xd1, 0x7d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const REMOTE6 = Uint8Array.of(0xfd, 0x3d, 0xfa, 0x7b, 0xd1, 0x7d, 128, 0, 0, 0, 0, 0, 0, 0, 0, 1);

const ERRNO: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(koffi.os.errno)
    // The same number under its second name.
    .filter(([name]) => name !== 'EWOULDBLOCK')
    .map(([name, number]) => [number, name]),
);

/** `struct tcp_info` of linux/tcp.h. */
const INFO_BYTES: ReadonlyArray<[string, number]> = [
  ['tcpi_state', 0],
  ['tcpi_ca_state', 1],
  ['tcpi_retransmits', 2],
  ['tcpi_probes', 3],
  ['tcpi_backoff', 4],
  ['tcpi_options', 5],
];
const INFO_WORDS: ReadonlyArray<[string, number]> = [
  ['tcpi_rto', 8],
  ['tcpi_ato', 12],
  ['tcpi_snd_mss', 16],
  ['tcpi_rcv_mss', 20],
  ['tcpi_unacked', 24],
  ['tcpi_sacked', 28],
  ['tcpi_lost', 32],
  ['tcpi_retrans', 36],
  ['tcpi_last_data_sent', 44],
  ['tcpi_last_data_recv', 52],
  ['tcpi_last_ack_recv', 56],
  ['tcpi_pmtu', 60],
  ['tcpi_rtt', 68],
  ['tcpi_rttvar', 72],
  ['tcpi_snd_ssthresh', 76],
  ['tcpi_snd_cwnd', 80],
  ['tcpi_advmss', 84],
  ['tcpi_reordering', 88],
  ['tcpi_total_retrans', 100],
  ['tcpi_segs_out', 136],
  ['tcpi_segs_in', 140],
  ['tcpi_notsent_bytes', 144],
  ['tcpi_min_rtt', 148],
  ['tcpi_data_segs_in', 152],
  ['tcpi_data_segs_out', 156],
  ['tcpi_dsack_dups', 216],
  ['tcpi_reord_seen', 220],
];
const INFO_LONGS: ReadonlyArray<[string, number]> = [
  ['tcpi_bytes_acked', 120],
  ['tcpi_bytes_received', 128],
  ['tcpi_bytes_sent', 200],
  ['tcpi_bytes_retrans', 208],
];
