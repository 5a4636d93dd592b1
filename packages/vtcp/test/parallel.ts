/** Long runs in as many processes as the machine has processors: the script at hand, once for each list of arguments. */

import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** Runs `process.argv[1]` with each list; gives how many ended with a failure. */
export async function runEach(lists: readonly string[][]): Promise<number> {
  const waiting = [...lists];
  let failed = 0;
  const worker = async () => {
    for (let args = waiting.shift(); args !== undefined; args = waiting.shift()) {
      if (!(await runOne(args))) failed++;
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return failed;
}

function runOne(args: string[]): Promise<boolean> {
  return new Promise((resolve) => {
    const child = fork(process.argv[1], args);
    child.on('error', (error) => {
      process.stderr.write(`${error}\n`);
      resolve(false);
    });
    child.on('exit', (code) => resolve(code === 0));
  });
}

/** The number behind `--name` on the command line. */
export function numberArgument(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`);
  if (at < 0) return fallback;
  const value = Number(process.argv[at + 1]);
  if (!(value >= 0)) throw new RangeError(`--${name} needs a number`);
  return value;
}
