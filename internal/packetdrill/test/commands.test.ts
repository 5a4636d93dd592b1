import { describe, expect, it } from 'vitest';
import { readCommand } from '../src/commands.ts';
import { applySysctls } from '../src/sysctl.ts';

const set = (name: string, value: string) => ({ kind: 'set', name, value });

describe('readCommand', () => {
  it('reads settings in both notations, several on a line', () => {
    expect(
      readCommand(
        'sysctl -q net.ipv4.tcp_sack=0 net/ipv4/tcp_ecn=1; sysctl -w net.ipv4.tcp_frto = 0',
      ),
    ).toEqual([
      set('net.ipv4.tcp_sack', '0'),
      set('net.ipv4.tcp_ecn', '1'),
      set('net.ipv4.tcp_frto', '0'),
    ]);
  });

  it('works out quoted values and products', () => {
    expect(readCommand('sysctl -q net.ipv4.tcp_rmem="4096 1000 $((3*1024*2))"')).toEqual([
      set('net.ipv4.tcp_rmem', '4096 1000 6144'),
    ]);
  });

  it('knows the helpers beside scripts by what they do, comments and continued lines too', () => {
    const steps = readCommand(`../common/defaults.sh  # as ever
      ./set_sysctls.py /proc/sys/net/ipv4/tcp_timestamps=0 \\
         /proc/sys/net/ipv4/tcp_min_tso_segs=10
      /tmp/sysctl_restore_\${PPID}.sh`);
    expect(steps).toContainEqual(set('net.ipv4.tcp_congestion_control', 'cubic'));
    expect(steps.slice(-2)).toEqual([
      set('net.ipv4.tcp_timestamps', '0'),
      set('net.ipv4.tcp_min_tso_segs', '10'),
    ]);
  });

  it('keeps a line together that is anything else', () => {
    const line = 'ip link show; sysctl -q net.ipv4.tcp_sack=0';
    expect(readCommand(line)).toEqual([{ kind: 'run', line }]);
  });

  it('says what the engine passed over', () => {
    const options = {};
    expect(applySysctls('sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_abc=2\nid', options, {})).toBe(
      'passed over: tcp_abc; id',
    );
    expect(options).toEqual({ sack: false });
  });
});
