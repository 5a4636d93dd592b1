// Runs one package's unit tests and leaves their counts in `.test-results.json`, where `npm test` adds them up.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const [project, ...rest] = process.argv.slice(2);
const results = fileURLToPath(new URL('.test-results.json', `file://${process.cwd()}/`));
const { status } = spawnSync(
  'vitest',
  [
    'run',
    '--project',
    project,
    '--reporter=default',
    '--reporter=json',
    `--outputFile=${results}`,
    ...rest,
  ],
  { cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: 'inherit' },
);
process.exit(status ?? 1);
