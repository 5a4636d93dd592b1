import {
  connectL3,
  HEADROOM,
  IpAddr,
  Packet,
  pipeL3,
  put16,
  transportChecksum,
} from '@pktkit/core';
import { Slirp } from '@pktkit/slirp';
import { poisonL3, VirtualClock } from '@pktkit/testkit';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeSockets } from './fake-sockets.ts';
import { GATEWAY4, newGuest } from './lan.ts';

const LIMITS = { flows: 20, dials: 10, mappings: 20, dnsQueries: 5 };

/** What a guest's stack sends in a minute of ordinary life, to start from. */
async function samples(): Promise<Uint8Array[]> {
  const clock = new VirtualClock();
  const guest = newGuest({ clock });
  const seen: Uint8Array[] = [];
  guest.setHandler((packet) => seen.push(packet.bytes.slice()));
  for (const host of ['192.0.2.1', '2001:db8::1', GATEWAY4, 'fd00::2']) {
    guest.connect({ host, port: 80 }).on('error', () => {});
    guest.udp().send(new Uint8Array(40).fill(7), IpAddr.parse(host), 9);
    guest.udp().send(new Uint8Array(3000).fill(7), IpAddr.parse(host), 9);
    await clock.settle(guest.ping(host).catch(() => {}));
  }
  await clock.settle(guest.resolve('example.test').catch(() => {}));
  guest.close();
  clock.flush();
  return seen;
}

/** Half of the packets get right checksums, so that their faults lie deeper. */
function repair(bytes: Uint8Array): void {
  const four = bytes[0] >>> 4 === 4;
  const at = four ? (bytes[0] & 15) * 4 : 40;
  if (at < 20 || at + 20 > bytes.length) return;
  const protocol = four ? bytes[9] : bytes[6];
  if (four) {
    put16(bytes, 2, bytes.length);
    put16(bytes, 10, 0);
    let sum = 0;
    for (let i = 0; i < at; i += 2) sum += (bytes[i] << 8) | bytes[i + 1];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    put16(bytes, 10, ~sum);
  } else {
    put16(bytes, 4, bytes.length - 40);
  }
  const field = protocol === 6 ? 16 : protocol === 17 ? 6 : protocol === 58 ? 2 : -1;
  if (field < 0) return;
  put16(bytes, at + field, 0);
  const sum = transportChecksum(bytes, 0, protocol, at, bytes.length - at);
  put16(bytes, at + field, sum);
}

describe('whatever a guest sends and the host answers', () => {
  it('never throws, stays within its limits, and serves the next guest', async () => {
    const clock = new VirtualClock();
    const sockets = new FakeSockets();
    sockets.servers = [{ address: '192.0.2.53', port: 53 }];
    const slirp = new Slirp({
      addrs: [`${GATEWAY4}/24`, 'fd00::2/64'],
      clock,
      sockets,
      dns: true,
      limits: LIMITS,
    });
    const [near, far] = pipeL3();
    slirp.connectL3(poisonL3(far));
    near.setHandler(() => {});
    const start = await samples();
    expect(start.length).toBeGreaterThan(15);
    let streams = 0;
    let datagrams = 0;
    const gone = (stream: number, why: string) => {
      const { events } = sockets.streams[stream];
      sockets.streams[stream].state = 'closed';
      events.onClosed(why);
    };
    const change = fc.tuple(fc.nat(120), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(
        fc.nat(start.length - 1),
        fc.array(change, { maxLength: 5 }),
        fc.nat(80),
        fc.boolean(),
        fc.nat(6),
        (index, changes, cut, right, act) => {
          const original = start[index];
          const length = cut < 40 ? original.length : Math.max(20, original.length - cut);
          const buf = new Uint8Array(HEADROOM + length);
          const bytes = buf.subarray(HEADROOM);
          bytes.set(original.subarray(0, length));
          for (const [at, value] of changes) bytes[at % length] = value;
          if (right) repair(bytes);
          near.send(new Packet(buf, HEADROOM, length));
          // The host's side lives, too: dials succeed and fail, servers talk, end and reset, datagrams come.
          for (; streams < sockets.streams.length; streams++) {
            const { events } = sockets.streams[streams];
            if (act === 0) gone(streams, 'ECONNREFUSED');
            else if (act < 5) events.onConnected();
          }
          const some = (index * 7 + act) % Math.max(1, streams);
          if (sockets.streams[some]?.state === 'open') {
            if (act === 1) sockets.streams[some].push(bytes.slice());
            else if (act === 2) sockets.streams[some].events.onEnd();
            else if (act === 3) gone(some, 'ECONNRESET');
          }
          for (; datagrams < sockets.sockets.length; datagrams++) {
            const { events, closed } = sockets.sockets[datagrams];
            if (!closed)
              events.onMessage(bytes.slice(), act % 2 ? '192.0.2.53' : '2001:db8::1', 53);
          }
          clock.advance(act * 20);
          expect(slirp.stats.tcpFlows).toBeLessThanOrEqual(LIMITS.flows);
          expect(slirp.stats.tcpDials).toBeLessThanOrEqual(LIMITS.dials);
          expect(slirp.stats.udpMappings).toBeLessThanOrEqual(LIMITS.mappings);
        },
      ),
      { numRuns: 6000, seed: 3 },
    );
    const { stats } = slirp;
    expect(stats.dropMalformed).toBeGreaterThan(100);
    expect(stats.dropChecksum).toBeGreaterThan(100);
    expect(stats.tcpOpened).toBeGreaterThan(20);
    expect(stats.udpUp).toBeGreaterThan(100);
    // Everything ends by time, and a guest with nothing to hide is served.
    clock.advance(3 * 3_600_000);
    expect([stats.tcpFlows, stats.tcpDials, stats.udpMappings]).toEqual([0, 0, 0]);
    const guest = newGuest({ clock });
    connectL3(guest, near);
    guest.udp().send(new Uint8Array(4), IpAddr.parse('192.0.2.1'), 7);
    expect(sockets.sockets.at(-1)?.sent).toEqual([
      { bytes: new Uint8Array(4), address: '192.0.2.1', port: 7 },
    ]);
    guest.close();
    slirp.close();
  });
});
