import { render, screen } from '@testing-library/svelte';
import { afterEach, expect, it, vi } from 'vitest';
import { signedIn } from '../../lib/session.svelte';
import Letter from './Letter.svelte';

const AT = '2026-03-01T08:00:00Z';
const FIRST = { number: 1, outcome: 'retry', at: AT };
const SECOND = { number: 2, outcome: 'retry', at: AT };
const LETTER = {
  id: '7.desk',
  adapter: 'desk',
  event_id: 'e',
  source: '/shop',
  type: 't.v1',
  received: AT,
  failed: AT,
};

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it('a redrive that fails again tells its outcome and can be redriven once more', async () => {
  vi.useFakeTimers({ shouldAdvanceTime: true });
  let hasFailed = false;
  const event = { id: 'e', source: '/shop' };
  const answers: [RegExp, () => unknown][] = [
    [/redrive$/, () => ({ id: LETTER.id, attempt: 2 })],
    [/dead-letters/, () => (hasFailed ? letter('gone for good', FIRST, SECOND) : letter('no desk', FIRST))],
    [/events\/e\?source=%2Fshop/, () => ({ offset: 7, event, deliveries: [delivery()] })],
  ];
  function letter(detail: string, ...tries: object[]): object {
    return { ...LETTER, attempts: tries.length, detail, tries, event };
  }
  function delivery(): object {
    const own = { adapter: 'desk', attempts: 1, published: AT };
    return hasFailed
      ? { ...own, state: 'parked', tries: [FIRST, SECOND] }
      : { ...own, state: 'pending', tries: [FIRST] };
  }
  vi.stubGlobal('fetch', (path: string) =>
    Promise.resolve(Response.json(answers.find(([of]) => of.test(path))?.[1]())),
  );
  signedIn.session = { name: 'olga', role: 'operator', scopes: ['dead-letters:write'], expires: AT };

  render(Letter, { id: LETTER.id, changed: () => undefined });
  (await screen.findByRole('button', { name: 'Redrive' })).click();
  (await screen.findByRole('button', { name: 'Redrive it' })).click();
  expect(await screen.findByText('Attempt 1 had failed: no desk')).toBeTruthy();
  expect(screen.getByRole('status').textContent).toContain('Handed over again, as attempt 2.');
  expect(document.activeElement?.textContent).toBe('Follow its journey');
  hasFailed = true;
  await vi.advanceTimersByTimeAsync(2_000);
  expect(await screen.findByText('gone for good')).toBeTruthy();
  expect(screen.getByRole('status').textContent).toContain('■ Attempt 2: failed, it is a dead letter again.');
  expect(screen.getAllByText(/gave up/)).toHaveLength(2);
  expect(screen.getByRole('button', { name: 'Redrive' })).toBeTruthy();
});
