/**
 * The full run behind `fuzz.test.ts`: a million hostile segments for connections in each state, and as many between two
 * engines, on all processors.
 *
 *     npx tsx --conditions=@pktkit/source packages/vtcp/test/fuzz.script.ts [--segments N] [--seed N] [--only STATE]
 *
 * A failure names the state and the segment; the same `--seed` with `--only` shows it again.
 */

import { fuzzPair, fuzzState, STATES } from './fuzz.ts';
import { numberArgument, runEach } from './parallel.ts';

const PAIR = 'two-engines';

const segments = numberArgument('segments', 1_000_000);
const seed = numberArgument('seed', 1);
const only = process.argv.indexOf('--only');

if (only < 0) {
  const began = performance.now();
  const failed = await runEach(
    [...Object.keys(STATES), PAIR].map((name) => [
      ...['--only', name, '--segments', String(segments), '--seed', String(seed)],
    ]),
  );
  const took = ((performance.now() - began) / 1000).toFixed(0);
  process.stdout.write(`hostile segments: ${failed} runs failed, ${took} s\n`);
  process.exitCode = failed === 0 ? 0 : 1;
} else {
  const name = process.argv[only + 1];
  const run = name === PAIR ? fuzzPair : (n: number, s: number) => fuzzState(name, n, s);
  const report = run(segments, seed);
  process.stdout.write(`${name}: ${report.segments} segments, ${report.connections} connections\n`);
}
