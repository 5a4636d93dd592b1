/**
 * The other end of the UDP benches, in a process of its own: `udp.ts flood|echo batched|portable PORT`. It floods
 * until its input ends, or sends back what it gets.
 */

import { bindUdp, type UdpSocket } from '@pktkit/hostio';

const [role, io, port] = process.argv.slice(2);
const SIZE = 1400;
/** Datagrams between two looks at the event loop. */
const BURST = 2944;

const socket: UdpSocket = await bindUdp({
  io: io as 'batched' | 'portable',
  address: '127.0.0.1',
  onReceive: (buf, off, len, from) => {
    if (role === 'echo') socket.send(buf, off, len, from);
  },
});

if (role === 'flood') {
  const to = socket.peer('127.0.0.1', Number(port));
  const buf = new Uint8Array(SIZE);
  const burst = io === 'batched' ? BURST : 64;
  const flood = () => {
    for (let i = 0; i < burst; i++) socket.send(buf, 0, SIZE, to);
    socket.flush();
    // The portable tier sends when the event loop comes round.
    setImmediate(flood);
  };
  flood();
}
process.stdin.on('end', () => process.exit(0)).resume();
process.stdout.write(`${socket.port}\n`);
