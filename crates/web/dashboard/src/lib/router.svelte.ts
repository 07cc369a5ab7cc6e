// Where the person is. Everything that can be seen has a URL: the path names the page, the query its filters, sort
// and open drawer.

class Router {
  path = $state(location.pathname);
  query = $state.raw(new URLSearchParams(location.search));

  constructor() {
    addEventListener('popstate', () => this.#read());
  }

  /** Goes to `url` of this origin; with `replace` the present place is not kept in the history. */
  go(url: string, replace = false): void {
    if (replace) history.replaceState(null, '', url);
    else history.pushState(null, '', url);
    const before = this.path;
    this.#read();
    if (this.path !== before) scrollTo(0, 0);
  }

  /** Changes parameters of the present page; what is undefined or empty goes. */
  set(changes: Record<string, string | undefined>, replace = true): void {
    this.go(this.with(changes), replace);
  }

  /** The present page's URL with other parameters. */
  with(changes: Record<string, string | undefined>): string {
    // eslint-disable-next-line svelte/prefer-svelte-reactivity -- a copy, to write the next URL with
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(changes)) {
      if (value === undefined || value === '') query.delete(name);
      else query.set(name, value);
    }
    const text = query.toString();
    return text === '' ? this.path : `${this.path}?${text}`;
  }

  get(name: string): string | undefined {
    return this.query.get(name) ?? undefined;
  }

  #read(): void {
    this.path = location.pathname;
    this.query = new URLSearchParams(location.search);
  }
}

export const router = new Router();

/** The segments of a path after `first`, decoded: `/journeys/web%3A1` gives `web:1`. */
export function pathAfter(path: string, first: string): string | undefined {
  if (!path.startsWith(first)) return undefined;
  const rest = path.slice(first.length);
  try {
    return rest === '' ? undefined : decodeURIComponent(rest);
  } catch {
    return rest;
  }
}

/** Follows links of this origin without loading the page again; the browser keeps new tabs and downloads. */
export function followLinks(event: MouseEvent): void {
  if (
    event.defaultPrevented ||
    event.button !== 0 ||
    event.metaKey ||
    event.ctrlKey ||
    event.shiftKey ||
    event.altKey
  ) {
    return;
  }
  const link = (event.target as Element | null)?.closest('a');
  if (!link || link.origin !== location.origin || link.target !== '' || link.hasAttribute('data-whole')) return;
  event.preventDefault();
  router.go(link.pathname + link.search);
}
