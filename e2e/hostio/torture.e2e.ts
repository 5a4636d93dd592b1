import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requireTools, run, scaled, withNetns } from '@pktkit/testkit';

test('ten thousand descriptors under forced collections: no crash, no leak, no wrong byte', async (t) => {
  if (!requireTools(t, ['ip'], { files: ['/dev/net/tun'] })) return;
  await withNetns(['torture'], async (ns) => {
    const path = fileURLToPath(new URL('torture.child.ts', import.meta.url));
    const flags = ['--expose-gc', '--import', 'tsx', '--conditions=@pktkit/source'];
    const { stdout } = await run(
      process.execPath,
      [...flags, path, String(scaled(10_000, 1000)), ns.name],
      { cwd: import.meta.dirname, timeout: 300_000 },
    );
    const result = JSON.parse(stdout);
    t.diagnostic(stdout.trim());
    assert.equal(result.wrong, 0);
    assert(result.received > scaled(100_000, 5000));
    assert.equal(result.descriptors, 0);
    assert.equal(result.arenas, 0);
    assert(result.rss < 400, `${result.rss} MiB`);
  });
});
