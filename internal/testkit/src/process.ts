/** Child processes of a test: run to their end, or in the background until stopped. Each is ended by its own pid. */

import { type ChildProcess, spawn as spawnChild } from 'node:child_process';
import { until } from './until.ts';

export interface RunOptions {
  /** Milliseconds until it is killed and `run` rejects; 30,000 unless told. */
  timeout?: number | undefined;
  /** Written to its standard input, which is closed then. */
  input?: string | Uint8Array | undefined;
  env?: Readonly<Record<string, string>> | undefined;
  cwd?: string | undefined;
  /** Give the result of a failing program instead of rejecting. */
  check?: boolean | undefined;
}

export interface RunResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end. Rejects when it fails, unless `check` is false. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const { timeout = 30_000, input, check = true } = options;
  const child = new BackgroundProcess(command, args, options);
  child.stdin(input);
  const late = setTimeout(() => child.signal('SIGKILL'), timeout);
  const started = performance.now();
  const result = await child.exited;
  clearTimeout(late);
  if (check && result.code !== 0) {
    const took = Math.round(performance.now() - started);
    const why = result.signal ?? `exit code ${result.code}`;
    throw new Error(
      `${command} ${args.join(' ')}: ${why} after ${took} ms\n${tail(result.stdout)}${tail(result.stderr)}`,
    );
  }
  return result;
}

/** Output is kept up to this many characters for each stream; what is older is dropped. */
const KEEP = 4 << 20;

export class BackgroundProcess {
  readonly pid: number;
  readonly command: string;
  /** Settles with the result when the program has ended and its output is read; never rejects. */
  readonly exited: Promise<RunResult>;
  stdout: string = '';
  stderr: string = '';
  #ended = false;
  readonly #child: ChildProcess;

  constructor(
    command: string,
    args: readonly string[],
    options: Pick<RunOptions, 'env' | 'cwd'> = {},
  ) {
    this.command = [command, ...args].join(' ');
    const child = spawnChild(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    this.#child = child;
    this.pid = child.pid ?? -1;
    child.stdin?.on('error', () => {});
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout = (this.stdout + text).slice(-KEEP);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-KEEP);
    });
    this.exited = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null) => {
        this.#ended = true;
        running.delete(this);
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
      };
      child.once('close', end);
      child.once('error', (error) => {
        this.stderr += String(error);
        end(null, null);
      });
    });
    running.add(this);
    killAtExit();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Writes to standard input and closes it. */
  stdin(input: string | Uint8Array = ''): void {
    this.#child.stdin?.end(input);
  }

  /** Writes to standard input and leaves it open. */
  write(input: string): void {
    this.#child.stdin?.write(input);
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.#ended && this.pid > 0) this.#child.kill(signal);
  }

  /** Waits until the output matches; rejects when the program ends without, or at the deadline. */
  async waitFor(pattern: RegExp, within = 15_000): Promise<RegExpExecArray> {
    const match = await until(
      () => {
        const found = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
        return found ?? (this.#ended ? 'ended' : null);
      },
      { within, what: () => `${pattern} in the output of ${this.describe()}` },
    );
    if (typeof match === 'string') {
      throw new Error(`it ended without ${pattern} in its output: ${this.describe()}`);
    }
    return match;
  }

  /** Ends it with `signal`, after `within` milliseconds with SIGKILL. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', within = 5000): Promise<RunResult> {
    this.signal(signal);
    const late = setTimeout(() => this.signal('SIGKILL'), within);
    const result = await this.exited;
    clearTimeout(late);
    return result;
  }

  describe(): string {
    return `${this.command}\n${tail(this.stdout)}${tail(this.stderr)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Starts a program in the background. */
export function spawn(
  command: string,
  args: readonly string[],
  options: Pick<RunOptions, 'env' | 'cwd'> = {},
): BackgroundProcess {
  return new BackgroundProcess(command, args, options);
}

const running = new Set<BackgroundProcess>();
let watching = false;

function killAtExit(): void {
  if (watching) return;
  watching = true;
  process.on('exit', () => {
    for (const child of running) child.signal('SIGKILL');
  });
}

function tail(text: string): string {
  const lines = text.trimEnd().split('\n').slice(-30).join('\n');
  return lines === '' ? '' : `${lines}\n`;
}
