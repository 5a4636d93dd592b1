/**
 * WireGuard: whole data messages in and out, handshakes, tables, memory, then two processes over UDP and two namespaces
 * with iperf3. Tables that no package exports are measured in the built files.
 */

import type { Clock } from '@pktkit/core';
import { Packet, Prefix } from '@pktkit/core';
import { type CryptoProvider, wasmProviderSync } from '@pktkit/crypto';
import { provider } from '@pktkit/crypto/node';
import {
  Engine,
  generatePrivateKey,
  type Identity,
  type Link,
  type Peer,
  WireGuard,
} from '@pktkit/wg';
import { IndexTable } from '../../packages/wg/dist/index-table.js';
import { ReplayWindow } from '../../packages/wg/dist/replay.js';
import { type Bench, keep, type Measurement, median } from './harness.ts';
import { manyPeers } from './wg-hosts/many-peers.ts';
import { tunTcp, udpGoodput, udpRtt } from './wg-hosts/run.ts';

export function benches(): Bench[] {
  return [
    seal('wg.seal.1420', 1420, provider()),
    seal('wg.seal.1420.wasm', 1420, wasmProviderSync()),
    seal('wg.seal.64', 64, provider()),
    open('wg.open.1420', 1420),
    open('wg.open.64', 64),
    handshake(),
    replay(),
    lookup(),
    { id: 'wg.peer.memory', unit: 'B', measure: peerMemory },
    { id: 'wg.peers', unit: 'ns', measure: () => manyPeers(new StillClock()) },
    { id: 'wg.udp.goodput', unit: 'MB/s', measure: udpGoodput },
    { id: 'wg.udp.rtt', unit: 'µs', measure: udpRtt },
    { id: 'wg.tun.tcp', unit: 'Gbit/s', measure: tunTcp },
  ];
}

/** Time stands still: no rekey, no keepalive. */
class StillClock implements Clock {
  now = 0;
  wall = 1_767_225_600_000;
  timer() {
    return { deadline: Number.POSITIVE_INFINITY, arm: () => {}, cancel: () => {} };
  }
  beginBatch(): void {}
  endBatch(): void {}
  endOfBatch(): void {}
  hold(): void {}
  release(): void {}
}

type Send = (buf: Uint8Array, off: number, len: number) => void;

function linkTo(send: Send): Link & { send: Send } {
  return {
    send,
    describe: () => 6,
    format: () => '',
    intern: () => 0,
    retain: () => {},
    release: () => {},
  };
}

interface Pair {
  a: Engine;
  b: Engine;
  toB: Peer;
  toA: Peer;
  /** What a sends from now on goes here. */
  onSend(send: Send): void;
}

/** Two engines that have shaken hands; what one sends the other gets on the spot. */
function pair(crypto: CryptoProvider): Pair {
  const clock = new StillClock();
  const testTimings = { rekeyTimeout: 0, initiationSpacing: 0 };
  const limits = { handshakeRate: 1e12, handshakeBurst: 1e12 };
  const options = { clock, provider: crypto, testTimings, limits };
  let sink: Send = (buf, off, len) => b.handleDatagram(buf, off, len, 0);
  const a: Engine = new Engine({
    ...options,
    link: linkTo((buf, off, len) => sink(buf, off, len)),
  });
  const b: Engine = new Engine({
    ...options,
    link: linkTo((buf, off, len) => a.handleDatagram(buf, off, len, 0)),
  });
  const left: Identity = a.addIdentity({ privateKey: generatePrivateKey() });
  const right: Identity = b.addIdentity({ privateKey: generatePrivateKey() });
  const toB = left.addPeer({ publicKey: right.publicKey, endpoint: 0 });
  const toA = right.addPeer({ publicKey: left.publicKey });
  toB.handshake();
  return { a, b, toB, toA, onSend: (send) => (sink = send) };
}

function packetOf(len: number): Packet {
  const bytes = new Uint8Array(len + 200).fill(7);
  bytes.set([0x45, 0, len >>> 8, len & 255], 96);
  return new Packet(bytes, 96, len);
}

function seal(id: string, len: number, crypto: CryptoProvider): Bench {
  const { toB, onSend } = pair(crypto);
  onSend((_buf, _off, length) => keep(length));
  const packet = packetOf(len);
  return {
    id,
    unit: 'ns',
    run(n) {
      for (let i = 0; i < n; i++) toB.send(packet);
    },
  };
}

/** Opened in place, so every message serves once; making them is not timed. */
function open(id: string, len: number): Bench {
  const COUNT = 200;
  return {
    id,
    unit: 'ns',
    async measure(): Promise<Measurement[]> {
      const { b, toB, onSend } = pair(provider());
      // One arena, as a socket has.
      const arena = new Uint8Array(COUNT * 2048);
      let filled = 0;
      let total = 0;
      onSend((buf, off, length) => {
        arena.set(buf.subarray(off, off + length), filled * 2048);
        filled++;
        total = length;
      });
      const packet = packetOf(len);
      const times: number[] = [];
      const bytes: number[] = [];
      for (let round = 0; round < 1500; round++) {
        filled = 0;
        for (let i = 0; i < COUNT; i++) toB.send(packet);
        const weigh = round >= 1450;
        if (weigh) globalThis.gc?.();
        const before = weigh ? process.memoryUsage().heapUsed : 0;
        const start = process.hrtime.bigint();
        for (let i = 0; i < COUNT; i++) b.handleDatagram(arena, i * 2048, total, 0);
        const time = Number(process.hrtime.bigint() - start) / COUNT;
        if (weigh) bytes.push(Math.max(0, process.memoryUsage().heapUsed - before) / COUNT);
        else times.push(time);
      }
      if (b.stats.dropBadTag + b.stats.dropReplay > 0) throw new Error('messages were dropped');
      return [{ id, unit: 'ns', value: median(times.slice(500)), bytesPerOp: median(bytes) }];
    },
  };
}

function handshake(): Bench {
  const { a, toB } = pair(provider());
  return {
    id: 'wg.handshake',
    unit: 'µs',
    run(n) {
      for (let i = 0; i < n; i++) toB.handshake();
      keep(a.stats.handshakes);
    },
  };
}

function replay(): Bench {
  const window = new ReplayWindow();
  let counter = 0;
  return {
    id: 'wg.replay',
    unit: 'ns',
    run(n) {
      let accepted = 0;
      // Every fourth pair swapped: the window has to remember.
      for (let i = 0; i < n; i++) {
        const swapped =
          (counter & 7) === 0 ? counter + 1 : (counter & 7) === 1 ? counter - 1 : counter;
        if (window.accept(swapped >>> 0, 0)) accepted++;
        counter++;
      }
      keep(accepted);
    },
  };
}

function lookup(): Bench {
  const table = new IndexTable<{ n: number }>(100_000, () => (Math.random() * 2 ** 32) >>> 0);
  // As many sessions as a thousand peers have.
  const indices = new Int32Array(2048);
  for (let i = 0; i < indices.length; i++) indices[i] = table.add({ n: i });
  let at = 0;
  return {
    id: 'wg.peer.lookup',
    unit: 'ns',
    run(n) {
      let sum = 0;
      for (let i = 0; i < n; i++) {
        at = (at + 1999) & 2047;
        sum += (table.get(indices[at]) as { n: number }).n;
      }
      keep(sum);
    },
  };
}

/** Ten thousand peers with a prefix and a key of their own, none of them connected. */
async function peerMemory(): Promise<Measurement[]> {
  const COUNT = 10_000;
  const keys = Array.from({ length: COUNT + 1000 }, () => generatePrivateKey());
  const clock = new StillClock();
  const engine = new Engine({ clock, provider: provider(), link: linkTo(() => {}) });
  const device = new WireGuard(engine, { privateKey: generatePrivateKey() });
  const add = (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      const prefix = Prefix.parse(`10.${i >>> 16}.${(i >>> 8) & 255}.${i & 255}/32`);
      device.addPeer({ publicKey: keys[i], allowedIps: [prefix], endpoint: i });
    }
  };
  const used = () => {
    for (let i = 0; i < 3; i++) globalThis.gc?.();
    // `external` holds what array buffers take.
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  add(0, 1000);
  const before = used();
  add(1000, 1000 + COUNT);
  const value = (used() - before) / COUNT;
  keep(device.peers.size);
  return [{ id: 'wg.peer.memory', unit: 'B', value, bytesPerOp: null }];
}
