/**
 * The shell commands of scripts, read rather than run as far as they only change settings: `sysctl` lines, and the helper
 * programs that google/packetdrill and the kernel's self-tests keep beside their scripts, known here by what they do.
 */

export type CommandStep =
  /** A setting under its dotted name, such as `net.ipv4.tcp_sack`. */
  | { kind: 'set'; name: string; value: string }
  /** A line of shell that is anything else. */
  | { kind: 'run'; line: string };

/** What `defaults.sh` of both collections sets: a machine in production, so that scripts need not say it. */
const DEFAULTS: ReadonlyArray<[name: string, value: string]> = [
  ['tcp_rmem', '4096 540000 15728640'],
  ['tcp_wmem', '4096 262144 4194304'],
  ['tcp_timestamps', '1'],
  ['tcp_syn_retries', '5'],
  ['tcp_synack_retries', '5'],
  ['tcp_frto', '2'],
  ['tcp_sack', '1'],
  ['tcp_dsack', '1'],
  ['tcp_reordering', '3'],
  ['tcp_congestion_control', 'cubic'],
  ['tcp_slow_start_after_idle', '0'],
  ['tcp_early_retrans', '4'],
  ['tcp_recovery', '1'],
  ['tcp_tso_win_divisor', '3'],
  ['tcp_ecn', '0'],
  ['tcp_pacing_ss_ratio', '200'],
  ['tcp_pacing_ca_ratio', '120'],
  ['tcp_notsent_lowat', '4294967295'],
  ['tcp_syncookies', '1'],
];

/** `a.b=1`, `a/b = "x y"`, `a.b="$((2*3))"`. */
const ASSIGNMENT = /([a-z0-9_./-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S+))/gi;

/** The steps of a command in their order. */
export function readCommand(command: string): CommandStep[] {
  const lines = command
    .replace(/\\\n/g, ' ')
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter((line) => line !== '');
  return lines.flatMap((line) => {
    const parts = line.split(/;|&&/).map((part) => settingsOf(part.trim()));
    // One part that is not a setting: the line belongs together.
    return parts.every((part) => part !== null)
      ? parts.flat()
      : [{ kind: 'run', line } satisfies CommandStep];
  });
}

function settingsOf(part: string): CommandStep[] | null {
  if (part === '') return [];
  if (/^(\S*\/)?defaults\.sh$/.test(part)) {
    return DEFAULTS.map(([name, value]) => ({ kind: 'set', name: `net.ipv4.${name}`, value }));
  }
  // What was changed goes with the run: there is nothing to restore.
  if (/^\/tmp\/sysctl_restore_\S+$/.test(part)) return [];
  if (!/^sysctl\s|^(\S*\/)?set_sysctls\.py\s/.test(part)) return null;
  return [...part.matchAll(ASSIGNMENT)].map(([, name, ...values]) => ({
    kind: 'set',
    name: name.replace(/^\/proc\/sys\//, '').replaceAll('/', '.'),
    value: calculated(values.find((text) => text !== undefined) ?? ''),
  }));
}

/** Products between `$((` and `))`, as the shell works them out. */
function calculated(text: string): string {
  return text.replace(/\$\(\(([\d\s*]+)\)\)/g, (_, product: string) =>
    String(product.split('*').reduce((value, factor) => value * Number(factor), 1)),
  );
}
