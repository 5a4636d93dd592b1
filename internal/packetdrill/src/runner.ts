/** Runs a script against a target: one event after the other, each at its time, and says what came instead. */

import type { Script, ScriptCall, ScriptEvent, ScriptTime, TcpPacket, Value } from './ast.ts';
import { ECN_BITS, Flow, type SeenTcp } from './flow.ts';
import { formatTcp } from './format.ts';
import { FLAG_LETTERS } from './parser.ts';
import { runCode } from './python.ts';
import { fieldOf, INFO_CONSTANTS, numberOf } from './socket-values.ts';
import type { CallOutcome, CapturedPacket, PendingCall, Target } from './target.ts';
import { parseTcp, type WireTcp } from './wire.ts';

export interface RunResult {
  file: string;
  passed: boolean;
  /** The event that failed: where, what was expected and what was seen. */
  failure: { line: number; event: string; expected: string; seen: string } | null;
  /** Shell commands that the target passed over, and what the script printed. */
  remarks: string[];
  /** Every packet in order, in the script's notation, with its time in seconds. */
  log: string[];
}

export interface RunOptions {
  /** The initial sequence number of the script's side; near 2^32 it makes every script a wrap test. */
  remoteIsn?: number | undefined;
}

const SYN = FLAG_LETTERS.S;
const ACK = FLAG_LETTERS['.'];
const PSH = FLAG_LETTERS.P;
/** Times may be off by 4 ms unless the script says `--tolerance_usecs`, as in packetdrill. */
const TOLERANCE = 0.004;
const REMOTE_PORT = 53000;

const WRITES = new Set(['write', 'writev', 'send', 'sendto', 'sendmsg']);

class Mismatch extends Error {
  readonly expected: string;
  readonly seen: string;

  constructor(expected: string, seen: string) {
    super(`expected ${expected}, seen ${seen}`);
    this.expected = expected;
    this.seen = seen;
  }
}

export async function runScript(
  script: Script,
  target: Target,
  options: RunOptions = {},
): Promise<RunResult> {
  const run = new Run(script, target, options);
  return run.all();
}

class Run {
  readonly #script: Script;
  readonly #target: Target;
  readonly #tolerance: number;
  readonly #remoteIsn: number;
  /** Microseconds of the timestamp clock; 0 when the script does not measure by it. */
  readonly #tick: number;
  readonly #remarks: string[] = [];
  readonly #log: string[] = [];
  readonly #packets: CapturedPacket[] = [];
  readonly #pending: Array<{
    event: ScriptEvent;
    call: ScriptCall;
    pending: PendingCall;
    /** When it must return, in seconds. */
    end: number;
  }> = [];
  #flow: Flow | null = null;
  #flows = 0;
  /** A listen or connect since the current flow began: the next SYN begins another. */
  #listening = false;
  #connecting = false;
  readonly #earlier: Flow[] = [];
  #base = 0;
  /** Calls that wrote to the current flow. */
  #writes: PendingCall[] = [];

  constructor(script: Script, target: Target, options: RunOptions) {
    this.#script = script;
    this.#target = target;
    this.#remoteIsn = options.remoteIsn ?? 0x10000000;
    this.#tick = Number(script.options.get('tcp_ts_tick_usecs') ?? 0);
    const micros = script.options.get('tolerance_usecs');
    this.#tolerance = (micros === undefined ? TOLERANCE : Number(micros) / 1e6) + target.slack;
  }

  async all(): Promise<RunResult> {
    let failure: RunResult['failure'] = null;
    let current: ScriptEvent | null = null;
    try {
      if (this.#script.init !== null) await this.#command(this.#script.init);
      this.#target.begin();
      for (const event of this.#script.events) {
        current = event;
        await this.#event(event);
      }
      for (const { event, call, pending, end } of this.#pending) {
        current = event;
        await this.#until(end + this.#tolerance, () => pending.outcome !== null);
        this.#finishCall(call, pending, end);
      }
    } catch (error) {
      const mismatch = error instanceof Mismatch;
      failure = {
        line: current?.line ?? 1,
        event: current?.text ?? this.#script.init ?? '',
        expected: mismatch ? error.expected : 'that this event can run',
        seen: mismatch ? error.seen : String(error instanceof Error ? error.message : error),
      };
    } finally {
      await this.#target.close();
    }
    return {
      file: this.#script.file,
      passed: failure === null,
      failure,
      remarks: this.#remarks,
      log: this.#log,
    };
  }

  async #event(event: ScriptEvent): Promise<void> {
    const at = this.#scheduled(event.time);
    if (event.kind === 'packet' && event.packet.direction === 'out') {
      await this.#expectPacket(event, at);
      return;
    }
    await this.#until(at.from);
    const before = this.#base;
    this.#base = at.from;
    switch (event.kind) {
      case 'packet':
        this.#inject(event);
        break;
      case 'call':
        await this.#call(event, event.call, before);
        break;
      case 'command':
        await this.#command(event.command);
        break;
      case 'code':
        this.#code(event.code);
        break;
    }
  }

  /** Absolute bounds in seconds of when an event may happen. */
  #scheduled(time: ScriptTime): { from: number; to: number } {
    switch (time.kind) {
      case 'absolute':
        return { from: time.at, to: time.at };
      case 'relative':
        return { from: this.#base + time.after, to: this.#base + time.after };
      case 'absolute-range':
        return { from: time.from, to: time.to };
      case 'relative-range':
        return { from: this.#base + time.from, to: this.#base + time.to };
      default:
        return { from: this.#target.now, to: this.#target.now + 3600 };
    }
  }

  async #until(at: number, done: () => boolean = () => false): Promise<void> {
    const target = this.#target;
    await target.run(at, () => {
      this.#packets.push(...target.takePackets());
      return done();
    });
    this.#packets.push(...target.takePackets());
  }

  #inject(event: ScriptEvent & { kind: 'packet' }): void {
    const { body } = event.packet;
    const opens = body.kind === 'tcp' && (body.flags & SYN) !== 0 && (body.flags & ACK) === 0;
    if (this.#flow === null || (opens && this.#listening)) {
      this.#listening = false;
      if (this.#flow !== null) this.#earlier.push(this.#flow);
      const { localIp, remoteIp, bindPort } = this.#target;
      this.#flow = new Flow(
        { ip: localIp, port: bindPort },
        { ip: remoteIp, port: REMOTE_PORT + this.#flows++ },
        this.#remoteIsn,
      );
      this.#writes = [];
    }
    const at = this.#target.now.toFixed(6);
    this.#log.push(
      body.kind === 'tcp'
        ? `${at} < ${formatTcp({ ...body, ecn: ECN_BITS[event.packet.ecn ?? 'noecn'] })}`
        : `${at} < icmp ${body.type} ${body.code ?? ''}`,
    );
    this.#target.inject(this.#flow.inbound(event.packet));
  }

  async #expectPacket(
    event: ScriptEvent & { kind: 'packet' },
    at: { from: number; to: number },
  ): Promise<void> {
    const { body } = event.packet;
    if (body.kind !== 'tcp') throw new Error('a script can only expect TCP packets');
    const wanted = { ...body, ecn: ECN_BITS[event.packet.ecn ?? 'noecn'] };
    const expected = `${formatTcp(wanted)} at ${span(at)} s`;
    const latest = at.to + this.#tolerance;
    const first = await this.#nextPacket(latest, body, expected);
    let { seen } = first;
    // Segmentation offload is a matter of taste: a range may leave in several segments.
    while (seen.payload < body.payload && seen.seq === body.seq && first.at <= latest) {
      const more = await this.#nextPacket(
        latest,
        body,
        `${expected}, seen so far ${formatTcp(seen)}`,
      );
      if (more.seen.seq !== seen.end || more.seen.ack !== seen.ack) {
        throw new Mismatch(expected, `${formatTcp(seen)} and then ${formatTcp(more.seen)}`);
      }
      seen = {
        ...more.seen,
        seq: seen.seq,
        payload: more.seen.end - seen.seq,
        options: seen.options,
        // PSH may stand on any segment of the range.
        flags: more.seen.flags | (seen.flags & ~PSH),
      };
    }
    this.#comparePacket(event.packet.ecn, body, seen, expected);
    if (first.at < at.from - this.#tolerance || first.at > latest) {
      throw new Mismatch(expected, `the packet at ${first.at.toFixed(6)} s`);
    }
    // What follows counts from the script's time where it gives one, else from what really happened.
    this.#base = at.from === at.to ? at.from : first.at;
  }

  async #nextPacket(
    until: number,
    wanted: TcpPacket,
    expected: string,
  ): Promise<{ at: number; seen: SeenTcp }> {
    if (this.#packets.length === 0) await this.#until(until, () => this.#packets.length > 0);
    const captured = this.#packets.shift();
    if (captured === undefined) throw new Mismatch(expected, 'no packet');
    const wire = parseTcp(captured.bytes);
    if (wire === null) throw new Mismatch(expected, 'a packet that is not TCP');
    const earlier = this.#earlier.find((flow) => flow.owns(wire));
    if (earlier !== undefined) {
      // A script follows one connection at a time: what one before it still says is shown, not judged.
      this.#log.push(
        `${captured.at.toFixed(6)} > (before) ${formatTcp(earlier.outbound(wire, null))}`,
      );
      return this.#nextPacket(until, wanted, expected);
    }
    const flow = this.#flowOf(wire);
    const seen = flow.outbound(wire, wanted);
    this.#log.push(`${captured.at.toFixed(6)} > ${formatTcp(seen)}`);
    return { at: captured.at, seen };
  }

  #flowOf(wire: WireTcp): Flow {
    if (this.#connecting && (wire.flags & (SYN | ACK)) === SYN) {
      this.#connecting = false;
      if (this.#flow !== null) this.#earlier.push(this.#flow);
      this.#flow = new Flow(wire.source, wire.destination, this.#remoteIsn);
      this.#writes = [];
    }
    if (this.#flow === null || !this.#flow.owns(wire)) {
      throw new Error(
        `a packet of another connection: port ${wire.source.port} to ${wire.destination.port}`,
      );
    }
    return this.#flow;
  }

  #comparePacket(ecn: string | null, wanted: TcpPacket, seen: SeenTcp, expected: string): void {
    // A sender must push the last of what it was given, and may push elsewhere (RFC 9293 §3.9.1.2).
    const pushed = (wanted.flags & PSH) !== 0 && wanted.end > this.#written();
    const free = pushed ? 0 : PSH;
    const same =
      (wanted.flags | free) === (seen.flags | free) &&
      wanted.seq === seen.seq &&
      wanted.end === seen.end &&
      wanted.ack === seen.ack &&
      (wanted.window === null || wanted.window === seen.window) &&
      (wanted.urgent === null || wanted.urgent === seen.urgent) &&
      sameEcn(ecn, seen.ecn) &&
      this.#sameOptions(wanted, seen);
    if (!same) throw new Mismatch(expected, formatTcp(seen));
  }

  /** Bytes given to the current flow; infinite while a call still gives. */
  #written(): number {
    return this.#writes.reduce(
      (sum, { outcome }) => sum + Math.max(0, outcome?.result ?? Number.POSITIVE_INFINITY),
      0,
    );
  }

  #sameOptions(wanted: TcpPacket, seen: SeenTcp): boolean {
    if (wanted.options === null) return true;
    const options = seen.options ?? [];
    if (wanted.options.length !== options.length) return false;
    const slack = Math.ceil((this.#tolerance * 1e6) / this.#tick);
    return wanted.options.every((option, i) => {
      const other = options[i];
      if (option.kind === 'timestamp' && other.kind === 'timestamp') {
        // A script's values are names for instants unless it says how long a tick is.
        const free = option.value === null || this.#tick === 0;
        const value = free || Math.abs((option.value ?? 0) - (other.value ?? 0)) <= slack;
        return value && (option.echo === null || option.echo === other.echo);
      }
      return JSON.stringify(option) === JSON.stringify(other);
    });
  }

  async #call(event: ScriptEvent, call: ScriptCall, before: number): Promise<void> {
    if (call.name === 'listen') this.#listening = true;
    if (call.name === 'connect') this.#connecting = true;
    const pending = this.#target.call(call);
    if (WRITES.has(call.name)) this.#writes.push(pending);
    this.#packets.push(...this.#target.takePackets());
    if (call.end !== null) {
      // An end belongs to the same clock as the call's own time; `...+` counts from the call.
      const relative = event.time.kind === 'relative' || event.time.kind === 'relative-range';
      const from = call.end.relative ? this.#base : relative ? before : 0;
      const end = from + call.end.at;
      this.#pending.push({ event, call, pending, end });
      return;
    }
    if (pending.outcome === null) {
      const until = this.#target.now + this.#tolerance;
      await this.#until(until, () => pending.outcome !== null);
    }
    this.#finishCall(call, pending, null);
  }

  #finishCall(call: ScriptCall, pending: PendingCall, end: number | null): void {
    const { outcome } = pending;
    const expected = `${call.name} to give ${describe(call.result)} ${call.errno ?? ''}`.trim();
    if (outcome === null) throw new Mismatch(expected, 'that it still blocks');
    const wanted = numberOf(call.result);
    if (wanted !== null && wanted !== outcome.result) {
      throw new Mismatch(expected, `${outcome.result} ${outcome.errno ?? ''}`.trim());
    }
    if (call.errno !== null && call.errno !== outcome.errno) {
      throw new Mismatch(expected, `${outcome.result} ${outcome.errno ?? ''}`.trim());
    }
    compareOut(call, outcome);
    if (end !== null && Math.abs(outcome.at - end) > this.#tolerance) {
      throw new Mismatch(
        `${expected} at ${end} s`,
        `that it returned at ${outcome.at.toFixed(6)} s`,
      );
    }
  }

  async #command(command: string): Promise<void> {
    const remark = await this.#target.command(command);
    if (remark !== null) this.#remarks.push(remark);
  }

  #code(code: string): void {
    const scope = new Map<string, number | string | boolean>([
      ...INFO_CONSTANTS,
      ...this.#target.tcpInfo(),
    ]);
    const { failure, printed } = runCode(code, scope);
    this.#remarks.push(...printed);
    if (failure !== null) throw new Mismatch('the assertion to hold', failure);
  }
}

function sameEcn(wanted: string | null, seen: number): boolean {
  if (wanted === null) return true;
  return wanted === 'ect01' ? seen === 1 || seen === 2 : ECN_BITS[wanted as 'ce'] === seen;
}

/** Values that a call writes: `getsockopt(3, …, [0], [4])`, `ioctl(3, SIOCINQ, [1000])`, `poll([{…, revents=…}], …)`. */
function compareOut(call: ScriptCall, outcome: CallOutcome): void {
  for (const [position, value] of outcome.out) {
    const arg = call.args[position];
    if (typeof value === 'number') {
      const wanted = numberOf(arg);
      if (wanted !== null && wanted !== value) {
        throw new Mismatch(`${call.name} to write ${wanted}`, String(value));
      }
      continue;
    }
    const expected = writtenFields(arg);
    value.forEach((seen, i) => {
      for (const [name, number] of seen) {
        const wanted = numberOf(expected[i]?.get(name));
        if (wanted !== null && wanted !== number) {
          throw new Mismatch(`${call.name} to write ${name}=${wanted}`, String(number));
        }
      }
    });
  }
}

/** The fields that a call is to write: those of each entry of `poll`, or of each control message of `recvmsg`. */
function writtenFields(arg: Value | undefined): Array<Map<string, Value>> {
  const list = arg?.kind === 'fields' ? fieldOf(arg, 'msg_control') : arg;
  const items = list?.kind === 'list' ? list.items : [];
  return items.flatMap((item) => (item.kind === 'fields' ? [item.fields] : []));
}

function describe(value: Value): string {
  return value.kind === 'ellipsis' ? 'anything' : String(numberOf(value));
}

function span({ from, to }: { from: number; to: number }): string {
  return from === to ? from.toFixed(6) : `${from.toFixed(6)} to ${to.toFixed(6)}`;
}
