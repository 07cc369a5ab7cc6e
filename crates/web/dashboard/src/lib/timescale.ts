// A scale of time on which long idle stretches are short: what happened within milliseconds and what happened days
// later fit on one line, in order, and each cut says how long it was.

export interface Cut {
  /** Where it lies, 0 to 1. */
  at: number;
  /** How long it was, seconds. */
  seconds: number;
}

export interface TimeScale {
  /** Where a moment (milliseconds since 1970) lies, 0 to 1. */
  place: (time: number) => number;
  cuts: Cut[];
}

/** No stretch is drawn longer than this many times the median one. */
const LONGEST = 6;
/** Shorter stretches than this are never cut, milliseconds. */
const NEVER_CUT_MS = 1_000;

/** A stretch between two moments, with where it lies on the line. */
interface Stretch {
  from: number;
  to: number;
  start: number;
  end: number;
}

/** A scale over the moments at which something happened. */
export function timeScale(moments: number[]): TimeScale {
  const times = [...new Set(moments)].sort((a, b) => a - b);
  const gaps = times.slice(1).map((to, n) => ({ from: times[n] ?? to, to }));
  const lengths = gaps.map(({ from, to }) => to - from).sort((a, b) => a - b);
  const longest = Math.max(NEVER_CUT_MS, (lengths[Math.floor(lengths.length / 2)] ?? 0) * LONGEST);
  const whole = lengths.reduce((sum, length) => sum + Math.min(length, longest), 0);
  let end = 0;
  const stretches = gaps.map<Stretch>(({ from, to }) => {
    const start = end;
    end = start + Math.min(to - from, longest) / whole;
    return { from, to, start, end };
  });
  const cuts = stretches
    .filter(({ from, to }) => to - from > longest)
    .map((cut) => ({ at: (cut.start + cut.end) / 2, seconds: (cut.to - cut.from) / 1000 }));
  return { place: (time) => placeOn(stretches, time), cuts };
}

function placeOn(stretches: Stretch[], time: number): number {
  const [first] = stretches;
  if (!first) return 0.5;
  if (time <= first.from) return 0;
  const within = stretches.find(({ to }) => time <= to);
  if (!within) return 1;
  return within.start + ((time - within.from) / (within.to - within.from)) * (within.end - within.start);
}
