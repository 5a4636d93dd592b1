/**
 * A utun interface of macOS: a kernel control socket of datagrams, each a packet behind four bytes that name its family.
 * Sources: `sys/kern_control.h`, `net/if_utun.h` of Apple's xnu. Never run on a Mac so far: its bytes are tested against
 * the layouts of those headers.
 *
 *     struct ctl_info, 100 bytes           struct sockaddr_ctl, 32 bytes
 *      0 id   4 name (96)                   0 length  1 family  2 system address  4 id  8 unit  12 reserved
 */

import { createSocket, type Socket } from 'node:dgram';
import { createRequire } from 'node:module';
import { PktkitError } from '@pktkit/core';
import { HostError } from './native.ts';

/** Bytes in front of each packet. */
export const UTUN_HEADER = 4;

const CONTROL_NAME = 'com.apple.net.utun_control';
const CTL_INFO_SIZE = 100;
const PF_SYSTEM = 32;
const AF_SYS_CONTROL = 2;
const SYSPROTO_CONTROL = 2;
const UTUN_OPT_IFNAME = 2;
/** `_IOWR('N', 3, struct ctl_info)` */
const CTLIOCGINFO = 0xc0644e03;
const DARWIN_AF_INET = 2;
const DARWIN_AF_INET6 = 30;
const F_SETFD = 2;
const F_SETFL = 4;
const FD_CLOEXEC = 1;
const DARWIN_O_NONBLOCK = 4;

/** What asks for the number of the control by its name; the kernel puts it into the first four bytes. */
export function controlInfo(): Uint8Array {
  const info = new Uint8Array(CTL_INFO_SIZE);
  info.set(new TextEncoder().encode(CONTROL_NAME), 4);
  return info;
}

/** The address that a control socket is connected to. `unit` is that of `utunN` plus one, or 0 for a free one. */
export function controlAddress(id: number, unit: number): Uint8Array {
  const address = new Uint8Array(32);
  const view = new DataView(address.buffer);
  address.set([32, PF_SYSTEM]);
  view.setUint16(2, AF_SYS_CONTROL, true);
  view.setUint32(4, id, true);
  view.setUint32(8, unit, true);
  return address;
}

/** `utun4` asks for unit 4; `utun` or nothing for a free one. Gives what `controlAddress` takes. */
export function utunUnit(name: string | undefined): number {
  if (name === undefined || name === 'utun') return 0;
  const unit = /^utun(0|[1-9][0-9]{0,2})$/.exec(name)?.[1];
  if (unit === undefined) {
    throw new PktkitError(
      'PKT_INVALID_CONFIG',
      `on macOS a TUN interface is called utun or utun0, utun1, …; got ${JSON.stringify(name)}`,
    );
  }
  return Number(unit) + 1;
}

/** Writes the header for a packet whose first byte is given, in front of which it goes. */
export function writeUtunHeader(buf: Uint8Array, at: number, firstByte: number): void {
  buf[at] = 0;
  buf[at + 1] = 0;
  buf[at + 2] = 0;
  buf[at + 3] = firstByte >>> 4 === 4 ? DARWIN_AF_INET : DARWIN_AF_INET6;
}

/** Whether a datagram of the interface holds a packet of the family that its header names. */
export function isUtunPacket(buf: Uint8Array, off: number, len: number): boolean {
  if (len <= UTUN_HEADER || (buf[off] | buf[off + 1] | buf[off + 2]) !== 0) return false;
  const version = buf[off + UTUN_HEADER] >>> 4;
  return buf[off + 3] === DARWIN_AF_INET
    ? version === 4
    : buf[off + 3] === DARWIN_AF_INET6 && version === 6;
}

/** An open interface; tests put another one in its place. */
export interface UtunPort {
  readonly name: string;
  readonly index: number;
  /** Called with each datagram, header included. */
  onData: (bytes: Uint8Array) => void;
  /** Sends one datagram, header included; false when the kernel has not taken it. */
  write(bytes: Uint8Array): boolean;
  hold(on: boolean): void;
  close(): void;
}

/** Opens a utun interface. macOS, with root. */
export function openUtun(name?: string): UtunPort {
  const unit = utunUnit(name);
  const c = loadDarwin();
  const fd = c.socket(PF_SYSTEM, 2, SYSPROTO_CONTROL);
  const failed = (syscall: string) =>
    new HostError(syscall, c.errno(), `interface ${name ?? 'utun'}; creating one needs root`);
  if (fd < 0) throw failed('socket');
  try {
    const info = controlInfo();
    if (c.ioctl(fd, CTLIOCGINFO, 'void *', info) < 0) throw failed('CTLIOCGINFO');
    const id = new DataView(info.buffer).getUint32(0, true);
    if (c.connect(fd, controlAddress(id, unit), 32) < 0) throw failed('connect');
    const text = new Uint8Array(32);
    const length = Uint32Array.of(text.length);
    if (c.getsockopt(fd, SYSPROTO_CONTROL, UTUN_OPT_IFNAME, text, length) < 0) {
      throw failed('getsockopt');
    }
    const given = new TextDecoder().decode(text.subarray(0, text.indexOf(0)));
    return new ControlSocket(c, fd, given, c.if_nametoindex(given));
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

interface Darwin {
  errno(): number;
  socket(domain: number, type: number, protocol: number): number;
  ioctl(fd: number, request: number, type: string, arg: Uint8Array): number;
  fcntl(fd: number, command: number, type: string, arg: number): number;
  connect(fd: number, address: Uint8Array, length: number): number;
  getsockopt(fd: number, level: number, name: number, to: Uint8Array, len: Uint32Array): number;
  write(fd: number, bytes: Uint8Array, length: number): number;
  dup2(from: number, to: number): number;
  close(fd: number): number;
  if_nametoindex(name: string): number;
}

/** Buffers are passed as such here, not as addresses: this tier is not on anybody's fast path. */
function loadDarwin(): Darwin {
  let koffi: typeof import('koffi');
  try {
    koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  } catch (cause) {
    throw new PktkitError('PKT_UNSUPPORTED', 'utun needs koffi: `npm install koffi`', { cause });
  }
  const c = koffi.load(null);
  return {
    errno: () => koffi.errno(),
    socket: c.func('int socket(int, int, int)'),
    ioctl: c.func('int ioctl(int, unsigned long, ...)'),
    fcntl: c.func('int fcntl(int, int, ...)'),
    connect: c.func('int connect(int, const void *, uint32_t)'),
    getsockopt: c.func('int getsockopt(int, int, int, void *, void *)'),
    write: c.func('long write(int, const void *, size_t)'),
    dup2: c.func('int dup2(int, int)'),
    close: c.func('int close(int)'),
    if_nametoindex: c.func('uint32_t if_nametoindex(const char *)'),
  };
}

/** libuv receives from it as from the UDP socket whose descriptor it took over: see `reactor.ts` for the trick. */
class ControlSocket implements UtunPort {
  readonly name: string;
  readonly index: number;
  onData: (bytes: Uint8Array) => void = () => {};
  readonly #c: Darwin;
  readonly #fd: number;
  readonly #handle: Socket;

  constructor(c: Darwin, fd: number, name: string, index: number) {
    this.#c = c;
    this.name = name;
    this.index = index;
    c.fcntl(fd, F_SETFL, 'int', DARWIN_O_NONBLOCK);
    this.#fd = c.socket(DARWIN_AF_INET, 2, 0);
    this.#handle = createSocket('udp4');
    this.#handle.on('message', (message) =>
      this.onData(new Uint8Array(message.buffer, message.byteOffset, message.length)),
    );
    this.#handle.on('error', () => this.close());
    this.#handle.bind({ fd: this.#fd });
    c.dup2(fd, this.#fd);
    c.fcntl(this.#fd, F_SETFD, 'int', FD_CLOEXEC);
    c.close(fd);
  }

  write(bytes: Uint8Array): boolean {
    return this.#c.write(this.#fd, bytes, bytes.length) >= 0;
  }

  hold(on: boolean): void {
    if (on) this.#handle.ref();
    else this.#handle.unref();
  }

  close(): void {
    this.#handle.close();
  }
}
