// Numbers and times as people read them. What is unknown is "–", never 0.

export const UNKNOWN = '–';

/** By hand: the browser's own `Intl` takes longer to begin than all the rest of the page's script. */
export function count(value: number | null | undefined): string {
  return value == null ? UNKNOWN : String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** A rate per second: two digits below ten, and no more than two decimals. */
export function rate(perSecond: number | null | undefined): string {
  if (perSecond == null) return UNKNOWN;
  if (perSecond === 0) return '0';
  if (perSecond < 0.01) return '<0.01';
  if (perSecond < 1) return String(Number(perSecond.toFixed(2)));
  if (perSecond < 10) return String(Number(perSecond.toPrecision(2)));
  return count(perSecond);
}

const UNITS = [
  { name: 'd', seconds: 86_400 },
  { name: 'h', seconds: 3_600 },
  { name: 'm', seconds: 60 },
  { name: 's', seconds: 1 },
];

/** A length of time with its two largest units: `4 m 12 s`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds)) return UNKNOWN;
  if (seconds > 0 && seconds < 0.9995) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  let left = Math.max(0, Math.round(seconds));
  const parts = UNITS.map((unit) => {
    const whole = Math.floor(left / unit.seconds);
    left -= whole * unit.seconds;
    return { whole, text: `${whole} ${unit.name}` };
  });
  const first = parts.findIndex(({ whole }) => whole > 0);
  const largest = parts.slice(first, first + 2).filter(({ whole }) => whole > 0);
  return first < 0 ? '0 s' : largest.map(({ text }) => text).join(' ');
}

/** How long ago that was, or `now`. */
export function ago(seconds: number): string {
  return seconds < 1 ? 'now' : `${duration(seconds)} ago`;
}

/** Seconds from `time` to `now` (milliseconds since 1970). */
export function secondsSince(time: string, now: number): number {
  return (now - Date.parse(time)) / 1000;
}

/** The exact moment, UTC to the millisecond. */
export function utc(time: string): string {
  return new Date(time).toISOString().replace('T', ' ').replace('Z', ' UTC');
}

/** Time of day, UTC, and the date where it is not today's. */
export function clockTime(time: string, now: number): string {
  const iso = new Date(time).toISOString();
  const today = new Date(now).toISOString().slice(0, 10);
  return iso.startsWith(today) ? iso.slice(11, 19) : `${iso.slice(0, 10)} ${iso.slice(11, 19)}`;
}

/** An id shortened in its middle, where ids differ least. */
export function shortened(id: string, length = 20): string {
  if (id.length <= length) return id;
  const tail = Math.floor((length - 1) / 2);
  return `${id.slice(0, length - 1 - tail)}…${id.slice(-tail)}`;
}

/** `1 event`, `2 events`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  if (value < 1024 * 1024) return `${(value / 1024).toFixed(1)} KiB`;
  return `${(value / 1024 / 1024).toFixed(1)} MiB`;
}
