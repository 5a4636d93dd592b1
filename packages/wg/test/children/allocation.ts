/** Measures the bytes of memory per packet out and in. Run with `--expose-gc`; prints one JSON object. */

import { type Clock, Packet } from '@pktkit/core';
import { provider } from '@pktkit/crypto/node';
import { Engine, generatePrivateKey, type Link, WireGuard } from '@pktkit/wg';
import { ipv4 } from '../lab.ts';

const gc = (globalThis as { gc?: () => void }).gc;
if (gc === undefined) throw new Error('run with --expose-gc');

const ROUNDS = 5000;

/** Time stands still: no rekey, no keepalive. */
const clock: Clock = {
  now: 0,
  wall: 1_767_225_600_000,
  timer: () => ({ deadline: Number.POSITIVE_INFINITY, arm: () => {}, cancel: () => {} }),
  beginBatch: () => {},
  endBatch: () => {},
  endOfBatch: () => {},
  hold: () => {},
  release: () => {},
};

function linkTo(send: (buf: Uint8Array, off: number, len: number) => void): Link {
  return {
    send,
    describe: () => 6,
    format: () => '',
    intern: () => 0,
    retain: () => {},
    release: () => {},
  };
}

const crypto = provider();
let received = 0;
let deliver = (buf: Uint8Array, off: number, len: number): void =>
  right.handleDatagram(buf, off, len, 0);
const left = new Engine({
  clock,
  provider: crypto,
  link: linkTo((buf, off, len) => deliver(buf, off, len)),
});
const right: Engine = new Engine({
  clock,
  provider: crypto,
  link: linkTo((buf, off, len) => left.handleDatagram(buf, off, len, 0)),
});
const near = new WireGuard(left, { privateKey: generatePrivateKey() });
const far = new WireGuard(right, { privateKey: generatePrivateKey() });
const allowedIps = ['0.0.0.0/0'];
near.addPeer({ publicKey: far.identity.publicKey, endpoint: 0, allowedIps });
far.addPeer({ publicKey: near.identity.publicKey, allowedIps });
far.setHandler(() => received++);

const result: Record<string, number> = {};
// A whole packet is sealed from where it lies, a shorter one is copied to be padded.
for (const size of [1392, 1385, 101]) {
  const packet = Packet.of(ipv4('10.0.0.1', '10.0.0.2', size));
  near.send(packet);
  const both = deliver;
  measure(`out and in, ${size}`, () => near.send(packet));
  deliver = () => {};
  measure(`out, ${size}`, () => near.send(packet));
  deliver = both;
}
if (received < ROUNDS) throw new Error(`${received} packets have arrived`);
process.stdout.write(JSON.stringify(result));

function measure(name: string, run: () => void): void {
  for (let i = 0; i < 50_000; i++) run();
  const used = () => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  let least = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 8; attempt++) {
    gc?.();
    const before = used();
    for (let i = 0; i < ROUNDS; i++) run();
    least = Math.min(least, (used() - before) / ROUNDS);
  }
  result[name] = least;
}
