/**
 * Compiles `assembly/` into `src/wasm/module.ts`, which is committed: source-mode tests, demos and browsers use it
 * without a build and without a fetch. `--check` compares instead of writing.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const target = join(root, 'src/wasm/module.ts');

export function compile(): string {
  const asc = join(
    dirname(createRequire(import.meta.url).resolve('assemblyscript/package.json')),
    'bin/asc.js',
  );
  const folder = mkdtempSync(join(tmpdir(), 'pktkit-wasm-'));
  try {
    const out = join(folder, 'kernels.wasm');
    const { status, stderr } = spawnSync(
      process.execPath,
      [
        asc,
        'assembly/index.ts',
        ...['-o', out, '-O3', '--converge', '--noAssert', '--runtime', 'stub'],
        ...[
          '--enable',
          'simd',
          '--memoryBase',
          '4096',
          '--initialMemory',
          '3',
          '--maximumMemory',
          '3',
        ],
      ],
      { cwd: root, encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(`asc failed:\n${stderr}`);
    return render(readFileSync(out));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function render(bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,92}/g) ?? [];
  return [
    '/** Generated from assembly/ by scripts/build-wasm.ts; a test compiles again and compares. */',
    '',
    'export const MODULE_BASE64: string =',
    `${lines.map((line) => `  '${line}'`).join(' +\n')};`,
    '',
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = compile();
  if (!process.argv.includes('--check')) writeFileSync(target, text);
  else if (readFileSync(target, 'utf8') !== text) {
    process.stderr.write('src/wasm/module.ts is not what assembly/ compiles to: run `pnpm wasm`\n');
    process.exitCode = 1;
  }
}
