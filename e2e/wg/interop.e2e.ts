import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requireTools, scaled, until } from '@pktkit/testkit';
import { FILES, iperf, NEEDS, QUICK, World } from './rig.ts';

for (const initiator of ['us', 'go'] as const) {
  for (const outer of [4, 6] as const) {
    for (const psk of [false, true]) {
      const name = `${initiator === 'us' ? 'initiator' : 'responder'}, outer IPv${outer}${psk ? ', pre-shared key' : ''}`;
      test(`pings both ways: ${name}`, async (t) => {
        if (!requireTools(t, NEEDS, FILES)) return;
        await World.run({ initiator, outer, psk }, async (world) => {
          await world.up(initiator);
          for (const from of ['us', 'go'] as const) {
            assert.equal(await world.ping(from), 0, `IPv4 from ${from}`);
            assert.equal(await world.ping(from, { v6: true }), 0, `IPv6 from ${from}`);
          }
          assert.equal(world.peer.stats.lost, 0);
          assert.equal(world.port.stats.handshakes, 1);
          // Both ends have counted the same, once nothing is on its way.
          await until(async () => {
            const [, sent, received] = (await world.go.show('transfer')).split('\t').map(Number);
            const { txBytes, rxBytes } = world.peer.stats;
            return txBytes === sent && rxBytes === received;
          });
        });
      });
    }
  }
}

test('carries packets of every size up to the MTU, and larger ones in fragments', async (t) => {
  if (!requireTools(t, NEEDS, FILES)) return;
  await World.run({}, async (world) => {
    await world.up();
    for (const size of [0, 1, 15, 16, 17, 56, 500, 1391, 1392]) {
      for (const from of ['us', 'go'] as const) {
        assert.equal(
          await world.ping(from, { size, df: true, count: 2 }),
          0,
          `${size} from ${from}`,
        );
      }
    }
    for (const size of [1393, 3000, 20_000, 65_507]) {
      for (const from of ['us', 'go'] as const) {
        assert.equal(await world.ping(from, { size, count: 2 }), 0, `${size} from ${from}`);
      }
    }
  });
});

test('carries an inner MTU of 1500 and of 9000, whose datagrams the outer network fragments', async (t) => {
  if (!requireTools(t, NEEDS, FILES)) return;
  for (const mtu of [1500, 9000]) {
    await World.run({ mtu }, async (world) => {
      await world.up();
      for (const from of ['us', 'go'] as const) {
        assert.equal(
          await world.ping(from, { size: mtu - 28, df: true }),
          0,
          `${mtu} from ${from}`,
        );
      }
    });
  }
});

test('carries TCP both ways, both families', async (t) => {
  if (!requireTools(t, [...NEEDS, 'iperf3'], FILES)) return;
  await World.run({}, async (world) => {
    await world.up();
    const seconds = String(scaled(3, 1));
    const down = await iperf(world.goNs, world.us, '10.99.0.1', ['-t', seconds]);
    const up = await iperf(world.us, world.goNs, '10.99.0.2', ['-t', seconds]);
    const up6 = await iperf(world.us, world.goNs, 'fd99::2', ['-t', seconds]);
    for (const [way, rate] of Object.entries({ down, up, up6 })) {
      t.diagnostic(`${way}: ${(rate / 1e9).toFixed(2)} Gbit/s`);
      // How fast is for the benchmarks to say; a stream that stalls is far below this on any machine.
      assert(rate > 1e6, `${way}: ${rate} bit/s`);
    }
    assert.equal(world.port.stats.dropBadTag, 0);
    assert.equal(world.port.stats.dropReplay, 0);
  });
});

for (const initiator of ['us', 'go'] as const) {
  test(`WG-01: loses nothing over many rekeys under traffic, ${initiator} first`, async (t) => {
    if (!requireTools(t, NEEDS, FILES)) return;
    await World.run({ initiator, port: { testTimings: QUICK } }, async (world) => {
      await world.up(initiator);
      if (initiator === 'go') world.peer.handshake();
      const count = scaled(3000, 1500);
      const [there, back] = await Promise.all([
        world.ping('us', { count, interval: 0.002 }),
        world.ping('go', { count, interval: 0.002 }),
      ]);
      assert.deepEqual([there, back], [0, 0]);
      const { handshakes } = world.port.stats;
      t.diagnostic(`${handshakes} handshakes, ${world.peer.stats.rxMessages} messages`);
      assert(handshakes >= 3, `${handshakes} handshakes`);
      assert.equal(world.peer.stats.lost, 0);
    });
  });
}

test('goes on when wireguard-go is restarted, and when we are', async (t) => {
  if (!requireTools(t, NEEDS, FILES)) return;
  const timings = { ...QUICK, rekeyAfterTime: 120_000, rejectAfterTime: 180_000 };
  await World.run({ port: { testTimings: timings } }, async (world) => {
    await world.up();
    await world.go.stop();
    await world.startGo();
    await world.up('us');
    await world.up('go');
    world.stopUs();
    await world.startUs();
    await world.up('us');
    await world.up('go');
  });
});

test('follows a peer to another port and address, and is followed', async (t) => {
  if (!requireTools(t, NEEDS, FILES)) return;
  await World.run({}, async (world) => {
    const { v4 } = world.subnet;
    await world.up();
    // wireguard-go moves to another port.
    await world.go.wg('listen-port', '51999');
    await world.up('go');
    assert.equal(world.peer.endpointText, world.endpoint(2, 51_999));
    assert.equal(await world.ping('us'), 0);
    assert.equal(world.port.stats.handshakes, 1);
    // And to another address. It goes on sending from the one that is gone, in vain, until nothing has come back for fifteen
    // seconds: then it drops that address and shakes hands.
    await world.goNs.ip('addr', 'del', `${v4}.2/24`, 'dev', 'veth0');
    await world.goNs.addAddress('veth0', `${v4}.22/24`);
    await world.up('go');
    assert.equal(world.peer.endpointText, world.endpoint(22, 51_999));
    assert.equal(await world.ping('us'), 0);
    assert.equal(world.port.stats.roamed, 2);
    // We move to another port, and to another address. Neither takes a handshake, nor loses a packet.
    const { handshakes } = world.port.stats;
    await world.port.setListenPort(52_001);
    assert.equal(await world.ping('us'), 0);
    assert.match(await world.go.show('endpoints'), /:52001\n/);
    assert.equal(await world.ping('go'), 0);
    await world.us.ip('addr', 'del', `${v4}.1/24`, 'dev', 'veth0');
    await world.us.addAddress('veth0', `${v4}.11/24`);
    assert.equal(await world.ping('us'), 0);
    assert((await world.go.show('endpoints')).endsWith(`\t${v4}.11:52001\n`));
    assert.equal(await world.ping('go'), 0);
    assert.equal(world.port.stats.handshakes, handshakes);
  });
});

test('stays open for longer than its keys live, with the real times', async (t) => {
  if (!requireTools(t, NEEDS, FILES)) return;
  if (process.env.PKTKIT_E2E_QUICK === '1') {
    t.skip('130 seconds of real time are left out of a quick run');
    return;
  }
  await World.run({}, async (world) => {
    await world.up();
    const started = performance.now();
    const [there, back] = await Promise.all([
      world.ping('us', { count: 6500, interval: 0.02 }),
      world.ping('go', { count: 6500, interval: 0.02 }),
    ]);
    t.diagnostic(`${Math.round((performance.now() - started) / 1000)} s`);
    assert.deepEqual([there, back], [0, 0]);
    await until(() => world.port.stats.handshakes >= 2, { within: 10_000 });
    assert.equal(world.peer.stats.lost, 0);
  });
});
