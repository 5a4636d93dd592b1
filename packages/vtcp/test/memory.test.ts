/** What only a process of its own can show: how much memory a connection takes. */

import { run } from '@pktkit/testkit';
import { expect, it } from 'vitest';

it('an idle established connection takes 2 KiB at most, and no buffer', async () => {
  const child = ['--import', 'tsx', '--conditions=@pktkit/source', 'children/idle-memory.ts'];
  const { stdout } = await run(process.execPath, ['--expose-gc', ...child], {
    cwd: import.meta.dirname,
    timeout: 290_000,
  });
  const bytes = JSON.parse(stdout) as Record<string, number>;
  expect(Object.keys(bytes)).toHaveLength(3);
  for (const [name, perConnection] of Object.entries(bytes)) {
    expect(perConnection, name).toBeLessThanOrEqual(2048);
    // Less than the object alone would mean that nothing was measured.
    expect(perConnection, name).toBeGreaterThan(512);
  }
}, 300_000);
