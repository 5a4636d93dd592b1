import { fromHex, IpAddr, toHex } from '@pktkit/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  AF_INET,
  AF_INET6,
  NetlinkRequest,
  Nlm,
  Rtm,
  readAddress,
  readAttributes,
  readText,
  readU32,
} from '../src/rtnetlink.ts';

describe('route netlink messages', () => {
  it('are those that iproute2 sends', () => {
    // `strace -e sendmsg -x ip addr add 10.1.2.3/24 dev lo`: RTM_NEWADDR, index 1, IFA_LOCAL and IFA_ADDRESS; sequence 0.
    const request = new NetlinkRequest(Rtm.NEWADDR, Nlm.EXCL | Nlm.CREATE);
    request.u8(AF_INET).u8(24).u8(0).u8(0).u32(1);
    const address = IpAddr.parse('10.1.2.3');
    request.attrAddress(2, address).attrAddress(1, address);
    expect(toHex(request.finish())).toBe(
      toHex(
        fromHex(`28000000 1400 0506 00000000 00000000
                 02 18 00 00 01000000
                 0800 0200 0a010203
                 0800 0100 0a010203`),
      ),
    );
  });

  it('pad attributes, and grow', () => {
    const request = new NetlinkRequest(Rtm.NEWLINK, 0);
    request.attrText(3, 'tun0').attrU32(4, 1400).attr(9, new Uint8Array(1000).fill(7));
    const bytes = request.finish();
    expect(bytes.length).toBe(16 + 12 + 8 + 1004);
    const attributes = readAttributes(bytes, 16);
    expect(readText(attributes.get(3))).toBe('tun0');
    expect(readU32(attributes.get(4))).toBe(1400);
    expect(attributes.get(9)).toEqual(new Uint8Array(1000).fill(7));
    expect([...bytes.subarray(16, 28)]).toEqual([9, 0, 3, 0, 0x74, 0x75, 0x6e, 0x30, 0, 0, 0, 0]);
  });

  it('read addresses of the right length only', () => {
    expect(`${readAddress(AF_INET, Uint8Array.of(192, 0, 2, 1))}`).toBe('192.0.2.1');
    expect(`${readAddress(AF_INET6, new Uint8Array(16))}`).toBe('::');
    expect(readAddress(AF_INET, new Uint8Array(16))).toBeUndefined();
    expect(readAddress(AF_INET6, new Uint8Array(4))).toBeUndefined();
    expect(readAddress(7, new Uint8Array(4))).toBeUndefined();
    expect(readAddress(AF_INET, undefined)).toBeUndefined();
  });

  it('never read outside, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(30), (bytes, from) => {
        for (const [type, value] of readAttributes(bytes, from)) {
          expect(type).toBeLessThan(0x4000);
          expect(value.byteOffset + value.length).toBeLessThanOrEqual(bytes.length);
          readU32(value);
          readText(value);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
