//! Any unit's model behind one face, for tests that run over all of them.

use std::{cell::RefMut, fmt};

use iommu_hal::{PhysAddr, Registers, StreamId, TableMemory};

use crate::{SystemMemory, VirtualClock};

/// A model with its devices, and how it may be made to misbehave.
pub trait Board {
    /// What a driver takes.
    fn ports(&self) -> (AnyRegisters, AnyMemory, VirtualClock);

    /// Reads from `iova` on behalf of the device `stream`.
    ///
    /// # Errors
    /// [`Blocked`] at the first page that the unit refuses.
    fn dma_read(&self, stream: StreamId, iova: u64, buffer: &mut [u8]) -> Result<(), Blocked>;

    /// Writes to `iova` on behalf of the device `stream`.
    ///
    /// # Errors
    /// As [`Board::dma_read`].
    fn dma_write(&self, stream: StreamId, iova: u64, bytes: &[u8]) -> Result<(), Blocked>;

    /// Where an access leads. The unit does as for an access, caches included, but nothing is read, written or recorded.
    ///
    /// # Errors
    /// As [`Board::dma_read`].
    fn translate(&self, stream: StreamId, iova: u64, write: bool) -> Result<u64, Blocked>;

    /// The machine's memory, as the bus sees it.
    fn memory(&self) -> RefMut<'_, SystemMemory>;

    /// What the unit did so far.
    fn observed(&self) -> Observed;

    /// As the method `meanwhile` of `dyn Board`, of a closure in a box.
    fn meanwhile_boxed(&self, happens: Box<dyn FnMut()>);

    /// Ends what happens beside the driver.
    fn meanwhile_nothing(&self);

    /// A fault record of the test's own making, from these words as far as the unit's records go; of the device `stream`, or
    /// of the one that the words name.
    fn inject_fault(&self, stream: Option<StreamId>, words: [u64; 4]);

    /// Raises errors that a driver can repair, of those that the unit has the ones in the bits of `which`.
    fn raise_errors(&self, which: u8);

    /// The unit fails in its own way: an SMMUv3 as a whole, and it says so; a VT-d unit drops the next wait.
    fn fail(&self);

    /// Waits for the completion of invalidations are never answered, after so many that are.
    fn stand_still(&self, after: u32);

    /// The unit does not acknowledge what would have it give up its tables either.
    fn ignore_the_last_resort(&self);

    /// The unit refuses one command, after so many that go well, for this reason where it tells one.
    fn refuse_command(&self, after: u32, reason: u8);

    /// Takes back [`Board::refuse_command`]; whether it was still to come.
    fn refuse_nothing(&self) -> bool;

    /// Whether [`Board::refuse_command`] is still to come.
    fn will_refuse(&self) -> bool;

    /// Each command takes as many looks of the driver at the unit.
    fn slow(&self, looks: u32);

    /// From now on the unit is as it should be.
    fn mend(&self);
}

impl dyn Board {
    /// Has `happens` called before each register access of the driver, and at each moment at which it shows the unit what
    /// it stored. Replaces what happened so far.
    pub fn meanwhile(&self, happens: impl FnMut() + 'static) {
        self.meanwhile_boxed(Box::new(happens));
    }
}

/// Why a device's access did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// The first address that was refused.
    pub iova: u64,
    /// The device was told at once: no stall, no zeros.
    pub aborted: bool,
}

/// What the unit did that only a test can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Commands or descriptors taken out of the queue.
    pub commands_consumed: u64,
    /// Waits for completion that were answered.
    pub waits_completed: u64,
    /// Faults recorded.
    pub faults_recorded: u64,
    /// Faults of which there is no record.
    pub faults_lost: u64,
    /// Moments at which everything began to pass.
    pub passed_everything: u64,
}

/// Any model's registers.
pub struct AnyRegisters(Box<dyn Registers>);

/// Any model's memory.
pub struct AnyMemory(Box<dyn TableMemory>);

/// Ports of any model.
pub(crate) fn any<R: Registers + 'static, M: TableMemory + 'static>(
    (registers, memory, clock): (R, M, VirtualClock),
) -> (AnyRegisters, AnyMemory, VirtualClock) {
    (AnyRegisters(Box::new(registers)), AnyMemory(Box::new(memory)), clock)
}

impl fmt::Debug for AnyRegisters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyRegisters")
    }
}

impl fmt::Debug for AnyMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyMemory")
    }
}

impl Registers for AnyRegisters {
    fn read32(&mut self, offset: u32) -> u32 {
        self.0.read32(offset)
    }

    fn write32(&mut self, offset: u32, value: u32) {
        self.0.write32(offset, value);
    }

    fn read64(&mut self, offset: u32) -> u64 {
        self.0.read64(offset)
    }

    fn write64(&mut self, offset: u32, value: u64) {
        self.0.write64(offset, value);
    }
}

impl TableMemory for AnyMemory {
    fn base(&self) -> PhysAddr {
        self.0.base()
    }

    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn read(&self, at: PhysAddr) -> u64 {
        self.0.read(at)
    }

    fn write(&mut self, at: PhysAddr, value: u64) {
        self.0.write(at, value);
    }

    fn publish(&mut self) {
        self.0.publish();
    }

    fn clean(&mut self, at: PhysAddr, bytes: u64) {
        self.0.clean(at, bytes);
    }

    fn invalidate(&mut self, at: PhysAddr, bytes: u64) {
        self.0.invalidate(at, bytes);
    }
}
