//! What a measurement came to.

/// Mean, minimum and maximum of a series, in guest instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Figure {
    /// A series of none.
    pub const NEW: Self = Self { count: 0, sum: 0, min: u64::MAX, max: 0 };

    /// Adds one measurement.
    pub fn add(&mut self, instructions: u64) {
        self.count += 1;
        self.sum += instructions;
        self.min = self.min.min(instructions);
        self.max = self.max.max(instructions);
    }

    /// How many there were.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The mean, rounded down; 0 of none.
    pub const fn mean(&self) -> u64 {
        match self.sum.checked_div(self.count) {
            Some(mean) => mean,
            None => 0,
        }
    }

    /// The smallest; 0 of none.
    pub const fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    /// The largest.
    pub const fn max(&self) -> u64 {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_series_it_was_given() {
        let mut figure = Figure::NEW;
        assert_eq!((figure.count(), figure.mean(), figure.min(), figure.max()), (0, 0, 0, 0));
        for value in [10, 20, 33] {
            figure.add(value);
        }
        assert_eq!((figure.count(), figure.mean(), figure.min(), figure.max()), (3, 21, 10, 33));
    }
}
