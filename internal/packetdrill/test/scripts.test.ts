import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseScript, type RunResult, runScript, VtcpTarget } from '@pktkit/packetdrill';
import { describe, expect, it } from 'vitest';

const root = new URL('../../../packages/vtcp/test/packetdrill/', import.meta.url);
const scripts = readdirSync(root, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith('.pkt'))
  .sort();

async function run(name: string, localIsn: number, remoteIsn: number): Promise<RunResult> {
  const file = fileURLToPath(new URL(name, root));
  const script = parseScript(readFileSync(file, 'utf8'), name);
  return runScript(script, new VtcpTarget(script, { localIsn }), { remoteIsn });
}

describe('packetdrill scripts', () => {
  it('are there', () => expect(scripts.length).toBeGreaterThanOrEqual(150));

  it.each(scripts)('%s', async (name) => {
    const { failure, log } = await run(name, 0x40000000, 0x10000000);
    expect(failure, log.join('\n')).toBeNull();
  });

  // The first connection of a script begins 64,000 above this: a few segments later both sides pass 2^32.
  it.each(scripts)('%s across the end of the sequence space', async (name) => {
    const { failure, log } = await run(name, 0x100000000 - 64_000 - 1200, 0x100000000 - 700);
    expect(failure, log.join('\n')).toBeNull();
  });
});
