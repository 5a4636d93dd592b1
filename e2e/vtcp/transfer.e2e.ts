import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requireTools, scaled } from '@pktkit/testkit';
import { contentHash } from './content.ts';
import { carry, OURS, OURS6, Rig } from './rig.ts';

const TUN = { files: ['/dev/net/tun'] };

test('1 GiB both ways at once, closed right after the last write: the hashes are equal', async (t) => {
  if (!requireTools(t, ['ip'], TUN)) return;
  const rig = await Rig.create();
  try {
    const size = scaled(1 << 30, 1 << 26);
    const peer = rig.peer('listen', '5000', String(size));
    await peer.waitFor(/listening/, 30_000);
    const c = rig.connect(5000);
    const ours = await carry(c, size);
    const [, got, hash, end] = await peer.waitFor(/carried (\d+) (\w+) (\w+)/, 60_000);
    t.diagnostic(
      `${((2 * size) / ours.milliseconds / 1000).toFixed(0)} MB/s both ways together, ${JSON.stringify(c.info)}`,
    );
    const expected = contentHash(size);
    assert.equal(ours.error, null);
    assert.equal(ours.got, size);
    assert.equal(ours.hash, expected, 'what the kernel sent');
    assert.equal(Number(got), size);
    assert.equal(hash, expected, 'what we sent');
    assert.equal(end, 'clean');
    // Nothing is lost here, so nothing is taken for lost. On a busy machine the kernel's program may read so late that
    // its acknowledgement comes late, and then a tail loss probe is right to ask (RFC 8985 §7.2).
    const { timeouts, fastRecoveries, retransmits, tailLossProbes } = c.info;
    assert.deepEqual({ timeouts, fastRecoveries }, { timeouts: 0, fastRecoveries: 0 });
    assert(retransmits <= tailLossProbes, `${retransmits} sent twice, ${tailLossProbes} probes`);
  } finally {
    await rig.close();
  }
});

for (const [family, address] of [
  ['IPv4', OURS],
  ['IPv6', OURS6],
]) {
  test(`the kernel connects to us over ${family}`, async (t) => {
    if (!requireTools(t, ['ip'], TUN)) return;
    const rig = await Rig.create();
    try {
      const size = scaled(64 << 20, 8 << 20);
      const accepted = new Promise<ReturnType<typeof carry>>((resolve) => {
        rig.stack.listen({
          port: 6000,
          onConnection: (c) => resolve(Promise.resolve(carry(c, size))),
        });
      });
      const peer = rig.peer('dial', address, '6000', String(size));
      const ours = await accepted;
      const [, got, hash, end] = await peer.waitFor(/carried (\d+) (\w+) (\w+)/, 60_000);
      assert.deepEqual([ours.error, ours.got, ours.hash], [null, size, contentHash(size)]);
      assert.deepEqual([Number(got), hash, end], [size, contentHash(size), 'clean']);
    } finally {
      await rig.close();
    }
  });
}
