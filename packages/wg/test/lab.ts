import { IpAddr, Packet, put16, put32 } from '@pktkit/core';
import { type CryptoProvider, nobleProvider } from '@pktkit/crypto';
import { nodeProvider } from '@pktkit/crypto/node';
import { VirtualClock } from '@pktkit/testkit';
import {
  Engine,
  type EngineOptions,
  generatePrivateKey,
  type Identity,
  type Link,
  type Peer,
} from '@pktkit/wg';

const shared = nodeProvider();

/** Node's own cryptography; `WG_TEST_PROVIDER=noble` runs the suite on the portable tier. */
export function testProvider(): CryptoProvider {
  return process.env.WG_TEST_PROVIDER === 'noble' ? nobleProvider() : shared;
}

export interface Datagram {
  from: number;
  to: number;
  bytes: Uint8Array;
}

/**
 * A network of endpoints in virtual time. An endpoint is a number, its address 10.0.(n >> 8).(n & 255), port 51820.
 * Datagrams take `delay` milliseconds; `filter` sees each first and may drop it (false) or change it.
 */
export class Net {
  readonly clock: VirtualClock;
  delay = 10;
  filter: (datagram: Datagram) => boolean = () => true;
  readonly log: Datagram[] = [];
  readonly holds = new Map<number, number>();
  readonly #receivers = new Map<number, (bytes: Uint8Array, from: number) => void>();

  constructor(clock: VirtualClock = new VirtualClock()) {
    this.clock = clock;
  }

  attach(endpoint: number, receive: (bytes: Uint8Array, from: number) => void): void {
    this.#receivers.set(endpoint, receive);
  }

  detach(endpoint: number): void {
    this.#receivers.delete(endpoint);
  }

  send(from: number, to: number, bytes: Uint8Array): void {
    const datagram = { from, to, bytes };
    this.log.push({ from, to, bytes: bytes.slice() });
    if (!this.filter(datagram)) return;
    this.clock
      .timer(() => this.#receivers.get(datagram.to)?.(datagram.bytes, datagram.from))
      .arm(this.clock.now + this.delay);
  }

  /** A link whose own endpoint can be moved. */
  link(at: { endpoint: number }): Link {
    return {
      send: (buf, off, len, to) => this.send(at.endpoint, to, buf.slice(off, off + len)),
      describe: (endpoint, out, off) => {
        put32(out, off, 0x0a000000 | endpoint);
        put16(out, off + 4, 51820);
        return 6;
      },
      format: (endpoint) => `10.0.${endpoint >>> 8}.${endpoint & 255}:51820`,
      intern: (address) => {
        const ip = IpAddr.tryParse(`${address}`);
        return ip?.family === 4 ? ip.v4 & 0xffff : -1;
      },
      retain: (endpoint) => {
        this.holds.set(endpoint, (this.holds.get(endpoint) ?? 0) + 1);
      },
      release: (endpoint) => {
        const left = (this.holds.get(endpoint) ?? 0) - 1;
        if (left < 0) throw new Error(`endpoint ${endpoint} released too often`);
        if (left === 0) this.holds.delete(endpoint);
        else this.holds.set(endpoint, left);
      },
    };
  }

  engine(at: { endpoint: number }, options: Partial<EngineOptions> = {}): Engine {
    const engine = new Engine({
      clock: this.clock,
      provider: testProvider(),
      link: this.link(at),
      ...options,
    });
    this.attach(at.endpoint, (bytes, from) => engine.handleDatagram(bytes, 0, bytes.length, from));
    return engine;
  }
}

/** A UDP-over-IPv4 packet without a checksum, with a payload of `size` bytes that starts with `tag`. */
export function ipv4(src: string, dst: string, size: number, tag = 0): Uint8Array {
  const bytes = new Uint8Array(28 + size);
  bytes[0] = 0x45;
  put16(bytes, 2, bytes.length);
  bytes[8] = 64;
  bytes[9] = 17;
  bytes.set(src.split('.').map(Number), 12);
  bytes.set(dst.split('.').map(Number), 16);
  put16(bytes, 24, 8 + size);
  if (size >= 4) put32(bytes, 28, tag);
  return bytes;
}

export function tagOf(packet: Packet): number {
  const { buf, off } = packet;
  return (
    ((buf[off + 28] << 24) | (buf[off + 29] << 16) | (buf[off + 30] << 8) | buf[off + 31]) >>> 0
  );
}

export interface Pair {
  net: Net;
  a: Engine;
  b: Engine;
  left: Identity;
  right: Identity;
  toA: Peer;
  toB: Peer;
  atA: { endpoint: number };
  atB: { endpoint: number };
  /** Tags of the packets that have arrived at b, and at a. */
  received: number[];
  back: number[];
  /** Sends a packet with this tag from a to b, and from b to a. */
  say(tag: number): void;
  answer(tag: number): void;
}

/** Two engines that know each other; only a knows where the other is. */
export function pair(
  options: Partial<EngineOptions> = {},
  psk?: Uint8Array,
  net = new Net(),
): Pair {
  const atA = { endpoint: 1 };
  const atB = { endpoint: 2 };
  const a = net.engine(atA, options);
  const b = net.engine(atB, options);
  const received: number[] = [];
  const back: number[] = [];
  const left = a.addIdentity({
    privateKey: generatePrivateKey(),
    onPacket: (_peer, packet) => back.push(tagOf(packet)),
  });
  const right = b.addIdentity({
    privateKey: generatePrivateKey(),
    onPacket: (_peer, packet) => received.push(tagOf(packet)),
  });
  const toB = left.addPeer({ publicKey: right.publicKey, endpoint: 2, presharedKey: psk });
  const toA = right.addPeer({ publicKey: left.publicKey, presharedKey: psk });
  const say = (tag: number) => toB.send(Packet.of(ipv4('10.1.0.1', '10.1.0.2', 100, tag)));
  const answer = (tag: number) => toA.send(Packet.of(ipv4('10.1.0.2', '10.1.0.1', 100, tag)));
  return { net, a, b, left, right, toA, toB, atA, atB, received, back, say, answer };
}

/** How many datagrams of a type the net has carried since `from`. */
export function countType(net: Net, type: number, from = 0): number {
  return net.log.slice(from).filter(({ bytes }) => bytes[0] === type).length;
}
