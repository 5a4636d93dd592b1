import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requireTools } from '@pktkit/testkit/requirements';

const repository = new URL('../../', import.meta.url);
const folder = new URL('packages/vtcp/test/packetdrill/', repository);

/** The engine passes every script in its unit tests: here the kernel says whether the scripts are right. */
test('the kernel agrees with every script, or differs where the script says so', (t) => {
  if (!requireTools(t, ['ip', 'unshare', 'chrt', 'sysctl'], { files: ['/dev/net/tun'] })) return;
  const scripts = readdirSync(folder, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.pkt'))
    .map((name) => fileURLToPath(new URL(name, folder)));
  assert.ok(scripts.length >= 150);
  const main = fileURLToPath(new URL('internal/packetdrill/src/main.ts', repository));
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    ['--import', 'tsx', '--conditions=@pktkit/source', main, '--kernel', ...scripts],
    { encoding: 'utf8', maxBuffer: 1 << 26, timeout: 800_000 },
  );
  const last = stdout.trim().split('\n').at(-1);
  t.diagnostic(`${last}, ${stdout.match(/differs as noted/g)?.length ?? 0} differ as noted`);
  for (const [, script, why] of stdout.matchAll(/^ok +(\S+)\n +differs as noted: (.*)$/gm)) {
    t.diagnostic(`${relative(folder.pathname, script)}: ${why}`);
  }
  assert.equal(status, 0, `${stdout}\n${stderr}`);
});
