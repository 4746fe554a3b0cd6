//! When hardware answers.

/// When the unit acknowledges a request made through a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ack {
    /// At once.
    #[default]
    AtOnce,
    /// At the given number of reads of the register that tells.
    AfterReads(u32),
    /// Never.
    Never,
}

impl Ack {
    /// Counts one read; whether the answer is due.
    pub(crate) const fn is_due(self, reads: &mut u32) -> bool {
        match self {
            Self::AtOnce => true,
            Self::AfterReads(limit) => {
                *reads += 1;
                *reads >= limit
            }
            Self::Never => false,
        }
    }
}
