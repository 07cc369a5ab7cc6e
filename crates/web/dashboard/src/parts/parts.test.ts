import { render, screen } from '@testing-library/svelte';
import { expect, it } from 'vitest';
import Id from './Id.svelte';
import Json from './Json.svelte';
import Sparkline from './Sparkline.svelte';
import State from './State.svelte';

const ATTACK = '<img src=x onerror="alert(1)">';

it('a state is a word and a shape', () => {
  render(State, { state: 'parked' });
  expect(screen.getByText(/dead letter/).textContent).toContain('■');
});

it('a state that nobody knows yet is shown as it is called', () => {
  render(State, { state: 'teleported' });
  expect(screen.getByText(/teleported/).textContent).toContain('○');
});

it('what comes from outside is text', () => {
  const { container } = render(Json, { value: { note: ATTACK } });
  expect(container.querySelector('img')).toBeNull();
  expect(container.querySelector('pre')?.textContent).toContain('onerror');
  expect(render(Id, { id: ATTACK }).container.querySelector('img')).toBeNull();
});

it('a long body is cut until it is asked for', async () => {
  const { container } = render(Json, { value: 'x'.repeat(50_000) });
  expect(container.querySelector('pre')?.textContent).toHaveLength(20_000);
  screen.getByText(/Show all/).click();
  await new Promise((resolve) => setTimeout(resolve));
  expect(container.querySelector('pre')?.textContent).toHaveLength(50_002);
});

it('a sparkline says its figures', () => {
  render(Sparkline, { values: [0, 40, 12], label: 'Depth' });
  expect(screen.getByRole('img').getAttribute('aria-label')).toBe('Depth: up to 40, now 12');
});
