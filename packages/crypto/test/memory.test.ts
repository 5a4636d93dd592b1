/** What only a process of its own can show: survival under forced collections, and bytes allocated per message. */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

describe('memory', () => {
  it('seals and opens through held and vanishing buffers while the collector runs', () => {
    expect(child('torture')).toMatch(/^survived 7000 messages, 1400 forgeries$/m);
  }, 300_000);

  it('allocates nothing per message on the fast tiers', () => {
    const bytes = JSON.parse(child('allocation')) as Record<string, number>;
    expect(Object.keys(bytes)).toHaveLength(12);
    // The smallest object, a boxed number, has 16 bytes: half of one is the measuring itself and the compiler's.
    for (const [name, perMessage] of Object.entries(bytes))
      expect(perMessage, name).toBeLessThan(8);
  }, 300_000);
});

function child(name: string): string {
  const file = fileURLToPath(new URL(`children/${name}.ts`, import.meta.url));
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['--expose-gc', '--import', 'tsx', '--conditions=@pktkit/source', file],
    {
      encoding: 'utf8',
      timeout: 290_000,
      cwd: fileURLToPath(new URL('../../..', import.meta.url)),
    },
  );
  if (status !== 0) throw new Error(`${name} ended with ${signal ?? status}:\n${stderr}`);
  return stdout;
}
