/** Everything that `@pktkit/core` does per packet. */

import {
  Accept,
  checksum,
  dropFrame,
  dropPacket,
  EtherType,
  Frame,
  type FrameHandler,
  getInt32,
  IpAddr,
  IpProtocol,
  L2Adapter,
  type L2Device,
  L2Hub,
  type L3Device,
  L3Hub,
  MacAddr,
  NeighborCache,
  type NeighborLink,
  Packet,
  type PacketHandler,
  Prefix,
  pool,
  put32,
  random32,
  systemClock,
  writeArp,
  writeEthernet,
  writeIpv4,
  writeIpv6,
} from '@pktkit/core';
import { type Bench, keep } from './harness.ts';

/** A port whose cable ends in a counter. */
class CountingL2 implements L2Device {
  readonly mac: MacAddr;
  readonly mtu = 1500;
  readonly accepts: number = Accept.ALL;
  handler: FrameHandler = dropFrame;
  bytes = 0;

  constructor(mac: number) {
    this.mac = MacAddr.fromNumber(mac);
  }

  setHandler(handler: FrameHandler): void {
    this.handler = handler;
  }

  send(frame: Frame): void {
    this.bytes += frame.len;
  }

  close(): void {}
}

class CountingL3 implements L3Device {
  addrs: readonly Prefix[];
  readonly mtu = 1500;
  readonly accepts: number = Accept.ALL;
  handler: PacketHandler = dropPacket;
  bytes = 0;

  constructor(...addrs: string[]) {
    this.addrs = addrs.map(Prefix.parse);
  }

  setAddrs(addrs: readonly Prefix[]): void {
    this.addrs = addrs;
  }

  setHandler(handler: PacketHandler): void {
    this.handler = handler;
  }

  send(packet: Packet): void {
    this.bytes += packet.len;
  }

  close(): void {}
}

const RING = 16;

function frames(): Frame[] {
  return Array.from({ length: RING }, (_, i) => {
    const buf = new Uint8Array(2048);
    writeEthernet(buf, 96, 0x020000000000 + i, 0x020000001000 + i, EtherType.IPV4);
    return new Frame(buf, 96, 1514);
  });
}

function packets(family: 4 | 6): Packet[] {
  return Array.from({ length: RING }, (_, i) => {
    const buf = new Uint8Array(2048);
    if (family === 4) writeIpv4(buf, 110, 1500, IpProtocol.TCP, 0x0a000001 + i, 0xc0a80001 + i);
    else {
      const to = IpAddr.parse('2001:db8::1').plus(i);
      writeIpv6(buf, 110, 1460, IpProtocol.TCP, IpAddr.parse('fd00::1'), to);
    }
    return new Packet(buf, 110, 1500);
  });
}

function accessors(): Bench[] {
  const ring = frames();
  const four = packets(4);
  const six = packets(6);
  return [
    {
      id: 'core.frame.accessors',
      unit: 'ns',
      run(n) {
        let total = 0;
        for (let i = 0; i < n; i++) {
          const frame = ring[i & (RING - 1)];
          const payload = frame.payload();
          // Comparisons, as users of a frame make them: the addresses need not become one number.
          if (frame.dst === frame.src) total++;
          total = (total + frame.etherType + payload.off + payload.len) | 0;
        }
        keep(total);
      },
    },
    {
      id: 'core.packet.ipv4',
      unit: 'ns',
      run(n) {
        let total = 0;
        for (let i = 0; i < n; i++) {
          const packet = four[i & (RING - 1)];
          total =
            (total +
              (packet.version ^ packet.protocol ^ packet.src4 ^ packet.dst4) +
              packet.payloadOff +
              packet.payloadLen) |
            0;
        }
        keep(total);
      },
    },
    {
      id: 'core.packet.ipv6',
      unit: 'ns',
      run(n) {
        let total = 0;
        for (let i = 0; i < n; i++) {
          const packet = six[i & (RING - 1)];
          const { buf, off } = packet;
          // An address on the data path is words at an offset; tables hash two of them at least.
          total =
            (total +
              (packet.version ^
                packet.protocol ^
                getInt32(buf, off + 20) ^
                getInt32(buf, off + 36)) +
              packet.payloadOff +
              packet.payloadLen) |
            0;
        }
        keep(total);
      },
    },
  ];
}

/**
 * The bytes that the accessors above must read, read by a loop without them and only added up: what this engine takes on
 * this processor whatever the accessors do. Where it alone exceeds a figure of the reference, that figure is out of reach.
 * (The Go library's own loop asks one frame again and again, gets slices of it and drops them: hardly a byte is read.)
 */
function bareReads(): Bench[] {
  const ring = frames();
  const four = packets(4);
  return [
    {
      id: 'core.frame.accessors@bare-reads',
      unit: 'ns',
      run(n) {
        let total = 0;
        for (let i = 0; i < n; i++) {
          const { buf, off: o, len } = ring[i & (RING - 1)];
          const dst = buf[o] + buf[o + 1] + buf[o + 2] + buf[o + 3] + buf[o + 4] + buf[o + 5];
          const src = buf[o + 6] + buf[o + 7] + buf[o + 8] + buf[o + 9] + buf[o + 10] + buf[o + 11];
          total = (total + dst + src + buf[o + 12] + buf[o + 13] + o + len) | 0;
        }
        keep(total);
      },
    },
    {
      id: 'core.packet.ipv4@bare-reads',
      unit: 'ns',
      run(n) {
        let total = 0;
        for (let i = 0; i < n; i++) {
          const { buf, off: o, len } = four[i & (RING - 1)];
          const src = buf[o + 12] + buf[o + 13] + buf[o + 14] + buf[o + 15];
          const dst = buf[o + 16] + buf[o + 17] + buf[o + 18] + buf[o + 19];
          total = (total + buf[o] + buf[o + 9] + src + dst + o + len) | 0;
        }
        keep(total);
      },
    },
  ];
}

function checksums(): Bench[] {
  const pooled = pool.take(1600);
  const arena = new Uint8Array(1 << 18);
  for (let i = 0; i < pooled.length; i++) pooled[i] = i * 31;
  arena.set(pooled);
  const loop = (buf: Uint8Array, len: number) => (n: number) => {
    let total = 0;
    for (let i = 0; i < n; i++) total = (total + checksum(buf, 96 + (i & 2), len)) | 0;
    keep(total);
  };
  return [
    { id: 'core.checksum.1500', unit: 'ns', run: loop(pooled, 1500) },
    { id: 'core.checksum.1500.arena', unit: 'ns', run: loop(arena, 1500) },
    { id: 'core.checksum.40', unit: 'ns', run: loop(pooled, 40) },
  ];
}

function switching(): Bench[] {
  const make = (ports: number) => {
    const hub = new L2Hub();
    const devices = Array.from({ length: ports }, (_, i) => new CountingL2(0x020000000000 + i));
    const ring: Frame[] = [];
    for (const device of devices) hub.connectL2(device);
    for (let i = 0; i < ports; i++) {
      const buf = new Uint8Array(2048);
      writeEthernet(buf, 96, 0x020000000000 + ((i * 7 + 1) % ports), 0x020000000000 + i, 0x0800);
      ring.push(new Frame(buf, 96, 1514));
      devices[i].handler(ring[i]);
    }
    for (let i = 0; i < ports; i++) devices[i].handler(ring[i]);
    return { devices, ring };
  };
  return [
    ['core.l2hub.forward', 2],
    ['core.l2hub.forward.4096ports', 4096],
  ].map(([id, ports]) => {
    const { devices, ring } = make(ports as number);
    const mask = (ports as number) - 1;
    return {
      id: id as string,
      unit: 'ns' as const,
      run(n: number) {
        for (let i = 0; i < n; i++) {
          const port = i & mask;
          devices[port].handler(new Frame(ring[port].buf, 96, 1514));
        }
        keep(devices[0].bytes);
      },
    };
  });
}

function routing(): Bench[] {
  const few = new L3Hub();
  const eight = Array.from({ length: 8 }, (_, i) => new CountingL3(`10.0.${i}.1/24`));
  for (const device of eight) few.connectL3(device);
  const many = new L3Hub();
  const ways = Array.from({ length: 8 }, (_, i) => new CountingL3(`10.0.${i}.1/24`));
  for (const device of ways) many.connectL3(device);
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return (seed ^ (seed >>> 13)) >>> 0;
  };
  const prefixes: Prefix[] = [];
  while (prefixes.length < 100_000) {
    // Lengths as on the Internet: mostly /24, some from /16 on; 11.0.0.0 to 223.255.255.255.
    const bits = random() % 10 < 6 ? 24 : 16 + (random() % 8);
    const address = IpAddr.v4((11 + (random() % 213)) * 2 ** 24 + (random() & 0xffffff));
    const prefix = Prefix.of(address, bits).network;
    prefixes.push(prefix);
    many.addRoute(prefix, ways[1 + (prefixes.length % 7)]);
  }
  const packet = (dst: number) => {
    const buf = new Uint8Array(256);
    writeIpv4(buf, 96, 1500, IpProtocol.TCP, 0x0a000001, dst);
    return buf;
  };
  const near = Array.from({ length: RING }, (_, i) => packet(0x0a000001 + (1 + (i % 7)) * 256 + i));
  const far = Int32Array.from({ length: 4096 }, () => prefixes[random() % 100_000].addr.w3 + 1);
  const [buf] = near;
  const manyLoop = (n: number) => {
    // One buffer, as a header that has just come in is in the cache.
    const copy = buf.slice();
    for (let i = 0; i < n; i++) {
      put32(copy, 112, far[i & 4095]);
      ways[0].handler(new Packet(copy, 96, 1500));
    }
    keep(ways[0].bytes);
  };
  const loop = (device: CountingL3, ring: Uint8Array[]) => (n: number) => {
    const mask = ring.length - 1;
    for (let i = 0; i < n; i++) device.handler(new Packet(ring[i & mask], 96, 1500));
    keep(device.bytes);
  };
  // A table settles once it has been used.
  manyLoop(500_000);
  return [
    { id: 'core.l3hub.route', unit: 'ns', run: loop(eight[0], near) },
    { id: 'core.l3hub.route.100k', unit: 'ns', run: manyLoop },
  ];
}

function adapting(): Bench[] {
  const device = new CountingL3('10.0.0.1/24');
  const adapter = new L2Adapter(device, { mac: '02:00:00:00:00:01', ipv6: false });
  let frames = 0;
  adapter.setHandler((frame) => {
    frames += frame.len;
  });
  // The neighbour is asked for, and answers.
  const outgoing = new Uint8Array(2048);
  writeIpv4(outgoing, 110, 1500, IpProtocol.TCP, 0x0a000001, 0x0a000002);
  const send = () => device.handler(new Packet(outgoing, 110, 1500));
  send();
  const answer = new Uint8Array(60);
  writeEthernet(answer, 0, 0x020000000001, 0x020000000002, EtherType.ARP);
  writeArp(answer, 14, 2, 0x020000000002, 0x0a000002, 0x020000000001, 0x0a000001);
  adapter.send(Frame.of(answer));
  const known = frames;
  send();
  if (frames !== known + 1514) throw new Error('the adapter does not know its neighbour');
  const incoming = new Uint8Array(2048);
  writeEthernet(incoming, 96, 0x020000000001, 0x020000000002, EtherType.IPV4);
  writeIpv4(incoming, 110, 1500, IpProtocol.TCP, 0x0a000002, 0x0a000001);

  const cache = new NeighborCache(
    { solicit() {}, unreachable() {}, release() {} } as unknown as NeighborLink,
    { clock: systemClock, random: random32 },
  );
  for (let i = 0; i < 256; i++) cache.learn(0, 0, 0xffff, 0x0a000000 + i, 0x0200, i);
  return [
    {
      id: 'core.adapter.in',
      unit: 'ns',
      run(n) {
        for (let i = 0; i < n; i++) adapter.send(new Frame(incoming, 96, 1514));
        keep(device.bytes);
      },
    },
    {
      id: 'core.adapter.out',
      unit: 'ns',
      run(n) {
        for (let i = 0; i < n; i++) device.handler(new Packet(outgoing, 110, 1500));
        keep(frames);
      },
    },
    {
      id: 'core.arp.lookup',
      unit: 'ns',
      run(n) {
        let total = 0;
        for (let i = 0; i < n; i++) total += cache.mac(cache.find4(0x0a000000 + (i & 255)));
        keep(total);
      },
    },
  ];
}

export function benches(): Bench[] {
  return [
    ...accessors(),
    ...bareReads(),
    ...checksums(),
    ...switching(),
    ...routing(),
    ...adapting(),
  ];
}
