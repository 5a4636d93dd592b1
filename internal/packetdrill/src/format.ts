/** Packets in the script's own notation, for reports. */

import type { TcpOption, TcpPacket } from './ast.ts';
import { FLAG_LETTERS } from './parser.ts';

const ECN_NAMES = ['', '[ect1] ', '[ect0] ', '[ce] '];

export function formatTcp(packet: TcpPacket & { ecn?: number }): string {
  let flags = '';
  for (const [letter, bit] of Object.entries(FLAG_LETTERS)) {
    if ((packet.flags & bit) !== 0) flags += letter;
  }
  let text = `${ECN_NAMES[packet.ecn ?? 0]}${flags || '-'} ${packet.seq}:${packet.end}(${packet.payload})`;
  if (packet.ack !== null) text += ` ack ${packet.ack}`;
  if (packet.window !== null) text += ` win ${packet.window}`;
  if (packet.urgent) text += ` urg ${packet.urgent}`;
  if (packet.options === null) return `${text} <...>`;
  return packet.options.length === 0
    ? text
    : `${text} <${packet.options.map(formatOption).join(',')}>`;
}

function formatOption(option: TcpOption): string {
  switch (option.kind) {
    case 'mss':
    case 'wscale':
      return `${option.kind} ${option.value}`;
    case 'timestamp':
      return `TS val ${option.value ?? '...'} ecr ${option.echo ?? '...'}`;
    case 'sack':
      return `sack ${option.blocks.map(({ left, right }) => `${left}:${right}`).join(' ')}`;
    default:
      return option.kind;
  }
}
