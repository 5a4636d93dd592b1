/**
 * Captures and what Wireshark says about them: no malformed packet, no bad checksum, and what was
 * sent twice. Works on interfaces (dumpcap) and on pcapng files that a tap wrote.
 */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Netns } from './netns.ts';
import { BackgroundProcess, run } from './process.ts';

/** Wireshark leaves most of these off, because captures on the sending host show offloaded, unfinished checksums. */
const CHECK_SUMS = ['ip', 'tcp', 'udp'].flatMap((layer) => ['-o', `${layer}.check_checksum:TRUE`]);

const MALFORMED = '_ws.malformed || _ws.expert.group == "Malformed"';
const BAD_CHECKSUM = ['ip', 'tcp', 'udp', 'icmp', 'icmpv6']
  .map((layer) => `${layer}.checksum.status == "Bad"`)
  .join(' || ');
/**
 * Wireshark's words for 0xFFFF where the sum gives 0. Both are zero in one's complement arithmetic and every receiver
 * takes either (RFC 1624 §3); Linux writes this one for TCP as it must for UDP.
 */
const OTHER_ZERO = '[TCP CHECKSUM 0xFFFF]';
const RETRANSMISSION = 'tcp.analysis.retransmission || tcp.analysis.spurious_retransmission';

export interface CaptureCheck {
  /** Wireshark display filter for what is not looked at. */
  ignore?: string | undefined;
  /** At least so many packets must be there: an empty capture proves nothing. 1 unless told. */
  atLeast?: number | undefined;
  /** Milliseconds that tshark may take; 120,000 unless told. */
  timeout?: number | undefined;
}

export interface CaptureReport {
  packets: number;
  malformed: string[];
  badChecksums: string[];
  retransmissions: string[];
}

/** Reads a capture file with tshark. */
export async function inspectCapture(
  file: string,
  options: CaptureCheck = {},
): Promise<CaptureReport> {
  const { ignore, timeout = 120_000 } = options;
  const wanted = [MALFORMED, BAD_CHECKSUM, RETRANSMISSION].map((filter) => `(${filter})`);
  const except = ignore === undefined ? '' : ` && !(${ignore})`;
  const packets = await countPackets(file, timeout);
  const { stdout } = await run(
    'tshark',
    [
      ...['-n', '-r', file, ...CHECK_SUMS],
      ...['-Y', `(${wanted.join(' || ')})${except}`],
      ...['-T', 'fields', '-E', 'separator=/t'],
      ...['-e', 'frame.number', '-e', '_ws.malformed', '-e', '_ws.expert.group'],
      ...['ip', 'tcp', 'udp', 'icmp', 'icmpv6'].flatMap((l) => ['-e', `${l}.checksum.status`]),
      ...['-e', 'tcp.analysis.retransmission', '-e', 'tcp.analysis.spurious_retransmission'],
      ...['-e', '_ws.col.Info'],
    ],
    { timeout },
  );
  const report: CaptureReport = {
    packets,
    malformed: [],
    badChecksums: [],
    retransmissions: [],
  };
  for (const line of stdout.split('\n')) {
    const fields = line.split('\t');
    if (fields.length < 11) continue;
    const [number, malformed, groups, ...rest] = fields;
    const sums = rest.slice(0, 5).join(',').split(',');
    const [again, spurious, info] = rest.slice(5);
    const text = `packet ${number}: ${info}`;
    // Expert group 0x07000000 is PI_MALFORMED, checksum status 0 is "Bad" (Wireshark's own numbers).
    if (malformed !== '' || groups.split(',').includes('117440512')) report.malformed.push(text);
    const bad = sums.includes('0') || sums.includes('Bad');
    if (bad && !info.includes(OTHER_ZERO)) report.badChecksums.push(text);
    if (again !== '' || spurious !== '') report.retransmissions.push(text);
  }
  return report;
}

/** Throws an AssertionError that shows the first offenders. */
export async function assertCleanCapture(
  file: string,
  options: CaptureCheck = {},
): Promise<CaptureReport> {
  const report = await inspectCapture(file, options);
  const { atLeast = 1 } = options;
  assert(report.packets >= atLeast, `${file} holds ${report.packets} packets, not ${atLeast}`);
  none('malformed packets', report.malformed);
  none('bad checksums', report.badChecksums);
  return report;
}

/** How many packets of a capture match a Wireshark display filter. */
export async function countInCapture(file: string, filter: string): Promise<number> {
  const args = [
    '-n',
    '-r',
    file,
    ...CHECK_SUMS,
    '-Y',
    filter,
    '-T',
    'fields',
    '-e',
    'frame.number',
  ];
  const { stdout } = await run('tshark', args, { timeout: 120_000 });
  return stdout.split('\n').filter((line) => line !== '').length;
}

export interface CaptureOptions {
  /** Where the interface is; the namespace of this process unless told. */
  netns?: Netns | undefined;
  iface: string;
  /** A pcap capture filter. */
  filter?: string | undefined;
  /** Stop writing after so many packets; no limit unless told. */
  limit?: number | undefined;
}

/** A running capture on an interface, into a file of its own that `close` removes. */
export class Capture {
  readonly file: string;
  readonly #folder: string;
  readonly #dumpcap: BackgroundProcess;

  private constructor(folder: string, dumpcap: BackgroundProcess) {
    this.#folder = folder;
    this.file = join(folder, 'capture.pcapng');
    this.#dumpcap = dumpcap;
  }

  /** Settles when packets are being captured. */
  static async start(options: CaptureOptions): Promise<Capture> {
    const folder = mkdtempSync(join(tmpdir(), 'pktkit-capture-'));
    const args = ['-i', options.iface, '-w', join(folder, 'capture.pcapng'), '-B', '32'];
    if (options.filter !== undefined) args.push('-f', options.filter);
    if (options.limit !== undefined) args.push('-c', String(options.limit));
    const dumpcap =
      options.netns === undefined
        ? new BackgroundProcess('dumpcap', args)
        : options.netns.spawn('dumpcap', args);
    // It says so once the capture is open.
    await dumpcap.waitFor(/File: /);
    return new Capture(folder, dumpcap);
  }

  /** Ends the capture; the file is complete then. */
  async stop(): Promise<void> {
    // Packets reach dumpcap in blocks; the kernel hands over an unfilled one after at most 250 ms.
    await new Promise((resolve) => setTimeout(resolve, 300));
    await this.#dumpcap.stop('SIGINT');
  }

  /** Ends the capture and removes its file. */
  async close(): Promise<void> {
    await this.#dumpcap.stop('SIGINT');
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function none(what: string, found: string[]): void {
  const shown = found.slice(0, 10).join('\n');
  assert(found.length === 0, `${found.length} ${what}:\n${shown}`);
}

/**
 * Of the whole file. tshark's own statistics do not serve: `io,stat` has no row when all packets bear the same time, `io,phs`
 * counts packets with comments apart.
 */
async function countPackets(file: string, timeout: number): Promise<number> {
  const { stdout } = await run('capinfos', ['-c', '-M', file], { timeout });
  const count = /^Number of packets:\s+(\d+)$/m.exec(stdout);
  if (count === null) throw new Error(`capinfos counted nothing:\n${stdout}`);
  return Number(count[1]);
}
