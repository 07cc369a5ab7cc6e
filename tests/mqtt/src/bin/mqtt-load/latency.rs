//! Latencies in buckets that grow with the value: exact to about 3 %, and as cheap to count as can be.

/// Buckets of each power of two.
const STEPS: u64 = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = 64 * STEPS as usize;

/// Counts microseconds.
pub(crate) struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    max_us: u64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            max_us: 0,
        }
    }

    pub(crate) fn add(&mut self, us: u64) {
        self.buckets[bucket(us)] += 1;
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// Milliseconds that `share` of all stay below.
    pub(crate) fn at_ms(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                return rounded(upper_us(at).min(self.max_us));
            }
        }
        0.0
    }

    pub(crate) fn max_ms(&self) -> f64 {
        rounded(self.max_us)
    }
}

fn bucket(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let power = us.ilog2() - STEP_BITS;
    (u64::from(power + 1) * STEPS + ((us >> power) - STEPS)) as usize
}

fn upper_us(bucket: usize) -> u64 {
    let (power, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    if power == 0 {
        step
    } else {
        ((STEPS + step + 1) << (power - 1)) - 1
    }
}

fn rounded(us: u64) -> f64 {
    us as f64 / 1000.0
}
