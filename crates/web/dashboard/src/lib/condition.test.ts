import { expect, it } from 'vitest';
import type { Attention } from '../api/types';
import { about, condition } from './condition';
import { SHAPES, level, word } from './states';

const LETTERS: Attention = {
  severity: 'failed',
  subject: 'adapter:desk',
  sentence: 'desk: 1 delivery has failed for good',
  action: { label: 'Open dead letters', href: '/dead-letters?adapter=desk' },
};
const FAILING: Attention = {
  severity: 'degraded',
  subject: 'adapter:desk',
  sentence: 'desk: 3 of 20 attempts failed in the last 5 minutes',
  action: { label: 'Open the adapter', href: '/adapters/desk' },
};

function shown(state: string, matters: Attention[], failed = 0): string {
  const name = condition(state, matters, failed);
  return `${SHAPES[level(name)]} ${word(name)}`;
}

it('what needs attention is told from the state', () => {
  expect(shown('live', [])).toBe('● live');
  expect(shown('live', [LETTERS])).toBe('▲ degraded');
  expect(shown('idle', [LETTERS], 2)).toBe('▲ failing');
  expect(shown('live', [FAILING], 3)).toBe('▲ failing');
  expect(shown('live', [{ ...FAILING, severity: 'failed' }, LETTERS], 30)).toBe('■ failing');
});

it('a state that says what is wrong stays', () => {
  expect(shown('waiting', [LETTERS], 2)).toBe('▲ waiting');
  expect(shown('disabled', [LETTERS], 2)).toBe('■ disabled');
  expect(shown('unknown', [FAILING])).toBe('○ unknown');
});

it('each adapter has its own', () => {
  const other = { ...FAILING, subject: 'adapter:desk2' };
  expect(about('desk', [other, LETTERS, { ...LETTERS, subject: 'queue:desk' }])).toEqual([LETTERS]);
  expect(about('desk', undefined)).toEqual([]);
});
