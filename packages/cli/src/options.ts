/** Reads the command line strictly: what is not understood is an error that names the option. */

import { parseArgs } from 'node:util';
import { IpAddr, Prefix } from '@pktkit/core';
import type { ArgsDef } from 'citty';

/** A mistake of the person at the keyboard: shown without a stack, and the command ends with exit code 2. */
export class UsageError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'UsageError';
  }
}

export interface Values {
  /** The last value given, or undefined. */
  text(name: string): string | undefined;
  /** Every value given: options may be repeated, and values separated by commas. */
  list(name: string): string[];
  flag(name: string): boolean;
}

/** Checks `rawArgs` against a command's definition, which citty itself does not: it passes over what it does not know. */
export function readOptions(definition: ArgsDef, rawArgs: string[]): Values {
  const options: Record<string, { type: 'string' | 'boolean'; multiple: boolean }> = {};
  for (const [name, { type }] of Object.entries(definition)) {
    options[name] = { type: type === 'boolean' ? 'boolean' : 'string', multiple: true };
  }
  let values: Record<string, unknown>;
  try {
    values = parseArgs({ args: rawArgs, options, allowNegative: true, strict: true }).values;
  } catch (error) {
    const { message } = error as Error;
    throw new UsageError(`${message.split(/\. |\n/)[0]}; --help lists the options`, {
      cause: error,
    });
  }
  const all = (name: string) => (values[name] ?? []) as (string | boolean)[];
  return {
    text: (name) => all(name).at(-1) as string | undefined,
    list: (name) => all(name).flatMap((value) => String(value).split(',')),
    flag: (name) => (all(name).at(-1) ?? definition[name]?.default ?? false) as boolean,
  };
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
};

/** Bytes from `64MiB`, `10MB`, `1500`. */
export function parseSize(option: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?i?)b?$/i.exec(text.trim());
  const unit = UNITS[match?.[2].toLowerCase() ?? '?'];
  const size = match === null || unit === undefined ? Number.NaN : Number(match[1]) * unit;
  if (!(size >= 1) || !Number.isSafeInteger(Math.round(size))) {
    throw new UsageError(`--${option} takes a size such as 64MiB, got ${JSON.stringify(text)}`);
  }
  return Math.round(size);
}

export function parseInteger(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    throw new UsageError(`--${option} takes a number from ${min} to ${max}, got ${text}`);
  }
  return value;
}

/** A network with the gateway's address in it: `10.0.2.2/24`, or `10.0.2.0/24` for its first address. */
export function parseSubnet(option: string, text: string): Prefix {
  let prefix: Prefix;
  try {
    // Without a length it would be a network of one address.
    prefix = Prefix.parse(text.includes('/') ? text : `${text}/`);
  } catch (error) {
    const want = `--${option} takes a network such as 10.0.2.0/24`;
    throw new UsageError(`${want}, got ${JSON.stringify(text)}`, { cause: error });
  }
  const most = prefix.family === 4 ? 29 : 64;
  const least = prefix.family === 4 ? 8 : 64;
  if (prefix.bits > most || prefix.bits < least) {
    const range = least === most ? `/${most}` : `/${least} to /${most}`;
    throw new UsageError(
      `--${option}: a network of IPv${prefix.family} is ${range} here, got ${text}`,
    );
  }
  const gateway = prefix.network.addr.equals(prefix.addr) ? prefix.addr.plus(1) : prefix.addr;
  return Prefix.of(gateway, prefix.bits);
}

export function parseAddress(option: string, text: string): IpAddr {
  const address = IpAddr.tryParse(text);
  if (address !== null) return address;
  throw new UsageError(`--${option} takes an IP address, got ${JSON.stringify(text)}`);
}

export interface Forward {
  protocol: 'tcp' | 'udp';
  /** Where the host listens. */
  host: IpAddr;
  hostPort: number;
  guest: IpAddr;
  guestPort: number;
}

/** `[tcp:|udp:][HOST:]PORT:GUEST:PORT`; IPv6 addresses in brackets. HOST is 127.0.0.1 unless told. */
export function parseForward(option: string, text: string): Forward {
  const address = String.raw`(?:\[[0-9a-fA-F:.]+\]|\d+\.\d+\.\d+\.\d+)`;
  const shape = new RegExp(String.raw`^(?:(tcp|udp):)?(?:(${address}):)?(\d+):(${address}):(\d+)$`);
  const match = shape.exec(text.trim());
  if (match === null) {
    throw new UsageError(
      `--${option} takes [tcp:|udp:][HOST:]PORT:GUEST:PORT, such as tcp:8080:10.0.2.15:80, got ${JSON.stringify(text)}`,
    );
  }
  const [, protocol = 'tcp', host = '127.0.0.1', hostPort, guest, guestPort] = match;
  const bare = (value: string) => parseAddress(option, value.replace(/^\[|\]$/g, ''));
  return {
    protocol: protocol as 'tcp' | 'udp',
    host: bare(host),
    hostPort: parseInteger(option, hostPort, 1, 65535),
    guest: bare(guest),
    guestPort: parseInteger(option, guestPort, 1, 65535),
  };
}
