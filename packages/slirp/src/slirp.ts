/**
 * User-mode NAT: what guests send on a virtual network leaves through ordinary sockets of the host, and what comes back
 * looks to the guests as if the destination had answered. Needs no privilege.
 */

import {
  Accept,
  type Clock,
  type Disconnect,
  disconnect,
  dropPacket,
  IpAddr,
  type L3Connector,
  type L3Device,
  type Packet,
  type PacketHandler,
  PktkitError,
  Prefix,
  type Random32,
  random32,
  sendL3,
  systemClock,
} from '@pktkit/core';
import type { TcpConnection, TcpListener, TcpOptions } from '@pktkit/vtcp';
import type { Context, UdpFiltering } from './context.ts';
import { Namespace } from './namespace.ts';
import { nodeSockets } from './node-sockets.ts';
import { Policy, type PolicyOptions } from './policy.ts';
import type { HostListener, SocketProvider } from './sockets.ts';
import { newStats, resolveLimits, type SlirpLimits, type SlirpStats } from './stats.ts';
import { UdpForward } from './udp-forward.ts';

export interface SlirpOptions extends PolicyOptions {
  /** slirp's own addresses with the guests' networks, such as `10.0.2.2/24`: what guests have as gateway. */
  addrs: readonly (Prefix | string)[];
  clock?: Clock | undefined;
  /** Where sockets come from; `nodeSockets()` unless told. */
  sockets?: SocketProvider | undefined;
  /** Largest IP packet to and from the guests of the device itself; 1500 unless told. */
  mtu?: number | undefined;
  /**
   * DNS on the gateway's address: `true` (the default) forwards to the host's name servers, a list to those, `false` leaves
   * port 53 alone.
   */
  dns?: boolean | readonly string[] | undefined;
  /** Milliseconds until a dial is given up; 30,000 unless told. */
  dialTimeout?: number | undefined;
  /** Idle time of a UDP mapping; 120,000 unless told (RFC 4787 REQ-5). */
  udpTimeout?: number | undefined;
  /** Idle time of a mapping that only spoke to port 53; 20,000 unless told. */
  udpDnsTimeout?: number | undefined;
  /** Who may answer a UDP mapping from outside; `'address-dependent'` unless told. */
  udpFiltering?: UdpFiltering | undefined;
  /** The host's addresses that sockets start from. */
  from?: readonly (IpAddr | string)[] | undefined;
  limits?: SlirpLimits | undefined;
  /** Defaults of the guests' TCP connections. */
  tcp?: TcpOptions | undefined;
  random?: Random32 | undefined;
}

export interface ForwardOptions {
  /** The host's address to listen on; `127.0.0.1` unless told. */
  host?: string | undefined;
  /** The host's port; 0 takes a free one. */
  port: number;
  /** The guest. */
  to: string | IpAddr;
  /** The guest's port; the host's unless told. */
  toPort?: number | undefined;
  protocol?: 'tcp' | 'udp' | undefined;
  /** The guest's namespace, by the device given to `connectL3`; slirp's own device unless told. */
  device?: L3Device | undefined;
}

export interface PortForward {
  readonly host: string;
  readonly port: number;
  close(): void;
  [Symbol.dispose](): void;
}

export interface SlirpListenOptions {
  port: number;
  /** One of slirp's addresses; all of them, and no others, unless told. */
  address?: string | IpAddr | undefined;
  /** Whose guests reach it; those of slirp's own device unless told. */
  device?: L3Device | undefined;
  backlog?: number | undefined;
  /** An established connection; set its handlers before returning. `VSocket.over` of vclient makes a stream of it. */
  onConnection: (connection: TcpConnection) => void;
}

export class Slirp implements L3Device, L3Connector {
  readonly mtu: number;
  readonly accepts: number = Accept.CHECKSUM | Accept.TSO4 | Accept.TSO6;
  readonly stats: SlirpStats = newStats();
  readonly #context: Context;
  readonly #own: Namespace;
  readonly #namespaces = new Map<L3Device, Namespace>();
  #addrs: readonly Prefix[];
  #closed = false;

  constructor(options: SlirpOptions) {
    this.mtu = checkMtu(options.mtu ?? 1500);
    this.#addrs = options.addrs.map(Prefix.from);
    if (this.#addrs.length === 0) {
      throw new PktkitError(
        'PKT_INVALID_CONFIG',
        'slirp needs at least one address of its own in `addrs`, such as 10.0.2.2/24',
      );
    }
    const provider = options.sockets ?? nodeSockets();
    const from = (options.from ?? []).map(IpAddr.from);
    const { dns = true } = options;
    const servers =
      typeof dns === 'boolean'
        ? null
        : dns.map((address) => ({ address: IpAddr.parse(address).toString(), port: 53 }));
    const self = this;
    this.#context = {
      clock: options.clock ?? systemClock,
      random: options.random ?? random32,
      provider,
      policy: new Policy(options, () => provider.hostAddresses()),
      limits: resolveLimits(options.limits ?? {}),
      stats: this.stats,
      timeouts: {
        dial: options.dialTimeout ?? 30_000,
        udp: options.udpTimeout ?? 120_000,
        dns: options.udpDnsTimeout ?? 20_000,
        dnsServer: 2000,
      },
      filtering: options.udpFiltering ?? 'address-dependent',
      from: {
        v4: from.find((address) => address.family === 4),
        v6: from.find((address) => address.family === 6),
      },
      // The guest decides when small segments leave; a guest that is gone without a word must not keep its flows for ever.
      tcp: { noDelay: true, keepAlive: true, ...options.tcp },
      servesDns: dns !== false,
      resolvers: () => servers ?? provider.resolvers(),
      get addrs() {
        return self.#addrs;
      },
    };
    this.#own = new Namespace(this.#context, this.mtu);
  }

  // --- L3Device: the guests that share slirp's own port ---

  get addrs(): readonly Prefix[] {
    return this.#addrs;
  }

  setAddrs(addrs: readonly Prefix[]): void {
    this.#addrs = [...addrs];
  }

  setHandler(handler: PacketHandler): void {
    this.#own.handler = handler;
  }

  send(packet: Packet): void {
    this.#own.input(packet);
  }

  /** Resets every flow, closes every socket of the host. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const [device, namespace] of this.#namespaces) {
      namespace.close();
      device.setHandler(dropPacket);
    }
    this.#namespaces.clear();
    this.#own.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // --- L3Connector: a namespace for each device ---

  /** Gives the device's guests a namespace of their own: their addresses may be those of any other namespace. */
  connectL3(device: L3Device): Disconnect {
    this.#throwIfClosed();
    if (this.#namespaces.has(device)) {
      throw new PktkitError('PKT_INVALID_CONFIG', 'this device is connected already');
    }
    const namespace = new Namespace(this.#context, device.mtu);
    this.#namespaces.set(device, namespace);
    namespace.handler = (packet) => sendL3(device, packet);
    device.setHandler((packet) => namespace.input(packet));
    return disconnect(() => {
      if (!this.#namespaces.delete(device)) return;
      namespace.close();
      device.setHandler(dropPacket);
    });
  }

  // --- into the guests' network ---

  /**
   * Opens a port of the host that leads to a guest. Rejects with the system's error, such as `EADDRINUSE`. TCP guests see
   * the gateway as their peer.
   */
  async forward(options: ForwardOptions): Promise<PortForward> {
    this.#throwIfClosed();
    const { host = '127.0.0.1', port, protocol = 'tcp' } = options;
    checkPort(port, 0);
    const guestPort = checkPort(options.toPort ?? port, 1);
    const guest = IpAddr.from(options.to);
    const namespace = this.#namespaceOf(options.device);
    const gateway = this.#gatewayTo(guest);
    if (protocol === 'udp')
      return this.#forwardUdp(namespace, host, port, gateway, guest, guestPort);
    const { clock, provider, stats } = this.#context;
    const listener = await provider.listen(host, port, (stream) => {
      clock.beginBatch();
      const flow = namespace.tcp.forward(stream, gateway, undefined, guest, guestPort);
      if (flow !== null) stats.forwarded++;
      clock.endBatch();
      return flow;
    });
    return this.#asForward(namespace, listener);
  }

  /** Serves guests in this process: connections to slirp's own addresses at `port`. Throws `EADDRINUSE`. */
  listen(options: SlirpListenOptions): { close(): void } {
    this.#throwIfClosed();
    checkPort(options.port, 1);
    const namespace = this.#namespaceOf(options.device);
    const wanted = options.address === undefined ? null : IpAddr.from(options.address);
    const addresses = this.#addrs
      .map((prefix) => prefix.addr)
      .filter((address) => wanted === null || address.equals(wanted));
    if (addresses.length === 0) {
      throw new PktkitError(
        'PKT_INVALID_CONFIG',
        `slirp listens on its own addresses only (${this.#addrs.join(', ')}), not on ${wanted}`,
      );
    }
    const listeners: TcpListener[] = [];
    try {
      for (const address of addresses) {
        const { port, backlog, onConnection } = options;
        listeners.push(namespace.tcp.stack.listen({ address, port, backlog, onConnection }));
      }
    } catch (error) {
      for (const listener of listeners) listener.close();
      throw error;
    }
    return {
      close: () => {
        for (const listener of listeners) listener.close();
      },
    };
  }

  // --- inside ---

  async #forwardUdp(
    namespace: Namespace,
    host: string,
    port: number,
    gateway: IpAddr,
    guest: IpAddr,
    guestPort: number,
  ): Promise<PortForward> {
    const family = IpAddr.parse(host).family;
    const forward = new UdpForward(
      this.#context,
      namespace.maker,
      namespace.forwardPorts,
      { address: host, port, family },
      gateway,
      guest,
      guestPort,
    );
    // A failure to bind is told by an event of the next turn at the latest.
    await new Promise((resolve) => setImmediate(resolve));
    if (forward.failed !== null) {
      throw Object.assign(new Error(`bind ${forward.failed} ${host}:${port}`), {
        code: forward.failed,
        syscall: 'bind',
        address: host,
        port,
      });
    }
    const bound = forward.socket.localPort;
    return this.#asForward(namespace, { address: host, port: bound, close: () => forward.close() });
  }

  #asForward(namespace: Namespace, listener: HostListener): PortForward {
    let open = true;
    const close = () => {
      if (!open) return;
      open = false;
      listener.close();
    };
    namespace.onClose(close);
    return { host: listener.address, port: listener.port, close, [Symbol.dispose]: close };
  }

  #namespaceOf(device: L3Device | undefined): Namespace {
    if (device === undefined) return this.#own;
    const namespace = this.#namespaces.get(device);
    if (namespace === undefined) {
      throw new PktkitError(
        'PKT_INVALID_CONFIG',
        'this device is not connected: call connectL3 first',
      );
    }
    return namespace;
  }

  #gatewayTo(guest: IpAddr): IpAddr {
    const near = this.#addrs.find((prefix) => prefix.contains(guest));
    const gateway = near ?? this.#addrs.find((prefix) => prefix.family === guest.family);
    if (gateway === undefined) {
      throw new PktkitError(
        'PKT_INVALID_CONFIG',
        `slirp has no IPv${guest.family} address to reach ${guest} from: add one to \`addrs\``,
      );
    }
    return gateway.addr;
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new PktkitError('PKT_CLOSED', 'this slirp has been closed');
  }
}

function checkMtu(mtu: number): number {
  if (Number.isInteger(mtu) && mtu >= 576 && mtu <= 65535) return mtu;
  throw new RangeError(`an MTU is 576 to 65535, got ${mtu}`);
}

function checkPort(port: number, lowest: number): number {
  if (Number.isInteger(port) && port >= lowest && port <= 65535) return port;
  throw new RangeError(`a port is ${lowest} to 65535, got ${port}`);
}
