/**
 * The other end of the QEMU benches, in a process of its own: `qemu.ts discard|host PATH`. It listens on a unix socket and
 * throws away the bytes, or is a host on the other end of the cable that throws away what arrives on its TCP port 9.
 */

import { createServer } from 'node:net';
import { adapt, connectL2 } from '@pktkit/core';
import { listen } from '@pktkit/qemu';
import { VClient } from '@pktkit/vclient';

const [role, path] = process.argv.slice(2);
process.stdin.resume().on('end', () => process.exit(0));

if (role === 'discard') {
  createServer((socket) => socket.on('data', () => {}).on('error', () => {})).listen(path, ready);
} else {
  const client = new VClient({ addrs: ['10.0.0.2/24'] });
  client.listen({ port: 9 }).on('connection', (socket) => socket.resume());
  const listener = await listen({ path });
  ready();
  for await (const device of listener) connectL2(device, adapt(client, { ipv6: false }));
}

function ready(): void {
  process.stdout.write('ready\n');
}
