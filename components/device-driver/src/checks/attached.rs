//! What the device reaches while it is attached, and no longer when it is not.

use edu::{DMA_MASK, Direction};
use iommu_client::{Placement, Rights, Space};
use iommu_protocol::{Request, Status};

use crate::{
    driver::{DEVICE, Driver, Machine, PAGE, Piece, unchanged},
    failure::{DONE, Failure, same},
};

/// Where the region lies that the device may only read.
const CONSTANTS_AT: u64 = 0x0120_0000;
/// Where the page lies that a detached device aims at.
const DETACHED_AT: u64 = 0x0130_0000;

impl<M: Machine> Driver<'_, M> {
    pub(super) async fn reach(&mut self, space: &Space) {
        let outcome = self.copy(space).await;
        self.tell(
            format_args!("{PAGE} bytes from memory to the device to memory through mapped IOVAs"),
            outcome,
        );
        let outcome = self.anywhere(space).await;
        self.tell(format_args!("a write to an IOVA that the server chose"), outcome);
        let outcome = self.constants(space).await;
        self.tell(format_args!("a read of the region that is granted for reading alone"), outcome);
    }

    async fn copy(&mut self, space: &Space) -> Result<(), Failure> {
        let sent = self.fresh();
        self.load(space, sent).await?;
        self.dump(space, |index| sent.word(index)).await
    }

    async fn anywhere(&mut self, space: &Space) -> Result<(), Failure> {
        let (before, sent) = (self.fresh(), self.fresh());
        self.load(space, sent).await?;
        let page = self.take(Piece::Destination, before)?;
        let mapped = self.iommu.map(space, page, Rights::READ_WRITE, Placement::Any);
        let mapped = mapped.map_err(|failed| Failure::new("mapping anywhere", DONE, failed.error))?;
        same("an IOVA of zero", false, mapped.iova() == 0)?;
        same("an IOVA that the device can reach", true, mapped.last() <= DMA_MASK)?;
        self.transfer(Direction::Out, mapped.iova(), PAGE).await?;
        let page = self.unmap(mapped)?;
        unchanged("the memory that the device wrote", &page, sent)?;
        self.put(Piece::Destination, page);
        Ok(())
    }

    async fn constants(&mut self, space: &Space) -> Result<(), Failure> {
        let pattern = self.fresh();
        let page = self.take(Piece::Constants, pattern)?;
        let mapped = self.map(space, page, Rights::READ, CONSTANTS_AT)?;
        self.transfer(Direction::In, mapped.iova(), PAGE).await?;
        let page = self.unmap(mapped)?;
        self.put(Piece::Constants, page);
        self.dump(space, |index| pattern.word(index)).await
    }

    pub(super) async fn detached(&mut self, space: &Space) {
        let outcome = self.detach(space).await;
        let what = "after DETACH the device is no bus master; its write does not arrive";
        self.tell(format_args!("{what}, nor after ATTACH alone"), outcome);
        let outcome = self.again(space).await;
        self.tell(format_args!("attached and bus master again, it reaches memory again"), outcome);
    }

    async fn detach(&mut self, space: &Space) -> Result<(), Failure> {
        let (before, secret) = (self.fresh(), self.fresh());
        self.load(space, secret).await?;
        let page = self.take(Piece::Destination, before)?;
        let mapped = self.map(space, page, Rights::READ_WRITE, DETACHED_AT)?;
        let detached = self.iommu.detach(DEVICE);
        detached.map_err(|error| Failure::new("DETACH", Status::Ok, error))?;
        self.is_bus_master(false)?;
        self.expect(Request::Detach { device: DEVICE }, Status::NotAttached)?;
        self.transfer(Direction::Out, mapped.iova(), PAGE).await?;
        let attached = self.iommu.attach(space, DEVICE);
        attached.map_err(|error| Failure::new("ATTACH", Status::Ok, error))?;
        self.is_bus_master(false)?;
        self.transfer(Direction::Out, mapped.iova(), PAGE).await?;
        let page = self.unmap(mapped)?;
        unchanged("the memory that was mapped", &page, before)?;
        self.put(Piece::Destination, page);
        self.rest_unchanged()
    }

    async fn again(&mut self, space: &Space) -> Result<(), Failure> {
        self.enable()?;
        self.copy(space).await
    }
}
