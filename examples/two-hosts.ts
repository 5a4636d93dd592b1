/** Two hosts on a cable inside one process: TCP, HTTP, UDP and ping, without privileges. Run: `npx tsx examples/two-hosts.ts`. */

import { createServer, get } from 'node:http';
import { connectL3 } from '@pktkit/core';
import { VClient } from '@pktkit/vclient';

const a = new VClient({ addrs: ['10.0.0.1/24', 'fd00::1/64'] });
const b = new VClient({ addrs: ['10.0.0.2/24', 'fd00::2/64'] });
connectL3(a, b);

b.listen({ port: 7 }).on('connection', (socket) => socket.end(`hello, ${socket.remoteAddress}`));
for await (const chunk of a.connect({ host: '10.0.0.2', port: 7 })) console.log(String(chunk));

// Node's own HTTP server takes the virtual sockets as they are.
const http = createServer((request, response) => response.end(`you asked for ${request.url}\n`));
b.listen({ port: 80 }).on('connection', (socket) => http.emit('connection', socket));
await new Promise<void>((resolve) => {
  get({ host: 'fd00::2', path: '/index.html', agent: a.agent() }, (response) => {
    response.on('end', resolve).pipe(process.stdout);
  });
});

const server = b.udp({ port: 9 });
a.udp({ remote: { address: '10.0.0.2', port: 9 } }).send(Buffer.from('a datagram'));
const { data, address } = await server.receive();
console.log(`${Buffer.from(data)} from ${address}`);

const { rtt, ttl } = await a.ping('10.0.0.2');
console.log(`ping: ${rtt.toFixed(2)} ms, ttl ${ttl}`);

a.close();
b.close();
