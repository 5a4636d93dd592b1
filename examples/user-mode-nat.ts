/** A guest on a virtual network reaches a real server of this host through slirp. Run: `npx tsx examples/user-mode-nat.ts`. */

import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { adapt, L2Hub } from '@pktkit/core';
import { Slirp } from '@pktkit/slirp';
import { attach, VClient } from '@pktkit/vclient';

const real = createServer((_request, response) => response.end('from a real socket\n'));
await new Promise<void>((resolve) => real.listen(0, '127.0.0.1', resolve));
const { port } = real.address() as AddressInfo;

const hub = new L2Hub();
// The gateway: DHCP for the guests, and the host's loopback behind its address for this one port only.
const slirp = new Slirp({
  addrs: ['10.0.2.2/24'],
  hostLoopback: true,
  allow: (flow) => flow.target.isLoopback && flow.destinationPort === port,
});
const gateway = adapt(slirp, { dhcpServer: {} });
hub.connectL2(gateway);

const guest = new VClient();
const { ready, detach } = attach(guest, hub);
await ready();
console.log(`lease: ${guest.addrs[0]}`);

await new Promise<void>((resolve) => {
  get({ host: '10.0.2.2', port, agent: guest.agent() }, (response) => {
    response.on('end', resolve).pipe(process.stdout);
  });
});
console.log(
  `flows opened: ${slirp.stats.tcpOpened}, bytes to the guest: ${slirp.stats.tcpBytesDown}`,
);

detach();
guest.close();
gateway.close();
slirp.close();
real.close();
