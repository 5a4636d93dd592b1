// The programs in the READMEs: every ```ts block that imports something is one, and must compile as it stands.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ReadmeExample {
  /** The package's folder, or `root`, and the block's number: `wg-2`. */
  name: string;
  code: string;
}

/** First examples that end by themselves and need neither root nor a peer. */
export const ENDING: ReadonlySet<string> = new Set([
  'root-1',
  'core-1',
  'crypto-1',
  'hostio-1',
  'vclient-1',
  'vtcp-1',
]);

export function readmeExamples(root: string): ReadmeExample[] {
  const packages = readdirSync(join(root, 'packages')).map((name) => [
    name,
    join(root, 'packages', name, 'README.md'),
  ]);
  return [['root', join(root, 'README.md')], ...packages]
    .filter(([, file]) => existsSync(file))
    .flatMap(([name, file]) =>
      [...readFileSync(file, 'utf8').matchAll(/^```ts\n(.*?)^```$/gms)]
        .map(([, code], i) => ({ name: `${name}-${i + 1}`, code }))
        .filter(({ code }) => /^import /m.test(code)),
    );
}
