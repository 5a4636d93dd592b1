/**
 * Sends handshake initiations with a right MAC1 and random contents as fast as asked: `flood.child.ts ADDRESS PORT KEY RATE`.
 * A process of its own, so that the flood does not share a thread with who has to stand it.
 */

import { randomFillSync } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { nobleProvider } from '@pktkit/crypto';
import { parseKey } from '@pktkit/wg';

const [address, port, key, rate] = process.argv.slice(2);
const provider = nobleProvider();
const label = Buffer.from('mac1----');
const publicKey = parseKey(key);
const hash = provider.blake2s(32);
hash.update(label, 0, label.length);
hash.update(publicKey, 0, 32);
const macKey = new Uint8Array(32);
hash.finish(macKey, 0);
const mac1 = provider.blake2s(16, macKey);

// A stock of messages is enough: who is flooded does not remember them.
const messages = Array.from({ length: 64 }, () => {
  const message = new Uint8Array(148);
  randomFillSync(message);
  message.set([1, 0, 0, 0]);
  mac1.update(message, 0, 116);
  mac1.finish(message, 116);
  message.fill(0, 132);
  return message;
});

const sockets = Array.from({ length: 8 }, () =>
  createSocket(address.includes(':') ? 'udp6' : 'udp4'),
);
for (const socket of sockets) socket.on('error', () => {});
let sent = 0;
const started = performance.now();
setInterval(() => {
  const due = ((performance.now() - started) / 1000) * Number(rate);
  for (; sent < due; sent++) {
    sockets[sent % 8].send(messages[sent % 64], Number(port), address);
  }
}, 2);
console.log('flooding');
