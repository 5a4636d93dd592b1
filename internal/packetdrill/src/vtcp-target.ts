/** This project's engine as a target: the socket calls of a script over a `TcpStack`, in virtual time. */

import { IpAddr, Packet } from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import { type TcpOptions, TcpStack, type TcpStackOptions } from '@pktkit/vtcp';
import type { Script, ScriptCall } from './ast.ts';
import { SocketCalls } from './sockets.ts';
import { applySysctls } from './sysctl.ts';
import type { CapturedPacket, PendingCall, Target } from './target.ts';

export interface VtcpTargetOptions {
  /** The engine's first initial sequence number; near 2^32 it makes every script a wrap test. */
  localIsn?: number | undefined;
}

export class VtcpTarget implements Target {
  readonly name = 'vtcp';
  readonly localIp: Uint8Array;
  readonly remoteIp: Uint8Array;
  readonly bindPort = 8080;
  readonly connectPort = 8080;
  readonly slack = 0;
  readonly #clock = new VirtualClock();
  readonly #options: VtcpTargetOptions;
  readonly #mtu: number;
  readonly #defaults: TcpOptions = {};
  readonly #stackOptions: Partial<TcpStackOptions> = {};
  #calls: SocketCalls | null = null;
  #stack: TcpStack | null = null;
  #packets: CapturedPacket[] = [];
  #lossy = false;

  constructor(script: Script, options: VtcpTargetOptions = {}) {
    this.#options = options;
    const v6 = script.options.get('ip_version') === 'ipv6';
    this.localIp = IpAddr.parse(v6 ? 'fd3d:fa7b:d17d::1' : '192.168.0.1').toBytes();
    this.remoteIp = IpAddr.parse(v6 ? 'fd3d:fa7b:d17d:8000::1' : '192.0.2.1').toBytes();
    this.#mtu = Number(script.options.get('mtu') ?? 1500);
  }

  get now(): number {
    return this.#clock.now / 1000;
  }

  begin(): void {
    this.#started();
  }

  async run(at: number, done: () => boolean): Promise<void> {
    const clock = this.#clock;
    const end = at * 1000;
    clock.flush();
    while (!done() && clock.step(end));
    if (!done() && end > clock.now) clock.advance(end - clock.now);
  }

  takePackets(): CapturedPacket[] {
    const taken = this.#packets;
    this.#packets = [];
    return taken;
  }

  inject(bytes: Uint8Array): void {
    const { stack } = this.#started();
    this.#clock.beginBatch();
    const packet = Packet.of(bytes);
    if (packet.protocol === 6) stack.handlePacket(packet);
    else stack.handleIcmp(packet);
    this.#clock.endBatch();
  }

  call(call: ScriptCall): PendingCall {
    const { calls } = this.#started();
    this.#clock.beginBatch();
    const pending = calls.start(call);
    this.#clock.endBatch();
    return pending;
  }

  tcpInfo(): Map<string, number> {
    return this.#started().calls.tcpInfo();
  }

  async command(command: string): Promise<string | null> {
    return applySysctls(command, this.#defaults, this.#stackOptions, (line) => this.#device(line));
  }

  /** What a script does to the device `tun0`: a queue that holds nothing loses every packet; nothing is offloaded anyway. */
  #device(line: string): boolean {
    if (/^ethtool -K tun0( (tso|gso|gro) (on|off))+$/.test(line)) return true;
    if (!/^tc qdisc\b/.test(line)) return false;
    this.#lossy = /\bpfifo limit 0$/.test(line);
    return this.#lossy || /\bpfifo$/.test(line);
  }

  async close(): Promise<void> {
    this.#stack?.close();
    this.#clock.flush();
  }

  /** The stack begins with the first call or packet, so that a script's first command can still set it up. */
  #started(): { stack: TcpStack; calls: SocketCalls } {
    if (this.#stack === null || this.#calls === null) {
      let isn = this.#options.localIsn ?? 0x40000000;
      this.#stack = new TcpStack({
        clock: this.#clock,
        mtu: this.#mtu,
        offload: 0,
        timestampOffset: 0,
        isn: () => {
          isn = (isn + 64000) >>> 0;
          return isn;
        },
        output: (packet) => {
          if (!this.#lossy) this.#packets.push({ at: this.now, bytes: packet.bytes.slice() });
        },
        ...this.#stackOptions,
      });
      this.#calls = new SocketCalls({
        clock: this.#clock,
        stack: this.#stack,
        defaults: this.#defaults,
        local: IpAddr.read(this.localIp.length === 4 ? 4 : 6, this.localIp),
        remote: IpAddr.read(this.remoteIp.length === 4 ? 4 : 6, this.remoteIp),
        bindPort: this.bindPort,
        connectPort: this.connectPort,
      });
    }
    return { stack: this.#stack, calls: this.#calls };
  }
}
