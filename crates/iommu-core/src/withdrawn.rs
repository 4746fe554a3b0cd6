//! Devices that are no longer attached, for whoever withdraws their bus mastering.

use iommu_hal::{Clock, StreamId, TableMemory, Unit};

use crate::{ClientId, Core, MAX_STREAMS};

/// A set of places among the streams.
#[derive(Debug)]
pub(crate) struct Places([u64; MAX_STREAMS.div_ceil(64)]);

impl Places {
    pub(crate) const NONE: Self = Self([0; MAX_STREAMS.div_ceil(64)]);

    fn insert(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    fn is_empty(&self) -> bool {
        self.0 == Self::NONE.0
    }

    /// Takes out the lowest.
    fn pop(&mut self) -> Option<usize> {
        let (index, word) = self.0.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros() as usize;
        *word &= *word - 1;
        Some(64 * index + bit)
    }
}

impl<U: Unit, M: TableMemory, C: Clock> Core<'_, U, M, C> {
    /// A stream that was detached or stopped since this was last asked, and is not attached again; and whether there
    /// may be more. In a time that depends on nothing but how many there are.
    pub fn next_withdrawn(&mut self) -> Option<(StreamId, bool)> {
        while let Some(place) = self.withdrawn.pop() {
            let ((stream, _), ..) = self.streams[place];
            if !self.is_attached(stream) {
                return Some((stream, !self.withdrawn.is_empty()));
            }
        }
        None
    }

    /// Takes note that `client`'s device at `index`, which there is, may no longer be attached.
    pub(crate) fn withdraw(&mut self, client: ClientId, index: u16) {
        let device = &self.clients[client.number()].devices[usize::from(index)];
        let key = (device.stream, device.unit);
        if let Ok(place) = self.streams.binary_search_by_key(&key, |entry| entry.0) {
            self.withdrawn.insert(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_out_once_each() {
        let mut places = Places::NONE;
        let all = [0, 63, 64, MAX_STREAMS - 1];
        for place in all.into_iter().chain(all) {
            places.insert(place);
        }
        for place in all {
            assert!(!places.is_empty());
            assert_eq!(places.pop(), Some(place));
        }
        assert!(places.is_empty());
        assert_eq!(places.pop(), None);
    }
}
