/**
 * The full runs behind the tests of `seeds.test.ts`:
 *
 *     npx tsx --conditions=@pktkit/source packages/vtcp/test/seeds.script.ts [--seeds N] [--megabytes N] [--from N] [--plain]
 *
 * 1000 seeds of 5 MB over links made by the seed unless told; `--plain`: 2 % loss, 20 ms, 3 % reordering.
 */

import { linkOf, PLAIN, runSeed } from './seeds.ts';

const arg = (name: string, fallback: number) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
};

const seeds = arg('seeds', 1000);
const bytes = arg('megabytes', 5) * 1e6;
const from = arg('from', 1);
const plain = process.argv.includes('--plain');
let failed = 0;
let virtual = 0;
const began = performance.now();
for (let seed = from; seed < from + seeds; seed++) {
  const link = plain ? PLAIN : linkOf(seed);
  const problem = runSeed(seed, bytes, link);
  virtual += problem.took;
  if (problem.what !== null) {
    failed++;
    process.stdout.write(`seed ${seed}: ${problem.what} ${JSON.stringify(link)}\n`);
  }
}
const took = (performance.now() - began) / 1000;
process.stdout.write(
  `${seeds} seeds of ${bytes} bytes: ${failed} failed, ${took.toFixed(0)} s for ${(virtual / 1000).toFixed(0)} s of virtual time\n`,
);
process.exitCode = failed === 0 ? 0 : 1;
