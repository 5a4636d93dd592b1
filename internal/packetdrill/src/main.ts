/**
 * `pnpm packetdrill [-v] [--kernel] FILE…`: runs scripts against this project's engine in virtual time, or against the Linux
 * kernel in a network namespace of its own (as root), and shows expected beside seen.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Script } from './ast.ts';
import { parseScript } from './parser.ts';
import { type RunResult, runScript } from './runner.ts';

const flags = new Set(process.argv.slice(2).filter((argument) => argument.startsWith('-')));
const files = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const known = ['-v', '--kernel', '--in-namespace'];
if (files.length === 0 || [...flags].some((flag) => !known.includes(flag))) {
  process.stderr.write('usage: pnpm packetdrill [-v] [--kernel] FILE…\n');
  process.exit(2);
}

let failed = 0;
for (const file of files) {
  // Settings that a script changes must not reach the next: each has a namespace to itself.
  const passed =
    flags.has('--kernel') && !flags.has('--in-namespace')
      ? // Real time on a busy machine may come late once.
        runApart(file) || runApart(file)
      : await runHere(file);
  if (!passed) failed++;
}
if (!flags.has('--in-namespace')) print(`${files.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

function runApart(file: string): boolean {
  const main = fileURLToPath(import.meta.url);
  const self = [process.execPath, ...process.execArgv, main, ...flags, '--in-namespace', file];
  // Real-time priority: a script's times must not wait for whatever else runs on the machine.
  const { status, error } = spawnSync('chrt', ['--rr', '50', 'unshare', '--net', ...self], {
    stdio: 'inherit',
  });
  if (error !== undefined) throw error;
  return status === 0;
}

async function runHere(file: string): Promise<boolean> {
  let result: RunResult;
  let script: Script;
  try {
    script = parseScript(readFileSync(file, 'utf8'), file);
    const target = flags.has('--kernel')
      ? new (await import('./kernel-target.ts')).KernelTarget(script)
      : new (await import('./vtcp-target.ts')).VtcpTarget(script);
    result = await runScript(script, target);
  } catch (error) {
    print(`FAIL ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
  if (flags.has('--kernel') && script.kernelDiffers !== null) {
    // A note that no longer holds is as wrong as a missing one.
    const differs = !result.passed;
    print(
      differs
        ? `ok   ${file}\n     differs as noted: ${script.kernelDiffers}`
        : `FAIL ${file}\n     the kernel is noted to differ, and does not`,
    );
    return differs;
  }
  print(`${result.passed ? 'ok  ' : 'FAIL'} ${file}`);
  if (result.failure !== null) {
    const { line, event, expected, seen } = result.failure;
    print(`     line ${line}: ${event}`, `     expected: ${expected}`, `     seen:     ${seen}`);
  }
  if (flags.has('-v') || !result.passed) for (const entry of result.log) print(`     ${entry}`);
  for (const remark of result.remarks) print(`     ${remark}`);
  return result.passed;
}

function print(...lines: string[]): void {
  for (const line of lines) process.stdout.write(`${line}\n`);
}
