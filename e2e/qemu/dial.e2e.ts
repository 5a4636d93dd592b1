import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { adapt, connectL2 } from '@pktkit/core';
import { dial, type StreamAddress } from '@pktkit/qemu';
import { Slirp } from '@pktkit/slirp';
import { bootGuest, guestKernel, requireTools, until } from '@pktkit/testkit';

const TOOLS = ['busybox', 'cpio', 'qemu-system-x86_64'];
const SIZE = 10_000_000;
const folder = mkdtempSync(join(tmpdir(), 'pktkit-dial-'));

after(() => rmSync(folder, { recursive: true, force: true }));

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Here QEMU listens and we connect. */
const NETDEVS = [
  {
    name: '-netdev stream,server=on over a unix socket',
    place: async () => {
      const path = join(folder, 'guest.sock');
      const netdev = `stream,id=n0,server=on,addr.type=unix,addr.path=${path}`;
      return { address: { path } satisfies StreamAddress, netdev };
    },
  },
  {
    name: '-netdev socket,listen=',
    place: async () => {
      const port = await freePort();
      const netdev = `socket,id=n0,listen=127.0.0.1:${port}`;
      return { address: { port } satisfies StreamAddress, netdev };
    },
  },
];

for (const { name, place } of NETDEVS) {
  test(`QEMU-03: dialling a guest with ${name}: lease, hash equal, and again after a reboot`, async (t) => {
    if (!requireTools(t, TOOLS, { root: false })) return;
    try {
      await guestKernel();
    } catch (error) {
      // The kernel package comes from Debian's archive: without it a person skips, CI fails.
      if (process.env.PKTKIT_E2E === 'required') throw error;
      t.skip(`no guest kernel: ${error}`);
      return;
    }
    const content = randomBytes(SIZE);
    const server = createServer((_request, response) => response.end(content));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const slirp = new Slirp({ addrs: ['10.0.2.2/24'], hostLoopback: true });
    const gateway = adapt(slirp, { ipv6: false, dhcpServer: { routers: ['10.0.2.2'] } });
    const { address, netdev } = await place();
    const script = `
udhcpc -i eth0 -n -q -t 10 -T 1
echo "guest: hash $(wget -q -O - http://10.0.2.2:${port}/ | sha256sum)"
`;
    let guest = await bootGuest({ netdev, script });
    const device = await dial(address, { reconnect: 50 });
    const disconnect = connectL2(device, gateway);
    try {
      const hash = createHash('sha256').update(content).digest('hex');
      for (let boot = 0; boot < 2; boot++) {
        if (boot > 0) guest = await bootGuest({ netdev, script });
        await guest.waitFor(/guest: script done/, 180_000);
        assert.match(guest.stdout, /guest: lease ip=10\.0\.2\.\d+ router=10\.0\.2\.2/);
        assert.match(guest.stdout, new RegExp(`guest: hash ${hash} `));
        await guest.exited;
        await until(() => !device.connected, { what: 'the end of the connection' });
      }
      assert.equal(device.stats.reconnects, 1);
      assert.equal(device.stats.outOfStep, 0);
    } finally {
      await guest.stop();
      disconnect();
      device.close();
      await device.closed;
      gateway.close();
      slirp.close();
      server.closeAllConnections();
      server.close();
    }
  });
}
