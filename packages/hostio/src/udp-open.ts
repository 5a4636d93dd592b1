/** Opening and configuring a UDP socket of Linux. */

import { IpAddr, PktkitError } from '@pktkit/core';
import { Arena } from './arena.ts';
import { adopt } from './descriptor.ts';
import { AF_INET, AF_INET6, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOL_SOCKET } from './linux.ts';
import {
  IP_MTU_DISCOVER,
  IP_PKTINFO,
  IP_PMTUDISC_DO,
  IP_RECVERR,
  IP_RECVTOS,
  IP_TOS,
  IPV6_MTU_DISCOVER,
  IPV6_RECVERR,
  IPV6_RECVPKTINFO,
  IPV6_RECVTCLASS,
  IPV6_TCLASS,
  IPV6_V6ONLY,
  SO_BROADCAST,
  SO_MARK,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_REUSEPORT,
  SO_RXQ_OVFL,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOL_IP,
  SOL_IPV6,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from './msghdr.ts';
import { HostError, type Libc, libc } from './native.ts';
import { inNetns } from './netns.ts';
import { parseZoned } from './peers.ts';
import { SOCKADDR_SIZE, sockaddrIp, sockaddrPort, writeSockaddr } from './sockaddr.ts';
import type { UdpOptions } from './udp-types.ts';

export interface OpenedUdp {
  readonly fd: number;
  /** AF_INET or AF_INET6. */
  readonly family: number;
  readonly address: IpAddr;
  readonly port: number;
  /** Whether the kernel knows segmented sends and merged receives. */
  readonly gso: boolean;
  readonly gro: boolean;
  /** Whether the destination address of what arrives is asked for. */
  readonly sticky: boolean;
}

const BUFFER = 4 << 20;

/** Throws `HostError` with the reason, such as `EADDRINUSE`. */
export function openUdp(options: UdpOptions): OpenedUdp {
  const wanted = parseZoned(options.address ?? IpAddr.ANY6);
  return inNetns(options.netns, () => {
    try {
      return openFamily(options, wanted.addr, wanted.zone);
    } catch (error) {
      // A kernel without IPv6: all addresses are then those of IPv4.
      const noIpv6 =
        error instanceof HostError && /^(EAFNOSUPPORT|EADDRNOTAVAIL)$/.test(error.code);
      if (options.address !== undefined || !noIpv6) throw error;
      return openFamily(options, IpAddr.ANY4, 0);
    }
  });
}

function openFamily(options: UdpOptions, address: IpAddr, zone: number): OpenedUdp {
  const api = libc();
  const family = address.family === 4 ? AF_INET : AF_INET6;
  const raw = api.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (raw < 0) throw new HostError('socket', api.errno(), 'a UDP socket');
  const arena = new Arena(64);
  try {
    const sticky = options.stickySource ?? address.isUnspecified;
    const set = setter(api, raw, arena);
    const { gso, gro } = configure(set, family, sticky, options);
    const { w0, w1, w2, w3 } = address;
    const port = options.port ?? 0;
    const length = writeSockaddr(arena, 0, family, w0, w1, w2, w3, port, zone);
    const where = `${family === AF_INET ? address : `[${address}]`}:${port}`;
    if (api.bind(raw, arena.base, length) < 0) {
      throw new HostError('bind', api.errno(), `UDP ${where}`);
    }
    if (options.connect !== undefined) connect(api, raw, arena, family, options.connect);
    arena.u32[8] = SOCKADDR_SIZE;
    if (api.getsockname(raw, arena.base, arena.base + 32) < 0) {
      throw new HostError('getsockname', api.errno(), `UDP ${where}`);
    }
    const bound = { address: sockaddrIp(arena, 0), port: sockaddrPort(arena, 0) };
    return { ...bound, fd: adopt(raw), family, gso, gro, sticky };
  } catch (error) {
    api.close(raw);
    throw error;
  } finally {
    arena.release();
  }
}

type Set = (level: number, name: number, value: number) => boolean;

function setter(api: Libc, fd: number, arena: Arena): Set {
  return (level, name, value) => {
    arena.view.setInt32(0, value, true);
    return api.setsockopt(fd, level, name, arena.base, 4) === 0;
  };
}

function configure(
  set: Set,
  family: number,
  sticky: boolean,
  options: UdpOptions,
): { gso: boolean; gro: boolean } {
  const must = (done: boolean, what: string) => {
    if (!done) throw new HostError('setsockopt', libc().errno(), what);
  };
  const v6 = family === AF_INET6;
  // Explicit: the system's default may be either.
  if (v6) must(set(SOL_IPV6, IPV6_V6ONLY, options.ipv6Only === true ? 1 : 0), 'ipv6Only');
  if (options.reusePort === true) must(set(SOL_SOCKET, SO_REUSEPORT, 1), 'reusePort');
  if (options.broadcast === true) must(set(SOL_SOCKET, SO_BROADCAST, 1), 'broadcast');
  // The system caps sizes unless we have CAP_NET_ADMIN.
  const receive = options.receiveBuffer ?? BUFFER;
  const send = options.sendBuffer ?? BUFFER;
  if (!set(SOL_SOCKET, SO_RCVBUFFORCE, receive)) set(SOL_SOCKET, SO_RCVBUF, receive);
  if (!set(SOL_SOCKET, SO_SNDBUFFORCE, send)) set(SOL_SOCKET, SO_SNDBUF, send);
  set(SOL_SOCKET, SO_RXQ_OVFL, 1);
  // An IPv6 socket takes the options of both, since it carries both.
  must(set(SOL_IP, IP_RECVERR, 1), 'the error queue');
  set(SOL_IP, IP_RECVTOS, 1);
  if (v6) {
    must(set(SOL_IPV6, IPV6_RECVERR, 1), 'the error queue');
    must(set(SOL_IPV6, IPV6_RECVTCLASS, 1), 'the traffic class');
    if (sticky) must(set(SOL_IPV6, IPV6_RECVPKTINFO, 1), 'stickySource');
  } else if (sticky) {
    must(set(SOL_IP, IP_PKTINFO, 1), 'stickySource');
  }
  if (options.mark !== undefined) must(set(SOL_SOCKET, SO_MARK, checkMark(options.mark)), 'mark');
  if (options.tos !== undefined) {
    must(set(SOL_IP, IP_TOS, options.tos), 'tos');
    if (v6) must(set(SOL_IPV6, IPV6_TCLASS, options.tos), 'tos');
  }
  if (options.dontFragment === true) {
    must(set(SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO), 'dontFragment');
    if (v6) must(set(SOL_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO), 'dontFragment');
  }
  // Linux 4.18 and 5.0; setting the segment size to "none" only asks whether it is known.
  return { gso: set(SOL_UDP, UDP_SEGMENT, 0), gro: set(SOL_UDP, UDP_GRO, 1) };
}

/** Marks what an open socket sends from now on. */
export function setMark(fd: number, mark: number): void {
  const api = libc();
  const arena = new Arena(64);
  try {
    if (!setter(api, fd, arena)(SOL_SOCKET, SO_MARK, checkMark(mark))) {
      throw new HostError('setsockopt', api.errno(), 'mark');
    }
  } finally {
    arena.release();
  }
}

function checkMark(mark: number): number {
  if (!Number.isInteger(mark) || mark < 0 || mark > 0xffffffff) {
    throw new RangeError(`mark: expected 0 to 4294967295, got ${mark}`);
  }
  return mark | 0;
}

function connect(
  api: Libc,
  fd: number,
  arena: Arena,
  family: number,
  to: { address: IpAddr | string; port: number },
): void {
  const { addr, zone } = parseZoned(to.address);
  if (family === AF_INET && addr.family === 6) {
    throw new PktkitError('PKT_INVALID_CONFIG', `an IPv4 socket cannot be connected to ${addr}`);
  }
  const { w0, w1, w2, w3 } = addr;
  const length = writeSockaddr(arena, 0, family, w0, w1, w2, w3, to.port, zone);
  if (api.connect(fd, arena.base, length) < 0) {
    throw new HostError('connect', api.errno(), `UDP to ${addr} port ${to.port}`);
  }
}
