/** The constants that scripts name, with Linux's numbers. */

import type { Value } from './ast.ts';

export const CONSTANTS: ReadonlyMap<string, number> = new Map([
  ['O_RDWR', 2],
  ['O_NONBLOCK', 0x800],
  ['F_GETFL', 3],
  ['F_SETFL', 4],
  ['AF_INET', 2],
  ['AF_INET6', 10],
  ['SOCK_STREAM', 1],
  ['SOCK_NONBLOCK', 0x800],
  ['SOCK_CLOEXEC', 0x80000],
  ['IPPROTO_TCP', 6],
  ['SOL_TCP', 6],
  ['IPPROTO_IP', 0],
  ['SOL_IP', 0],
  ['SOL_IPV6', 41],
  ['IP_TOS', 1],
  ['IP_MTU_DISCOVER', 10],
  ['IP_PMTUDISC_DONT', 0],
  ['IP_PMTUDISC_WANT', 1],
  ['IP_PMTUDISC_DO', 2],
  ['IP_PMTUDISC_PROBE', 3],
  ['SOL_SOCKET', 1],
  ['SO_REUSEADDR', 2],
  ['SO_ERROR', 4],
  ['SO_SNDBUF', 7],
  ['SO_RCVBUF', 8],
  ['SO_KEEPALIVE', 9],
  ['SO_PRIORITY', 12],
  ['SO_LINGER', 13],
  ['SO_REUSEPORT', 15],
  ['SO_RCVLOWAT', 18],
  ['TCP_NODELAY', 1],
  ['TCP_MAXSEG', 2],
  ['TCP_CORK', 3],
  ['TCP_KEEPIDLE', 4],
  ['TCP_KEEPINTVL', 5],
  ['TCP_KEEPCNT', 6],
  ['TCP_SYNCNT', 7],
  ['TCP_LINGER2', 8],
  ['TCP_INFO', 11],
  ['TCP_QUICKACK', 12],
  ['TCP_CONGESTION', 13],
  ['TCP_USER_TIMEOUT', 18],
  ['TCP_INQ', 36],
  ['TCP_CM_INQ', 36],
  ['SHUT_RD', 0],
  ['SHUT_WR', 1],
  ['SHUT_RDWR', 2],
  ['MSG_PEEK', 2],
  ['MSG_DONTWAIT', 0x40],
  ['MSG_EOR', 0x80],
  ['MSG_NOSIGNAL', 0x4000],
  ['MSG_MORE', 0x8000],
  ['SIOCINQ', 0x541b],
  ['FIONREAD', 0x541b],
  ['SIOCOUTQ', 0x5411],
  ['SIOCOUTQNSD', 0x894b],
  ['POLLIN', 1],
  ['POLLOUT', 4],
  ['POLLERR', 8],
  ['POLLHUP', 16],
  ['POLLRDHUP', 0x2000],
]);

/** For assertions: the states and flags of `tcp_info`. */
export const INFO_CONSTANTS: ReadonlyMap<string, number> = new Map([
  ['TCP_ESTABLISHED', 1],
  ['TCP_SYN_SENT', 2],
  ['TCP_SYN_RECV', 3],
  ['TCP_FIN_WAIT1', 4],
  ['TCP_FIN_WAIT2', 5],
  ['TCP_TIME_WAIT', 6],
  ['TCP_CLOSE', 7],
  ['TCP_CLOSE_WAIT', 8],
  ['TCP_LAST_ACK', 9],
  ['TCP_LISTEN', 10],
  ['TCP_CLOSING', 11],
  ['TCP_CA_Open', 0],
  ['TCP_CA_Disorder', 1],
  ['TCP_CA_CWR', 2],
  ['TCP_CA_Recovery', 3],
  ['TCP_CA_Loss', 4],
  ['TCPI_OPT_TIMESTAMPS', 1],
  ['TCPI_OPT_SACK', 2],
  ['TCPI_OPT_WSCALE', 4],
  ['TCPI_OPT_ECN', 8],
  ['TCPI_OPT_ECN_SEEN', 16],
  ['TCPI_OPT_SYN_DATA', 32],
]);

/** The number that a value stands for; null for `...` and for what is not a number. */
export function numberOf(value: Value | undefined): number | null {
  if (value === undefined) return null;
  if (value.kind === 'number') return value.value;
  if (value.kind === 'list' && value.items.length === 1) return numberOf(value.items[0]);
  if (value.kind !== 'names') return null;
  let sum = 0;
  for (const name of value.names) {
    const constant = CONSTANTS.get(name);
    if (constant === undefined) throw new Error(`no constant is called ${name}`);
    sum |= constant;
  }
  return sum;
}

/** A text argument: `"cubic"`, or within brackets. */
export function textOf(value: Value | undefined): string | null {
  if (value?.kind === 'string') return value.value;
  return value?.kind === 'list' && value.items.length === 1 ? textOf(value.items[0]) : null;
}

/** A field of `{name=value, …}`. */
export function fieldOf(value: Value | undefined, name: string): Value | undefined {
  return value?.kind === 'fields' ? value.fields.get(name) : undefined;
}

/** The bytes of `[{..., 1000}, {..., 500}]`. */
export function vectorLength(value: Value | undefined): number {
  if (value?.kind !== 'list') throw new Error('expected a list of {..., length}');
  return value.items.reduce(
    (sum, item) => sum + (item.kind === 'fields' ? (numberOf(item.items[1]) ?? 0) : 0),
    0,
  );
}
