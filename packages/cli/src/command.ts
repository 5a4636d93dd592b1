/** Finds the subcommand, shows help, and turns errors into messages and exit codes. */

import { readFileSync } from 'node:fs';
import { type ArgsDef, type CommandDef, defineCommand, renderUsage } from 'citty';
import { demoArgs, runDemo } from './demo.ts';
import { lanArgs, runLan } from './lan.ts';
import { UsageError } from './options.ts';

interface Subcommand {
  description: string;
  args: ArgsDef;
  run(rawArgs: string[]): Promise<void>;
}

const COMMANDS: Readonly<Record<string, Subcommand>> = {
  demo: {
    description: 'A whole virtual LAN in one process, without root, and a download through it',
    args: demoArgs,
    run: runDemo,
  },
  lan: {
    description: 'A virtual LAN with DHCP, DNS and user-mode NAT for QEMU guests and TAP',
    args: lanArgs,
    run: runLan,
  },
};

/** Runs the command line and gives the exit code: 0 when all went well, 1 after an error, 2 for a mistake in the options. */
export async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === '--version' || name === '-v') {
    console.log(version());
    return 0;
  }
  const command = name === undefined ? undefined : COMMANDS[name];
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    console.log(await renderUsage(rootDefinition()));
    return 0;
  }
  if (command === undefined) {
    console.error(`pktkit: no command ${JSON.stringify(name)}; there are ${names()}`);
    return 2;
  }
  if (rest.includes('--help') || rest.includes('-h')) {
    console.log(await renderUsage(definition(name, command), rootDefinition()));
    return 0;
  }
  try {
    await command.run(rest);
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`pktkit ${name}: ${error.message}`);
      return 2;
    }
    console.error(`pktkit ${name}: ${describe(error)}`);
    return 1;
  }
}

function names(): string {
  return Object.keys(COMMANDS).join(', ');
}

function definition(name: string, command: Subcommand): CommandDef {
  return defineCommand({
    meta: { name, description: command.description },
    args: command.args,
  });
}

function rootDefinition(): CommandDef {
  const entries = Object.entries(COMMANDS);
  return defineCommand({
    meta: {
      name: 'pktkit',
      version: version(),
      description: 'Virtual networks without root',
    },
    subCommands: Object.fromEntries(
      entries.map(([name, command]) => [name, definition(name, command)]),
    ),
  });
}

function version(): string {
  const manifest = new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof AggregateError) return error.errors.map(describe).join('; ');
  // With its stack: this is a fault of ours or of the system, not of the options.
  return process.env.PKTKIT_DEBUG === '1' ? (error.stack ?? error.message) : error.message;
}
