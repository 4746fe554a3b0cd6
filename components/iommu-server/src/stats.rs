//! Counters.

use iommu_core::{ClientId, Refusal};
use iommu_hal::{Clock, Registers, SharedPage, TableMemory};
use iommu_protocol::{Opcode, Status, stats};

use crate::server::{Answer, Server};

/// What is counted of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Accesses that were stopped, and storms.
    pub(crate) faults: u64,
    pub(crate) storms: u64,
    /// [`stats::REQUESTS`] and [`stats::TIMES`].
    requests: [u64; 4],
    times: [u64; 4],
}

impl Counts {
    pub(crate) const NEW: Self = Self { faults: 0, storms: 0, requests: [0; 4], times: [0; 4] };

    /// Counts a request that was answered with `status` after `ns` nanoseconds and `commands` commands.
    pub(crate) fn request(&mut self, opcode: u64, status: Status, ns: u64, commands: u64) {
        let again = status == Status::Again;
        let refused = !again && status != Status::Ok;
        for (count, more) in self.requests.iter_mut().zip([1, refused.into(), again.into(), commands]) {
            *count += more;
        }
        let kind = match opcode {
            _ if opcode == Opcode::Map.label() => 0,
            _ if opcode == Opcode::Unmap.label() => 1,
            _ => 2,
        };
        self.times[kind] = self.times[kind].max(ns);
        self.times[3] += ns;
    }
}

impl<R: Registers, M: TableMemory, C: Clock, P: SharedPage> Server<'_, R, M, C, P> {
    /// The counters of `client`.
    pub(crate) fn stats(&mut self, client: ClientId, group: u16) -> Result<Answer, Refusal> {
        let seat = &self.roll.seats[client.number()];
        let words = match group {
            stats::MEMORY => {
                let (used, limit) = (self.core.usage(client), self.core.limit(client));
                [used.areas, limit.areas, used.frames, limit.frames].map(u64::from)
            }
            stats::FAULTS => {
                let records = self.rings[client.number()].as_ref().map_or(0, |ring| ring.written());
                [seat.counts.faults, records, seat.counts.storms, self.lost]
            }
            stats::REQUESTS => seat.counts.requests,
            stats::TIMES => seat.counts.times,
            stats::ERRORS => self.errors(),
            _ => return Err(Refusal::NoSuchEntry(group)),
        };
        Ok(Answer::ok(words))
    }

    /// The global errors of all units, by kind.
    pub(crate) fn errors(&mut self) -> [u64; 4] {
        let mut sum = [0; 4];
        for unit in 0..self.units {
            let errors = self.core.unit(unit).map_or([0; 4], |(unit, _, _)| unit.errors());
            sum.iter_mut().zip(errors).for_each(|(sum, more)| *sum += more);
        }
        sum
    }

    /// Where the units' command queues stand.
    pub(crate) fn command_positions(&mut self) -> [u32; iommu_core::MAX_UNITS] {
        core::array::from_fn(|unit| self.core.unit(unit).map_or(0, |(unit, _, _)| unit.commands()))
    }

    /// Commands since they stood so.
    pub(crate) fn commands_since(&mut self, before: [u32; iommu_core::MAX_UNITS]) -> u64 {
        let since = |(unit, before)| {
            self.core.unit(unit).map_or(0, |(unit, _, _)| u64::from(unit.commands_since(before)))
        };
        before.into_iter().enumerate().map(since).sum()
    }
}
