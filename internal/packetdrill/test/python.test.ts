import { runCode } from '@pktkit/packetdrill';
import { describe, expect, it } from 'vitest';

const scope = () =>
  new Map<string, number>([
    ['tcpi_snd_cwnd', 10],
    ['tcpi_rto', 204000],
  ]);

describe('runCode', () => {
  it.each([
    'assert tcpi_snd_cwnd == 10',
    'assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd',
    'assert 200000 <= tcpi_rto < 210000',
    'assert (tcpi_rto > 1000000 or\n tcpi_snd_cwnd != 3) and not 0',
    'x = tcpi_snd_cwnd * 2 + 1; assert x // 2 == 10 and x % 2 == 1',
    'assert abs(-3) == 3 and min(4, 2) == 2 and max(1, 7) == 7',
    'assert tcpi_rto == 204000, \\\n  "one line"',
    '# only a comment',
  ])('holds: %s', (code) => {
    expect(runCode(code, scope())).toEqual({ failure: null, printed: [] });
  });

  it('says what failed and what the values were', () => {
    const { failure } = runCode('assert tcpi_snd_cwnd == 11, tcpi_snd_cwnd', scope());
    expect(failure).toContain('tcpi_snd_cwnd = 10');
    expect(runCode('assert 1 < 5 < 3', scope()).failure).not.toBeNull();
  });

  it('fills in what a message names', () => {
    const { failure } = runCode(
      "assert 1 == 2, 'cwnd %d of %s' % (tcpi_snd_cwnd, tcpi_rto)",
      scope(),
    );
    expect(failure).toContain('tcpi_snd_cwnd = 10');
    expect(runCode("print('rto %d' % tcpi_rto)", scope()).printed).toEqual(['rto 204000']);
    expect(() => runCode("print('%d %d' % (1))", scope())).toThrow();
  });

  it('prints', () => {
    expect(runCode('print(tcpi_rto)', scope()).printed).toEqual(['204000']);
  });

  it.each(['assert nothing == 1', 'import os', 'assert (1', 'assert 1 @ 2'])(
    'refuses %s',
    (code) => {
      expect(() => runCode(code, scope())).toThrow();
    },
  );
});
