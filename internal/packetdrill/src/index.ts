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
export { type RunOptions, type RunResult, runScript } from './runner.ts';
export type { CallOutcome, CapturedPacket, PendingCall, Target } from './target.ts';
export { VtcpTarget, type VtcpTargetOptions } from './vtcp-target.ts';
