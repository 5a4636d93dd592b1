/**
 * The Python that scripts put between `%{` and `}%`: assertions over `tcpi_…` values, prints and assignments. Not a
 * Python: what is not of that kind is a fault in the script, and says so.
 */

type Scalar = number | string | boolean;
type Scope = Map<string, Scalar>;

export interface CodeResult {
  /** What a failed assertion said; null when all held. */
  failure: string | null;
  printed: string[];
}

/** Runs a block over the variables of `scope`. Throws an `Error` for Python that is not understood. */
export function runCode(code: string, scope: Scope): CodeResult {
  const printed: string[] = [];
  for (const statement of statements(code)) {
    const reader = new Reader(statement);
    if (reader.accept('assert')) {
      const held = reader.expression(scope);
      const message = reader.accept(',') ? reader.expression(scope) : '';
      reader.end();
      if (!truthy(held)) {
        const seen = statement
          .match(/\btcpi_\w+/g)
          ?.map((name) => `${name} = ${scope.get(name)}`)
          .join(', ');
        return { failure: `${statement} (${seen ?? message})`, printed };
      }
    } else if (reader.accept('print')) {
      printed.push(String(reader.expression(scope)));
      reader.end();
    } else {
      const name = reader.name();
      reader.expect('=');
      scope.set(name, reader.expression(scope));
      reader.end();
    }
  }
  return { failure: null, printed };
}

/** One a line or between semicolons; comments dropped, open parentheses join lines. */
function statements(code: string): string[] {
  const found: string[] = [];
  let depth = 0;
  let current = '';
  for (const line of code.replace(/\\\n/g, ' ').split('\n')) {
    for (const char of line.replace(/#.*$/, '')) {
      if (char === '(') depth++;
      if (char === ')') depth--;
      if (char === ';' && depth === 0) {
        found.push(current);
        current = '';
      } else {
        current += char;
      }
    }
    if (depth === 0) {
      found.push(current);
      current = '';
    } else {
      current += ' ';
    }
  }
  return [...found, current].map((text) => text.trim()).filter((text) => text !== '');
}

const TOKEN =
  /\s*(\d+\.\d+|0x[0-9a-fA-F]+|\d+|[A-Za-z_]\w*|'[^']*'|"[^"]*"|\/\/|==|!=|<=|>=|<<|>>|[-+*/%<>()=,&|])/y;

const COMPARISONS = ['==', '!=', '<=', '>=', '<', '>'];

class Reader {
  readonly #text: string;
  readonly #tokens: string[] = [];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < text.length) {
      const from = TOKEN.lastIndex;
      const token = TOKEN.exec(text);
      if (token === null) throw new Error(`not understood: ${JSON.stringify(text.slice(from))}`);
      this.#tokens.push(token[1]);
    }
  }

  accept(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false;
    this.#at++;
    return true;
  }

  expect(token: string): void {
    if (!this.accept(token)) this.#fail(token);
  }

  name(): string {
    const token = this.#tokens[this.#at] ?? '';
    if (!/^[A-Za-z_]/.test(token)) this.#fail('a name, assert or print');
    this.#at++;
    return token;
  }

  end(): void {
    if (this.#at < this.#tokens.length) this.#fail('the end');
  }

  expression(scope: Scope): Scalar {
    let left = this.#and(scope);
    while (this.accept('or')) {
      const right = this.#and(scope);
      left = truthy(left) ? left : right;
    }
    return left;
  }

  #and(scope: Scope): Scalar {
    let left = this.#not(scope);
    while (this.accept('and')) {
      const right = this.#not(scope);
      left = truthy(left) ? right : left;
    }
    return left;
  }

  #not(scope: Scope): Scalar {
    return this.accept('not') ? !truthy(this.#not(scope)) : this.#comparison(scope);
  }

  /** Chains as Python does: `a < b < c`. */
  #comparison(scope: Scope): Scalar {
    let left = this.#binary(scope, 0);
    let result: Scalar | null = null;
    for (;;) {
      const operator = COMPARISONS.find((candidate) => this.accept(candidate));
      if (operator === undefined) return result ?? left;
      const right = this.#binary(scope, 0);
      result = result !== false && compare(operator, left, right);
      left = right;
    }
  }

  #binary(scope: Scope, level: number): Scalar {
    const operators = LEVELS[level];
    if (operators === undefined) return this.#unary(scope);
    let left = this.#binary(scope, level + 1);
    for (;;) {
      const operator = operators.find((candidate) => this.accept(candidate));
      if (operator === undefined) return left;
      if (operator === '%' && typeof left === 'string') {
        left = this.#formatted(left, scope);
        continue;
      }
      left = arithmetic(operator, Number(left), Number(this.#binary(scope, level + 1)));
    }
  }

  /** `'%d of %d' % (a, b)`: what scripts say with an assertion. */
  #formatted(format: string, scope: Scope): string {
    const values: Scalar[] = [];
    if (this.accept('(')) {
      do values.push(this.expression(scope));
      while (this.accept(','));
      this.expect(')');
    } else {
      values.push(this.#unary(scope));
    }
    return format.replace(/%[sdiuxf]/g, () => String(values.shift() ?? this.#fail('a value')));
  }

  #unary(scope: Scope): Scalar {
    if (this.accept('-')) return -Number(this.#unary(scope));
    if (this.accept('(')) {
      const inner = this.expression(scope);
      this.expect(')');
      return inner;
    }
    const token = this.#tokens[this.#at++] ?? '';
    if (/^\d/.test(token)) return Number(token);
    if (/^['"]/.test(token)) return token.slice(1, -1);
    if (token === 'True' || token === 'False') return token === 'True';
    if (/^(min|max|abs|int)$/.test(token)) return this.#function(token, scope);
    const value = scope.get(token);
    if (value === undefined) {
      throw new Error(`${JSON.stringify(token)} has no value here, in: ${this.#text}`);
    }
    return value;
  }

  #function(name: string, scope: Scope): number {
    this.expect('(');
    const values: number[] = [];
    do values.push(Number(this.expression(scope)));
    while (this.accept(','));
    this.expect(')');
    switch (name) {
      case 'min':
        return Math.min(...values);
      case 'max':
        return Math.max(...values);
      case 'abs':
        return Math.abs(values[0]);
      default:
        return Math.trunc(values[0]);
    }
  }

  #fail(expected: string): never {
    const found = this.#tokens[this.#at] ?? 'the end';
    throw new Error(`expected ${expected}, found ${found}, in: ${this.#text}`);
  }
}

/** From loosest to tightest. */
const LEVELS: readonly string[][] = [['|'], ['&'], ['<<', '>>'], ['+', '-'], ['*', '//', '/', '%']];

function arithmetic(operator: string, a: number, b: number): number {
  switch (operator) {
    case '|':
      return a | b;
    case '&':
      return a & b;
    case '<<':
      return a * 2 ** b;
    case '>>':
      return Math.floor(a / 2 ** b);
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '//':
      return Math.floor(a / b);
    case '/':
      return a / b;
    default:
      return a - b * Math.floor(a / b);
  }
}

function compare(operator: string, a: Scalar, b: Scalar): boolean {
  switch (operator) {
    case '==':
      return a === b || Number(a) === Number(b);
    case '!=':
      return a !== b && Number(a) !== Number(b);
    case '<':
      return a < b;
    case '<=':
      return a <= b;
    case '>':
      return a > b;
    default:
      return a >= b;
  }
}

function truthy(value: Scalar): boolean {
  return value !== 0 && value !== '' && value !== false;
}
