//! Numbers that look random and are the same in every run.

/// Marsaglia's xorshift generator of 64 bits, from a fixed seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence from its start.
    pub const NEW: Self = Self(0x9e37_79b9_7f4a_7c15);

    /// The next number below `bound`, which is not 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The high bits are the better ones.
        (self.0 >> 32) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_about_as_often() {
        let (mut random, mut seen) = (Random::NEW, [0_u32; 16]);
        for _ in 0..16_000 {
            seen[random.below(16) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (900..1100).contains(count)), "{seen:?}");
    }
}
