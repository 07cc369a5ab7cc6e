// Sorting of a table, kept in the URL: `sort=name` rises, `sort=-name` falls.
import { router } from './router.svelte';

export type Sortable = string | number | null | undefined;

export interface Sort {
  by: string;
  falling: boolean;
}

export function sortFrom(text: string | undefined, otherwise: Sort): Sort {
  if (!text) return otherwise;
  return text.startsWith('-') ? { by: text.slice(1), falling: true } : { by: text, falling: false };
}

/** What a click on a column's head asks for: another column falls first, the same turns round. */
export function turn(sort: Sort, by: string): void {
  const falling = sort.by === by ? !sort.falling : true;
  router.set({ sort: falling ? `-${by}` : by });
}

/** Rows by the column that `sort` names. Unknown values go last, whichever way. */
export function sorted<T>(rows: T[], columns: { by: string; of: (row: T) => Sortable }[], { by, falling }: Sort): T[] {
  const value = columns.find((column) => column.by === by)?.of ?? (() => null);
  return [...rows].sort((one, two) => {
    const a = value(one);
    const b = value(two);
    if (a == null || b == null) return Number(a == null) - Number(b == null);
    const order = typeof a === 'string' ? compare(a, String(b)) : a - Number(b);
    return falling ? -order : order;
  });
}

/** Names are plain letters; the browser's own order of languages takes long to begin. */
function compare(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
