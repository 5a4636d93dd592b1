import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectL3, type Packet } from '@pktkit/core';
import { bindUdp, type UdpSocket } from '@pktkit/hostio';
import { Netns, requireTools, run, until } from '@pktkit/testkit';
import { openTun } from '@pktkit/tuntap';
import {
  formatKey,
  generatePresharedKey,
  generatePrivateKey,
  parseConfig,
  parseKey,
} from '@pktkit/wg';
import { listen } from '@pktkit/wg/node';
import { Flood } from './flood.ts';
import { answers, FILES, GoPeer, NEEDS, PORT, pingLoss, QUICK, World } from './rig.ts';

const unique = () => `wgu${randomBytes(4).toString('hex')}`;

test('WG-14: the stock wg shows and changes our device through its control socket', async (t) => {
  if (!requireTools(t, NEEDS, FILES)) return;
  await World.run({ psk: true, keepalive: 25 }, async (world) => {
    const name = unique();
    const server = await world.port.serveUapi(world.device, { name });
    assert.equal(statSync(server.path).mode & 0o777, 0o600);
    await world.up();
    const show = async (...args: string[]) => (await run('wg', ['show', name, ...args])).stdout;
    const dump = (await show('dump'))
      .trim()
      .split('\n')
      .map((line) => line.split('\t'));
    const { peer } = world;
    const { stats } = peer;
    assert.deepEqual(dump[0], [world.privateKey, world.device.identity.id, String(PORT), 'off']);
    assert.deepEqual(dump[1], [
      peer.id,
      world.psk,
      world.endpoint(2),
      '10.99.0.2/32,fd99::2/128',
      String(Math.floor(stats.lastHandshake / 1000)),
      String(stats.rxBytes),
      String(stats.txBytes),
      '25',
    ]);
    assert.match(await show(), /latest handshake: (Now|[0-9]+ seconds? ago)/);
    assert((await run('wg', ['show', 'interfaces'])).stdout.includes(name));

    // Another peer, in the words of wg set.
    const key = formatKey(generatePrivateKey());
    const set = (...args: string[]) => run('wg', ['set', name, ...args]);
    const psk = join(mkdtempSync(join(tmpdir(), 'pktkit-wg-')), 'psk');
    writeFileSync(psk, `${formatKey(generatePresharedKey())}\n`);
    await set(
      ...['peer', key, 'preshared-key', psk, 'endpoint', '[2001:db8::1]:7'],
      ...['persistent-keepalive', '11', 'allowed-ips', '10.99.7.0/24,fd99:7::/64'],
    );
    rmSync(join(psk, '..'), { recursive: true });
    const added = world.device.identity.peer(key);
    assert.equal(added?.persistentKeepalive, 11);
    assert.equal(added.endpointText, '[2001:db8::1]:7');
    assert.deepEqual(added.allowedIps.map(String), ['10.99.7.0/24', 'fd99:7::/64']);
    // The whole configuration goes out and comes back.
    const config = (await run('wg', ['showconf', name])).stdout;
    assert.equal(parseConfig(config).peers.length, 2);
    const file = join(mkdtempSync(join(tmpdir(), 'pktkit-wg-')), 'conf');
    writeFileSync(file, config);
    await run('wg', ['syncconf', name, file]);
    assert.equal((await run('wg', ['showconf', name])).stdout, config);
    await set('peer', key, 'remove');
    assert.equal(world.device.peers.size, 1);
    await run('wg', ['setconf', name, file]);
    assert.equal(world.device.peers.size, 2);
    assert.equal(readFileSync(file, 'utf8'), config);
    rmSync(join(file, '..'), { recursive: true });
    // The port moves while the tunnel goes on.
    await set('listen-port', '52345');
    await world.up('us');
    assert.match(await world.go.show('endpoints'), /:52345/);
    // A routing rule for the mark takes the way away, also after another move of the port.
    await world.us.ip('rule', 'add', 'fwmark', '0xca6c', 'prohibit');
    await set('fwmark', '0xca6c');
    assert.equal((await show('fwmark')).trim(), '0xca6c');
    assert.match((await run('wg', ['showconf', name])).stdout, /FwMark = 0xca6c/);
    assert.equal(await world.ping('us', { count: 1 }), 100);
    await set('listen-port', '52346');
    assert.equal(await world.ping('us', { count: 1 }), 100);
    await set('fwmark', 'off');
    await world.up('us');
    assert.match(await world.go.show('endpoints'), /:52346/);
    assert.equal((await show('fwmark')).trim(), 'off');
    await assert.rejects(world.port.serveUapi(world.device, { name }), /another program serves/);
    server.close();
    await server.closed;
    assert(!existsSync(server.path));
  });
});

test('WG-14: answers leave from the address that the peer wrote to, so that it does not take us for having moved', async (t) => {
  if (!requireTools(t, NEEDS, FILES)) return;
  for (const outer of [4, 6] as const) {
    await World.run({ initiator: 'go', outer }, async (world) => {
      await world.us.addAddress('veth0', `${world.outer(77)}/${outer === 4 ? 24 : 64}`);
      const ours = world.device.identity.id;
      await world.go.wg('peer', ours, 'endpoint', world.endpoint(77));
      await world.up('go');
      assert.equal(await world.ping('us'), 0);
      assert.equal(await world.go.show('endpoints'), `${ours}\t${world.endpoint(77)}\n`);
    });
  }
});

test('WG-12: two identities on one port, each with a wireguard-go of its own', async (t) => {
  if (!requireTools(t, NEEDS, FILES)) return;
  await World.run({ initiator: 'go' }, async (world) => {
    await world.up('go');
    const second = world.port.device({
      privateKey: generatePrivateKey(),
      addresses: ['10.98.0.1/24'],
    });
    const tun = openTun({
      netns: world.us.name,
      name: 'second',
      mtu: 1420,
      addrs: ['10.98.0.1/24'],
    });
    connectL3(second, tun);
    const other = new GoPeer(world.goNs);
    try {
      await other.start(['10.98.0.2/24'], 1420, PORT + 1);
      await other.setPeer(second.identity.id, {
        allowedIps: '10.98.0.1/32',
        endpoint: world.endpoint(1),
      });
      world.port.addPeer(second, {
        publicKey: await other.publicKey(),
        allowedIps: ['10.98.0.2/32'],
      });
      await until(() => answers(world.goNs, '10.98.0.1'), {
        within: 60_000,
      });
      assert.equal(await pingLoss(world.us, '10.98.0.2', 3, 0.1), 0);
      assert.equal(await world.ping('go'), 0);
      assert.equal(await world.ping('us'), 0);
      assert.equal(world.port.stats.dropSource, 0);
    } finally {
      await other.close();
      tun.close();
    }
  });
});

test('two clients with one inner address have networks of their own, and unknown ones are asked about', async (t) => {
  if (!requireTools(t, NEEDS, FILES)) return;
  const us = await Netns.create({ label: 'wgsrv' });
  const hosts = [await Netns.create({ label: 'wgc1' }), await Netns.create({ label: 'wgc2' })];
  const clients = hosts.map((netns) => new GoPeer(netns));
  const port = await listen({ port: PORT, netns: us.name });
  const asked: string[] = [];
  try {
    const networks = port.networks({
      privateKey: generatePrivateKey(),
      // An answer to each ping, with the peer's name in its sequence: a network with one host.
      connector: {
        connectL3: (device) => {
          device.setHandler((packet) => answerPing(packet, (answer) => device.send(answer)));
          return Object.assign(() => {}, { [Symbol.dispose]: () => {} });
        },
      },
      events: {
        onUnknownPeer: (request) => {
          asked.push(request.id);
          setTimeout(() => request.accept(), 100);
        },
      },
    });
    for (const [i, host] of hosts.entries()) {
      await us.veth(host, {
        name: `veth${i}`,
        addrs: [`10.77.${i}.1/24`],
        peerAddrs: [`10.77.${i}.2/24`],
      });
      await clients[i].start(['10.5.0.2/24']);
      await clients[i].setPeer(networks.identity.id, {
        allowedIps: '10.5.0.0/24',
        endpoint: `10.77.${i}.1:${PORT}`,
      });
    }
    for (const host of hosts) {
      await until(() => answers(host, '10.5.0.1'), { within: 60_000 });
    }
    assert.deepEqual(
      await Promise.all(hosts.map((host) => pingLoss(host, '10.5.0.1', 5, 0.05))),
      [0, 0],
    );
    assert.equal(networks.devices.length, 2);
    assert.deepEqual(asked.sort(), (await Promise.all(clients.map((c) => c.publicKey()))).sort());
  } finally {
    port.close();
    for (const peer of clients) await peer.close();
    for (const netns of [us, ...hosts]) await netns.close();
  }
});

test('a persistent keepalive holds a NAT open that forgets, so that the other side can speak first', async (t) => {
  if (!requireTools(t, NEEDS, FILES)) return;
  for (const keepalive of [1, 0]) {
    await World.run({ initiator: 'us', keepalive }, async (world) => {
      // Our datagrams go through a translator that forgets after three seconds of silence.
      const nat = await ForgetfulNat.open(world.us, world.goNs, world.outer(2), 3000);
      try {
        await world.port.setEndpoint(world.peer, `127.0.0.1:${nat.port}`);
        await world.up('us');
        await new Promise((resolve) => setTimeout(resolve, 4500));
        const loss = await world.ping('go', { count: 2 });
        assert.equal(loss, keepalive === 1 ? 0 : 100);
        assert.equal(nat.forgotten > 0, keepalive === 0);
      } finally {
        nat.close();
      }
    });
  }
});

test('WG-08: wireguard-go gets through a flood by answering our cookie', async (t) => {
  if (!requireTools(t, NEEDS, FILES)) return;
  const limits = { handshakeRate: 20, handshakeBurst: 10 };
  await World.run({ initiator: 'go', port: { limits, testTimings: QUICK } }, async (world) => {
    await world.up('go');
    const flood = await Flood.start(
      world.goNs,
      world.outer(1),
      PORT,
      world.device.identity.publicKey,
    );
    try {
      await until(() => world.port.stats.cookiesSent > 100, { within: 60_000 });
      // It has to shake hands anew in the middle of it: its cookie decides.
      await world.go.stop();
      await world.startGo();
      const { handshakes } = world.port.stats;
      await world.up('go');
      assert(world.port.stats.handshakes > handshakes);
      // Load is remembered for a second: a flood that a busy machine holds up shows again.
      await until(() => world.port.engine.isUnderLoad);
      // And a live tunnel loses nothing.
      assert.equal(await world.ping('go', { count: 200, interval: 0.01 }), 0);
    } finally {
      flood.close();
    }
  });
});

test('we get through a flood by answering the cookie of wireguard-go', async (t) => {
  if (!requireTools(t, NEEDS, FILES)) return;
  const testTimings = { rekeyTimeout: 300, retryJitter: 50 };
  await World.run({ initiator: 'us', port: { testTimings } }, async (world) => {
    await world.up('us');
    const publicKey = parseKey(await world.go.publicKey());
    const flood = await Flood.start(world.us, world.outer(2), PORT, publicKey, 20_000);
    try {
      await until(
        async () => {
          world.peer.handshake();
          await new Promise((resolve) => setTimeout(resolve, 50));
          return world.port.stats.cookiesReceived > 0;
        },
        { within: 60_000 },
      );
      const { handshakes } = world.port.stats;
      await until(
        async () => {
          world.peer.handshake();
          await new Promise((resolve) => setTimeout(resolve, 50));
          return world.port.stats.handshakes > handshakes;
        },
        { within: 60_000 },
      );
    } finally {
      flood.close();
    }
    await world.up('us');
  });
});

/** Sends back an echo request as its reply. */
function answerPing(packet: Packet, send: (packet: Packet) => void): void {
  const copy = packet.clone();
  const { buf } = copy;
  if (copy.version !== 4 || copy.protocol !== 1 || buf[20] !== 8) return;
  const src = buf.slice(12, 16);
  buf.copyWithin(12, 16, 20);
  buf.set(src, 16);
  buf[20] = 0;
  // The type went from 8 to 0 in the upper byte: the checksum rises by as much.
  const check = ((buf[22] << 8) | buf[23]) + 0x800;
  const folded = (check & 0xffff) + (check >>> 16);
  buf[22] = folded >>> 8;
  buf[23] = folded;
  send(copy);
}

/** A port translator between two namespaces for one flow, whose mapping lasts `lifetime` milliseconds after the last outgoing datagram. */
class ForgetfulNat {
  forgotten = 0;
  #inside!: UdpSocket;
  #outside!: UdpSocket;
  #last = Number.NEGATIVE_INFINITY;
  #client = -1;

  get port(): number {
    return this.#inside.port;
  }

  static async open(
    inside: Netns,
    outside: Netns,
    target: string,
    lifetime: number,
  ): Promise<ForgetfulNat> {
    const nat = new ForgetfulNat();
    nat.#inside = await bindUdp({
      address: '127.0.0.1',
      netns: inside.name,
      onReceive: (buf, off, len, from) => {
        nat.#client = from;
        nat.#last = performance.now();
        nat.#outside.send(buf, off, len, nat.#outside.remote);
      },
    });
    nat.#outside = await bindUdp({
      address: target,
      netns: outside.name,
      connect: { address: target, port: PORT },
      onReceive: (buf, off, len) => {
        if (performance.now() - nat.#last > lifetime) nat.forgotten++;
        else nat.#inside.send(buf, off, len, nat.#client);
      },
    });
    return nat;
  }

  close(): void {
    this.#inside.close();
    this.#outside.close();
  }
}
