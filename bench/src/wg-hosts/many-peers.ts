/**
 * One device with ten thousand connected peers: what each takes, what a handshake of one more costs it, and whether a packet
 * costs more than with one peer.
 */

import { type Clock, Packet, Prefix } from '@pktkit/core';
import { provider } from '@pktkit/crypto/node';
import { Engine, generatePrivateKey, type Link, WireGuard } from '@pktkit/wg';
import { keep, type Measurement, median } from '../harness.ts';

const PEERS = 10_000;
/** Connected before the first weighing, so that tables and code have their size. */
const FIRST = 1000;
const PACKETS = 20_000;

type Send = (buf: Uint8Array, off: number, len: number, to: number) => void;

function linkTo(send: Send): Link {
  return {
    send,
    // Every peer has an address of its own.
    describe(endpoint, out, off) {
      for (let i = 0; i < 4; i++) out[off + i] = endpoint >>> (8 * i);
      return 6;
    },
    format: () => '',
    intern: () => 0,
    retain: () => {},
    release: () => {},
  };
}

export async function manyPeers(clock: Clock): Promise<Measurement[]> {
  const crypto = provider();
  const limits = { handshakeRate: 1e12, handshakeBurst: 1e12 };
  let answer: Send = () => {};
  const link = linkTo((buf, off, len, to) => answer(buf, off, len, to));
  const engine = new Engine({ clock, provider: crypto, limits, link });
  const server = new WireGuard(engine, { privateKey: generatePrivateKey() });
  const hello = new Uint8Array(28);
  hello.set([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 10, 255, 0, 1]);
  const times: number[] = [];
  let spent = 0;

  /** A client shakes hands, says something and is forgotten; the server's own time counts. */
  const connect = (i: number) => {
    const toServer: Send = (buf, off, len) => {
      const start = process.hrtime.bigint();
      engine.handleDatagram(buf, off, len, i);
      spent += Number(process.hrtime.bigint() - start);
    };
    const client = new Engine({ clock, provider: crypto, link: linkTo(toServer) });
    answer = (buf, off, len) => {
      const start = process.hrtime.bigint();
      client.handleDatagram(buf, off, len, 0);
      spent -= Number(process.hrtime.bigint() - start);
    };
    const device = new WireGuard(client, { privateKey: generatePrivateKey() });
    const { publicKey } = device.identity;
    const addr = [10, i >>> 16, (i >>> 8) & 255, i & 255];
    server.addPeer({ publicKey, allowedIps: [Prefix.parse(`${addr.join('.')}/32`)] });
    device.addPeer({
      publicKey: server.identity.publicKey,
      endpoint: 0,
      allowedIps: ['0.0.0.0/0'],
    });
    hello.set(addr, 12);
    spent = 0;
    device.send(Packet.of(hello));
    times.push(spent / 1000);
    device.close();
  };
  const used = () => {
    for (let i = 0; i < 3; i++) globalThis.gc?.();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };

  for (let i = 0; i < FIRST; i++) connect(i);
  const before = used();
  times.length = 0;
  for (let i = FIRST; i < PEERS; i++) connect(i);
  const handshake = median(times);
  times.length = 0;
  const memory = (used() - before) / (PEERS - FIRST);
  if (engine.stats.handshakes !== PEERS) throw new Error('not every handshake came about');

  answer = (_buf, _off, len) => keep(len);
  const bytes = new Uint8Array(1420 + 200).fill(7);
  bytes.set([0x45, 0, 1420 >>> 8, 1420 & 255], 96);
  const packet = new Packet(bytes, 96, 1420);
  const seal = (peers: number) => {
    const rounds: number[] = [];
    for (let round = 0; round < 15; round++) {
      const start = process.hrtime.bigint();
      for (let n = 0; n < PACKETS; n++) {
        // A stride that visits all of them, and no two neighbours one after the other.
        const i = (n * 7919) % peers;
        bytes[96 + 16] = 10;
        bytes[96 + 17] = i >>> 16;
        bytes[96 + 18] = i >>> 8;
        bytes[96 + 19] = i;
        server.send(packet);
      }
      rounds.push(Number(process.hrtime.bigint() - start) / PACKETS);
    }
    return median(rounds);
  };
  seal(1);
  const one = seal(1);
  const all = seal(PEERS);
  keep(server.stats.sent);
  server.close();
  return [
    { id: 'wg.peer.memory.connected', unit: 'B', value: memory, bytesPerOp: null },
    { id: 'wg.peers.handshake', unit: 'µs', value: handshake, bytesPerOp: null },
    { id: 'wg.peers.seal.1420.one', unit: 'ns', value: one, bytesPerOp: null },
    { id: 'wg.peers.seal.1420.all', unit: 'ns', value: all, bytesPerOp: null },
  ];
}
