//! The streams that a unit is told of at bring-up.

use core::fmt;

use heapless::Vec;

use crate::StreamId;

/// Streams of one unit that can be attached.
pub const MAX_STREAMS: usize = 64;

/// Why a list of streams is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamListError {
    /// More than [`MAX_STREAMS`].
    TooMany,
    /// One is named twice.
    Twice(StreamId),
    /// The unit cannot have one.
    TooLarge {
        /// The stream.
        stream: StreamId,
        /// Bits of this unit's stream ids.
        bits: u8,
    },
}

impl fmt::Display for StreamListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "more than {MAX_STREAMS} streams are configured"),
            Self::Twice(stream) => write!(f, "stream {:#x} is configured twice", stream.0),
            Self::TooLarge { stream, bits } => {
                write!(f, "stream {:#x} is configured, but this unit's stream ids have {bits} bits", stream.0)
            }
        }
    }
}

/// `ids` in ascending order, for a unit whose stream ids have `bits` bits.
///
/// # Errors
/// [`StreamListError`], of the first id that breaks a rule.
pub fn in_order(ids: &[StreamId], bits: u8) -> Result<Vec<StreamId, MAX_STREAMS>, StreamListError> {
    let mut ordered = Vec::new();
    for &stream in ids {
        if u64::from(stream.0) >> bits != 0 {
            return Err(StreamListError::TooLarge { stream, bits });
        }
        // In order at once: a sort would be more code than the whole of this.
        let Err(place) = ordered.binary_search(&stream) else {
            return Err(StreamListError::Twice(stream));
        };
        ordered.insert(place, stream).map_err(|_| StreamListError::TooMany)?;
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ids: &[u32], bits: u8) -> Result<std::vec::Vec<u32>, StreamListError> {
        let ids: std::vec::Vec<StreamId> = ids.iter().copied().map(StreamId).collect();
        in_order(&ids, bits).map(|ordered| ordered.iter().map(|id| id.0).collect())
    }

    #[test]
    fn streams_come_in_order() {
        assert_eq!(list(&[8, 3, 0xff], 8), Ok(vec![3, 8, 0xff]));
        assert_eq!(list(&[], 0), Ok(vec![]));
        assert_eq!(list(&[u32::MAX], 32), Ok(vec![u32::MAX]));
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        assert_eq!(list(&[8, 3, 8], 8), Err(StreamListError::Twice(StreamId(8))));
        let stream = StreamId(0x100);
        assert_eq!(list(&[1, 0x100], 8), Err(StreamListError::TooLarge { stream, bits: 8 }));
        let most: std::vec::Vec<u32> = (0..MAX_STREAMS as u32).collect();
        assert_eq!(list(&most, 16), Ok(most.clone()));
        let more: std::vec::Vec<u32> = (0..=MAX_STREAMS as u32).collect();
        assert_eq!(list(&more, 16), Err(StreamListError::TooMany));
    }
}
