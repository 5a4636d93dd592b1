import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Frame } from '@pktkit/core';
import { dial } from '@pktkit/qemu';
import { spawn, until } from '@pktkit/testkit';

test('the example switch joins two guests and ends with Ctrl-C, its socket removed', async () => {
  const path = join(tmpdir(), `pktkit-example-${process.pid}.sock`);
  const file = join(import.meta.dirname, '../../examples/qemu-switch.ts');
  const flags = ['--import', 'tsx', '--conditions=@pktkit/source'];
  const example = spawn(process.execPath, [...flags, file, path], { cwd: import.meta.dirname });
  try {
    await example.waitFor(/guests connect to/, 30_000);
    const [a, b] = [await dial({ path }), await dial({ path })];
    await example.waitFor(/2 on the switch/);
    const seen: Uint8Array[] = [];
    b.setHandler((frame) => seen.push(frame.bytes.slice()));
    const bytes = new Uint8Array(60).fill(0xff, 0, 6);
    bytes.set([0x02, 0, 0, 0, 0, 1, 0x88, 0xb5], 6);
    a.send(Frame.of(bytes));
    await until(() => seen.length === 1);
    assert.deepEqual(seen[0], bytes);
    a.setHandler(() => {});
    const { code } = await example.stop('SIGINT', 10_000);
    assert.equal(code, 0, example.describe());
    await Promise.all([a.closed, b.closed]);
    assert(!existsSync(path));
  } finally {
    await example.stop('SIGKILL');
  }
});
