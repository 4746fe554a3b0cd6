//! A unit that remembers all that real hardware might, and memory that counts.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use core::cell::{Cell, RefCell};

use iommu_hal::{
    Binding, Clock, Completed, DomainTag, Fault, Geometry, IovaRange, PhysAddr, StreamId, TableMemory,
    UnitError,
};

/// A call of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Attach(StreamId, DomainTag),
    Block(StreamId),
    Invalidate { tag: DomainTag, range: IovaRange, tables: bool },
    InvalidateAll(DomainTag),
    Sync,
}

pub const TIMEOUT: UnitError = UnitError::Timeout { waiting_for: "a test", limit_ns: 5 };

#[derive(Default)]
pub struct Shared {
    /// Calls since they were last taken, with the unit's index.
    pub calls: RefCell<Vec<(usize, Call)>>,
    /// Calls left until one fails, and with what.
    pub fail: Cell<Option<(u32, UnitError)>>,
    /// Tables that each stream may be walking, by unit and stream.
    pub walking: RefCell<BTreeMap<(usize, StreamId), Vec<Binding>>>,
    /// Translations that may be cached: unit, tag, first IOVA of the page, and where it leads.
    pub cached: RefCell<BTreeSet<(usize, u16, u64, PhysAddr)>>,
    /// Whether units are in caching mode: they may cache that nothing is mapped, too. Set before the core starts.
    pub caches_absence: Cell<bool>,
    /// Pages of which a unit may have cached that nothing is there: unit, tag, first IOVA.
    pub absent: RefCell<BTreeSet<(usize, u16, u64)>>,
    /// Stores and zeroed frames since they were last taken, and bytes cleaned.
    pub stores: Cell<u64>,
    pub zeroed: Cell<u64>,
    pub cleaned: Cell<u64>,
}

/// Handles on what the units and the memory share with a test.
#[derive(Clone, Default)]
pub struct Machine(pub Rc<Shared>);

impl Machine {
    pub fn unit(&self, index: usize, geometry: Geometry) -> Unit {
        Unit { index, geometry, clean: false, queued: vec![], machine: self.clone() }
    }

    pub fn memory(&self, base: PhysAddr, frames: usize) -> Memory {
        // Whatever was there before.
        Memory { base, words: vec![u64::MAX; frames * 512], machine: self.clone() }
    }

    pub fn take_calls(&self) -> Vec<(usize, Call)> {
        self.0.calls.take()
    }

    /// Makes call number `n` from here, counted from 0, fail.
    pub fn fail_at(&self, n: u32, error: UnitError) {
        self.0.fail.set(Some((n, error)));
    }

    /// Whether the failure asked for is still to come; then it no longer is.
    pub fn disarm(&self) -> bool {
        self.0.fail.take().is_some()
    }
}

/// The commands of one unit. A failing call does nothing, and loses what was queued.
pub struct Unit {
    index: usize,
    geometry: Geometry,
    pub clean: bool,
    /// What is to be forgotten, and whether entries above the leaves are among it.
    queued: Vec<(DomainTag, IovaRange, bool)>,
    machine: Machine,
}

impl Unit {
    fn call(&mut self, call: Call) -> Result<(), UnitError> {
        self.machine.0.calls.borrow_mut().push((self.index, call));
        match self.machine.0.fail.get() {
            Some((0, error)) => {
                self.machine.0.fail.set(None);
                self.queued.clear();
                Err(error)
            }
            Some((left, error)) => {
                self.machine.0.fail.set(Some((left - 1, error)));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl iommu_hal::Unit for Unit {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn supports(&self, geometry: &Geometry) -> bool {
        geometry.format == self.geometry.format
    }

    fn needs_clean(&self) -> bool {
        self.clean
    }

    fn caches_absence(&self) -> bool {
        self.machine.0.caches_absence.get()
    }

    fn attach<M: TableMemory>(
        &mut self,
        _: &mut M,
        _: &impl Clock,
        stream: StreamId,
        binding: &Binding,
    ) -> Result<(), UnitError> {
        let result = self.call(Call::Attach(stream, binding.tag));
        let mut walking = self.machine.0.walking.borrow_mut();
        let walked = walking.entry((self.index, stream)).or_default();
        match result {
            Ok(()) => *walked = vec![*binding],
            Err(UnitError::UnknownStream(_) | UnitError::Unsupported) => {}
            Err(_) => walked.push(*binding),
        }
        result
    }

    fn block<M: TableMemory>(
        &mut self,
        _: &mut M,
        _: &impl Clock,
        stream: StreamId,
    ) -> Result<(), UnitError> {
        self.call(Call::Block(stream))?;
        self.machine.0.walking.borrow_mut().remove(&(self.index, stream));
        Ok(())
    }

    fn invalidate<M: TableMemory>(
        &mut self,
        _: &mut M,
        _: &impl Clock,
        tag: DomainTag,
        _: &Geometry,
        range: IovaRange,
        tables: bool,
    ) -> Result<(), UnitError> {
        self.call(Call::Invalidate { tag, range, tables })?;
        self.queued.push((tag, range, tables));
        Ok(())
    }

    fn invalidate_all<M: TableMemory>(
        &mut self,
        _: &mut M,
        _: &impl Clock,
        tag: DomainTag,
        _: &Geometry,
    ) -> Result<(), UnitError> {
        self.call(Call::InvalidateAll(tag))?;
        self.queued.push((tag, IovaRange::ALL, true));
        Ok(())
    }

    fn sync<M: TableMemory>(&mut self, _: &mut M, _: &impl Clock) -> Result<Completed, UnitError> {
        self.call(Call::Sync)?;
        let mut cached = self.machine.0.cached.borrow_mut();
        let mut absent = self.machine.0.absent.borrow_mut();
        for (tag, range, tables) in self.queued.drain(..) {
            // The absence of a table is cached above the leaves.
            absent.retain(|&(unit, at, iova)| {
                unit != self.index || at != tag.0 || !tables || !range.contains(iova)
            });
            cached.retain(|&(unit, at, iova, _)| unit != self.index || at != tag.0 || !range.contains(iova));
        }
        Ok(Completed::by_hardware())
    }

    fn next_fault<M: TableMemory>(&mut self, _: &mut M) -> Option<Fault> {
        None
    }
}

pub struct Memory {
    base: PhysAddr,
    words: Vec<u64>,
    machine: Machine,
}

impl Memory {
    fn word(&self, at: PhysAddr) -> usize {
        assert!(at.0.is_multiple_of(8));
        ((at.0 - self.base.0) / 8) as usize
    }
}

impl TableMemory for Memory {
    fn base(&self) -> PhysAddr {
        self.base
    }

    fn bytes(&self) -> u64 {
        self.words.len() as u64 * 8
    }

    fn read(&self, at: PhysAddr) -> u64 {
        self.words[self.word(at)]
    }

    fn write(&mut self, at: PhysAddr, value: u64) {
        let word = self.word(at);
        self.words[word] = value;
        self.machine.0.stores.update(|stores| stores + 1);
    }

    fn zero(&mut self, at: PhysAddr, bytes: u64) {
        let word = self.word(at);
        self.words[word..word + (bytes / 8) as usize].fill(0);
        self.machine.0.zeroed.update(|zeroed| zeroed + 1);
    }

    fn publish(&mut self) {}

    fn clean(&mut self, _: PhysAddr, bytes: u64) {
        self.machine.0.cleaned.update(|cleaned| cleaned + bytes);
    }

    fn invalidate(&mut self, _: PhysAddr, _: u64) {}
}
