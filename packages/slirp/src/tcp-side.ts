/** TCP of one namespace: every SYN of a guest becomes a dial, every dial that succeeds a flow. */

import { IpAddr, Packet, type Timer } from '@pktkit/core';
import { type SynRequest, type TcpConnection, TcpStack } from '@pktkit/vtcp';
import type { Context } from './context.ts';
import { type ErrorKind, ErrorKinds, kindOfError } from './packets.ts';
import { Reach } from './policy.ts';
import type { HostErrorCode, HostStream, HostStreamEvents } from './sockets.ts';
import { type FlowOwner, type Target, TcpFlow } from './tcp-flow.ts';

/** What TCP asks of its namespace. */
export interface TcpHost {
  output(packet: Packet): void;
  /** Sends an ICMP error about the guest's packet, within the rate limit. */
  refuse(packet: Packet, kind: ErrorKind): void;
}

/** SYNs whose first bytes are kept for the time between arrival and the end of the batch. */
const MAX_SYNS = 1024;
const DNS_PORT = 53;

export class TcpSide implements FlowOwner {
  readonly stack: TcpStack;
  readonly #context: Context;
  readonly #host: TcpHost;
  readonly #flows = new Set<TcpFlow>();
  /** In the order of their deadlines, since all dials are given the same time. */
  readonly #dials = new Set<TcpFlow>();
  readonly #dialTimer: Timer;
  /** Headers of SYNs, for an ICMP error to quote. By ports; the addresses are compared when used. */
  readonly #syns = new Map<number, Uint8Array>();

  constructor(context: Context, host: TcpHost, mtu: number) {
    this.#context = context;
    this.#host = host;
    const { limits } = context;
    this.stack = new TcpStack({
      clock: context.clock,
      output: (packet) => host.output(packet),
      random: context.random,
      mtu,
      limits: {
        connections: limits.flowsPerNamespace,
        synRequests: limits.dialsPerNamespace,
        bufferedBytes: limits.bufferedBytes,
      },
      defaults: context.tcp,
      synRequestTimeout: context.timeouts.dial + 1000,
      onSyn: (request) => this.#onSyn(request),
    });
    this.#dialTimer = context.clock.timer(() => this.#onDialTimeout());
  }

  get flows(): number {
    return this.#flows.size;
  }

  /** A TCP packet of a guest; `isSyn` when it opens a connection. */
  handlePacket(packet: Packet, isSyn: boolean, ports: number): void {
    if (isSyn) {
      if (this.#syns.size >= MAX_SYNS) this.#syns.clear();
      this.#syns.set(ports, packet.buf.slice(packet.off, packet.off + packet.len));
    }
    this.stack.handlePacket(packet);
  }

  /** Joins a socket that a port forward has accepted with a new connection to a guest. Null when that cannot be. */
  forward(
    stream: HostStream,
    from: IpAddr,
    fromPort: number | undefined,
    to: IpAddr,
    port: number,
  ): HostStreamEvents | null {
    if (!this.#hasRoom()) return null;
    let connection: TcpConnection;
    try {
      connection = this.stack.connect({
        local: from,
        localPort: fromPort,
        remote: to,
        remotePort: port,
      });
    } catch {
      return null;
    }
    const flow = new TcpFlow(this, null);
    flow.setStream(stream);
    flow.setConnection(connection);
    this.#add(flow);
    return flow;
  }

  /** Resets everything on both sides. */
  close(): void {
    for (const flow of [...this.#flows]) flow.abort();
    this.#dialTimer.cancel();
    this.stack.close();
    this.#syns.clear();
  }

  // --- FlowOwner ---

  beginBatch(): void {
    this.#context.clock.beginBatch();
  }

  endBatch(): void {
    this.#context.clock.endBatch();
  }

  opened(flow: TcpFlow): void {
    this.#context.stats.tcpOpened++;
    this.#endDial(flow);
  }

  failed(flow: TcpFlow, error: HostErrorCode): boolean {
    const { stats } = this.#context;
    const [next] = flow.alternatives;
    if (next !== undefined) {
      flow.alternatives = flow.alternatives.slice(1);
      this.#start(flow, next);
      return true;
    }
    const { request, syn } = flow;
    this.#endDial(flow);
    if (error === 'ECONNREFUSED') stats.tcpRefused++;
    else stats.tcpFailed++;
    if (request === null || !request.pending) return false;
    if (error === 'ECONNREFUSED' || error === 'ECONNRESET') {
      request.reject();
      return false;
    }
    const kind = kindOfError(error);
    // Not the destination's fault (out of descriptors, say): the guest tries again by itself.
    if (kind !== null && syn !== null) this.#host.refuse(syn, kind);
    request.drop();
    return false;
  }

  ended(flow: TcpFlow): void {
    this.#endDial(flow);
    if (!this.#flows.delete(flow)) return;
    this.#context.stats.tcpFlows--;
  }

  countUp(bytes: number): void {
    this.#context.stats.tcpBytesUp += bytes;
  }

  countDown(bytes: number): void {
    this.#context.stats.tcpBytesDown += bytes;
  }

  // --- dialling ---

  #onSyn(request: SynRequest): void {
    const { policy, addrs, stats, clock, servesDns } = this.#context;
    const syn = this.#takeSyn(request);
    const { local: destination, localPort: port } = request;
    switch (policy.reach(destination, addrs)) {
      case Reach.NEVER:
        stats.dropMartian++;
        request.drop();
        return;
      case Reach.INSIDE:
        // The guests' own network ends here: nobody out there has this address.
        if (syn !== null) this.#host.refuse(syn, ErrorKinds.HOST);
        request.drop();
        return;
      case Reach.GATEWAY: {
        if (servesDns && port === DNS_PORT) {
          this.#dialDns(request, syn);
        } else if (!policy.hostLoopback) {
          request.reject();
        } else {
          this.#judgeAndDial(
            request,
            syn,
            { address: policy.loopback(destination), port },
            clock.now,
          );
        }
        return;
      }
      default:
        this.#judgeAndDial(request, syn, { address: destination, port }, clock.now);
    }
  }

  #judgeAndDial(request: SynRequest, syn: Packet | null, target: Target, now: number): void {
    const verdict = this.#context.policy.judge(
      {
        protocol: 'tcp',
        source: request.remote,
        sourcePort: request.remotePort,
        destination: request.local,
        destinationPort: request.localPort,
        target: target.address,
      },
      now,
    );
    if (verdict === 'allow') {
      this.#dial(request, syn, [target]);
      return;
    }
    this.#context.stats.dropPolicy++;
    if (verdict === 'reject' && syn !== null) this.#host.refuse(syn, ErrorKinds.PROHIBITED);
    request.drop();
  }

  #dialDns(request: SynRequest, syn: Packet | null): void {
    const targets: Target[] = [];
    for (const { address, port } of this.#context.resolvers()) {
      const parsed = IpAddr.tryParse(address);
      if (parsed !== null) targets.push({ address: parsed, port });
    }
    if (targets.length === 0) request.reject();
    else this.#dial(request, syn, targets);
  }

  #dial(request: SynRequest, syn: Packet | null, targets: readonly Target[]): void {
    const { stats, limits, clock, timeouts } = this.#context;
    if (this.#dials.size >= limits.dialsPerNamespace || stats.tcpDials >= limits.dials) {
      stats.dropDialLimit++;
      request.drop();
      return;
    }
    if (!this.#hasRoom()) {
      request.drop();
      return;
    }
    const flow = new TcpFlow(this, request);
    flow.syn = syn;
    flow.alternatives = targets.slice(1);
    this.#add(flow);
    this.#dials.add(flow);
    stats.tcpDials++;
    flow.deadline = clock.now + timeouts.dial;
    if (this.#dials.size === 1) this.#dialTimer.arm(flow.deadline);
    this.#start(flow, targets[0]);
  }

  #start(flow: TcpFlow, target: Target): void {
    const { provider, from } = this.#context;
    const { address, port } = target;
    const local = address.isLoopback ? undefined : address.family === 4 ? from.v4 : from.v6;
    flow.setStream(provider.dial(address, port, flow, { from: local }));
  }

  #onDialTimeout(): void {
    const { clock, stats } = this.#context;
    for (const flow of this.#dials) {
      if (flow.deadline > clock.now) {
        this.#dialTimer.arm(flow.deadline);
        return;
      }
      stats.tcpTimedOut++;
      if (flow.syn !== null) this.#host.refuse(flow.syn, ErrorKinds.HOST);
      flow.request?.drop();
      flow.abort();
    }
  }

  #endDial(flow: TcpFlow): void {
    if (!this.#dials.delete(flow)) return;
    this.#context.stats.tcpDials--;
    flow.syn = null;
    if (this.#dials.size === 0) this.#dialTimer.cancel();
  }

  #hasRoom(): boolean {
    const { stats, limits } = this.#context;
    if (this.#flows.size < limits.flowsPerNamespace && stats.tcpFlows < limits.flows) return true;
    stats.dropFlowLimit++;
    return false;
  }

  #add(flow: TcpFlow): void {
    this.#flows.add(flow);
    this.#context.stats.tcpFlows++;
  }

  #takeSyn(request: SynRequest): Packet | null {
    const ports = request.remotePort * 65536 + request.localPort;
    const bytes = this.#syns.get(ports);
    if (bytes === undefined) return null;
    this.#syns.delete(ports);
    const packet = Packet.of(bytes);
    const at = packet.version === 4 ? 12 : 8;
    const size = request.remote.byteLength;
    const matches =
      request.remote.family === packet.family &&
      request.remote.matches(bytes, at) &&
      request.local.matches(bytes, at + size);
    return matches ? packet : null;
  }
}
