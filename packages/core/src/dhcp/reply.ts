/** A server's answers: where they go, and which options they carry (RFC 2131 §4.1, §4.3). */

import { get16 } from '../bytes.ts';
import type { IpAddr } from '../ip.ts';
import { MacAddr } from '../mac.ts';
import {
  DHCP_CLIENT_PORT,
  DHCP_SERVER_PORT,
  type DhcpMessage,
  DhcpOption,
  DhcpType,
  writeDhcp,
} from '../wire/dhcp.ts';
import { ETHERNET_HEADER, EtherType, writeEthernet } from '../wire/ethernet.ts';
import { DATAGRAM_HEADERS, MAX_MESSAGE, writeDatagram4 } from './datagram.ts';
import type { StaticLease } from './options.ts';

/** What is the same in every answer. */
export interface ReplyIdentity {
  readonly address: IpAddr;
  readonly mac: MacAddr;
  /** Options by code, encoded. */
  readonly network: ReadonlyMap<number, Uint8Array>;
  readonly staticLeases: readonly StaticLease[];
}

/** Bytes that a buffer for `writeReply` must hold. */
export const MAX_REPLY: number = ETHERNET_HEADER + DATAGRAM_HEADERS + MAX_MESSAGE;

const BROADCAST_MAC = 0xffffffffffff;

/**
 * Writes the frame that answers `message` and gives its length. `station` is the Ethernet address that the message came from,
 * `id` the IP identification.
 */
export function writeReply(
  buf: Uint8Array,
  off: number,
  identity: ReplyIdentity,
  message: DhcpMessage,
  type: DhcpType,
  yiaddr: number,
  station: number,
  id: number,
): number {
  const nak = type === DhcpType.NAK;
  let ip = yiaddr;
  let mac = message.mac;
  let port = DHCP_CLIENT_PORT;
  if (message.giaddr !== 0) {
    ip = message.giaddr;
    // The relay, or the router towards it, has sent us the request.
    mac = station;
    port = DHCP_SERVER_PORT;
  } else if (nak) {
    ip = 0xffffffff;
    mac = BROADCAST_MAC;
  } else if (message.ciaddr !== 0) {
    ip = message.ciaddr;
    mac = station;
  } else if (message.broadcast) {
    ip = 0xffffffff;
    mac = BROADCAST_MAC;
  }
  const at = off + ETHERNET_HEADER;
  const limit = Math.min(MAX_MESSAGE, Math.max(548, maxSize(message)));
  const len = writeDhcp(buf, at + DATAGRAM_HEADERS, limit, {
    op: 2,
    type,
    xid: message.xid,
    hops: 0,
    secs: 0,
    // RFC 2131 §4.3.2: through a relay, a NAK has to be broadcast by the relay.
    broadcast: message.broadcast || (nak && message.giaddr !== 0),
    ciaddr: type === DhcpType.ACK ? message.ciaddr : 0,
    yiaddr,
    siaddr: 0,
    giaddr: message.giaddr,
    mac: message.mac,
    options: replyOptions(identity, message, type, yiaddr),
  });
  const src = identity.address.v4;
  const total = writeDatagram4(buf, at, src, ip, DHCP_SERVER_PORT, port, len, id);
  writeEthernet(buf, off, mac, identity.mac.value, EtherType.IPV4);
  return ETHERNET_HEADER + total;
}

function replyOptions(
  identity: ReplyIdentity,
  message: DhcpMessage,
  type: DhcpType,
  yiaddr: number,
): Map<number, Uint8Array> {
  const { network } = identity;
  const options = new Map<number, Uint8Array>();
  options.set(DhcpOption.SERVER_ID, identity.address.toBytes());
  // RFC 6842 §3: the client's identifier goes back unchanged.
  const clientId = message.options.get(DhcpOption.CLIENT_ID);
  if (type !== DhcpType.NAK) {
    const asked = message.options.get(DhcpOption.PARAMETER_LIST);
    const always = [DhcpOption.LEASE_TIME, DhcpOption.SUBNET_MASK];
    // In the client's order of preference, in case not all fit (RFC 2132 §9.8).
    const codes = asked === undefined ? [...network.keys()] : [...always, ...asked];
    for (const code of codes) {
      const value = network.get(code);
      const timing = code === 51 || code === 58 || code === 59;
      // An INFORM is answered without lease times (RFC 2131 §4.3.5).
      if (value !== undefined && !(timing && yiaddr === 0)) options.set(code, value);
    }
    if (asked === undefined || asked.includes(DhcpOption.RENEWAL_TIME) || yiaddr !== 0) {
      for (const code of [DhcpOption.RENEWAL_TIME, DhcpOption.REBINDING_TIME]) {
        const value = network.get(code);
        if (value !== undefined && yiaddr !== 0) options.set(code, value);
      }
    }
    const host = staticHostname(identity.staticLeases, message);
    if (host !== undefined) {
      options.set(
        DhcpOption.HOST_NAME,
        Uint8Array.from(host, (char) => char.charCodeAt(0)),
      );
    }
  }
  if (clientId !== undefined) options.set(DhcpOption.CLIENT_ID, clientId);
  // RFC 3046 §2.2: a relay's information goes back as it came, last.
  const relay = message.options.get(DhcpOption.RELAY_AGENT);
  if (relay !== undefined) options.set(DhcpOption.RELAY_AGENT, relay);
  return options;
}

function staticHostname(leases: readonly StaticLease[], message: DhcpMessage): string | undefined {
  return leases.find(
    (lease) => lease.mac !== undefined && MacAddr.from(lease.mac).value === message.mac,
  )?.hostname;
}

/** What the client says it takes (option 57), less the headers. */
function maxSize(message: DhcpMessage): number {
  const value = message.options.get(DhcpOption.MAX_SIZE);
  return value === undefined || value.length !== 2 ? 548 : get16(value, 0) - DATAGRAM_HEADERS;
}
