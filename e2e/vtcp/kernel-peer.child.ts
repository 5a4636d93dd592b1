/**
 * The kernel's end: an ordinary program on the kernel's sockets. Every connection carries `SIZE` bytes each way and is closed
 * right after the last write; then a line with the SHA-256 of what came, and how it ended, is printed.
 *
 *     listen PORT SIZE      serves until it is stopped; prints `listening`
 *     dial HOST PORT SIZE   one connection
 *     sip PORT              reads 100 kB/s for a second, then nothing until a line comes on standard input, then everything
 */

import { createHash } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';
import { blockAt } from './content.ts';

function carry(socket: Socket, size: number): void {
  const hash = createHash('sha256');
  let got = 0;
  let failed = '';
  socket.on('data', (chunk) => {
    hash.update(chunk);
    got += chunk.length;
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    failed = error.code ?? error.message;
  });
  socket.on('close', () => {
    console.log(`carried ${got} ${hash.digest('hex')} ${failed === '' ? 'clean' : failed}`);
  });
  let at = 0;
  const pump = () => {
    while (at < size) {
      const block = blockAt(at);
      const part = size - at < block.length ? block.subarray(0, size - at) : block;
      at += part.length;
      if (!socket.write(part)) {
        socket.once('drain', pump);
        return;
      }
    }
    socket.end();
  };
  pump();
}

const [mode, ...args] = process.argv.slice(2);
if (mode === 'listen') {
  const size = Number(args[1]);
  createServer({ allowHalfOpen: true }, (socket) => carry(socket, size)).listen(
    Number(args[0]),
    () => console.log('listening'),
  );
} else if (mode === 'sip') {
  createServer({ highWaterMark: 16384 }, (socket) => {
    const slow = setInterval(() => socket.read(10_000), 100);
    setTimeout(() => {
      clearInterval(slow);
      console.log('paused');
    }, 1000);
    process.stdin.once('data', () => {
      console.log('reading');
      socket.on('data', () => {});
    });
    socket.on('error', () => {});
  }).listen(Number(args[0]), () => console.log('listening'));
} else {
  const socket = connect({ host: args[0], port: Number(args[1]), allowHalfOpen: true });
  carry(socket, Number(args[2]));
}
