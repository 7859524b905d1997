//! How long things took.

use std::time::Duration;

/// Upper bounds of the histogram's buckets, in seconds; one more bucket takes the rest.
pub const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// A histogram of durations.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Sum of all durations.
    pub sum: Duration,
    /// How many there were.
    pub count: u64,
    /// Per bucket of [`BUCKETS`], not cumulated; the last takes what is longer.
    pub buckets: [u64; BUCKETS.len() + 1],
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, took: Duration) {
        self.sum += took;
        self.count += 1;
        let bucket = BUCKETS.iter().position(|&bound| took.as_secs_f64() <= bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket] += 1;
    }
}
