/**
 * The full runs behind the tests of `seeds.test.ts`, on all processors:
 *
 *     npx tsx --conditions=@pktkit/source packages/vtcp/test/seeds.script.ts [--seeds N] [--megabytes N] [--from N] [--plain]
 *
 * 1000 seeds of 5 MB over links made by the seed unless told; `--plain`: 2 % loss, 20 ms, 3 % reordering.
 */

import { numberArgument, runEach } from './parallel.ts';
import { linkOf, PLAIN, runSeed } from './seeds.ts';

const seeds = numberArgument('seeds', 1000);
const megabytes = numberArgument('megabytes', 5);
const from = numberArgument('from', 1);
const plain = process.argv.includes('--plain');
/** Seeds that one process takes: long enough to be worth its start, short enough to spread evenly. */
const SHARE = Math.max(1, Math.min(50, Math.ceil(250 / megabytes)));

const began = performance.now();
if (seeds > SHARE) {
  const lists: string[][] = [];
  for (let at = 0; at < seeds; at += SHARE) {
    lists.push([
      ...['--from', String(from + at), '--seeds', String(Math.min(SHARE, seeds - at))],
      ...['--megabytes', String(megabytes), ...(plain ? ['--plain'] : [])],
    ]);
  }
  const failed = await runEach(lists);
  const took = ((performance.now() - began) / 1000).toFixed(0);
  process.stdout.write(
    `${seeds} seeds of ${megabytes} MB: ${failed} of ${lists.length} runs failed, ${took} s\n`,
  );
  process.exitCode = failed === 0 ? 0 : 1;
} else {
  let failed = 0;
  let virtual = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const link = plain ? PLAIN : linkOf(seed);
    const problem = runSeed(seed, megabytes * 1e6, link);
    virtual += problem.took;
    if (problem.what !== null) {
      failed++;
      process.stdout.write(`seed ${seed}: ${problem.what} ${JSON.stringify(link)}\n`);
    }
  }
  const took = ((performance.now() - began) / 1000).toFixed(0);
  process.stdout.write(
    `seeds ${from} to ${from + seeds - 1}: ${failed} failed, ${took} s for ${(virtual / 1000).toFixed(0)} s of virtual time\n`,
  );
  process.exitCode = failed === 0 ? 0 : 1;
}
