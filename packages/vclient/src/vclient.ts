/**
 * A host on a virtual network: an IP device with a TCP stack, UDP, ICMP and DNS behind it, and sockets as Node knows them in
 * front.
 */

import type { AgentOptions, Agent as HttpAgent } from 'node:http';
import type { Agent as HttpsAgent, AgentOptions as HttpsAgentOptions } from 'node:https';
import {
  Accept,
  type Clock,
  dropPacket,
  IcmpType,
  Icmpv6Type,
  IpAddr,
  icmp,
  type L3Device,
  type Packet,
  type PacketHandler,
  PktkitError,
  Prefix,
  type Random32,
  type ReassemblerStats,
  random32,
  systemClock,
  UDP_HEADER,
  udp,
} from '@pktkit/core';
import {
  type TcpConnection,
  TcpError,
  type TcpOptions,
  TcpStack,
  type TcpStackLimits,
} from '@pktkit/vtcp';
import { families, isOwn, sourceFor } from './addresses.ts';
import { VHttpAgent, VHttpsAgent } from './agent.ts';
import { type DnsServer, Resolver, type ResolverOptions } from './dns/resolver.ts';
import { dnsTransport } from './dns/transport.ts';
import { abortReason, socketError } from './errors.ts';
import { Eyeballs } from './happy-eyeballs.ts';
import {
  echoWord,
  errorCode,
  Pinger,
  type PingOptions,
  type PingReply,
  quoted,
  udpFault,
} from './icmp.ts';
import { IpLayer, MAX_UDP4, MAX_UDP6 } from './ip-layer.ts';
import { PortTable } from './ports.ts';
import { newStats, type VClientStats } from './stats.ts';
import { type UdpSocketOptions, VUdpSocket } from './udp-socket.ts';
import { VServer } from './vserver.ts';
import { VSocket } from './vsocket.ts';

export interface VClientOptions {
  clock?: Clock | undefined;
  /** Addresses with their networks, as `192.0.2.7/24` or values; both families, any number. */
  addrs?: readonly (Prefix | string)[] | undefined;
  /** Name servers: addresses, or values with a port. */
  dns?: readonly (DnsServer | IpAddr | string)[] | undefined;
  /** Largest IP packet; 1500 unless told. */
  mtu?: number | undefined;
  /** Timeouts, search list, hosts table and cache of the resolver. */
  resolver?: ResolverOptions | undefined;
  /** Defaults of every TCP connection. */
  tcp?: TcpOptions | undefined;
  /** Bounds of the TCP stack. */
  limits?: TcpStackLimits | undefined;
  /** UDP sockets at a time; 16,384 unless told. */
  udpSockets?: number | undefined;
  /** Source of ports, ids and sequence numbers; the system's secure one unless told. */
  random?: Random32 | undefined;
}

export interface ConnectOptions {
  /** A name or an address. */
  host: string | IpAddr;
  port: number;
  /** 4 or 6 restricts names to that family; 0, both, unless told. */
  family?: 0 | 4 | 6 | undefined;
  localAddress?: string | IpAddr | undefined;
  localPort?: number | undefined;
  /** Destroys the socket, connected or not. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the attempt fails with `ETIMEDOUT`; TCP's own patience unless told. */
  timeout?: number | undefined;
  allowHalfOpen?: boolean | undefined;
  highWaterMark?: number | undefined;
  tcp?: TcpOptions | undefined;
}

export interface ListenOptions {
  /** An address of this host; every address of both families unless told. */
  host?: string | IpAddr | undefined;
  /** 0, the default, takes a free one. */
  port?: number | undefined;
  /** Connections that wait to be accepted; 128 unless told. */
  backlog?: number | undefined;
  allowHalfOpen?: boolean | undefined;
  highWaterMark?: number | undefined;
}

export interface UdpOptions extends UdpSocketOptions {
  /** Local address; every address of both families unless told. */
  address?: string | IpAddr | undefined;
  /** Local port; 0, the default, takes a free one at random. */
  port?: number | undefined;
  /** Connects the socket: it sends to and hears from this peer only. */
  remote?: { readonly address: string | IpAddr; readonly port: number } | undefined;
}

/** What a lease or a router advertisement has brought, beside addresses. */
export interface NameConfig {
  dns?: readonly (DnsServer | IpAddr | string)[] | undefined;
  search?: readonly string[] | undefined;
}

export class VClient implements L3Device {
  readonly mtu: number;
  readonly accepts: number = Accept.CHECKSUM | Accept.TSO4 | Accept.TSO6;
  readonly clock: Clock;
  readonly stats: VClientStats = newStats();
  /** The TCP engine, for its `stats`. */
  readonly tcp: TcpStack;
  readonly resolver: Resolver;
  readonly #ip: IpLayer;
  readonly #random: Random32;
  readonly #udp: PortTable<VUdpSocket>;
  readonly #udpLimit: number;
  readonly #pinger: Pinger;
  readonly #sockets = new Set<VSocket>();
  readonly #servers = new Set<VServer>();
  readonly #tcpDefaults: TcpOptions;
  #closed = false;

  constructor(options: VClientOptions = {}) {
    this.clock = options.clock ?? systemClock;
    this.mtu = options.mtu ?? 1500;
    if (!Number.isInteger(this.mtu) || this.mtu < 576 || this.mtu > 65535) {
      throw new RangeError(`an MTU is 576 to 65535, got ${options.mtu}`);
    }
    this.#random = options.random ?? random32;
    this.#udpLimit = options.udpSockets ?? 16_384;
    this.#udp = new PortTable(this.#random);
    this.#pinger = new Pinger(this.clock, this.#random);
    this.#tcpDefaults = options.tcp ?? {};
    this.#ip = new IpLayer({
      mtu: this.mtu,
      stats: this.stats,
      random: this.#random,
      clock: this.clock,
      handlers: {
        tcp: (packet) => this.tcp.handlePacket(packet),
        udp: (packet, at, len) => this.#onUdp(packet, at, len),
        icmp: (packet, at, len) => this.#onIcmp(packet, at, len),
      },
    });
    this.tcp = new TcpStack({
      clock: this.clock,
      output: (packet) => this.#ip.transmit(packet),
      random: this.#random,
      mtu: this.mtu,
      limits: options.limits,
      defaults: this.#tcpDefaults,
    });
    const transport = dnsTransport({
      clock: this.clock,
      openUdp: (server, udpOptions) => this.udp({ ...udpOptions, remote: server }),
      openTcp: (address, port) => this.#openTcp(address, port, {}),
    });
    this.resolver = new Resolver(
      this.clock,
      transport,
      () => families(this.addrs),
      options.resolver,
      this.#random,
    );
    if (options.dns !== undefined) this.configure({ dns: options.dns });
    if (options.addrs !== undefined) this.setAddrs(options.addrs.map(Prefix.from));
  }

  // --- L3Device ---

  get addrs(): readonly Prefix[] {
    return this.#ip.addrs;
  }

  /** What became of fragments. */
  get reassembly(): ReassemblerStats {
    return this.#ip.reassembler.stats;
  }

  /** Replaces the addresses; connections and UDP sockets bound to one that is gone end with `ECONNABORTED`. */
  setAddrs(addrs: readonly Prefix[]): void {
    this.#ip.addrs = [...addrs];
    for (const socket of [...this.#sockets]) {
      const connection = socket.tcp;
      // The socket hears of it from its connection.
      if (connection !== null && !isOwn(addrs, connection.local)) connection.abort();
    }
    for (const socket of this.#udp.values()) {
      if (socket.localAddress !== null && !isOwn(addrs, socket.localAddress))
        socket.fail('ENETDOWN');
    }
  }

  /** Name servers and search list, as a DHCP lease or a router advertisement brings them. What is not given stays. */
  configure(config: NameConfig): void {
    if (config.dns !== undefined) this.resolver.servers = config.dns.map(readServer);
    if (config.search !== undefined) this.resolver.search = [...config.search];
  }

  setHandler(handler: PacketHandler): void {
    this.#ip.output = handler;
  }

  send(packet: Packet): void {
    if (this.#closed) {
      this.stats.dropClosed++;
      return;
    }
    this.#ip.input(packet);
  }

  /** Resets every connection, frees every port. Idempotent. */
  close(): void {
    if (this.#closed) return;
    for (const server of [...this.#servers]) void server.close();
    for (const socket of [...this.#sockets]) {
      // Who waits for a connection must hear that none will come; who closes with open sockets knows it.
      if (socket.connecting) socket.destroy(socketError('ECONNABORTED', 'connect'));
      else socket.resetAndDestroy();
    }
    for (const socket of this.#udp.values()) socket.close();
    this.#pinger.close();
    this.tcp.close();
    this.#ip.reassembler.clear();
    this.#closed = true;
    this.#ip.output = dropPacket;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // --- TCP ---

  /** Starts to connect; the socket tells by `'connect'` or `'error'`. Names are looked up in both families (RFC 8305). */
  connect(options: ConnectOptions): VSocket {
    this.#throwIfClosed();
    const { host, port, signal, family = 0 } = options;
    checkPort(port, 1);
    const { allowHalfOpen, highWaterMark } = options;
    const socket = new VSocket({ clock: this.clock, allowHalfOpen, highWaterMark });
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (signal?.aborted) {
      socket.destroy(abortReason(signal));
      return socket;
    }
    if (signal !== undefined) {
      const onAbort = () => socket.destroy(abortReason(signal));
      signal.addEventListener('abort', onAbort, { once: true });
      socket.once('close', () => signal.removeEventListener('abort', onAbort));
    }
    const local =
      options.localAddress === undefined ? undefined : IpAddr.from(options.localAddress);
    const eyeballs = new Eyeballs<TcpConnection>({
      clock: this.clock,
      lookups: this.#lookups(host, local?.family ?? family),
      start: (address, onConnected, onFailed) => {
        const connection = this.#openTcp(address, port, { ...options, localAddress: local });
        connection.onConnected = () => onConnected(connection);
        connection.onClosed = (error) =>
          onFailed(socketError(error?.code ?? 'ECONNABORTED', 'connect', address, port));
        return {
          abort: () => {
            connection.onClosed = () => {};
            connection.abort();
          },
        };
      },
      onConnected: (connection) => {
        deadline.cancel();
        socket.attach(connection);
        socket.announce();
      },
      onFailed: (error) => {
        deadline.cancel();
        socket.destroy(error ?? socketError('ENETUNREACH', 'connect', String(host), port));
      },
    });
    const deadline = this.clock.timer(() =>
      socket.destroy(socketError('ETIMEDOUT', 'connect', String(host), port)),
    );
    if (options.timeout !== undefined) deadline.arm(this.clock.now + options.timeout);
    socket.onCancelConnect(() => {
      deadline.cancel();
      eyeballs.cancel();
    });
    return socket;
  }

  /** Listens at once; throws `EADDRINUSE` or `EADDRNOTAVAIL`. */
  listen(options: ListenOptions = {}): VServer {
    this.#throwIfClosed();
    const { host, backlog = 128, allowHalfOpen, highWaterMark } = options;
    const address = anyAsNull(host);
    if (address !== null && !isOwn(this.addrs, address)) {
      throw socketError('EADDRNOTAVAIL', 'listen', address, options.port);
    }
    const open = (port: number) =>
      new VServer({
        clock: this.clock,
        stack: this.tcp,
        address,
        port,
        backlog,
        allowHalfOpen,
        highWaterMark,
        onSocket: (socket) => {
          this.#sockets.add(socket);
          socket.once('close', () => this.#sockets.delete(socket));
        },
        onClose: () => this.#servers.delete(server),
      });
    const server =
      checkPort(options.port ?? 0, 0) === 0 ? this.#onFreePort(open) : open(options.port as number);
    this.#servers.add(server);
    return server;
  }

  // --- UDP ---

  /** Opens a UDP socket; throws `EADDRINUSE`, `EADDRNOTAVAIL`, `ENETUNREACH` or `ENOBUFS`. */
  udp(options: UdpOptions = {}): VUdpSocket {
    this.#throwIfClosed();
    const { remote } = options;
    const remoteAddress = remote === undefined ? null : IpAddr.from(remote.address);
    let localAddress = anyAsNull(options.address);
    if (localAddress !== null && !isOwn(this.addrs, localAddress)) {
      throw socketError('EADDRNOTAVAIL', 'bind', localAddress, options.port);
    }
    if (remoteAddress !== null) {
      localAddress ??= sourceFor(this.addrs, remoteAddress);
      if (localAddress === null) {
        throw socketError('ENETUNREACH', 'connect', remoteAddress, remote?.port);
      }
    }
    const wanted = checkPort(options.port ?? 0, 0);
    const localPort = wanted === 0 ? this.#udp.ephemeral() : wanted;
    if (localPort === 0) throw socketError('EADDRNOTAVAIL', 'bind', localAddress ?? undefined);
    if (this.#udp.size >= this.#udpLimit) throw socketError('ENOBUFS', 'bind');
    const host = {
      clock: this.clock,
      sendUdp: (socket: VUdpSocket, data: Uint8Array, address: IpAddr, port: number) =>
        this.#sendUdp(socket, data, address, port),
      closeUdp: (socket: VUdpSocket) => this.#udp.remove(socket),
    };
    const socket = new VUdpSocket(
      host,
      { localAddress, localPort, remoteAddress, remotePort: remote?.port ?? 0 },
      options,
    );
    if (!this.#udp.add(socket)) {
      socket.close();
      throw socketError('EADDRINUSE', 'bind', localAddress ?? undefined, localPort);
    }
    return socket;
  }

  // --- names, ping, HTTP ---

  /** Addresses of a name; see `Resolver.resolve`. */
  resolve(
    hostname: string,
    options: { family?: 0 | 4 | 6 | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<IpAddr[]> {
    return this.resolver.resolve(hostname, options);
  }

  /** In the shape of `dns.lookup`. */
  get lookup(): Resolver['lookup'] {
    return this.resolver.lookup;
  }

  /** One echo request and its reply. Rejects with `ETIMEDOUT`, or with what an ICMP error said. */
  async ping(host: string | IpAddr, options: PingOptions = {}): Promise<PingReply> {
    this.#throwIfClosed();
    const address =
      typeof host === 'string'
        ? (await this.resolver.resolve(host, { family: options.family, signal: options.signal }))[0]
        : host;
    const source = sourceFor(this.addrs, address);
    if (source === null) throw socketError('ENETUNREACH', 'ping', address);
    const type = address.family === 4 ? IcmpType.ECHO_REQUEST : Icmpv6Type.ECHO_REQUEST;
    return this.#pinger.ping(address, options, (word, data) =>
      this.#ip.sendEcho(source, address, type, word, data, 0, data.length),
    );
  }

  /** An agent for `http` requests through this host. */
  agent(options: AgentOptions = {}): HttpAgent {
    return new VHttpAgent((target) => this.connect(target), options);
  }

  /** An agent for `https` requests through this host. */
  httpsAgent(options: HttpsAgentOptions = {}): HttpsAgent {
    return new VHttpsAgent((target) => this.connect(target), options);
  }

  // --- inside ---

  #throwIfClosed(): void {
    if (this.#closed) throw new PktkitError('PKT_CLOSED', 'this client has been closed');
  }

  #lookups(host: string | IpAddr, family: 0 | 4 | 6): Promise<readonly IpAddr[]>[] {
    const literal = typeof host === 'string' ? IpAddr.tryParse(host) : host;
    if (literal !== null) return [Promise.resolve([literal])];
    const name = host as string;
    const { v4, v6 } = families(this.addrs);
    const lookups: Promise<readonly IpAddr[]>[] = [];
    if (family === 6 || (family === 0 && v6)) lookups.push(this.resolver.resolveFamily(name, 6));
    if (family === 4 || (family === 0 && (v4 || !v6))) {
      lookups.push(this.resolver.resolveFamily(name, 4));
    }
    return lookups;
  }

  #openTcp(
    address: IpAddr,
    port: number,
    options: {
      localAddress?: IpAddr | undefined;
      localPort?: number | undefined;
      tcp?: TcpOptions | undefined;
    },
  ): TcpConnection {
    const local = options.localAddress ?? sourceFor(this.addrs, address);
    if (local === null) throw socketError('ENETUNREACH', 'connect', address, port);
    if (!isOwn(this.addrs, local))
      throw socketError('EADDRNOTAVAIL', 'bind', local, options.localPort);
    if (local.family !== address.family) throw socketError('EINVAL', 'connect', address, port);
    try {
      return this.tcp.connect({
        local,
        localPort: options.localPort,
        remote: address,
        remotePort: port,
        options: { ...this.#tcpDefaults, ...options.tcp },
      });
    } catch (error) {
      if (error instanceof TcpError) throw socketError(error.code, 'connect', address, port);
      throw error;
    }
  }

  #onFreePort(open: (port: number) => VServer): VServer {
    for (let tries = 0; tries < 64; tries++) {
      const port = 32768 + (this.#random() % 28232);
      try {
        return open(port);
      } catch (error) {
        if (!(error instanceof TcpError) || error.code !== 'EADDRINUSE') throw error;
      }
    }
    throw socketError('EADDRNOTAVAIL', 'listen');
  }

  #sendUdp(socket: VUdpSocket, data: Uint8Array, address: IpAddr, port: number): string | null {
    checkPort(port, 1);
    if (data.length > (address.family === 4 ? MAX_UDP4 : MAX_UDP6)) return 'EMSGSIZE';
    const source = socket.localAddress ?? sourceFor(this.addrs, address);
    if (source === null || source.family !== address.family) return 'ENETUNREACH';
    this.stats.udpOut++;
    this.#ip.sendUdp(source, socket.localPort, address, port, data);
    return null;
  }

  #onUdp(packet: Packet, at: number, len: number): void {
    const { buf } = packet;
    const { src, dst } = packet;
    const port = udp.srcPort(buf, at);
    const socket = this.#udp.find(dst, udp.dstPort(buf, at), src, port);
    if (socket === null) {
      this.stats.dropNoPort++;
      this.#ip.portUnreachable(packet);
      return;
    }
    this.stats.udpIn++;
    socket.deliver(buf, at + UDP_HEADER, len - UDP_HEADER, src, port);
  }

  #onIcmp(packet: Packet, at: number, len: number): void {
    const { buf } = packet;
    const v4 = packet.version === 4;
    const type = icmp.type(buf, at);
    if (type === (v4 ? IcmpType.ECHO_REQUEST : Icmpv6Type.ECHO_REQUEST)) {
      // A request to a group is not answered: one packet must not raise many (RFC 1122 §3.2.2.6 allows silence).
      const { src, dst } = packet;
      if (!isOwn(this.addrs, dst)) {
        this.stats.dropIcmp++;
        return;
      }
      this.stats.echoReplies++;
      const reply = v4 ? IcmpType.ECHO_REPLY : Icmpv6Type.ECHO_REPLY;
      this.#ip.sendEcho(dst, src, reply, echoWord(buf, at), buf, at + 8, len - 8);
      return;
    }
    if (type === (v4 ? IcmpType.ECHO_REPLY : Icmpv6Type.ECHO_REPLY)) {
      if (!this.#pinger.onReply(packet, at, len)) this.stats.dropIcmp++;
      return;
    }
    if (this.#onIcmpError(packet, at, len, v4, type)) this.stats.icmpErrorsIn++;
    else this.stats.dropIcmp++;
  }

  #onIcmpError(packet: Packet, at: number, len: number, v4: boolean, type: number): boolean {
    if (this.tcp.handleIcmp(packet)) return true;
    const { buf } = packet;
    const code = errorCode(v4, type, icmp.code(buf, at));
    const quote = code === null ? null : quoted(packet, at, len);
    if (code === null || quote === null || !isOwn(this.addrs, quote.src)) return false;
    const fault = udpFault(buf, quote, code);
    if (fault === null) return this.#pinger.onError(buf, quote.at, code);
    const socket = this.#udp.find(fault.local, fault.localPort, fault.remote, fault.remotePort);
    // As with the kernel's: who sends to many cannot be told which of them it was.
    if (socket?.remoteAddress == null) return false;
    // Too big is for the IP layer to know; the datagram is lost, later ones are not.
    if (code !== 'EMSGSIZE') socket.fail(code);
    return true;
  }
}

function readServer(server: DnsServer | IpAddr | string): DnsServer {
  if (typeof server === 'string' || server instanceof IpAddr) {
    return { address: IpAddr.from(server), port: 53 };
  }
  return server;
}

function anyAsNull(address: string | IpAddr | undefined): IpAddr | null {
  if (address === undefined || address === '') return null;
  const parsed = IpAddr.from(address);
  return parsed.isUnspecified ? null : parsed;
}

function checkPort(port: number, lowest: number): number {
  if (!Number.isInteger(port) || port < lowest || port > 65535) {
    throw new RangeError(`a port is ${lowest} to 65535, got ${port}`);
  }
  return port;
}
