/**
 * `pnpm e2e [area…]`: runs `e2e/AREA/*.e2e.ts` under node:test, each file in a process of its own, one after the other,
 * and ends with the line `N passed, N failed, N skipped`.
 *
 *     --list       print the areas
 *     --packages   print the Debian packages of all tools that the suites use
 *     --kernel     only what holds the kernel itself to our scripts (of vtcp: packetdrill's), with every difference shown
 *
 * Environment: `PKTKIT_E2E=required` turns every skip into a failure; `PKTKIT_E2E_QUICK=1` asks for smaller transfers.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TOOL_PACKAGES } from '@pktkit/testkit/requirements';

const here = fileURLToPath(new URL('.', import.meta.url));
/** A file that takes longer hangs: no suite comes near it. */
const FILE_TIMEOUT = 900_000;
const KERNEL_SUITE = /packetdrill\.e2e\.ts$/;

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

function main(args: string[]): void {
  const areas = readdirSync(here, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && suites(entry.name).length > 0)
    .map((entry) => entry.name)
    .sort();
  if (args.includes('--list')) {
    for (const area of areas) console.log(area);
    return;
  }
  if (args.includes('--packages')) {
    console.log([...new Set(Object.values(TOOL_PACKAGES))].sort().join(' '));
    return;
  }
  const kernel = args.includes('--kernel');
  const named = args.filter((arg) => arg !== '--kernel');
  const unknown = named.filter((arg) => !areas.includes(arg));
  if (unknown.length > 0) {
    console.error(`no such area: ${unknown.join(', ')}; there are ${areas.join(', ')}`);
    process.exitCode = 2;
    return;
  }
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const area of named.length > 0 ? named : areas) {
    const files = suites(area).filter((file) => !kernel || KERNEL_SUITE.test(file));
    if (files.length === 0) continue;
    const counts = runArea(area, files);
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
  }
  if (process.env.PKTKIT_E2E === 'required' && total.skipped > 0) {
    console.log(`PKTKIT_E2E=required: ${total.skipped} skipped tests count as failed`);
    total.failed += total.skipped;
    total.skipped = 0;
  }
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  if (total.failed > 0 || total.passed + total.skipped === 0) process.exitCode = 1;
}

function suites(area: string): string[] {
  return readdirSync(join(here, area))
    .filter((name) => name.endsWith('.e2e.ts'))
    .sort()
    .map((name) => join(here, area, name));
}

function runArea(area: string, files: string[]): Counts {
  console.log(`\n=== e2e ${area}`);
  const folder = mkdtempSync(join(tmpdir(), 'pktkit-e2e-'));
  const tap = join(folder, 'results.tap');
  try {
    const { status, signal } = spawnSync(
      process.execPath,
      [
        ...[
          '--import',
          'tsx',
          '--conditions=@pktkit/source',
          '--disable-warning=ExperimentalWarning',
        ],
        ...['--test', '--test-concurrency=1', `--test-timeout=${FILE_TIMEOUT}`],
        ...['--test-reporter=spec', '--test-reporter-destination=stdout'],
        ...['--test-reporter=tap', `--test-reporter-destination=${tap}`],
        ...files,
      ],
      { cwd: here, stdio: ['ignore', 'inherit', 'inherit'] },
    );
    const counts = readTap(tap);
    // A runner that died has not counted everything.
    if (status !== 0 && counts.failed === 0) {
      console.log(`e2e ${area}: the test runner ended with ${signal ?? `exit code ${status}`}`);
      counts.failed = 1;
    }
    return counts;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The summary that node:test appends to its TAP output. */
function readTap(file: string): Counts {
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    // The runner did not come as far as writing it; the caller sees its exit code.
  }
  const count = (name: string) =>
    Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
  const passed = count('pass');
  if (Number.isNaN(passed)) return { passed: 0, failed: 1, skipped: 0 };
  return {
    passed,
    failed: count('fail') + count('cancelled'),
    skipped: count('skipped') + count('todo'),
  };
}

main(process.argv.slice(2));
