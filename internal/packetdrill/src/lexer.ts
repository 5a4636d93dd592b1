import type { ScriptTime } from './ast.ts';

/** A fault in a script: where it is and what was expected there. */
export class ScriptError extends Error {
  readonly file: string;
  readonly line: number;

  constructor(file: string, line: number, message: string) {
    super(`${file}:${line}: ${message}`);
    this.name = 'ScriptError';
    this.file = file;
    this.line = line;
  }
}

/** A reader over the script's text that skips comments and counts lines. */
export class Lexer {
  readonly file: string;
  readonly #text: string;
  #at = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.file = file;
  }

  get position(): number {
    return this.#at;
  }

  set position(at: number) {
    this.#at = at;
  }

  get line(): number {
    let line = 1;
    for (let i = 0; i < this.#at; i++) if (this.#text.charCodeAt(i) === 10) line++;
    return line;
  }

  get atEnd(): boolean {
    this.skipSpace();
    return this.#at >= this.#text.length;
  }

  slice(from: number): string {
    return this.#text.slice(from, this.#at).trim();
  }

  fail(expected: string): never {
    const found = this.#text.slice(this.#at, this.#at + 24).split('\n', 1)[0];
    const what = found === '' ? 'the end of the line' : JSON.stringify(found);
    throw new ScriptError(this.file, this.line, `expected ${expected}, found ${what}`);
  }

  /** White space, `// …`, `# …` and block comments. */
  skipSpace(): void {
    const space = /(?:\s+|\/\/[^\n]*|#[^\n]*|\/\*[\s\S]*?\*\/)*/y;
    space.lastIndex = this.#at;
    space.exec(this.#text);
    this.#at = space.lastIndex;
  }

  /** Takes what matches here, after white space; the pattern must be sticky. */
  match(pattern: RegExp): RegExpExecArray | null {
    this.skipSpace();
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found !== null) this.#at = pattern.lastIndex;
    return found;
  }

  /** Takes a literal if it stands here. */
  accept(literal: string): boolean {
    this.skipSpace();
    if (!this.#text.startsWith(literal, this.#at)) return false;
    this.#at += literal.length;
    return true;
  }

  /** Takes a literal that must stand here. */
  expect(literal: string): void {
    if (!this.accept(literal)) this.fail(JSON.stringify(literal));
  }

  looksAt(literal: string): boolean {
    this.skipSpace();
    return this.#text.startsWith(literal, this.#at);
  }

  /** Takes everything up to `close`, which is taken too. */
  until(close: string): string {
    const end = this.#text.indexOf(close, this.#at);
    if (end < 0) this.fail(`${JSON.stringify(close)} somewhere after this`);
    const body = this.#text.slice(this.#at, end);
    this.#at = end + close.length;
    return body;
  }

  integer(): number {
    const found = this.match(/[+-]?(?:0x[0-9a-fA-F]+|[0-9]+)/y);
    if (found === null) this.fail('a number');
    return Number(found[0]);
  }

  word(): string {
    const found = this.match(/[A-Za-z_][A-Za-z0-9_]*/y);
    if (found === null) this.fail('a word');
    return found[0];
  }

  seconds(): number {
    const found = this.match(/[0-9]*\.?[0-9]+|[0-9]+\./y);
    if (found === null) this.fail('a time in seconds');
    return Number(found[0]);
  }

  /** `0.1`, `+0.1`, `+0~+0.1`, `1~2`, `*`. */
  time(): ScriptTime {
    if (this.accept('*')) return { kind: 'any' };
    const relative = this.accept('+');
    const from = this.seconds();
    if (!this.accept('~')) {
      return relative ? { kind: 'relative', after: from } : { kind: 'absolute', at: from };
    }
    if (relative !== this.accept('+')) this.fail('both ends of a range relative, or neither');
    const to = this.seconds();
    return { kind: relative ? 'relative-range' : 'absolute-range', from, to };
  }
}
