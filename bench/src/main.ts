/**
 * `pnpm bench [area | id…] [--json] [--check-alloc]`: runs on the built packages (`pnpm build` first). Prints ours beside the
 * reference, scaled to this machine by loops measured in the same run. `--json` prints one array and nothing else.
 * `--check-alloc` ends with 1 when an operation allocates more than its budget.
 */

import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { AreaResult, Measurement } from './harness.ts';
import { ALLOCATION_BUDGETS, LOWER_IS_BETTER, REFERENCES } from './reference.ts';

const here = new URL('.', import.meta.url);
const TOOLS = new Set(['harness.ts', 'main.ts', 'reference.ts', 'worker.ts']);
const areas = readdirSync(here)
  .filter((file) => file.endsWith('.ts') && !TOOLS.has(file))
  .map((file) => file.slice(0, -3))
  .sort();

const args = process.argv.slice(2);
const json = args.includes('--json');
const checkAlloc = args.includes('--check-alloc');
const wanted = args.filter((arg) => !arg.startsWith('--'));
for (const arg of args) {
  if (arg.startsWith('--') && arg !== '--json' && arg !== '--check-alloc') {
    fail(`unknown option ${arg}; there are --json and --check-alloc`);
  }
}
for (const name of wanted) {
  if (!areas.includes(name.split('.')[0])) fail(`no area ${name}; there are ${areas.join(', ')}`);
}
if (!existsSync(new URL('../../packages/core/dist/index.js', here))) {
  fail('the packages are not built; run `pnpm build` first');
}

const measurements: Measurement[] = [];
const runs = wanted.length > 0 ? wanted : areas;
for (const run of runs) {
  const result = await measure(run);
  if (!json) print(run, result);
  measurements.push(...result.measurements);
}
if (json) {
  const entries = measurements.map(({ id, value, unit, bytesPerOp }) => ({
    id,
    value,
    unit,
    bytesPerOp,
  }));
  process.stdout.write(`${JSON.stringify(entries, null, 1)}\n`);
}
if (checkAlloc) {
  const over = measurements.filter(({ id, bytesPerOp }) => {
    return bytesPerOp !== null && bytesPerOp > (ALLOCATION_BUDGETS[id] ?? Number.POSITIVE_INFINITY);
  });
  for (const { id, bytesPerOp } of over) {
    process.stderr.write(
      `${id} allocates ${bytesPerOp?.toFixed(1)} bytes per operation; its budget is ${ALLOCATION_BUDGETS[id]}\n`,
    );
  }
  if (over.length > 0) process.exitCode = 1;
}

/** Runs an area, or of it what an id begins with, in a process of its own. */
function measure(what: string): Promise<AreaResult> {
  const area = what.split('.')[0];
  const worker = fileURLToPath(new URL('worker.ts', here));
  const child = spawn(
    process.execPath,
    ['--expose-gc', '--import', 'tsx', worker, area, ...(what === area ? [] : [what])],
    { stdio: ['ignore', 'inherit', 'inherit', 'pipe'], cwd: fileURLToPath(here) },
  );
  let text = '';
  child.stdio[3]?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(text));
      else reject(new Error(`the benches of ${what} ended with ${code}`));
    });
  });
}

function print(what: string, { scale, factors, measurements: found }: AreaResult): void {
  const rows = [['', 'ours', 'Go library', 'must', 'aim', '', 'B/op', 'verdict']];
  for (const { id, value, unit, bytesPerOp } of found) {
    const reference = REFERENCES[id.split('@')[0]];
    const lower = LOWER_IS_BETTER.has(unit);
    // Memory does not depend on the machine's speed.
    const factor = unit === 'B' ? 1 : lower ? scale : 1 / scale;
    const scaled = (figure: number | undefined) => {
      return figure === undefined || id.includes('@') ? '' : figures(figure * factor);
    };
    const better = (figure: number) =>
      lower ? value <= figure * factor : value >= figure * factor;
    let verdict = '';
    if (reference !== undefined && !id.includes('@')) {
      verdict = better(reference.aim) ? 'aim' : better(reference.must) ? 'must' : 'SHORT';
    }
    rows.push([
      id,
      figures(value),
      scaled(reference?.go),
      scaled(reference?.must),
      scaled(reference?.aim),
      unit,
      bytesPerOp === null ? '' : bytesPerOp.toFixed(1),
      verdict,
    ]);
  }
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const lines = rows.map((row) => {
    return row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ');
  });
  const loops = Object.entries(factors).map(([id, factor]) => `${id} ${factor.toFixed(2)}`);
  process.stdout.write(
    `\n${what}: this machine takes ${scale.toFixed(2)} times the reference machine's time (${loops.join(', ')}); figures of others are scaled\n\n${lines.join('\n')}\n`,
  );
}

function figures(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}
