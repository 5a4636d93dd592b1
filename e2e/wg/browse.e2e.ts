import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { Slirp } from '@pktkit/slirp';
import { Netns, requireTools } from '@pktkit/testkit';
import { formatConfig, formatKey, generatePrivateKey, parseConfig } from '@pktkit/wg';
import { connect } from '@pktkit/wg/client';
import { listen } from '@pktkit/wg/node';
import { FILES, GoPeer, NEEDS, PORT, World } from './rig.ts';

test('a client without root fetches through wireguard-go, and serves it', async (t) => {
  if (!requireTools(t, [...NEEDS, 'curl'], FILES)) return;
  await World.run({}, async (world) => {
    world.stopUs();
    const script =
      'require("http").createServer((q, s) => s.end("x".repeat(3000000) + q.url)).listen(80, () => console.log("up"))';
    const server = world.goNs.spawn(process.execPath, ['-e', script]);
    await server.waitFor(/up/);
    const text = [
      '[Interface]',
      `PrivateKey = ${world.privateKey}`,
      'Address = 10.99.0.1/24, fd99::1/64',
      '[Peer]',
      `PublicKey = ${await world.go.publicKey()}`,
      'AllowedIPs = 10.99.0.2/32, fd99::2/128',
      `Endpoint = ${world.endpoint(2)}`,
      '',
    ].join('\n');
    const tunnel = await connect(text, { netns: world.us.name, timeout: 10_000 });
    try {
      for (const host of ['10.99.0.2', '[fd99::2]']) {
        const body = await new Promise<string>((resolve, reject) => {
          get(`http://${host}/hello`, { agent: tunnel.agent() }, (response) => {
            let all = '';
            response.setEncoding('utf8').on('data', (chunk: string) => {
              all += chunk;
            });
            response.on('end', () => resolve(all));
          }).on('error', reject);
        });
        assert.equal(body.length, 3_000_006);
        assert(body.endsWith('/hello'));
      }
      const listener = tunnel.listen({ port: 8080 });
      listener.on('connection', (socket) => socket.end('HTTP/1.0 200 OK\r\n\r\nfrom inside'));
      const { stdout } = await world.goNs.run('curl', ['-s', 'http://10.99.0.1:8080/']);
      assert.equal(stdout, 'from inside');
    } finally {
      tunnel.close();
    }
    const config = parseConfig(text);
    config.peers[0].endpoint = { host: world.outer(77), port: 9 };
    await assert.rejects(
      connect(formatConfig(config), { netns: world.us.name, timeout: 300 }),
      /WG_HANDSHAKE_TIMEOUT|no peer has answered/,
    );
  });
});

test('two clients with the same inner address browse through slirp, each in a network of its own', async (t) => {
  if (!requireTools(t, [...NEEDS, 'curl'], FILES)) return;
  const body = Buffer.alloc(4_000_000, 'slirp');
  const server = createServer((_request, response) => response.end(body));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port: web } = server.address() as AddressInfo;
  const us = await Netns.create({ label: 'wgsl' });
  const hosts = [await Netns.create({ label: 'wgs1' }), await Netns.create({ label: 'wgs2' })];
  const clients = hosts.map((netns) => new GoPeer(netns));
  const port = await listen({ port: PORT, netns: us.name });
  // The gateway's address stands for this host's loopback, where the web server is.
  const slirp = new Slirp({ addrs: ['10.5.0.1/24'], hostLoopback: true });
  try {
    const networks = port.networks({
      privateKey: formatKey(generatePrivateKey()),
      connector: slirp,
      coalesce: slirp.accepts,
    });
    for (const [i, host] of hosts.entries()) {
      await us.veth(host, {
        name: `veth${i}`,
        addrs: [`10.78.${i}.1/24`],
        peerAddrs: [`10.78.${i}.2/24`],
      });
      await clients[i].start(['10.5.0.2/24']);
      await clients[i].setPeer(networks.identity.id, {
        allowedIps: '10.5.0.0/24',
        endpoint: `10.78.${i}.1:${PORT}`,
      });
      networks.addPeer({ publicKey: await clients[i].publicKey() });
    }
    const wanted = createHash('sha256').update(body).digest('hex');
    const sums = await Promise.all(
      hosts.map(async (host) => {
        const fetch = `curl -s --max-time 30 http://10.5.0.1:${web}/ | sha256sum`;
        return (await host.run('sh', ['-c', fetch], { timeout: 40_000 })).stdout.split(' ')[0];
      }),
    );
    assert.deepEqual(sums, [wanted, wanted]);
    assert.equal(networks.devices.length, 2);
  } finally {
    port.close();
    slirp.close();
    server.close();
    for (const peer of clients) await peer.close();
    for (const netns of [us, ...hosts]) await netns.close();
  }
});
