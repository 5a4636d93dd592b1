import '@pktkit/testkit/matchers';
import { Frame, Packet } from '@pktkit/core';
import { assertPacket, dissectPacket, packetMismatches, slowChecksum } from '@pktkit/testkit';
import { describe, expect, it } from 'vitest';

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replace(/\s/g, ''), 'hex'));

// RFC 1071 §3 works through these bytes: the sum is ddf2.
const RFC1071 = hex('0001 f203 f4f5 f6f7');
// 10.0.0.2 > 10.0.0.1 UDP 4660 > 53 "hi", both checksums right.
const udp4 = () =>
  hex('4500001e000140004011' + '26cc' + '0a0000020a000001' + '1234003500' + '0a' + '7105' + '6869');
const arp = hex(
  'ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000002 000000000000 0a000001',
);

describe('matchers', () => {
  it('sums as RFC 1071 §3 does', () => {
    expect(slowChecksum(RFC1071)).toBe(~0xddf2 & 0xffff);
  });

  it('match packets by the fields given', () => {
    const packet = Packet.of(udp4());
    expect(packet).toBeIpv4();
    expect(packet).toBeIpv4({ src: '10.0.0.2', dst: '10.0.0.1', proto: 17, ttl: 64, df: true });
    expect(packet).toBeIpv4({ udp: { srcPort: 0x1234, dstPort: 53 }, payload: 'hi' });
    expect(packet).not.toBeIpv6();
    expect(packet).not.toBeIpv4({ udp: { dstPort: 54 } });
    expect(packet).not.toBeIpv4({ tcp: {} });
    expect(packet).not.toBeIpv4({ payload: 'ho' });
    assertPacket(packet, { ttl: 64 });
    expect(() => assertPacket(packet, { ttl: 63 })).toThrow(/ttl: 64, expected 63/);
  });

  it('match ARP', () => {
    expect(Frame.of(arp)).toBeArp({ op: 1, senderIp: '10.0.0.2', targetIp: '10.0.0.1' });
    expect(Frame.of(arp)).not.toBeArp({ op: 2 });
    expect(Frame.of(arp)).toBeArp({ ether: { dst: 'ff:ff:ff:ff:ff:ff', vlan: null } });
  });

  it('find every flipped bit', () => {
    for (let bit = 0; bit < udp4().length * 8; bit++) {
      const bytes = udp4();
      bytes[bit >>> 3] ^= 0x80 >>> (bit & 7);
      expect(packetMismatches(Packet.of(bytes), {}), `bit ${bit}`).not.toEqual([]);
    }
  });

  it('never throw for bytes', () => {
    for (const first of [0x45, 0x4f, 0x60, 0x00]) {
      for (let length = 0; length < 64; length++) {
        const bytes = new Uint8Array(length).fill(0);
        if (length > 0) bytes[0] = first;
        expect(dissectPacket(Packet.of(bytes)).problems).not.toEqual([]);
      }
    }
  });
});
