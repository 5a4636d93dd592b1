import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requireTools, run } from '@pktkit/testkit';

async function scene(name: string): Promise<{ code: number | null; out: string; ms: number }> {
  const path = fileURLToPath(new URL('lifecycle.child.ts', import.meta.url));
  const args = ['--import', 'tsx', '--conditions=@pktkit/source', path, name];
  const started = performance.now();
  const { code, stdout, stderr } = await run(process.execPath, args, {
    cwd: import.meta.dirname,
    check: false,
    timeout: 120_000,
  });
  return { code, out: stdout + stderr, ms: performance.now() - started };
}

const LINUX = { root: false, files: ['/proc/self/fd'] };

test('the process ends by itself when everything is closed', async (t) => {
  if (!requireTools(t, [], LINUX)) return;
  const { code, out } = await scene('closed');
  assert.deepEqual({ code, out }, { code: 0, out: '' });
});

test('an open socket keeps the process alive, an unreferenced one does not', async (t) => {
  if (!requireTools(t, [], LINUX)) return;
  assert.deepEqual((await scene('unref')).code, 0);
  const { code, out } = await scene('held');
  assert.deepEqual({ code, out }, { code: 0, out: 'still here\n' });
});

test('process.exit and an uncaught error end the process under traffic', async (t) => {
  if (!requireTools(t, [], LINUX)) return;
  const exit = await scene('exit');
  assert.deepEqual([exit.code, exit.out], [0, '']);
  const error = await scene('uncaught error');
  assert.equal(error.code, 1);
  assert.match(error.out, /on purpose/);
});

test('workers under traffic are terminated, leave, and go down with the process', async (t) => {
  if (!requireTools(t, [], LINUX)) return;
  const { code, out } = await scene('workers');
  assert.deepEqual({ code, out }, { code: 0, out: 'descriptors left: 0\n' });
});

test('a storm of signals changes nothing', async (t) => {
  if (!requireTools(t, [], LINUX)) return;
  const { code, out } = await scene('signals');
  assert.deepEqual({ code, out }, { code: 0, out: 'signals and traffic\n' });
});

test('seven reactors leave the thread pool to others', async (t) => {
  if (!requireTools(t, [], LINUX)) return;
  const { code, out } = await scene('pool');
  assert.equal(code, 0);
  t.diagnostic(out.trim());
  // Reactors that held a thread each would leave none for the reads, and they would not come at all.
  assert.match(out, /^100 reads in \d+ ms\n$/);
});

test('a hundred idle descriptors cost less than half a percent of a processor', async (t) => {
  if (!requireTools(t, [], LINUX)) return;
  const { code, out } = await scene('idle cpu');
  assert.equal(code, 0);
  const [, cpu, wakeups] = /cpu ([\d.]+) %, (\d+) wake-ups/.exec(out) ?? [];
  t.diagnostic(out.trim());
  assert(Number(cpu) < 0.5, out);
  assert.equal(Number(wakeups), 0);
});
