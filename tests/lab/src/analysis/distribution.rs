//! Many measurements in one line.

use std::fmt;

/// The spread of a set of measurements, in whatever unit they have.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    sorted: Vec<f64>,
}

impl Distribution {
    /// Of these values; `None` when there are none. A value that is not a number is left out.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|v| !v.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        (!sorted.is_empty()).then_some(Self { sorted })
    }

    /// How many.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The smallest.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.percentile(0.0)
    }

    /// The one in the middle; of two, the smaller.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.percentile(50.0)
    }

    /// The largest.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.percentile(100.0)
    }

    /// The smallest value that at least `percent` (0 to 100) of all do not exceed.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> f64 {
        let rank = (percent / 100.0 * self.sorted.len() as f64).ceil() as usize;
        self.sorted[rank.clamp(1, self.sorted.len()) - 1]
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, median, p90, max) = (self.min(), self.median(), self.percentile(90.0), self.max());
        write!(f, "min {min:.2}  median {median:.2}  p90 {p90:.2}  max {max:.2}  (n = {})", self.count())
    }
}
