/**
 * The text protocol of `wg` (https://www.wireguard.com/xplatform/): `get=1` and `set=1` requests over a local socket. Here
 * it is text in and text out; the socket is in `./node`.
 */

import { fromHex, IpAddr, PktkitError, Prefix } from '@pktkit/core';
import { type EndpointName, parseEndpoint } from './config.ts';
import type { WireGuard } from './device.ts';
import { formatKeyHex, isZero } from './keys.ts';
import { NO_ENDPOINT } from './link.ts';
import type { Peer } from './peer.ts';

/** What the protocol can change besides the device itself. */
export interface UapiPort {
  /** The UDP port in use. */
  readonly listenPort: number;
  readonly fwMark: number;
  /** Moves to another port; 0 for any. Rejects when it is not to be had. */
  setListenPort(port: number): Promise<void>;
  setFwMark(mark: number): void;
}

/** Error numbers that `wg` prints by their names: negative, as Linux has them. */
const OK = 0;
const EPERM = -1;
const EIO = -5;
const EINVAL = -22;
const EPROTO = -71;
const EOPNOTSUPP = -95;
const EADDRINUSE = -98;

/** A request is a device's whole configuration; 10,000 peers are about 2 MB. */
export const MAX_REQUEST: number = 64 * 1024 * 1024;

interface PeerChange {
  readonly publicKey: Uint8Array;
  remove: boolean;
  updateOnly: boolean;
  presharedKey: Uint8Array | null;
  endpoint: EndpointName | null;
  persistentKeepalive: number | null;
  replaceAllowedIps: boolean;
  readonly allowedIps: Array<{ prefix: Prefix; remove: boolean }>;
}

interface Change {
  privateKey: Uint8Array | null;
  listenPort: number | null;
  fwMark: number | null;
  replacePeers: boolean;
  readonly peers: PeerChange[];
}

/** Answers one request, from its first line to (without) the empty line that ends it. Never rejects. */
export async function answerUapi(
  device: WireGuard,
  port: UapiPort,
  request: string,
): Promise<string> {
  const [first, ...lines] = request.replace(/\n+$/, '').split('\n');
  switch (first) {
    case 'get=1':
      return `${describe(device, port)}errno=${OK}\n\n`;
    case 'set=1':
      return `errno=${await applyChange(device, port, parseChange(lines))}\n\n`;
    default:
      return `errno=${EPROTO}\n\n`;
  }
}

function describe(device: WireGuard, port: UapiPort): string {
  const out: string[] = [];
  const { identity } = device;
  const privateKey = identity.exportPrivateKey();
  out.push(`private_key=${formatKeyHex(privateKey)}`, `listen_port=${port.listenPort}`);
  privateKey.fill(0);
  if (port.fwMark !== 0) out.push(`fwmark=${port.fwMark}`);
  for (const peer of identity.peers.values()) out.push(...describePeer(peer));
  return `${out.join('\n')}\n`;
}

function describePeer(peer: Peer): string[] {
  const { stats } = peer;
  const psk = peer.presharedKey;
  const seconds = Math.floor(stats.lastHandshake / 1000);
  const nanos = Math.floor((stats.lastHandshake - seconds * 1000) * 1e6);
  const out = [
    `public_key=${formatKeyHex(peer.publicKey)}`,
    `preshared_key=${formatKeyHex(psk)}`,
    'protocol_version=1',
  ];
  psk.fill(0);
  const endpoint = peer.endpointText;
  if (endpoint !== null) out.push(`endpoint=${endpoint}`);
  out.push(
    `last_handshake_time_sec=${seconds}`,
    `last_handshake_time_nsec=${nanos}`,
    `tx_bytes=${stats.txBytes}`,
    `rx_bytes=${stats.rxBytes}`,
    `persistent_keepalive_interval=${peer.persistentKeepalive}`,
  );
  for (const prefix of peer.allowedIps) out.push(`allowed_ip=${prefix}`);
  return out;
}

/** Reads all of a request before anything is changed; null when any line of it is not valid. */
function parseChange(lines: readonly string[]): Change | null {
  const change: Change = {
    privateKey: null,
    listenPort: null,
    fwMark: null,
    replacePeers: false,
    peers: [],
  };
  let peer: PeerChange | null = null;
  for (const line of lines) {
    const equals = line.indexOf('=');
    if (equals < 0) return null;
    const key = line.slice(0, equals);
    const value = line.slice(equals + 1);
    if (key === 'public_key') {
      const publicKey = readKey(value);
      if (publicKey === null) return null;
      peer = newPeerChange(publicKey);
      change.peers.push(peer);
    } else if (peer === null ? !readDevice(change, key, value) : !readPeer(peer, key, value)) {
      return null;
    }
  }
  return change;
}

function newPeerChange(publicKey: Uint8Array): PeerChange {
  return {
    publicKey,
    remove: false,
    updateOnly: false,
    presharedKey: null,
    endpoint: null,
    persistentKeepalive: null,
    replaceAllowedIps: false,
    allowedIps: [],
  };
}

function readDevice(change: Change, key: string, value: string): boolean {
  switch (key) {
    case 'private_key':
      change.privateKey = readKey(value);
      return change.privateKey !== null;
    case 'listen_port':
      change.listenPort = readInteger(value, 65535);
      return change.listenPort !== null;
    case 'fwmark':
      change.fwMark = value === '' ? 0 : readInteger(value, 0xffffffff);
      return change.fwMark !== null;
    case 'replace_peers':
      change.replacePeers = true;
      return value === 'true';
    default:
      return false;
  }
}

function readPeer(peer: PeerChange, key: string, value: string): boolean {
  switch (key) {
    case 'remove':
      peer.remove = true;
      return value === 'true';
    case 'update_only':
      peer.updateOnly = true;
      return value === 'true';
    case 'preshared_key':
      peer.presharedKey = readKey(value);
      return peer.presharedKey !== null;
    case 'endpoint':
      peer.endpoint = readEndpoint(value);
      return peer.endpoint !== null;
    case 'persistent_keepalive_interval':
      peer.persistentKeepalive = readInteger(value, 65535);
      return peer.persistentKeepalive !== null;
    case 'replace_allowed_ips':
      peer.replaceAllowedIps = true;
      return value === 'true';
    case 'allowed_ip': {
      const remove = value.startsWith('-');
      try {
        const prefix = Prefix.parse(/^[+-]/.test(value) ? value.slice(1) : value);
        peer.allowedIps.push({ prefix, remove });
        return true;
      } catch {
        return false;
      }
    }
    case 'protocol_version':
      return value === '1';
    default:
      return false;
  }
}

async function applyChange(
  device: WireGuard,
  port: UapiPort,
  change: Change | null,
): Promise<number> {
  if (change === null) return EINVAL;
  try {
    if (change.listenPort !== null && change.listenPort !== port.listenPort) {
      await port.setListenPort(change.listenPort);
    }
  } catch {
    return EADDRINUSE;
  }
  try {
    if (change.fwMark !== null) port.setFwMark(change.fwMark);
  } catch (error) {
    return (error as { code?: unknown }).code === 'EPERM' ? EPERM : EOPNOTSUPP;
  }
  try {
    const { identity } = device;
    if (change.privateKey !== null) {
      // A device of ours always has a key: the zero key, which would take it away, is refused.
      if (isZero(change.privateKey)) return EINVAL;
      identity.setPrivateKey(change.privateKey);
      change.privateKey.fill(0);
    }
    if (change.replacePeers) {
      for (const peer of [...identity.peers.values()]) device.removePeer(peer);
    }
    for (const peer of change.peers) applyPeer(device, peer);
    return OK;
  } catch {
    return EIO;
  }
}

function applyPeer(device: WireGuard, change: PeerChange): void {
  const { identity } = device;
  let peer = identity.peer(change.publicKey);
  if (change.remove) {
    if (peer !== undefined) device.removePeer(peer);
    return;
  }
  if (peer === undefined) {
    // As Linux does, our own key is passed over, so that all hosts may be given one list of peers.
    if (change.updateOnly || formatKeyHex(change.publicKey) === formatKeyHex(identity.publicKey)) {
      return;
    }
    peer = device.addPeer({ publicKey: change.publicKey });
  }
  if (change.presharedKey !== null) {
    peer.setPresharedKey(change.presharedKey);
    change.presharedKey.fill(0);
  }
  if (change.replaceAllowedIps) device.setAllowedIps(peer, []);
  for (const { prefix, remove } of change.allowedIps) {
    if (remove) device.disallowIp(peer, prefix);
    else device.allowIp(peer, prefix);
  }
  if (change.endpoint !== null) {
    const endpoint = device.link.intern(change.endpoint.host, change.endpoint.port);
    if (endpoint === NO_ENDPOINT) throw new PktkitError('WG_INVALID_CONFIG', 'no way to there');
    peer.setEndpoint(endpoint);
  }
  if (change.persistentKeepalive !== null) peer.setPersistentKeepalive(change.persistentKeepalive);
}

function readKey(value: string): Uint8Array | null {
  return /^[0-9a-fA-F]{64}$/.test(value) ? fromHex(value) : null;
}

function readInteger(value: string, max: number): number | null {
  if (!/^[0-9]{1,10}$/.test(value)) return null;
  const number = Number(value);
  return number <= max ? number : null;
}

/** An address: names are looked up by `wg`. */
function readEndpoint(value: string): EndpointName | null {
  const name = parseEndpoint(value);
  return name === null || IpAddr.tryParse(name.host.split('%', 1)[0]) === null ? null : name;
}
