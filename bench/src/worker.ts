/** Measures one area and prints the result as one line of JSON on descriptor 3. */

import { writeSync } from 'node:fs';
import { type Bench, type Benches, kept, runArea } from './harness.ts';

const [area, only] = process.argv.slice(2);
const module = (await import(`./${area}.ts`)) as { benches: Benches };
const made = typeof module.benches === 'function' ? await module.benches() : module.benches;
const benches: Bench[] = made.filter(({ id }) => only === undefined || id.startsWith(only));
writeSync(3, JSON.stringify(await runArea(benches)));
// The benches' results are used here, whatever they are.
process.exit(Number.isNaN(kept()) ? 1 : 0);
