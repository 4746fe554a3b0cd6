//! Two drivers, neither of which reaches the other's memory.
//!
//! One is the victim first: it maps a page that holds something and signals. The other attacks, maps its own
//! page, and signals; then they change places. Signals so go back and forth, and none is lost between two.

use edu::{Direction, bus_address};
use iommu_client::{Mapped, Rights, Space};
use iommu_protocol::{DeviceIndex, RegionSlot, Request, SpaceId, Status, pci, ring::reason};

use crate::{
    Signal,
    driver::{CONSTANTS_SLOT, DEVICE, Driver, Machine, PAGE, Pattern, Piece, unchanged},
    failure::Failure,
};

/// Where the victim maps its page, and the attacker nothing.
const VICTIM_AT: u64 = 0x0600_0000;

/// Offset of the victim's page in its memory.
const VICTIM_OFFSET: u64 = PAGE;

/// The ids that are tried: 0 to this.
const HIGHEST_ID: u16 = 255;

impl<M: Machine> Driver<'_, M> {
    /// Which of the two begins as the victim: the one in the even slot of its bus.
    fn is_victim_first(&self) -> bool {
        self.stream >> 3 & 1 == 0
    }

    pub(super) async fn against_peer(&mut self, space: &Space) {
        if self.is_victim_first() {
            let page = self.expose(space);
            self.machine.notify_peer();
            self.signals.wait(Signal::Peer).await;
            self.withstood(page);
            self.attack_peer(space).await;
            self.machine.notify_peer();
        } else {
            self.signals.wait(Signal::Peer).await;
            self.attack_peer(space).await;
            let page = self.expose(space);
            self.machine.notify_peer();
            self.signals.wait(Signal::Peer).await;
            self.withstood(page);
        }
    }

    /// Maps a page for the own device alone.
    fn expose(&mut self, space: &Space) -> Result<(Mapped, Pattern), Failure> {
        let pattern = self.fresh();
        let page = self.take(Piece::Destination, pattern)?;
        let mapped = self.map(space, page, Rights::READ_WRITE, VICTIM_AT)?;
        Ok((mapped, pattern))
    }

    /// After the attack: tells whether the exposed page is as it was.
    fn withstood(&mut self, exposed: Result<(Mapped, Pattern), Failure>) {
        let outcome = exposed.and_then(|(mapped, pattern)| {
            let page = self.unmap(mapped)?;
            unchanged("the page that was mapped", &page, pattern)?;
            self.put(Piece::Destination, page);
            self.rest_unchanged()?;
            self.no_fault()
        });
        let what = "after the peer's attack memory is unchanged, and no fault of the peer is recorded here";
        self.tell(format_args!("{what}"), outcome);
    }

    async fn attack_peer(&mut self, space: &Space) {
        let outcome = self.unknown_ids(space);
        let what = "the peer by message: no other space, region, device or function is known";
        self.tell(format_args!("{what} (ids 0 to {HIGHEST_ID})"), outcome);
        let outcome = self.peer_iova(space).await;
        let what = "the peer by DMA: what it alone has mapped is neither written nor read";
        self.tell(format_args!("{what} (IOVA {VICTIM_AT:#x})"), outcome);
        let address = self.peer_memory.wrapping_add(VICTIM_OFFSET);
        let outcome = self.peer_memory(space, address).await;
        let seen = outcome.unwrap_or(bus_address(address));
        let what = "the peer by DMA: a write to its memory is stopped";
        self.tell(
            format_args!("{what} (physical address {address:#x}; the device puts {seen:#x} on the bus)"),
            outcome.map(drop),
        );
    }

    fn unknown_ids(&mut self, space: &Space) -> Result<(), Failure> {
        for id in 0..=HIGHEST_ID {
            let other = SpaceId(id);
            if other != space.id() {
                let unmap = Request::Unmap { space: other, first: 0, last: u64::MAX };
                self.expect(unmap, Status::NoSuchSpace)?;
                self.expect(Request::Replace { space: other, device: DEVICE }, Status::NoSuchSpace)?;
            }
            if id > CONSTANTS_SLOT.0 {
                self.expect(Request::RegionInfo { slot: RegionSlot(id) }, Status::NoSuchRegion)?;
            }
            if id > DEVICE.0 {
                let device = DeviceIndex(id);
                self.expect(Request::DeviceInfo { device }, Status::NoSuchDevice)?;
                self.unknown_function(device)?;
            }
        }
        Ok(())
    }

    fn unknown_function(&mut self, function: DeviceIndex) -> Result<(), Failure> {
        let outcome = self.pci_host.disable(function);
        super::refused_by_pci_host("another PCI function", pci::Status::NoSuchFunction, outcome)
    }

    async fn peer_iova(&mut self, space: &Space) -> Result<(), Failure> {
        let secret = self.fresh();
        self.load(space, secret).await?;
        self.attack(Direction::Out, VICTIM_AT, reason::NOT_MAPPED, &[VICTIM_AT]).await?;
        self.attack(Direction::In, VICTIM_AT, reason::NOT_MAPPED, &[VICTIM_AT]).await?;
        self.dump(space, |_| 0).await
    }

    /// Aims at the physical `address`; what of it the IOMMU sees depends on the mask that the device was made
    /// with.
    async fn peer_memory(&mut self, space: &Space, address: u64) -> Result<u64, Failure> {
        let secret = self.fresh();
        self.load(space, secret).await?;
        self.attack(Direction::Out, address, reason::NOT_MAPPED, &[bus_address(address), address]).await
    }
}
