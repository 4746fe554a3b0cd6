//! What the device is kept from, each with its fault record.

use edu::Direction;
use iommu_client::{Rights, Space};
use iommu_protocol::ring::reason;

use crate::{
    driver::{Driver, Machine, PAGE, Piece, content, unchanged},
    failure::Failure,
};

/// IOVAs that are never mapped.
const NEVER_WRITTEN: u64 = 0x0abc_d000;
const NEVER_READ: u64 = 0x0321_0000;
/// Where a page is mapped for reading alone.
const READ_ONLY_AT: u64 = 0x0200_0000;
/// Where the region that the device may only read is mapped.
const CONSTANTS_AT: u64 = 0x0210_0000;
/// Where a page is mapped and unmapped.
const UNMAPPED_AT: u64 = 0x0220_0000;
/// Where a page is mapped with nothing behind it.
const EDGE_AT: u64 = 0x0230_0000;

impl<M: Machine> Driver<'_, M> {
    pub(super) async fn stopped(&mut self, space: &Space) {
        let outcome = self.never_mapped_write(space).await;
        let what = "a write to an IOVA that was never mapped is stopped: memory unchanged";
        self.tell(format_args!("{what}; recorded: a write at {NEVER_WRITTEN:#x}, not mapped"), outcome);
        let outcome = self.never_mapped_read(space).await;
        let what = "a read of an IOVA that was never mapped is stopped: the device has zeros";
        self.tell(format_args!("{what}; recorded: a read at {NEVER_READ:#x}, not mapped"), outcome);
        let outcome = self.read_only(space, Piece::Destination, READ_ONLY_AT).await;
        let what = "a write through a read-only mapping is stopped: memory unchanged";
        self.tell(format_args!("{what}; recorded: a write at {READ_ONLY_AT:#x}, not permitted"), outcome);
        let outcome = self.read_only(space, Piece::Constants, CONSTANTS_AT).await;
        let what = "a write to a region granted for reading is stopped: memory unchanged";
        self.tell(format_args!("{what}; recorded: a write at {CONSTANTS_AT:#x}, not permitted"), outcome);
        let outcome = self.after_unmap(space).await;
        let what = "a write to an IOVA after UNMAP, served before, is stopped: memory unchanged";
        self.tell(format_args!("{what}; recorded: a write at {UNMAPPED_AT:#x}, not mapped"), outcome);
        let outcome = self.over_the_edge(space).await;
        let (what, edge) = ("a write over the end of its mapping is stopped there", EDGE_AT + PAGE);
        self.tell(format_args!("{what}; recorded: a write at {edge:#x}, not mapped"), outcome);
    }

    async fn never_mapped_write(&mut self, space: &Space) -> Result<(), Failure> {
        let secret = self.fresh();
        self.load(space, secret).await?;
        self.attack(Direction::Out, NEVER_WRITTEN, reason::NOT_MAPPED, &[NEVER_WRITTEN]).await.map(drop)
    }

    async fn never_mapped_read(&mut self, space: &Space) -> Result<(), Failure> {
        let secret = self.fresh();
        self.load(space, secret).await?;
        self.attack(Direction::In, NEVER_READ, reason::NOT_MAPPED, &[NEVER_READ]).await?;
        self.dump(space, |_| 0).await
    }

    async fn read_only(&mut self, space: &Space, piece: Piece, iova: u64) -> Result<(), Failure> {
        let (before, secret) = (self.fresh(), self.fresh());
        self.load(space, secret).await?;
        let page = self.take(piece, before)?;
        let mapped = self.map(space, page, Rights::READ, iova)?;
        self.attack(Direction::Out, iova, reason::PERMISSION, &[iova]).await?;
        let page = self.unmap(mapped)?;
        unchanged("the memory behind the mapping", &page, before)?;
        self.put(piece, page);
        Ok(())
    }

    /// Nothing is mapped or unmapped between UNMAP and the attack, so that a translation which the IOMMU still
    /// keeps would serve it.
    async fn after_unmap(&mut self, space: &Space) -> Result<(), Failure> {
        let (before, secret) = (self.fresh(), self.fresh());
        self.load(space, secret).await?;
        let page = self.take(Piece::Destination, before)?;
        let mapped = self.map(space, page, Rights::READ_WRITE, UNMAPPED_AT)?;
        self.transfer(Direction::Out, UNMAPPED_AT, PAGE).await?;
        let mut page = self.unmap(mapped)?;
        unchanged("the memory that the device wrote", &page, secret)?;
        page.fill(|index| before.word(index));
        self.attack(Direction::Out, UNMAPPED_AT, reason::NOT_MAPPED, &[UNMAPPED_AT]).await?;
        unchanged("the memory that was mapped", &page, before)?;
        self.put(Piece::Destination, page);
        Ok(())
    }

    async fn over_the_edge(&mut self, space: &Space) -> Result<(), Failure> {
        let (before, behind, secret) = (self.fresh(), self.fresh(), self.fresh());
        self.load(space, secret).await?;
        let page = self.take(Piece::Low, before)?;
        let next = self.take(Piece::High, behind)?;
        let mapped = self.map(space, page, Rights::READ_WRITE, EDGE_AT)?;
        let half = PAGE / 2;
        self.attack(Direction::Out, EDGE_AT + half, reason::NOT_MAPPED, &[EDGE_AT + PAGE]).await?;
        let page = self.unmap(mapped)?;
        let kept = half as usize / size_of::<u64>();
        let expected = |index: usize| match index.checked_sub(kept) {
            Some(index) => secret.word(index),
            None => before.word(index),
        };
        content("the page that is mapped", &page, expected)?;
        unchanged("the page behind it", &next, behind)?;
        self.put(Piece::Low, page);
        self.put(Piece::High, next);
        Ok(())
    }
}
