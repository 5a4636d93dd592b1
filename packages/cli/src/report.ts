/** What a command says: lines for people, or one JSON object a line for machines. */

export interface Report {
  /** Something has happened. `text` is for people; `event` with `fields` for machines. */
  event(event: string, text: string, fields?: Readonly<Record<string, unknown>>): void;
  /** How things are just now: on a terminal the line is rewritten in place. */
  status(text: string, fields?: Readonly<Record<string, unknown>>): void;
  /** Moves behind a status line. */
  end(): void;
}

export interface ReportOptions {
  json: boolean;
  out?: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
}

export function makeReport(options: ReportOptions): Report {
  const out = options.out ?? process.stdout;
  return options.json ? jsonReport(out) : textReport(out);
}

function jsonReport(out: NodeJS.WritableStream): Report {
  const line = (event: string, fields: Readonly<Record<string, unknown>> = {}) => {
    out.write(`${JSON.stringify({ time: new Date().toISOString(), event, ...fields })}\n`);
  };
  return {
    event: (event, _text, fields) => line(event, fields),
    status: (_text, fields) => line('status', fields),
    end: () => {},
  };
}

/** How often the state is written where it cannot be rewritten, in milliseconds. */
const PLAIN_STATUS_EVERY = 10_000;

function textReport(out: NodeJS.WritableStream & { isTTY?: boolean; columns?: number }): Report {
  let onStatusLine = false;
  let lastStatus = Number.NEGATIVE_INFINITY;
  const end = () => {
    if (onStatusLine) out.write('\n');
    onStatusLine = false;
  };
  return {
    event(_event, text) {
      if (onStatusLine) out.write('\r\u001b[2K');
      onStatusLine = false;
      out.write(`${text}\n`);
    },
    status(text) {
      if (out.isTTY) {
        // A longer line would wrap and could not be rewritten.
        out.write(`\r\u001b[2K${text.slice(0, (out.columns ?? 80) - 1)}`);
        onStatusLine = true;
        return;
      }
      const now = performance.now();
      if (now - lastStatus < PLAIN_STATUS_EVERY) return;
      lastStatus = now;
      out.write(`${text}\n`);
    },
    end,
  };
}

/** `label` and text in two columns. */
export function row(label: string, text: string): string {
  return `  ${label.padEnd(10)} ${text}`;
}

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < SIZES.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 100 || Number.isInteger(value) ? 0 : 1;
  return `${value.toFixed(digits)} ${SIZES[unit]}`;
}

/** Bytes a second, in the unit that disks and downloads are told in: 10^6 bytes. */
export function formatRate(bytes: number, milliseconds: number): string {
  return `${(bytes / 1e3 / Math.max(milliseconds, 0.001)).toFixed(1)} MB/s`;
}
