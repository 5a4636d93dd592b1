/** Reads packetdrill scripts. The grammar is described in google/packetdrill's `syntax.md`; everything TCP needs is here. */

import type {
  IcmpPacket,
  Script,
  ScriptCall,
  ScriptEvent,
  ScriptPacket,
  TcpOption,
  TcpPacket,
  Value,
} from './ast.ts';
import { Lexer, ScriptError } from './lexer.ts';

/** TCP flag bits by the letter that scripts use. */
export const FLAG_LETTERS: Readonly<Record<string, number>> = {
  F: 0x01,
  S: 0x02,
  R: 0x04,
  P: 0x08,
  '.': 0x10,
  U: 0x20,
  E: 0x40,
  W: 0x80,
};

/** Throws a `ScriptError` that names file and line. */
export function parseScript(text: string, file = 'script'): Script {
  const lexer = new Lexer(text, file);
  const options = new Map<string, string>();
  for (;;) {
    const option = lexer.match(/--([a-z0-9_]+)(?:=(\S+))?/y);
    if (option === null) break;
    options.set(option[1], option[2] ?? '');
  }
  let init: string | null = null;
  if (lexer.accept('`')) init = lexer.until('`');
  const events: ScriptEvent[] = [];
  while (!lexer.atEnd) events.push(parseEvent(lexer));
  const kernelDiffers = /^\/\/ kernel differs: (.+)$/m.exec(text)?.[1] ?? null;
  return { file, options, kernelDiffers, init, events };
}

function parseEvent(lexer: Lexer): ScriptEvent {
  lexer.skipSpace();
  const start = lexer.position;
  const line = lexer.line;
  // A code block or command without a time happens right after the event before it.
  const untimed = lexer.looksAt('%{') || lexer.looksAt('`');
  const time = untimed ? ({ kind: 'relative', after: 0 } as const) : lexer.time();
  const finish = (body: Record<string, unknown>): ScriptEvent =>
    ({ line, text: lexer.slice(start), time, ...body }) as ScriptEvent;

  if (lexer.accept('`')) return finish({ kind: 'command', command: lexer.until('`') });
  if (lexer.accept('%{')) return finish({ kind: 'code', code: lexer.until('}%') });
  if (lexer.looksAt('<') || lexer.looksAt('>')) {
    return finish({ kind: 'packet', packet: parsePacket(lexer) });
  }
  return finish({ kind: 'call', call: parseCall(lexer) });
}

function parsePacket(lexer: Lexer): ScriptPacket {
  const direction = lexer.accept('<') ? 'in' : 'out';
  if (direction === 'out') lexer.expect('>');
  let ecn: ScriptPacket['ecn'] = null;
  const bracket = lexer.match(/\[\s*(noecn|nonecn|ect01|ect0|ect1|ce)\s*\]/y);
  if (bracket !== null) {
    ecn = (bracket[1] === 'nonecn' ? 'noecn' : bracket[1]) as ScriptPacket['ecn'];
  }
  const body = lexer.match(/icmp\b/y) ? parseIcmp(lexer) : parseTcp(lexer);
  return { direction, ecn, body };
}

function parseTcp(lexer: Lexer): TcpPacket {
  const letters = lexer.match(/[FSRPUEW.]+|-(?=\s)/y);
  if (letters === null) lexer.fail('TCP flags (of F S R P . U E W) or icmp');
  let flags = 0;
  for (const letter of letters[0]) flags |= FLAG_LETTERS[letter] ?? 0;

  const seq = lexer.integer();
  lexer.expect(':');
  const end = lexer.integer();
  lexer.expect('(');
  const payload = lexer.integer();
  lexer.expect(')');
  if (end !== seq + payload) {
    throw new ScriptError(
      lexer.file,
      lexer.line,
      `${seq}:${end}(${payload}): the range holds ${end - seq} bytes, not ${payload}`,
    );
  }
  let ack: number | null = null;
  if (lexer.match(/ack\b/y)) ack = lexer.integer();
  if ((flags & FLAG_LETTERS['.']) !== 0 && ack === null) {
    lexer.fail('`ack N`, since the flags have ACK');
  }
  let window: number | null = null;
  if (lexer.match(/win\b/y)) window = lexer.integer();
  let urgent: number | null = null;
  if (lexer.match(/urg\b/y)) urgent = lexer.integer();

  // No brackets: none. `<...>`: any.
  let options: TcpOption[] | null = [];
  if (lexer.match(/<(?=\s*(?:\.\.\.|[a-zA-Z]))/y)) {
    if (lexer.accept('...')) {
      options = null;
      lexer.expect('>');
    } else {
      do options.push(parseOption(lexer));
      while (lexer.accept(','));
      lexer.expect('>');
    }
  }
  return { kind: 'tcp', flags, seq, end, payload, ack, window, urgent, options };
}

function parseOption(lexer: Lexer): TcpOption {
  const name = lexer.word();
  switch (name) {
    case 'nop':
    case 'eol':
    case 'sackOK':
      return { kind: name };
    case 'mss':
    case 'wscale':
      return { kind: name, value: lexer.integer() };
    case 'TS': {
      const field = () => (lexer.accept('...') ? null : lexer.integer() >>> 0);
      if (lexer.word() !== 'val') lexer.fail('`val`');
      const value = field();
      if (lexer.word() !== 'ecr') lexer.fail('`ecr`');
      return { kind: 'timestamp', value, echo: field() };
    }
    case 'sack': {
      const blocks: Array<{ left: number; right: number }> = [];
      for (;;) {
        const block = lexer.match(/([0-9]+):([0-9]+)/y);
        if (block === null) break;
        blocks.push({ left: Number(block[1]), right: Number(block[2]) });
      }
      if (blocks.length === 0) lexer.fail('SACK blocks such as 1001:2001');
      return { kind: 'sack', blocks };
    }
    default:
      return lexer.fail(
        `a TCP option (mss, wscale, sackOK, sack, TS, nop, eol) instead of ${name}`,
      );
  }
}

function parseIcmp(lexer: Lexer): IcmpPacket {
  const type = lexer.word();
  const code = lexer.match(/(?!mtu\b)[a-z_]+/y)?.[0] ?? null;
  let mtu: number | null = null;
  if (lexer.match(/mtu\b/y)) mtu = lexer.integer();
  let echoed: IcmpPacket['echoed'] = null;
  if (lexer.accept('[')) {
    // Flags may stand in front of the echoed range; they say nothing that a receiver looks at.
    lexer.match(/[FSRPUEW.]+\s+(?=[0-9])/y);
    const seq = lexer.integer();
    lexer.expect(':');
    lexer.integer();
    lexer.expect('(');
    echoed = { seq, payload: lexer.integer() };
    lexer.expect(')');
    lexer.expect(']');
  }
  return { kind: 'icmp', type, code, mtu, echoed };
}

function parseCall(lexer: Lexer): ScriptCall {
  let end: ScriptCall['end'] = null;
  if (lexer.accept('...')) {
    const relative = lexer.accept('+');
    end = { at: lexer.seconds(), relative };
  }
  const name = lexer.word();
  lexer.expect('(');
  const args: Value[] = [];
  if (!lexer.accept(')')) {
    do args.push(parseValue(lexer));
    while (lexer.accept(','));
    lexer.expect(')');
  }
  lexer.expect('=');
  const result = parseValue(lexer);
  const errno = lexer.match(/E[A-Z0-9]+\b/y)?.[0] ?? null;
  // The message behind an errno, or the flags behind a number, are for people.
  const note = lexer.match(/\([^()\n]*\)/y);
  if (note === null && lexer.looksAt('(')) lexer.fail('a closing parenthesis on this line');
  return { name, args, end, result, errno };
}

function parseValue(lexer: Lexer): Value {
  if (lexer.accept('...')) return { kind: 'ellipsis' };
  if (lexer.accept('"')) return { kind: 'string', value: lexer.until('"') };
  if (lexer.accept('[')) {
    const items: Value[] = [];
    if (!lexer.accept(']')) {
      do items.push(parseValue(lexer));
      while (lexer.accept(','));
      lexer.expect(']');
    }
    return { kind: 'list', items };
  }
  if (lexer.accept('{')) return parseFields(lexer);
  const number = lexer.match(/[+-]?(?:0x[0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?)/y);
  if (number !== null) return { kind: 'number', value: Number(number[0]) };
  const names = [lexer.word()];
  // `htons(80)` and `inet_addr("192.0.2.1")` stand for their arguments.
  if (lexer.accept('(')) {
    const inner = parseValue(lexer);
    lexer.expect(')');
    return inner;
  }
  while (lexer.accept('|')) names.push(lexer.word());
  return { kind: 'names', names };
}

/** `{fd=3, events=POLLIN}`, `{onoff=1, linger=0}` and the `{..., 1000}` of an iovec. */
function parseFields(lexer: Lexer): Value {
  const fields = new Map<string, Value>();
  const items: Value[] = [];
  if (!lexer.accept('}')) {
    do {
      if (lexer.looksAt('}')) break;
      const key = lexer.match(/([a-z_][a-z0-9_]*)(?:\([^)]*\))?\s*=(?!=)/y);
      const value = parseValue(lexer);
      if (key !== null) fields.set(key[1], value);
      else items.push(value);
    } while (lexer.accept(','));
    lexer.expect('}');
  }
  return { kind: 'fields', fields, items };
}
