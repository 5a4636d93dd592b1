// Compiles assembly/checksum.ts and writes src/checksum-kernel.ts.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The compiled module in base64. */
export function compileKernel(): string {
  const manifest = createRequire(import.meta.url).resolve('assemblyscript/package.json');
  const out = mkdtempSync(join(tmpdir(), 'pktkit-kernel-'));
  const wasm = join(out, 'checksum.wasm');
  try {
    const { status, stderr } = spawnSync(
      process.execPath,
      [
        join(dirname(manifest), 'bin/asc.js'),
        'assembly/checksum.ts',
        ...['--optimizeLevel', '3', '--runtime', 'stub', '--enable', 'simd', '--noAssert'],
        // Two pages: the first 1024 bytes unused, then up to 64 KiB of input at any alignment.
        ...['--initialMemory', '2', '--maximumMemory', '2', '--outFile', wasm],
      ],
      { cwd: root, encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(`the AssemblyScript compiler failed:\n${stderr}`);
    return readFileSync(wasm).toString('base64');
  } finally {
    rmSync(out, { recursive: true });
  }
}

if (pathToFileURL(process.argv[1]).href === import.meta.url) {
  const lines = compileKernel().match(/.{1,92}/g) ?? [];
  const text = `/** Compiled from assembly/checksum.ts by scripts/kernel.ts: do not edit. */
export const CHECKSUM_KERNEL: string =
${lines.map((line) => `  '${line}'`).join(' +\n')};
`;
  writeFileSync(join(root, 'src/checksum-kernel.ts'), text);
}
