/** Options with every default filled in, checked once where they enter. */

import { PktkitError } from '@pktkit/core';
import type { CongestionFactory } from './congestion/congestion.ts';
import { Cubic } from './congestion/cubic.ts';
import { HighSpeed } from './congestion/highspeed.ts';
import { NewReno } from './congestion/newreno.ts';
import type { KeepAliveOptions, TcpOptions } from './types.ts';

/** Settings of a connection. Shared by all that were opened with the same options: never written to. */
export interface TcpConfig {
  noDelay: boolean;
  sendBuffer: number;
  receiveBuffer: number;
  initialReceiveBuffer: number;
  congestion: CongestionFactory;
  mss: number;
  timestamps: boolean;
  sack: boolean;
  windowScale: boolean;
  /** The shift that `receiveBuffer` needs; 0 without window scaling. */
  receiveScale: number;
  rack: boolean;
  tailLossProbe: boolean;
  frto: boolean;
  ecn: boolean | 'passive';
  hystart: boolean;
  pacing: boolean;
  initialCwnd: number;
  idleRestart: boolean;
  delayedAck: number;
  quickAcks: number;
  keepAlive: Required<KeepAliveConfig> | null;
  userTimeout: number;
  minRto: number;
  maxRto: number;
  initialRto: number;
  synRetries: number;
  synAckRetries: number;
  retries: number;
  orphanRetries: number;
  finTimeout: number;
  mtuProbing: boolean;
  ttl: number;
  dscp: number;
}

export interface KeepAliveConfig {
  idle: number;
  interval: number;
  count: number;
}

/** RFC 7323 §2.3: a window is less than 2^30. */
const MAX_BUFFER = 2 ** 30 - 1;

const DEFAULTS: TcpConfig = {
  noDelay: false,
  sendBuffer: 4 << 20,
  receiveBuffer: 4 << 20,
  initialReceiveBuffer: 128 << 10,
  congestion: (config) => new Cubic(config),
  mss: 65535,
  timestamps: true,
  sack: true,
  windowScale: true,
  receiveScale: 7,
  rack: true,
  tailLossProbe: true,
  frto: true,
  ecn: 'passive',
  hystart: true,
  pacing: false,
  initialCwnd: 10,
  idleRestart: true,
  delayedAck: 40,
  quickAcks: 16,
  keepAlive: null,
  userTimeout: 0,
  minRto: 200,
  maxRto: 120_000,
  initialRto: 1000,
  synRetries: 6,
  synAckRetries: 5,
  retries: 15,
  orphanRetries: 8,
  finTimeout: 60_000,
  mtuProbing: true,
  ttl: 64,
  dscp: 0,
};

export function resolveOptions(
  options: TcpOptions | undefined,
  base: TcpConfig = DEFAULTS,
): TcpConfig {
  if (options === undefined) return base;
  const config: TcpConfig = { ...base };
  const bools = [
    'noDelay',
    'timestamps',
    'sack',
    'windowScale',
    'rack',
    'tailLossProbe',
    'frto',
    'hystart',
    'pacing',
    'idleRestart',
    'mtuProbing',
  ] as const;
  for (const name of bools) config[name] = options[name] ?? base[name];
  for (const [name, min, max] of NUMBERS) {
    const value = options[name];
    if (value === undefined) continue;
    if (!(value >= min && value <= max)) {
      throw invalid(`${name} is ${min} to ${max}, got ${value}`);
    }
    config[name] = value;
  }
  config.ecn = options.ecn ?? base.ecn;
  if (options.keepAlive !== undefined) config.keepAlive = resolveKeepAlive(options.keepAlive);
  if (options.congestionControl !== undefined) {
    config.congestion = congestionFactory(options.congestionControl);
  }
  if (config.minRto > config.maxRto) {
    throw invalid(`minRto (${config.minRto}) is above maxRto (${config.maxRto})`);
  }
  config.initialReceiveBuffer = Math.min(config.initialReceiveBuffer, config.receiveBuffer);
  config.receiveScale = config.windowScale ? scaleFor(config.receiveBuffer) : 0;
  return config;
}

export function resolveKeepAlive(keepAlive: boolean | KeepAliveOptions): KeepAliveConfig | null {
  if (keepAlive === false) return null;
  const given = keepAlive === true ? {} : keepAlive;
  const config = {
    idle: given.idle ?? 7_200_000,
    interval: given.interval ?? 75_000,
    count: given.count ?? 9,
  };
  if (!(config.idle > 0 && config.interval > 0 && config.count >= 1)) {
    throw invalid('keepAlive: idle and interval are above 0, count is at least 1');
  }
  return config;
}

type NumberOption = {
  [K in keyof TcpConfig]: TcpConfig[K] extends number ? K : never;
}[keyof TcpConfig];

const DAY = 86_400_000;

const NUMBERS: ReadonlyArray<readonly [NumberOption & keyof TcpOptions, number, number]> = [
  ['sendBuffer', 1, MAX_BUFFER],
  ['receiveBuffer', 1, MAX_BUFFER],
  ['initialReceiveBuffer', 1, MAX_BUFFER],
  ['mss', 64, 65535],
  ['initialCwnd', 1, 65535],
  ['delayedAck', 0, 500],
  ['quickAcks', 0, 65535],
  ['userTimeout', 0, 365 * DAY],
  ['minRto', 1, DAY],
  ['maxRto', 1, DAY],
  ['initialRto', 1, DAY],
  ['synRetries', 0, 127],
  ['synAckRetries', 0, 127],
  ['retries', 0, 127],
  ['orphanRetries', 0, 127],
  ['finTimeout', 0, DAY],
  ['ttl', 1, 255],
  ['dscp', 0, 63],
];

function congestionFactory(name: string | CongestionFactory): CongestionFactory {
  if (typeof name === 'function') return name;
  switch (name) {
    case 'cubic':
      return (config) => new Cubic(config);
    case 'newreno':
      return (config) => new NewReno(config);
    case 'highspeed':
      return (config) => new HighSpeed(config);
    default:
      throw invalid(
        `congestionControl is 'cubic', 'newreno', 'highspeed' or a factory, got '${name}'`,
      );
  }
}

function invalid(message: string): PktkitError {
  return new PktkitError('PKT_INVALID_CONFIG', message);
}

/** The shift that makes `size` expressible in 16 bits. */
export function scaleFor(size: number): number {
  let scale = 0;
  while (scale < 14 && 65535 * 2 ** scale < size) scale++;
  return scale;
}
