import {
  ETHERNET_HEADER,
  EtherType,
  Frame,
  fromHex,
  IpAddr,
  IpProtocol,
  icmp,
  icmpv6,
  ipLength,
  ipv4,
  ipv4ChecksumOk,
  ipv6,
  Packet,
  put16,
  TcpFlag,
  tcp,
  udp,
  writeEthernet,
} from '@pktkit/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('Frame', () => {
  it('gives addresses, type and payload of untagged, tagged and doubly tagged frames', () => {
    for (const [tags, header, vlan] of [
      ['', 14, -1],
      ['8100 2007', 18, 7],
      ['88a8 0fff 8100 0002', 22, 0xfff],
    ] as const) {
      const bytes = fromHex(`ffffffffffff 020000000001 ${tags} 86dd 6000000000`);
      const padded = new Uint8Array([1, 2, 3, ...bytes]);
      const frame = new Frame(padded, 3, bytes.length, 5);
      expect([frame.dst, frame.src, frame.etherType, frame.headerLen, frame.vlan]).toEqual([
        0xffffffffffff,
        0x020000000001,
        EtherType.IPV6,
        header,
        vlan,
      ]);
      expect([frame.isGroup, frame.isBroadcast]).toEqual([true, true]);
      const payload = frame.payload();
      expect([payload.buf === padded, payload.off, payload.len, payload.offload]).toEqual([
        true,
        3 + header,
        5,
        5,
      ]);
      expect([frame.payloadOff, frame.payloadLen]).toEqual([3 + header, 5]);
    }
  });

  it('never reads beyond its end for tags that are cut off', () => {
    const bytes = fromHex('ffffffffffff 020000000001 8100 0001 8100 0002 8100');
    for (let len = ETHERNET_HEADER; len <= bytes.length; len++) {
      const frame = new Frame(
        new Uint8Array([...bytes.subarray(0, len), 0xff, 0xff, 0xff, 0xff]),
        0,
        len,
      );
      expect(frame.headerLen).toBeLessThanOrEqual(len);
      expect(frame.etherType).not.toBe(0xffff);
    }
    expect([Frame.isValid(13), Frame.isValid(14)]).toEqual([false, true]);
  });

  it('writes addresses, and clones what must outlive the call', () => {
    const buf = new Uint8Array(60);
    writeEthernet(buf, 0, 0x0200000000ff, 0xfedcba987654, EtherType.ARP);
    const frame = Frame.of(buf);
    expect([frame.dst, frame.src, frame.etherType]).toEqual([
      0x0200000000ff,
      0xfedcba987654,
      EtherType.ARP,
    ]);
    frame.dst = 0xffffffffffff;
    frame.src = 0x000000000001;
    const copy = frame.clone();
    buf.fill(0);
    expect([copy.dst, copy.src, copy.len]).toEqual([0xffffffffffff, 1, 60]);
    expect(copy.bytes.length).toBe(60);
  });
});

describe('ipLength', () => {
  it("CORE-02: gives the packet's own length without the link's padding", () => {
    const buf = new Uint8Array(60);
    ipv4.write(buf, 0, { src: IpAddr.ANY4, dst: IpAddr.ANY4, protocol: 6, payloadLen: 20 });
    expect(ipLength(buf, 0, 60)).toBe(40);
    expect(ipLength(buf, 0, 40)).toBe(40);
    expect(ipLength(buf, 0, 39)).toBe(-1);
    ipv6.write(buf, 0, { src: IpAddr.ANY6, dst: IpAddr.ANY6, nextHeader: 59, payloadLen: 0 });
    expect(ipLength(buf, 0, 60)).toBe(40);
    expect(ipLength(buf, 0, 39)).toBe(-1);
  });

  it('refuses impossible headers and never gives more than is there', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 80 }),
        fc.constantFrom(0x40, 0x45, 0x4f, 0x60, 0),
        (bytes, first) => {
          if (bytes.length > 0 && first !== 0) bytes[0] = first | (bytes[0] & 15);
          const total = ipLength(bytes, 0, bytes.length);
          if (total < 0) return;
          expect(total).toBeLessThanOrEqual(bytes.length);
          const packet = new Packet(bytes, 0, total);
          expect(packet.headerLen).toBeGreaterThanOrEqual(20);
          expect(packet.headerLen).toBeLessThanOrEqual(total);
          expect(packet.transport === -1 || (packet.transport & 0xffff) <= total).toBe(true);
          expect(typeof packet.isFragment).toBe('boolean');
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('headers as plain objects', () => {
  const address4 = fc.nat(0xffffffff).map((value) => IpAddr.v4(value));
  const address6 = fc.tuple(fc.nat(), fc.nat(), fc.nat(), fc.nat()).map((w) => IpAddr.v6(...w));

  it('IPv4: what was written is read, with a right checksum', () => {
    const fields = fc.record({
      src: address4,
      dst: address4,
      protocol: fc.nat(255),
      ttl: fc.nat(255),
      id: fc.nat(0xffff),
      trafficClass: fc.nat(255),
      dontFragment: fc.boolean(),
      moreFragments: fc.boolean(),
      fragmentOffset: fc.nat(0x1fff).map((n) => n * 8),
      payloadLen: fc.nat(40),
      options: fc
        .uint8Array({ minLength: 0, maxLength: 10 })
        .map((raw) => new Uint8Array(raw.length * 4).fill(1)),
    });
    fc.assert(
      fc.property(fields, (header) => {
        const buf = new Uint8Array(130).fill(0xcc);
        const length = ipv4.write(buf, 5, header);
        const packet = new Packet(buf, 5, length + header.payloadLen);
        expect(ipv4.parse(packet)).toEqual(header);
        expect(ipv4ChecksumOk(buf, 5)).toBe(true);
        expect(ipLength(buf, 5, 125)).toBe(packet.len);
        expect([packet.version, packet.family, packet.protocol, packet.ttl]).toEqual([
          4,
          4,
          header.protocol,
          header.ttl,
        ]);
        expect([packet.src.equals(header.src), packet.dst.equals(header.dst)]).toEqual([
          true,
          true,
        ]);
        expect([packet.src4, packet.dst4]).toEqual([header.src.w3, header.dst.w3]);
        expect(packet.isFragment).toBe(header.moreFragments || header.fragmentOffset > 0);
        expect(ipv6.parse(packet)).toBe(null);
        buf[5 + 8] ^= 1;
        expect(ipv4ChecksumOk(buf, 5)).toBe(false);
      }),
    );
    const base = { src: IpAddr.ANY4, dst: IpAddr.ANY4, protocol: 6, payloadLen: 0 };
    expect(() =>
      ipv4.write(new Uint8Array(80), 0, { ...base, options: new Uint8Array(3) }),
    ).toThrow(/options/);
    expect(() => ipv4.write(new Uint8Array(80), 0, { ...base, fragmentOffset: 7 })).toThrow(
      /multiple of 8/,
    );
  });

  it('IPv6: what was written is read', () => {
    const fields = fc.record({
      src: address6,
      dst: address6,
      nextHeader: fc.nat(255),
      hopLimit: fc.nat(255),
      trafficClass: fc.nat(255),
      flowLabel: fc.nat(0xfffff),
      payloadLen: fc.nat(0xffff),
    });
    fc.assert(
      fc.property(fields, (header) => {
        const buf = new Uint8Array(50).fill(0xcc);
        expect(ipv6.write(buf, 3, header)).toBe(40);
        const packet = new Packet(buf, 3, 40);
        expect(ipv6.parse(packet)).toEqual(header);
        expect(ipv4.parse(packet)).toBe(null);
        expect([packet.version, packet.family, packet.protocol, packet.ttl]).toEqual([
          6,
          6,
          header.nextHeader,
          header.hopLimit,
        ]);
        expect(packet.isMulticast).toBe(header.dst.isMulticast);
      }),
    );
  });
});

describe('IPv6 extension headers', () => {
  const packetOf = (first: number, rest: string) => {
    const tail = fromHex(rest);
    const buf = new Uint8Array(40 + tail.length);
    ipv6.write(buf, 0, {
      src: IpAddr.ANY6,
      dst: IpAddr.ANY6,
      nextHeader: first,
      payloadLen: tail.length,
    });
    buf.set(tail, 40);
    return Packet.of(buf);
  };
  const at = (protocol: number, offset: number) => protocol * 0x10000 + offset;

  it('are passed over to the transport', () => {
    expect(packetOf(17, '0000000000080000').transport).toBe(at(17, 40));
    expect(packetOf(0, '3c00 000000000000 1100 000000000000 0000000000080000').transport).toBe(
      at(17, 56),
    );
    expect(packetOf(43, '0601 000000000000 0000000000000000').transport).toBe(at(6, 56));
    // An authentication header counts in words of four bytes (RFC 4302 §2.2).
    expect(packetOf(51, '0604 0000 00000000 00000000 00000000 00000000 00000000').transport).toBe(
      at(6, 64),
    );
    expect(packetOf(59, '').transport).toBe(at(59, 40));
  });

  it('end at a real fragment; an atomic one is no fragment (RFC 6946)', () => {
    const real = packetOf(44, '1100 0001 00000001 0000000000080000');
    expect([real.transport, real.isFragment]).toEqual([at(44, 40), true]);
    const atomic = packetOf(44, '1100 0000 00000001 0000000000080000');
    expect([atomic.transport, atomic.isFragment]).toEqual([at(17, 48), false]);
  });

  it('that leave the packet or never end are malformed', () => {
    expect(packetOf(0, '3c00 00000000').transport).toBe(-1);
    expect(packetOf(0, '3cff 000000000000').transport).toBe(-1);
    expect(packetOf(44, '1100 0001').transport).toBe(-1);
    expect(packetOf(51, '0604').transport).toBe(-1);
    expect(packetOf(0, '0000 000000000000'.repeat(12)).transport).toBe(-1);
  });
});

describe('transport headers', () => {
  it('TCP, UDP, ICMP and ICMPv6: accessors read what writers wrote', () => {
    const buf = new Uint8Array(70).fill(0xcc);
    tcp.write(buf, 3, 0xfffe, 80, -2, 7, 32, TcpFlag.SYN | TcpFlag.ACK, 0xffff);
    expect([tcp.srcPort(buf, 3), tcp.dstPort(buf, 3), tcp.seq(buf, 3), tcp.ack(buf, 3)]).toEqual([
      0xfffe, 80, -2, 7,
    ]);
    expect([
      tcp.headerLen(buf, 3),
      tcp.flags(buf, 3),
      tcp.window(buf, 3),
      tcp.checksum(buf, 3),
    ]).toEqual([32, 0x12, 0xffff, 0]);
    expect([tcp.isValid(buf, 3, 31), tcp.isValid(buf, 3, 32), tcp.isValid(buf, 3, 19)]).toEqual([
      false,
      true,
      false,
    ]);
    buf[3 + 12] = 0x40;
    expect(tcp.isValid(buf, 3, 60)).toBe(false);
    udp.write(buf, 1, 53, 0xfffe, 9);
    expect([
      udp.srcPort(buf, 1),
      udp.dstPort(buf, 1),
      udp.length(buf, 1),
      udp.checksum(buf, 1),
    ]).toEqual([53, 0xfffe, 9, 0]);
    expect([udp.isValid(buf, 1, 8), udp.isValid(buf, 1, 9), udp.isValid(buf, 1, 7)]).toEqual([
      false,
      true,
      false,
    ]);
    put16(buf, 5, 7);
    expect(udp.isValid(buf, 1, 60)).toBe(false);
    icmp.write(buf, 0, 8, 0, 0x12345678);
    expect([icmp.type(buf, 0), icmp.code(buf, 0), icmp.id(buf, 0), icmp.seq(buf, 0)]).toEqual([
      8, 0, 0x1234, 0x5678,
    ]);
    expect([icmp.nextHopMtu(buf, 0), icmp.isError(8), icmp.isError(3), icmp.isError(11)]).toEqual([
      0x5678,
      false,
      true,
      true,
    ]);
    icmpv6.write(buf, 0, 2, 1, 1280);
    expect([icmpv6.type(buf, 0), icmpv6.code(buf, 0), icmpv6.mtu(buf, 0)]).toEqual([2, 1, 1280]);
    icmpv6.write(buf, 0, 128, 0, 0x00010002);
    expect([
      icmpv6.id(buf, 0),
      icmpv6.seq(buf, 0),
      icmpv6.isError(127),
      icmpv6.isError(128),
    ]).toEqual([1, 2, true, false]);
    expect(IpProtocol.ICMPV6).toBe(58);
  });
});
