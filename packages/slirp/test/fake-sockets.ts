/** A provider whose sockets do what the test says, for virtual time. */

import type { IpAddr, IpFamily } from '@pktkit/core';
import type {
  DatagramOptions,
  HostDatagramEvents,
  HostDatagrams,
  HostListener,
  HostStream,
  HostStreamEvents,
  SocketProvider,
} from '@pktkit/slirp';

export class FakeStream implements HostStream {
  readonly address: string;
  readonly port: number;
  readonly events: HostStreamEvents;
  /** What the guest's bytes were. */
  received: Buffer = Buffer.alloc(0);
  /** False: writes are taken only when `drain` is called. */
  fast = true;
  lent: Uint8Array | null = null;
  reading = false;
  ended = false;
  state: 'open' | 'reset' | 'closed' = 'open';

  constructor(address: IpAddr, port: number, events: HostStreamEvents) {
    this.address = address.toString();
    this.port = port;
    this.events = events;
  }

  write(bytes: Uint8Array): boolean {
    if (!this.fast) {
      this.lent = bytes;
      return false;
    }
    this.received = Buffer.concat([this.received, bytes]);
    return true;
  }

  drain(): void {
    if (this.lent === null) return;
    this.received = Buffer.concat([this.received, this.lent]);
    this.lent = null;
    this.events.onDrain();
  }

  /** Gives bytes to the guest; false when reading has stopped. */
  push(bytes: Uint8Array): boolean {
    if (!this.reading) return false;
    if (!this.events.onData(bytes, 0, bytes.length)) this.reading = false;
    return true;
  }

  shutdown(): void {
    this.ended = true;
  }

  resume(): void {
    this.reading = true;
  }

  reset(): void {
    this.state = 'reset';
  }

  close(): void {
    this.state = 'closed';
  }
}

export class FakeDatagrams implements HostDatagrams {
  readonly family: IpFamily;
  readonly events: HostDatagramEvents;
  readonly options: DatagramOptions;
  readonly sent: Array<{ bytes: Uint8Array; address: string; port: number }> = [];
  readonly localPort: number;
  closed = false;

  constructor(
    family: IpFamily,
    events: HostDatagramEvents,
    options: DatagramOptions,
    port: number,
  ) {
    this.family = family;
    this.events = events;
    this.options = options;
    this.localPort = port;
  }

  send(bytes: Uint8Array, address: string, port: number): boolean {
    this.sent.push({ bytes: bytes.slice(), address, port });
    return true;
  }

  close(): void {
    this.closed = true;
  }
}

export class FakeSockets implements SocketProvider {
  readonly streams: FakeStream[] = [];
  readonly sockets: FakeDatagrams[] = [];
  servers: Array<{ address: string; port: number }> = [];
  addresses: IpAddr[] = [];

  dial(address: IpAddr, port: number, events: HostStreamEvents): HostStream {
    const stream = new FakeStream(address, port, events);
    this.streams.push(stream);
    return stream;
  }

  listen(): Promise<HostListener> {
    return Promise.reject(new Error('not used'));
  }

  datagrams(family: IpFamily, events: HostDatagramEvents, options: DatagramOptions): HostDatagrams {
    const socket = new FakeDatagrams(family, events, options, 40000 + this.sockets.length);
    this.sockets.push(socket);
    return socket;
  }

  resolvers(): Array<{ address: string; port: number }> {
    return this.servers;
  }

  hostAddresses(): IpAddr[] {
    return this.addresses;
  }
}
