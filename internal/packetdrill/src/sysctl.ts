/** The kernel settings that scripts change, as options of this project's engine. */

import type { TcpOptions, TcpStackOptions } from '@pktkit/vtcp';
import { readCommand } from './commands.ts';

type Setting = (value: string, options: TcpOptions, stack: Partial<TcpStackOptions>) => void;

const onOff =
  (set: (options: TcpOptions, on: boolean) => void): Setting =>
  (value, options) =>
    set(options, value !== '0');

const number =
  (set: (options: TcpOptions, value: number) => void): Setting =>
  (value, options) =>
    set(options, Number(value));

const SETTINGS: Readonly<Record<string, Setting>> = {
  tcp_sack: onOff((options, on) => {
    options.sack = on;
  }),
  tcp_timestamps: onOff((options, on) => {
    options.timestamps = on;
  }),
  tcp_window_scaling: onOff((options, on) => {
    options.windowScale = on;
  }),
  tcp_ecn: (value, options) => {
    options.ecn = value === '1' ? true : value === '2' ? 'passive' : false;
  },
  tcp_congestion_control: (value, options) => {
    options.congestionControl = congestionControl(value);
  },
  tcp_recovery: (value, options) => {
    options.rack = (Number(value) & 1) !== 0;
  },
  tcp_early_retrans: (value, options) => {
    options.tailLossProbe = Number(value) >= 3;
  },
  tcp_frto: onOff((options, on) => {
    options.frto = on;
  }),
  tcp_slow_start_after_idle: onOff((options, on) => {
    options.idleRestart = on;
  }),
  tcp_mtu_probing: onOff((options, on) => {
    options.mtuProbing = on;
  }),
  tcp_syn_retries: number((options, value) => {
    options.synRetries = value;
  }),
  tcp_synack_retries: number((options, value) => {
    options.synAckRetries = value;
  }),
  tcp_rto_max_ms: number((options, value) => {
    options.maxRto = value;
  }),
  tcp_rto_min_us: number((options, value) => {
    options.minRto = value / 1000;
  }),
  tcp_retries2: number((options, value) => {
    options.retries = value;
  }),
  tcp_orphan_retries: number((options, value) => {
    options.orphanRetries = value;
  }),
  tcp_fin_timeout: number((options, value) => {
    options.finTimeout = value * 1000;
  }),
  tcp_rmem: (value, options) => {
    const [, initial, max] = value.trim().split(/\s+/).map(Number);
    options.initialReceiveBuffer = initial;
    options.receiveBuffer = max;
  },
  tcp_wmem: (value, options) => {
    options.sendBuffer = Number(value.trim().split(/\s+/)[2]);
  },
  tcp_syncookies: (value, _options, stack) => {
    stack.synCookies = value === '2' ? 'always' : value === '1';
  },
};

/** The kernel's name of an algorithm as ours. */
export function congestionControl(name: string): 'cubic' | 'newreno' | 'highspeed' {
  if (name === 'reno') return 'newreno';
  if (name === 'cubic' || name === 'highspeed') return name;
  throw new Error(`no congestion control is called ${name} here (reno, cubic, highspeed)`);
}

/** Settings that say how a kernel packs or spreads what it sends, and what an engine without these can leave alone. */
const IMMATERIAL =
  /^tcp_(dsack|reordering|tso_win_divisor|min_tso_segs|pacing_[a-z]+_ratio|notsent_lowat)$/;

/**
 * Applies every known setting of a shell command. `line` is asked about each line that is not a setting and says whether it
 * knew what to do. Gives a remark about what was passed over, or null.
 */
export function applySysctls(
  command: string,
  options: TcpOptions,
  stack: Partial<TcpStackOptions>,
  line: (text: string) => boolean = () => false,
): string | null {
  const passedOver: string[] = [];
  for (const step of readCommand(command)) {
    if (step.kind === 'run') {
      if (!line(step.line)) passedOver.push(step.line);
      continue;
    }
    const name = step.name.replace(/^net\.ipv[46]\./, '');
    const setting = SETTINGS[name];
    if (setting !== undefined) setting(step.value, options, stack);
    else if (!IMMATERIAL.test(name)) passedOver.push(name);
  }
  return passedOver.length === 0 ? null : `passed over: ${passedOver.join('; ')}`;
}
