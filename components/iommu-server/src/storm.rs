//! Faults to their receivers, and devices that cause too many.

use core::fmt;

use iommu_core::{ClientId, MAX_DEVICES, Refusal};
use iommu_hal::{Clock, Registers, SharedPage, StreamId, TableMemory};

use crate::{
    faults::Burst,
    server::{Channels, Server},
};

/// The time over which faults are counted.
const WINDOW_NS: u64 = 1_000_000_000;

/// What is kept of each device: who hears of its faults, and how many there were of late.
#[derive(Debug)]
pub(crate) struct Watched {
    unit: u8,
    stream: StreamId,
    /// Who receives its faults, and by which index; the owner if `None`.
    receiver: Option<(ClientId, u16)>,
    limit: u32,
    since_ns: u64,
    count: u64,
}

impl Watched {
    pub(crate) const fn new(
        unit: u8,
        stream: StreamId,
        receiver: Option<(ClientId, u16)>,
        limit: u32,
    ) -> Self {
        Self { unit, stream, receiver, limit, since_ns: 0, count: 0 }
    }

    /// What the entries are sorted by.
    pub(crate) const fn key(&self) -> (u8, StreamId) {
        (self.unit, self.stream)
    }

    /// Counts `faults` at `now_ns`; whether they are too many.
    fn count(&mut self, faults: u64, now_ns: u64) -> bool {
        if now_ns.saturating_sub(self.since_ns) >= WINDOW_NS {
            (self.since_ns, self.count) = (now_ns, 0);
        }
        self.count += faults;
        self.count > self.limit.into()
    }
}

impl<R: Registers, M: TableMemory, C: Clock, P: SharedPage> Server<'_, R, M, C, P> {
    pub(crate) fn deliver(
        &mut self,
        unit: usize,
        burst: Option<Burst>,
        notify: &mut Channels,
        log: &mut impl fmt::Write,
    ) {
        let Some(burst) = burst else { return };
        let stream = burst.stream();
        let watched = self.roll.watched(unit, stream);
        let owner = self.core.owner_of(unit, stream);
        let (Some(watched), Some((client, device))) = (watched, owner) else {
            return self.unowned(&burst, log);
        };
        let watched = &mut self.roll.watched[watched];
        let (receiver, index) = watched.receiver.unwrap_or((client, device));
        let storm = watched.count(burst.count(), burst.time_ns());
        let (count, limit) = (watched.count, watched.limit);
        let seat = &mut self.roll.seats[receiver.number()];
        seat.counts.faults += burst.count();
        let Ok(info) = self.core.device_info(client, device) else { return };
        if info.stopped.is_some() {
            // What the queue still held when it was stopped. Its record says enough.
            return;
        }
        match &mut self.rings[receiver.number()] {
            Some(ring) => {
                ring.push(&burst.record(index));
                notify.insert(seat.channel);
            }
            None => self.unowned(&burst, log),
        }
        if storm && info.space.is_some() {
            let number = client.number();
            _ = writeln!(
                log,
                "client {number}, stream {:#x}: {count} faults in a second, more than {limit}: \
                stopped until it is enabled",
                stream.0
            );
            if let Err(Refusal::HardwareTimeout { .. } | Refusal::HardwareFailed(_)) =
                self.core.stop(client, device)
            {
                _ = writeln!(log, "the hardware does not confirm that it stops stream {:#x}", stream.0);
            }
            self.tell_storm(client, device, (receiver, index), &burst, count, notify);
        }
    }

    /// Tells of a device that was stopped: whoever hears of its faults, its owner, who may enable it, and the PCI
    /// host.
    fn tell_storm(
        &mut self,
        client: ClientId,
        device: u16,
        receiver: (ClientId, u16),
        burst: &Burst,
        count: u64,
        notify: &mut Channels,
    ) {
        let owner = (client, device);
        for (to, index) in [receiver, owner].into_iter().take(1 + usize::from(receiver != owner)) {
            let seat = &self.roll.seats[to.number()];
            if let Some(ring) = &mut self.rings[to.number()] {
                ring.push(&burst.storm(index, count));
                ring.set_stopped(index, true);
                notify.insert(seat.channel);
            }
        }
        self.roll.seats[client.number()].counts.storms += 1;
        if let Some(channel) = self.pci_host {
            notify.insert(channel);
        }
    }

    fn unowned(&mut self, burst: &Burst, log: &mut impl fmt::Write) {
        let before = self.unowned;
        self.unowned += burst.count();
        // One line for the first, then at every doubling: a device that nobody owns cannot flood the log.
        if before.leading_zeros() != self.unowned.leading_zeros() {
            let (stream, count) = (burst.stream().0, self.unowned);
            _ = writeln!(log, "stopped {count} accesses that nobody reads of, last of stream {stream:#x}");
        }
    }

    /// Has the rings say which devices of `client` are stopped.
    pub(crate) fn show_stopped(&mut self, client: ClientId) {
        for device in 0..MAX_DEVICES as u16 {
            let (Ok(unit), Ok(info)) =
                (self.core.unit_of(client, device), self.core.device_info(client, device))
            else {
                break;
            };
            let stopped = info.stopped.is_some();
            let watched = self.roll.watched(unit, info.stream);
            let receiver = watched.and_then(|watched| self.roll.watched[watched].receiver);
            for (to, index) in receiver.into_iter().chain([(client, device)]) {
                if let Some(ring) = &mut self.rings[to.number()] {
                    ring.set_stopped(index, stopped);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_by_the_second() {
        let mut watched = Watched::new(0, StreamId(1), None, 10);
        assert!(!watched.count(10, 5 * WINDOW_NS));
        assert!(watched.count(1, 6 * WINDOW_NS - 1), "the eleventh in a second");
        assert!(!watched.count(10, 6 * WINDOW_NS), "another second");
        assert!(!watched.count(0, 0), "a clock that went back changes nothing");
        assert!(watched.count(1, 0));
    }
}
