/** A switch with hosts in virtual time, every window poisoned, for the tests of what lives on a LAN. */

import {
  adapt,
  type Disconnect,
  Frame,
  IpAddr,
  type L2Adapter,
  type L2AdapterOptions,
  type L2Device,
  L2Hub,
  type L3Device,
  type MacAddr,
  Packet,
  pipeL2,
  pipeL3,
  put16,
  transportChecksum,
  writeIpv4,
} from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import { poisonL2, poisonL3 } from '@pktkit/testkit/poison';

export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

export interface Host {
  adapter: L2Adapter;
  device: L3Device;
  /** The far end of the cable to the adapter: the IP device as the test plays it. */
  inside: L3Device;
  received: Packet[];
  send(packet: Packet): void;
  texts(): string[];
  disconnect: Disconnect;
}

export interface Lan {
  clock: VirtualClock;
  hub: L2Hub;
  /** Every frame that crossed the switch, as a sniffer on its last port would flood it; and a port to forge frames. */
  frames: Frame[];
  forge(frame: Uint8Array): void;
  host(options?: L2AdapterOptions): Host;
  connect(device: L2Device): Disconnect;
}

export function lan(seed = 1): Lan {
  const clock = new VirtualClock();
  const hub = new L2Hub({ clock, random: seeded(seed) });
  const frames: Frame[] = [];
  const [port, forger] = pipeL2();
  hub.connectL2(port);
  forger.setHandler((frame) => frames.push(frame.clone()));
  let count = 0;
  return {
    clock,
    hub,
    frames,
    forge: (bytes) => forger.send(Frame.of(bytes.slice())),
    connect: (device) => hub.connectL2(poisonL2(device)),
    host(options = {}) {
      const [inside, outside] = pipeL3({ mtu: options.mtu });
      const received: Packet[] = [];
      inside.setHandler((packet) => received.push(packet.clone()));
      const adapter = adapt(poisonL3(outside), {
        clock,
        random: seeded(100 + ++count),
        ...options,
      });
      const disconnect = hub.connectL2(poisonL2(adapter));
      const decoder = new TextDecoder();
      return {
        adapter,
        device: outside,
        inside,
        received,
        disconnect,
        send: (packet) => inside.send(packet),
        texts: () =>
          received.map((packet) => {
            const at = packet.off + (packet.transport & 0xffff) + 8;
            return decoder.decode(packet.buf.subarray(at, packet.off + packet.len));
          }),
      };
    },
  };
}

export function udp4(src: string, dst: string, text: string | Uint8Array, df = true): Packet {
  const payload = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  const buf = new Uint8Array(28 + payload.length);
  buf.set(payload, 28);
  const len = buf.length;
  writeIpv4(buf, 0, len, 17, IpAddr.parse(src).w3, IpAddr.parse(dst).w3, 64, 1, df ? 0x4000 : 0);
  writeUdpHeader(buf, 0, 20, 8 + payload.length);
  return Packet.of(buf);
}

export function udp6(src: string, dst: string, text: string | Uint8Array): Packet {
  const payload = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  const buf = new Uint8Array(48 + payload.length);
  buf.set(payload, 48);
  buf[0] = 0x60;
  put16(buf, 4, 8 + payload.length);
  buf[6] = 17;
  buf[7] = 64;
  IpAddr.parse(src).write(buf, 8);
  IpAddr.parse(dst).write(buf, 24);
  writeUdpHeader(buf, 0, 40, 8 + payload.length);
  return Packet.of(buf);
}

function writeUdpHeader(buf: Uint8Array, ip: number, at: number, length: number): void {
  put16(buf, at, 4000);
  put16(buf, at + 2, 5000);
  put16(buf, at + 4, length);
  put16(buf, at + 6, transportChecksum(buf, ip, 17, at, length));
}

/** An Ethernet frame around `payload`. */
export function ethernet(
  dst: MacAddr,
  src: MacAddr,
  type: number,
  payload: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(14 + payload.length);
  dst.write(bytes, 0);
  src.write(bytes, 6);
  put16(bytes, 12, type);
  bytes.set(payload, 14);
  return bytes;
}
