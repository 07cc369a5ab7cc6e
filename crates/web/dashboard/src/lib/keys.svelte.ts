// Keys that work everywhere: `/` search, Ctrl-K palette, `?` help, and `g` followed by a page's letter.
import { router } from './router.svelte';

/** A `g` waits so long for its letter, milliseconds. */
const SEQUENCE_MS = 1_000;

export const PAGES = [
  { key: 'o', path: '/', name: 'Overview' },
  { key: 'q', path: '/queues', name: 'Queues' },
  { key: 'e', path: '/events', name: 'Events' },
  { key: 'd', path: '/dead-letters', name: 'Dead letters' },
  { key: 'a', path: '/adapters', name: 'Adapters' },
] as const;

class Keys {
  palette = $state(false);
  help = $state(false);
  search: HTMLInputElement | undefined;
  #goSince = -SEQUENCE_MS;

  keydown(event: KeyboardEvent): void {
    if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      this.help = false;
      this.palette = !this.palette;
      return;
    }
    if (event.metaKey || event.ctrlKey || event.altKey || isTyping(event.target) || this.palette) return;
    if (event.timeStamp - this.#goSince < SEQUENCE_MS) {
      const page = PAGES.find(({ key }) => key === event.key);
      this.#goSince = -SEQUENCE_MS;
      if (page) {
        event.preventDefault();
        router.go(page.path);
      }
      return;
    }
    switch (event.key) {
      case 'g':
        this.#goSince = event.timeStamp;
        break;
      case '/':
        event.preventDefault();
        this.search?.focus();
        break;
      case '?':
        this.help = !this.help;
        break;
    }
  }
}

export const keys = new Keys();

export function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches('input, select, textarea, [contenteditable]');
}

/** Whether a click is on the row itself: a link in it leads to where it says, and text may be selected. */
export function isOfRow(event: MouseEvent): boolean {
  return !(event.target as Element).closest('a, button') && getSelection()?.isCollapsed !== false;
}

/** `j` and `k` move the focus between the rows of a table; what Enter and `x` do is the row's own matter. */
export function moveBetweenRows(event: KeyboardEvent, table: HTMLElement | undefined): void {
  if (!table || isTyping(event.target) || event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.key !== 'j' && event.key !== 'k') return;
  const rows = [...table.querySelectorAll<HTMLElement>('tbody tr[tabindex]')];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const next = event.key === 'j' ? Math.min(at + 1, rows.length - 1) : Math.max(at - 1, 0);
  rows[next]?.focus();
}
