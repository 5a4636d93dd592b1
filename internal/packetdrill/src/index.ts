export type {
  IcmpPacket,
  Script,
  ScriptCall,
  ScriptEvent,
  ScriptPacket,
  ScriptTime,
  TcpOption,
  TcpPacket,
  Value,
} from './ast.ts';
export { ScriptError } from './lexer.ts';
export { FLAG_LETTERS, parseScript } from './parser.ts';
export { type CodeResult, runCode } from './python.ts';
