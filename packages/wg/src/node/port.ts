/** A UDP port with WireGuard on it: hostio's socket, an engine, and what a host adds: names, the control socket. */

import { type Clock, type IpAddr, PktkitError, systemClock } from '@pktkit/core';
import type { CryptoProvider } from '@pktkit/crypto';
import { provider } from '@pktkit/crypto/node';
import { bindUdp, type UdpOptions, type UdpSocket, type UdpStats } from '@pktkit/hostio';
import { type EndpointName, parseConfig, parseEndpoint, type WgConfig } from '../config.ts';
import type { Timings } from '../constants.ts';
import { type AllowedPeerOptions, WireGuard, type WireGuardOptions } from '../device.ts';
import { Engine } from '../engine.ts';
import type { EngineLimits } from '../engine-core.ts';
import type { IdentityEvents } from '../identity.ts';
import { NO_ENDPOINT } from '../link.ts';
import type { Peer } from '../peer.ts';
import { PeerNetworks, type PeerNetworksOptions } from '../peer-networks.ts';
import type { EngineStats } from '../stats.ts';
import type { UapiPort } from '../uapi.ts';
import { EndpointNames, type Lookup } from './names.ts';
import { UapiServer, type UapiServerOptions } from './uapi-server.ts';
import { UdpLink } from './udp-link.ts';

/** The socket's options; what the engine decides itself is left out. */
type SocketOptions = Pick<
  UdpOptions,
  | 'address'
  | 'port'
  | 'io'
  | 'ipv6Only'
  | 'reusePort'
  | 'receiveBuffer'
  | 'sendBuffer'
  | 'dontFragment'
  | 'netns'
  | 'maxPeers'
>;

export interface ListenOptions extends SocketOptions {
  clock?: Clock | undefined;
  /** The fastest of this machine unless told. */
  crypto?: CryptoProvider | undefined;
  limits?: Partial<EngineLimits> | undefined;
  /** Mark of the datagrams sent, for routing rules, as `FwMark` of a file; needs CAP_NET_ADMIN. None unless told. */
  fwMark?: number | undefined;
  /** Finds the addresses of a name; the system's resolver unless told. */
  lookup?: Lookup | undefined;
  /** For tests only: other times than the protocol's. */
  testTimings?: Partial<Timings> | undefined;
}

/** A peer whose endpoint is given as people write it: `vpn.example:51820`, `[2001:db8::1]:51820`. */
export interface NamedPeerOptions extends Omit<AllowedPeerOptions, 'endpoint'> {
  endpoint?: EndpointName | string | undefined;
}

export interface PortDeviceOptions extends Omit<WireGuardOptions, 'peers'> {
  peers?: readonly NamedPeerOptions[] | undefined;
}

export class WireGuardPort implements UapiPort {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly #link: UdpLink;
  readonly #names: EndpointNames;
  readonly #options: ListenOptions;
  #fwMark: number;
  readonly #servers = new Set<UapiServer>();
  readonly #receive: UdpOptions['onReceive'];
  #closed = false;

  /** Made by `listen`. */
  constructor(socket: UdpSocket, engine: Engine, link: UdpLink, options: ListenOptions) {
    this.engine = engine;
    this.clock = engine.clock;
    this.#link = link;
    this.#options = options;
    this.#fwMark = options.fwMark ?? 0;
    this.#names = new EndpointNames(link, options.lookup);
    this.#receive = receiver(engine);
    socket.ref();
  }

  /** The UDP port in use. */
  get listenPort(): number {
    return this.#link.socket.port;
  }

  get address(): IpAddr {
    return this.#link.socket.address;
  }

  /** `batched` or `portable`. */
  get io(): UdpSocket['io'] {
    return this.#link.socket.io;
  }

  get stats(): Readonly<EngineStats> {
    return this.engine.stats;
  }

  get udpStats(): Readonly<UdpStats> {
    return this.#link.socket.stats;
  }

  /** Mark of the datagrams sent, for routing rules; 0 for none. */
  get fwMark(): number {
    return this.#fwMark;
  }

  /** Throws `EPERM` without CAP_NET_ADMIN, and `PKT_UNSUPPORTED` where `io` is `portable`. */
  setFwMark(mark: number): void {
    if (mark === this.#fwMark) return;
    this.#link.socket.setMark(mark);
    this.#fwMark = mark;
  }

  /** Adds an interface whose peers share it, routed by their allowed IPs. */
  device(options: PortDeviceOptions): WireGuard {
    const { peers = [], ...rest } = options;
    const device = new WireGuard(this.engine, { ...rest, events: this.#events(rest.events) });
    try {
      for (const peer of peers) this.addPeer(device, peer);
    } catch (error) {
      device.close();
      throw error;
    }
    return device;
  }

  /** Adds the interface that a wg-quick file describes. Its ListenPort, FwMark, DNS and commands are not looked at. */
  deviceOf(config: WgConfig | string, options: Partial<PortDeviceOptions> = {}): WireGuard {
    const { interface: own, peers } = typeof config === 'string' ? parseConfig(config) : config;
    if (own.privateKey === undefined) {
      throw new PktkitError('WG_INVALID_CONFIG', '[Interface] needs a PrivateKey');
    }
    return this.device({
      privateKey: own.privateKey,
      addresses: own.address,
      mtu: own.mtu,
      peers,
      ...options,
    });
  }

  /** Adds an interface each of whose peers has a network of its own. */
  networks(options: PeerNetworksOptions): PeerNetworks {
    return new PeerNetworks(this.engine, { ...options, events: this.#events(options.events) });
  }

  /** Adds a peer; a name that cannot be looked up yet is tried again with each handshake. */
  addPeer(device: WireGuard, options: NamedPeerOptions): Peer {
    const { endpoint, persistentKeepalive, ...rest } = options;
    const name = typeof endpoint === 'string' ? readEndpoint(endpoint) : endpoint;
    const peer = device.addPeer(rest);
    try {
      if (name !== undefined && !this.#names.setAddress(peer, name)) {
        this.#names.set(peer, name).catch(() => {});
      }
      if (persistentKeepalive !== undefined) peer.setPersistentKeepalive(persistentKeepalive);
    } catch (error) {
      device.removePeer(peer);
      throw error;
    }
    return peer;
  }

  /** Settles when the endpoint is set; rejects when its name cannot be looked up now. An address is set at once. */
  setEndpoint(peer: Peer, endpoint: EndpointName | string): Promise<void> {
    const name = typeof endpoint === 'string' ? readEndpoint(endpoint) : endpoint;
    return this.#names.set(peer, name);
  }

  /** The configured name of a peer's endpoint; undefined when it was given as an address or not at all. */
  endpointName(peer: Peer): EndpointName | undefined {
    return this.#names.nameOf(peer);
  }

  /**
   * Lets the stock `wg` see and change a device: `wg show NAME`, `wg set NAME …`. The socket is
   * `/var/run/wireguard/NAME.sock` unless told.
   */
  async serveUapi(device: WireGuard, options: UapiServerOptions): Promise<UapiServer> {
    const server = await UapiServer.open(device, this, options);
    this.#servers.add(server);
    void server.closed.then(() => this.#servers.delete(server));
    return server;
  }

  /** Moves to another UDP port, 0 for any; tunnels go on. Rejects, and stays, when it is taken. */
  async setListenPort(port: number): Promise<void> {
    if (this.#closed) throw new PktkitError('PKT_CLOSED', 'this WireGuard port was closed');
    const next = await bind({ ...this.#options, port, fwMark: this.#fwMark }, this.#receive);
    if (this.#closed) {
      next.close();
      throw new PktkitError('PKT_CLOSED', 'this WireGuard port was closed');
    }
    const old = this.#link.socket;
    const targets: Array<[Peer, string]> = [];
    for (const identity of this.engine.identities) {
      for (const peer of identity.peers.values()) {
        if (peer.endpoint === NO_ENDPOINT) continue;
        targets.push([peer, old.formatPeer(peer.endpoint)]);
        peer.setEndpoint(NO_ENDPOINT);
      }
    }
    this.engine.forgetRequests();
    this.#link.socket = next;
    for (const [peer, text] of targets) {
      const { host, port: at } = readEndpoint(text);
      peer.setEndpoint(this.#link.intern(host, at));
    }
    next.ref();
    old.close();
  }

  /** Closes every interface, the control sockets and the UDP socket. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const server of this.#servers) server.close();
    this.engine.close();
    this.#link.socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #events(events: IdentityEvents = {}): IdentityEvents {
    return {
      ...events,
      onRetry: (peer, attempts) => {
        this.#names.retry(peer);
        events.onRetry?.(peer, attempts);
      },
      onRemoved: (peer) => {
        this.#names.forget(peer);
        events.onRemoved?.(peer);
      },
    };
  }
}

/**
 * Opens a UDP port for WireGuard. Port 51820 unless told; 0 for any.
 *
 * @example
 * const port = await listen({ port: 51820 });
 * const wg = port.deviceOf(readFileSync('wg0.conf', 'utf8'));
 * connectL3(wg, await openTun({ name: 'wg0' }));
 */
export async function listen(options: ListenOptions = {}): Promise<WireGuardPort> {
  let receive: UdpOptions['onReceive'] = () => {};
  const all = { port: DEFAULT_PORT, ...options };
  const socket = await bind(all, (buf, off, len, from, tos) => receive(buf, off, len, from, tos));
  const link = new UdpLink(socket);
  const engine = new Engine({
    clock: options.clock ?? systemClock,
    provider: options.crypto ?? provider(),
    link,
    limits: options.limits,
    testTimings: options.testTimings,
  });
  receive = receiver(engine);
  return new WireGuardPort(socket, engine, link, all);
}

const DEFAULT_PORT = 51820;

function receiver(engine: Engine): UdpOptions['onReceive'] {
  return (buf, off, len, from, tos) => engine.handleDatagram(buf, off, len, from, tos);
}

function bind(options: ListenOptions, onReceive: UdpOptions['onReceive']): Promise<UdpSocket> {
  const { clock, crypto, fwMark, limits, lookup, testTimings, ...socket } = options;
  // Also 0 asks for a privilege.
  const mark = fwMark === 0 ? undefined : fwMark;
  return bindUdp({ ...socket, mark, clock, onReceive });
}

function readEndpoint(text: string): EndpointName {
  const name = parseEndpoint(text);
  if (name !== null) return name;
  throw new PktkitError(
    'WG_INVALID_CONFIG',
    `expected an endpoint as host:port or [IPv6 address]:port, got ${JSON.stringify(text)}`,
  );
}
