import {
  Accept,
  CHECKSUM_PARTIAL,
  CHECKSUM_TRUSTED,
  checksum,
  Frame,
  get16,
  get32,
  IpAddr,
  IpProtocol,
  ipLength,
  ipv4ChecksumOk,
  L2PipeEnd,
  type L3Device,
  MacAddr,
  offloadStats,
  Packet,
  pool,
  pseudoHeaderSum,
  put16,
  put32,
  sendL2,
  sendL3,
  TcpFlag,
  tcp,
  udp,
  verifyTransport,
  writeEthernet,
  writeIpv4,
  writeIpv6,
} from '@pktkit/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

class Sink {
  readonly mac = MacAddr.ZERO;
  addrs = [];
  mtu = 1500;
  accepts = 0;
  readonly got: Array<{ bytes: Uint8Array; offload: number; headroom: number }> = [];
  setAddrs(): void {}
  setHandler(): void {}
  close(): void {}
  send(window: Frame | Packet): void {
    this.got.push({ bytes: window.bytes.slice(), offload: window.offload, headroom: window.off });
    // A device may use the space in front; the next segment must not care.
    window.buf.fill(0xee, 0, window.off);
  }
}

interface Shape {
  v6: boolean;
  tcp: boolean;
  payload: number;
  /** Bytes of TCP options. */
  options: number;
  /** Bytes of IPv4 options, or of IPv6 destination options, each a multiple of 8. */
  extra?: number;
  flags: number;
}

function superSegment(shape: Shape, off = 0): Uint8Array {
  const { v6, tcp: isTcp, payload, options, flags, extra = 0 } = shape;
  const l4 = isTcp ? 20 + options : 8;
  const header = ipHeader(shape);
  const total = header + l4 + payload;
  const buf = new Uint8Array(off + total).map((_, i) => ((i - off) * 31) >> 3);
  const protocol = isTcp ? IpProtocol.TCP : IpProtocol.UDP;
  if (v6) {
    writeIpv6(
      buf,
      off,
      total - 40,
      protocol,
      IpAddr.parse('2001:db8::1'),
      IpAddr.parse('2001:db8::2'),
    );
  } else {
    writeIpv4(buf, off, total, protocol, 0xc0000201, 0xc0000202, 64, 0xfffe);
  }
  if (extra > 0 && v6) {
    // RFC 8200 §4.6: next header, length in units of 8 bytes without the first, one PadN option.
    buf[off + 6] = 60;
    buf.fill(0, off + 40, off + header);
    buf.set([protocol, extra / 8 - 1, 1, extra - 4], off + 40);
  } else if (extra > 0) {
    // No-operation options (RFC 791 §3.1).
    buf.fill(1, off + 20, off + header);
    buf[off] = 0x45 + extra / 4;
    put16(buf, off + 10, 0);
    put16(buf, off + 10, checksum(buf, off, header));
  }
  const at = off + header;
  if (isTcp) tcp.write(buf, at, 1234, 80, -5, 77, l4, flags, 1000);
  else udp.write(buf, at, 1234, 53, l4 + payload);
  put16(buf, at + (isTcp ? 16 : 6), pseudoHeaderSum(buf, off, protocol, l4 + payload));
  return buf;
}

function ipHeader({ v6, extra = 0 }: Shape): number {
  return (v6 ? 40 : 20) + extra;
}

/** The slow twin: cuts the payload into pieces and builds each packet from nothing. */
function twin(shape: Shape, size: number): Uint8Array[] {
  const whole = superSegment(shape);
  const header = ipHeader(shape);
  const l4 = shape.tcp ? 20 + shape.options : 8;
  const payload = whole.slice(header + l4);
  const out: Uint8Array[] = [];
  for (let at = 0; at === 0 || at < payload.length; at += size) {
    const part = payload.slice(at, at + size);
    const last = at + size >= payload.length;
    const bytes = new Uint8Array([...whole.slice(0, header + l4), ...part]);
    if (shape.v6) put16(bytes, 4, header - 40 + l4 + part.length);
    else {
      put16(bytes, 2, bytes.length);
      put16(bytes, 4, (0xfffe + out.length) & 0xffff);
      put16(bytes, 10, 0);
      put16(bytes, 10, checksum(bytes, 0, header));
    }
    let field = header + 6;
    if (shape.tcp) {
      field = header + 16;
      put32(bytes, header + 4, (get32(whole, header + 4) + at) >>> 0);
      if (!last) bytes[header + 13] &= ~(TcpFlag.FIN | TcpFlag.PSH);
      if (at > 0) bytes[header + 13] &= ~TcpFlag.CWR;
    } else put16(bytes, header + 4, 8 + part.length);
    put16(bytes, field, 0);
    const protocol = shape.tcp ? IpProtocol.TCP : IpProtocol.UDP;
    const length = l4 + part.length;
    put16(
      bytes,
      field,
      checksum(bytes, header, length, pseudoHeaderSum(bytes, 0, protocol, length)),
    );
    if (!shape.tcp && get16(bytes, field) === 0) put16(bytes, field, 0xffff);
    out.push(bytes);
  }
  return out;
}

const shape: fc.Arbitrary<Shape> = fc.record({
  v6: fc.boolean(),
  tcp: fc.boolean(),
  payload: fc.oneof(fc.nat(40), fc.nat(5000)),
  options: fc.nat(10).map((n) => n * 4),
  flags: fc.nat(255),
  extra: fc.constantFrom(0, 0, 8, 24, 40),
});

describe('sendL3', () => {
  it('passes on what the device takes, untouched and uncopied', () => {
    const seen: Packet[] = [];
    const device = {
      accepts: 0,
      mtu: 1500,
      send: (packet: Packet) => seen.push(packet),
    } as unknown as L3Device;
    const plain = Packet.of(
      superSegment({ v6: false, tcp: true, payload: 10, options: 0, flags: 16 }),
    );
    const trusted = new Packet(plain.buf, 0, plain.len, CHECKSUM_TRUSTED);
    sendL3(device, plain);
    sendL3(device, trusted);
    expect([seen[0] === plain, seen[1] === trusted]).toEqual([true, true]);
    for (const [v6, isTcp, accepts] of [
      [false, true, Accept.TSO4],
      [true, true, Accept.TSO6],
      [false, false, Accept.USO],
      [true, false, Accept.USO],
    ] as const) {
      const buf = superSegment({ v6, tcp: isTcp, payload: 4000, options: 0, flags: 16 });
      const big = new Packet(buf, 0, buf.length, 1000 | CHECKSUM_PARTIAL);
      seen.length = 0;
      sendL3({ ...device, accepts } as L3Device, big);
      expect(seen[0] === big).toBe(true);
      sendL3({ ...device, accepts: Accept.ALL & ~accepts } as L3Device, big);
      expect(seen.length).toBe(5);
    }
    const partial = new Packet(plain.buf, 0, plain.len, CHECKSUM_PARTIAL);
    seen.length = 0;
    sendL3({ ...device, accepts: Accept.CHECKSUM } as L3Device, partial);
    expect(seen[0] === partial).toBe(true);
  });

  it('equals the slow twin for every kind of super-segment, as packets and as tagged frames', () => {
    fc.assert(
      fc.property(
        shape,
        fc.integer({ min: 1, max: 1400 }),
        fc.constantFrom(0, 14, 18),
        (what, size, link) => {
          fc.pre(what.payload / size < 200);
          const expected = twin(what, size);
          const buf = superSegment(what, link);
          if (link > 0) writeEthernet(buf, 0, 1, 2, what.v6 ? 0x86dd : 0x0800);
          if (link === 18)
            buf.set([0x81, 0x00, 0x00, 0x07, ...(what.v6 ? [0x86, 0xdd] : [8, 0])], 12);
          const before = buf.slice();
          const sink = new Sink();
          sink.mtu = 1600;
          const offload = size | CHECKSUM_PARTIAL | CHECKSUM_TRUSTED;
          if (link > 0) sendL2(sink, new Frame(buf, 0, buf.length, offload));
          else sendL3(sink, new Packet(buf, 0, buf.length, offload));
          expect(buf).toEqual(before);
          expect(sink.got.map(({ bytes }) => bytes.subarray(link))).toEqual(expected);
          for (const { bytes, offload: left, headroom } of sink.got) {
            expect([left, headroom >= 64]).toEqual([CHECKSUM_TRUSTED, true]);
            expect(bytes.subarray(0, link)).toEqual(before.subarray(0, link));
            const ip = bytes.subarray(link);
            expect(ipLength(ip, 0, ip.length)).toBe(ip.length);
            if (!what.v6) expect(ipv4ChecksumOk(ip, 0)).toBe(true);
            const at = ipHeader(what);
            expect(verifyTransport(ip, 0, what.tcp ? 6 : 17, at, ip.length - at)).toBe(true);
          }
        },
      ),
    );
  });

  it('completes partial checksums in a copy', () => {
    fc.assert(
      fc.property(shape, (what) => {
        const buf = superSegment(what);
        const before = buf.slice();
        const sink = new Sink();
        sink.mtu = 9000;
        sendL3(sink, new Packet(buf, 0, buf.length, CHECKSUM_PARTIAL));
        expect(buf).toEqual(before);
        const at = ipHeader(what);
        const { bytes, offload } = sink.got[0];
        expect([sink.got.length, offload, bytes.length]).toEqual([1, 0, buf.length]);
        expect(verifyTransport(bytes, 0, what.tcp ? 6 : 17, at, bytes.length - at)).toBe(true);
      }),
    );
  });

  it('drops and counts what is marked for offload but cannot be', () => {
    const good = superSegment({ v6: false, tcp: true, payload: 3000, options: 12, flags: 16 });
    const faults: Array<(buf: Uint8Array) => void> = [
      (buf) => put16(buf, 2, 5000), // longer than what is there
      (buf) => put16(buf, 2, 30), // cuts the TCP header
      (buf) => put16(buf, 6, 0x2000), // a fragment
      (buf) => put16(buf, 6, 1),
      (buf) => buf.fill(0x10, 32, 33), // a TCP header of 4 bytes
      (buf) => buf.fill(47, 9, 10), // GRE
      (buf) => buf.fill(0x20, 0, 1), // no IP
      (buf) => buf.fill(0x4f, 0, 1), // options instead of the TCP header
    ];
    for (const fault of faults) {
      const buf = good.slice();
      fault(buf);
      const sink = new Sink();
      const { dropMalformed } = offloadStats;
      for (const offload of [1000 | CHECKSUM_PARTIAL, 1000])
        sendL3(sink, new Packet(buf, 0, buf.length, offload));
      if (buf[0] !== 0x4f)
        expect([sink.got.length, offloadStats.dropMalformed - dropMalformed]).toEqual([0, 2]);
      const frame = new Uint8Array(14 + buf.length);
      frame.set(buf, 14);
      sendL2(sink, new Frame(frame, 0, frame.length, CHECKSUM_PARTIAL));
      expect(sink.got.length).toBe(buf[0] === 0x4f ? sink.got.length : 0);
    }
    const sink = new Sink();
    sink.mtu = 1000;
    const { dropTooBig } = offloadStats;
    sendL3(sink, new Packet(good, 0, good.length, 1000 | CHECKSUM_PARTIAL));
    expect([sink.got.length, offloadStats.dropTooBig - dropTooBig]).toEqual([0, 1]);
  });

  it('never throws or reads beyond the window, whatever the bytes and the mark', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 120 }),
        fc.nat(0x3ffff),
        fc.boolean(),
        (bytes, offload, l2) => {
          if (bytes.length > 0 && !l2) bytes[0] = (bytes[0] & 0x2f) | 0x40;
          const sink = new Sink();
          if (l2) {
            if (bytes.length < 14) return;
            bytes.set([8, 0], 12);
            sendL2(sink, new Frame(bytes, 0, bytes.length, offload));
          } else sendL3(sink, new Packet(bytes, 0, bytes.length, offload));
          for (const got of sink.got) expect(got.bytes.length).toBeLessThanOrEqual(bytes.length);
        },
      ),
    );
  });

  it('gives its buffers back, also when the device throws', () => {
    const buf = superSegment({ v6: false, tcp: true, payload: 3000, options: 0, flags: 16 });
    const device = {
      accepts: 0,
      mtu: 1500,
      send() {
        throw new Error('broken');
      },
    } as unknown as L3Device;
    sendL3(new Sink(), new Packet(buf, 0, buf.length, 1000));
    const { allocated } = pool.stats;
    for (let i = 0; i < 10; i++) {
      expect(() => sendL3(device, new Packet(buf, 0, buf.length, 1000))).toThrow('broken');
    }
    expect(pool.stats.allocated).toBe(allocated);
  });

  it('is what the pipes’ wiring uses', () => {
    const [a, b] = L2PipeEnd.pair({ accepts: 0 });
    const got: number[] = [];
    b.setHandler((frame) => got.push(frame.len));
    const buf = superSegment({ v6: true, tcp: true, payload: 2500, options: 0, flags: 16 }, 14);
    writeEthernet(buf, 0, 1, 2, 0x86dd);
    sendL2(a, new Frame(buf, 0, buf.length, 1000 | CHECKSUM_PARTIAL));
    expect(got).toEqual([1074, 1074, 574]);
  });
});
