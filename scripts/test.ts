/**
 * `npm test`: the unit tests of every package, then the real-peer suites that this machine can run, and the sum of both
 * as the last line: `N passed, N failed, N skipped`.
 *
 * Environment: `PKTKIT_E2E=off` leaves the real-peer suites out, `PKTKIT_E2E=required` fails where they would be
 * skipped. Their transfers are the small ones unless `PKTKIT_E2E_QUICK=0`.
 */

import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const RESULTS = '.test-results.json';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

async function main(): Promise<void> {
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const add = (counts: Counts) => {
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
  };
  add(await unitTests());
  if (process.env.PKTKIT_E2E !== 'off') add(await realPeers());
  const line = `${total.passed} passed, ${total.failed} failed`;
  console.log(total.skipped > 0 ? `${line}, ${total.skipped} skipped` : line);
  process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
}

async function unitTests(): Promise<Counts> {
  const folders = ['packages', 'internal'].flatMap((parent) =>
    readdirSync(join(root, parent)).map((name) => join(root, parent, name)),
  );
  const tested = folders.filter((folder) => existsSync(join(folder, 'test')));
  // A result that is there afterwards is of this run (or of an identical one, which turbo restores).
  for (const folder of tested) rmSync(join(folder, RESULTS), { force: true });
  const { status } = await run('turbo', ['run', 'test', '--continue', '--concurrency=2']);
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const folder of tested) {
    const file = join(folder, RESULTS);
    if (!existsSync(file)) {
      console.log(`${folder} left no test results`);
      counts.failed++;
      continue;
    }
    const result = JSON.parse(readFileSync(file, 'utf8')) as {
      success: boolean;
      numPassedTests: number;
      numFailedTests: number;
      numPendingTests: number;
      numTodoTests: number;
    };
    counts.passed += result.numPassedTests;
    // A file that does not load holds no failed test, but has failed.
    counts.failed += result.success ? result.numFailedTests : Math.max(1, result.numFailedTests);
    counts.skipped += result.numPendingTests + result.numTodoTests;
  }
  if (status !== 0 && counts.failed === 0) {
    console.log(`turbo ended with exit code ${status}`);
    counts.failed++;
  }
  return counts;
}

async function realPeers(): Promise<Counts> {
  const quick = process.env.PKTKIT_E2E_QUICK ?? '1';
  const { status, lastLine } = await run(
    process.execPath,
    ['--import', 'tsx', '--conditions=@pktkit/source', join('e2e', 'run.ts')],
    { PKTKIT_E2E_QUICK: quick },
  );
  const match = /^(\d+) passed, (\d+) failed, (\d+) skipped$/.exec(lastLine);
  if (match === null) {
    console.log(`the real-peer suites ended with exit code ${status} and without a count`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const [passed, failed, skipped] = match.slice(1).map(Number);
  return { passed, failed, skipped };
}

/** Runs a program with its output shown; remembers the last line. */
function run(
  command: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<{ status: number | null; lastLine: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, TURBO_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1', ...env },
    });
    let lastLine = '';
    createInterface({ input: child.stdout }).on('line', (line) => {
      console.log(line);
      if (line.trim() !== '') lastLine = line.trim();
    });
    child.on('error', (error) => {
      console.error(String(error));
      resolve({ status: null, lastLine });
    });
    child.on('close', (status) => resolve({ status, lastLine }));
  });
}

await main();
