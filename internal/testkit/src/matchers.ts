/**
 * Packet matchers for vitest; importing this file installs them:
 *
 *     import '@pktkit/testkit/matchers';
 *     expect(packet).toBeIpv4({ src: '10.0.0.2', tcp: { dstPort: 80, flags: 'SYN' } });
 */

import { Frame, Packet } from '@pktkit/core';
import { expect } from 'vitest';
import {
  arpMismatches,
  describePacket,
  type ExpectedArp,
  type ExpectedPacket,
  packetMismatches,
} from './packets.ts';

interface PacketMatchers<R = unknown> {
  /** A valid IPv4 packet (or a frame with one) in which every field given matches. Checksums are verified. */
  toBeIpv4(expected?: ExpectedPacket): R;
  /** A valid IPv6 packet (or a frame with one) in which every field given matches. Checksums are verified. */
  toBeIpv6(expected?: ExpectedPacket): R;
  /** A frame with an ARP message in which every field given matches. */
  toBeArp(expected?: ExpectedArp): R;
}

declare module 'vitest' {
  // biome-ignore lint/suspicious/noExplicitAny: must repeat vitest's own declaration to merge with it
  interface Matchers<T = any> extends PacketMatchers<T> {}
}

function ip(version: 4 | 6) {
  return (received: unknown, expected: ExpectedPacket = {}) => {
    if (!(received instanceof Packet) && !(received instanceof Frame)) return notAPacket(received);
    return verdict(received, packetMismatches(received, { version, ...expected }));
  };
}

function notAPacket(received: unknown) {
  return { pass: false, message: () => `expected a Packet or a Frame, got ${String(received)}` };
}

function verdict(received: Packet | Frame, wrong: string[]) {
  return {
    pass: wrong.length === 0,
    message: () =>
      wrong.length === 0
        ? `the packet matches: ${describePacket(received)}`
        : `${wrong.join('\n')}\nin ${describePacket(received)}`,
  };
}

expect.extend({
  toBeIpv4: ip(4),
  toBeIpv6: ip(6),
  toBeArp(received: unknown, expected: ExpectedArp = {}) {
    if (!(received instanceof Frame)) return notAPacket(received);
    return verdict(received, arpMismatches(received, expected));
  },
});
