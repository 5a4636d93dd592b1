// A host socket is reset while its shutdown is under way. The process must then end by itself.
import { createServer } from 'node:net';
import { IpAddr } from '@pktkit/core';
import { nodeSockets } from '@pktkit/slirp';

const server = createServer((socket) => socket.on('error', () => {}).resume());
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as { port: number };
  const stream = nodeSockets().dial(
    IpAddr.parse('127.0.0.1'),
    port,
    {
      onConnected: () => {
        stream.shutdown();
        stream.reset();
        server.close(() => process.stdout.write('closed\n'));
      },
      onData: () => true,
      onEnd: () => {},
      onDrain: () => {},
      onClosed: () => {},
    },
    {},
  );
});
