//! The unit at work: [`iommu_hal::Unit`] for [`IntelVtd`].

use iommu_hal::{
    Binding, COMPLETION_LIMIT_NS, Clock, Completed, DomainTag, Fault, FaultReason, Geometry, IovaRange,
    PhysAddr, QUEUE_SPACE_LIMIT_NS, Registers, StreamId, TableMemory, Unit, UnitError, poll,
};

use crate::{
    control::Control,
    entries::{ABORT, Words, entry, target},
    errors::ErrorCounts,
    fault_log::{FaultLog, decode, is_mapped},
    features::{Features, Mode},
    invalidate::Iotlb,
    queue::InvalidationQueue,
    report::Report,
    root_table::{RootTable, Stream},
    spec::{
        descriptors::Descriptor,
        registers::{TableMode, offset},
    },
};

/// The PASID of requests that have none (9.4, RID_PASID).
const RID_PASID: u32 = 0;
/// The domain id under which a unit in caching mode holds absent entries (6.1).
const ABSENT: DomainTag = DomainTag(0);

/// A VT-d unit that was brought up.
#[derive(Debug)]
pub struct IntelVtd<R> {
    pub(crate) regs: R,
    pub(crate) features: Features,
    pub(crate) mode: Mode,
    pub(crate) control: Control,
    pub(crate) queue: InvalidationQueue,
    pub(crate) iotlb: Iotlb,
    pub(crate) faults: FaultLog,
    pub(crate) table: RootTable,
    /// A root table in which everything is absent, for the worst case.
    pub(crate) barren: PhysAddr,
    pub(crate) report: Report,
    pub(crate) counts: ErrorCounts,
    /// A descriptor was refused or dropped since the last completion; IQERCD's reason.
    pub(crate) rejected: Option<u8>,
    /// The wait that is waited for may be among what was refused or dropped.
    pub(crate) wait_lost: bool,
    /// Descriptors were queued since the last completion.
    pub(crate) pending: bool,
    /// A wait passed its deadline.
    pub(crate) out_of_order: bool,
}

impl<R: Registers> IntelVtd<R> {
    /// What bring-up found, chose and tried.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The registers, for diagnosis and tests. Writing them behind the driver's back breaks its promises.
    pub fn registers(&mut self) -> &mut R {
        &mut self.regs
    }

    /// Where the invalidation queue stands, for [`IntelVtd::commands_since`].
    pub fn commands(&self) -> u32 {
        self.queue.stored()
    }

    /// How many descriptors were queued since it stood at `before`.
    pub fn commands_since(&self, before: u32) -> u32 {
        self.queue.stored().wrapping_sub(before)
    }

    /// Queues a descriptor.
    #[inline(never)]
    pub(crate) fn push<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        descriptor: Descriptor,
    ) -> Result<(), UnitError> {
        self.push_here(memory, clock, descriptor)
    }

    /// As [`IntelVtd::push`], on the way of every UNMAP.
    #[inline(always)]
    fn push_here<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        descriptor: Descriptor,
    ) -> Result<(), UnitError> {
        self.make_room(memory, clock)?;
        self.queue.store(memory, descriptor);
        self.pending = true;
        Ok(())
    }

    /// Queues a wait: what comes behind it begins after all before it has completed.
    #[inline(never)]
    pub(crate) fn push_wait<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
    ) -> Result<(), UnitError> {
        self.push_wait_here(memory, clock)
    }

    /// As [`IntelVtd::push_wait`], on the way of every UNMAP.
    #[inline(always)]
    fn push_wait_here<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
    ) -> Result<(), UnitError> {
        self.make_room(memory, clock)?;
        self.queue.store_wait(memory);
        Ok(())
    }

    /// Sees to it that an entry of the queue is free. A unit that is out of order has none.
    #[inline(always)] // A comparison, twice on the way of every UNMAP.
    fn make_room<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) -> Result<(), UnitError> {
        if self.queue.full() { self.wait_for_room(memory, clock) } else { Ok(()) }
    }

    #[cold]
    fn wait_for_room<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) -> Result<(), UnitError> {
        if self.out_of_order {
            return Err(UnitError::OutOfOrder);
        }
        self.ring(memory);
        self.wait_for_queue(
            memory,
            clock,
            QUEUE_SPACE_LIMIT_NS,
            "space in the invalidation queue",
            |queue, _| !queue.full(),
        )
    }

    /// Completes everything queued. Where the unit refused a descriptor, everything is invalidated in its stead.
    #[inline]
    pub(crate) fn complete<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
    ) -> Result<(), UnitError> {
        self.push_wait_here(memory, clock)?;
        self.drain(memory, clock)?;
        if self.rejected.is_some() {
            self.make_good(memory, clock)?;
        }
        self.pending = false;
        Ok(())
    }

    /// Does what refused descriptors may have left undone, and more: forgets everything.
    #[cold]
    fn make_good<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) -> Result<(), UnitError> {
        self.rejected = None;
        self.push_forget_all(memory, clock)?;
        self.push_wait(memory, clock)?;
        self.drain(memory, clock)?;
        match self.rejected {
            Some(reason) => Err(UnitError::CommandRejected(reason)),
            None => Ok(()),
        }
    }

    /// Queues what forgets everything, from the root down: until old entries are forgotten, more may be cached that
    /// was made with them (6.5.3).
    pub(crate) fn push_forget_all<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
    ) -> Result<(), UnitError> {
        self.push(memory, clock, Descriptor::CONTEXT_ALL)?;
        self.push_wait(memory, clock)?;
        if self.mode == Mode::Scalable {
            self.push(memory, clock, Descriptor::PASID_ALL)?;
            self.push_wait(memory, clock)?;
        }
        self.push(memory, clock, self.iotlb.all())
    }

    /// Rings and waits until everything queued, which ends with a wait, has completed.
    #[inline]
    pub(crate) fn drain<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
    ) -> Result<(), UnitError> {
        self.ring(memory);
        // Most often the unit has answered by now, and no register need be read for it.
        if self.queue.completed(memory) {
            self.queue.all_taken();
            return Ok(());
        }
        let done = |queue: &InvalidationQueue, memory: &M| queue.completed(memory);
        self.wait_for_queue(memory, clock, COMPLETION_LIMIT_NS, "completion of an invalidation wait", done)
    }

    #[inline]
    fn ring<M: TableMemory>(&mut self, memory: &mut M) {
        if let Some(tail) = self.queue.ring(memory) {
            self.regs.write64(offset::IQT, tail);
        }
    }

    #[inline]
    fn wait_for_queue<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        limit_ns: u64,
        waiting_for: &'static str,
        done: impl Fn(&InvalidationQueue, &M) -> bool,
    ) -> Result<(), UnitError> {
        let head = self.regs.read64(offset::IQH);
        self.queue.taken(head);
        if done(&self.queue, memory) {
            return Ok(());
        }
        self.poll_queue(memory, clock, limit_ns, waiting_for, done)
    }

    /// Waits for the queue with a deadline. Where the unit has stopped at a descriptor, it is replaced and the wait
    /// goes on; where it dropped the last wait, there is another.
    #[cold]
    fn poll_queue<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        limit_ns: u64,
        waiting_for: &'static str,
        done: impl Fn(&InvalidationQueue, &M) -> bool,
    ) -> Result<(), UnitError> {
        let waited = poll(clock, limit_ns, waiting_for, || {
            let errors = self.queue_errors();
            self.repair(memory, errors);
            let head = self.regs.read64(offset::IQH);
            self.queue.taken(head);
            if done(&self.queue, memory) {
                return true;
            }
            if self.wait_lost && self.queue.drained() {
                self.wait_lost = false;
                self.queue.store_wait(memory);
                self.ring(memory);
            }
            false
        });
        if waited.is_err() {
            self.counts.timeouts += 1;
            self.give_up(memory, clock);
        }
        self.wait_lost = false;
        waited
    }

    /// Aborts everything by every means left: all entries, then a root table in which all is absent. Translation stays
    /// on: without it, everything would pass.
    #[cold]
    pub(crate) fn give_up<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) {
        self.out_of_order = true;
        self.queue.close();
        for index in 0..self.table.streams.len() {
            self.store_abort(memory, self.table.streams[index]);
        }
        let mode = self.table_mode();
        let taken = self.control.set_root(&mut self.regs, clock, self.barren, mode);
        self.counts.timeouts += u64::from(matches!(taken, Err(UnitError::Timeout { .. })));
    }

    /// The mode as RTADDR_REG has it.
    pub(crate) const fn table_mode(&self) -> TableMode {
        match self.mode {
            Mode::Legacy => TableMode::LEGACY,
            Mode::Scalable => TableMode::SCALABLE,
        }
    }

    /// Stores the word that decides between abort and translation, after what was stored before.
    fn store_word0<M: TableMemory>(&mut self, memory: &mut M, entry: PhysAddr, word0: u64) {
        memory.publish();
        memory.write(entry, word0);
        self.clean(memory, entry);
        memory.publish();
    }

    /// Makes the entries of `stream` say abort.
    fn store_abort<M: TableMemory>(&mut self, memory: &mut M, stream: Stream) {
        self.store_word0(memory, stream.context, ABORT);
        if stream.entry != stream.context {
            self.store_word0(memory, stream.entry, ABORT);
        }
    }

    /// Makes the words of an entry visible. Entries do not cross cache lines.
    fn clean<M: TableMemory>(&self, memory: &mut M, entry: PhysAddr) {
        if !self.features.ecap().c() {
            memory.clean(entry, 16);
        }
    }

    /// Queues what forgets the entry of `stream` as it was cached under `tag`, and what was translated with it.
    fn push_forget<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: Stream,
        tag: DomainTag,
    ) -> Result<(), UnitError> {
        self.push(memory, clock, Descriptor::context_of(stream.source(), tag.0))?;
        self.push_wait(memory, clock)?;
        if self.mode == Mode::Scalable {
            self.push(memory, clock, Descriptor::pasid_of(RID_PASID, tag.0))?;
            self.push_wait(memory, clock)?;
        }
        self.push(memory, clock, self.iotlb.domain(tag))
    }

    /// Makes the entry of `stream` abort and completes all that was translated with it.
    fn abort_entry<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: Stream,
    ) -> Result<(), UnitError> {
        let old = target(memory, self.mode, stream.entry);
        self.store_abort(memory, stream);
        self.flush(memory, clock)?;
        if let Some(old) = old {
            self.push_forget(memory, clock, stream, old.tag)?;
        }
        self.complete(memory, clock)
    }

    /// Flushes the unit's write buffers, where it has them.
    fn flush<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) -> Result<(), UnitError> {
        let flushed = self.control.flush(&mut self.regs, clock);
        if flushed.is_err() {
            self.counts.timeouts += 1;
            self.give_up(memory, clock);
        }
        flushed
    }

    /// Changes an entry so that the unit sees the old one, the new one or abort (H5): its other words change only
    /// while word 0 says abort, and only after the unit has forgotten what they were.
    ///
    /// Nothing is cached under the new tag but translations of its own tables: a stream that leaves a tag takes along
    /// what is cached under it.
    fn change_entry<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: Stream,
        new: Words,
    ) -> Result<(), UnitError> {
        let word1 = PhysAddr(stream.entry.0 + 8);
        if [memory.read(stream.entry), memory.read(word1)] == new {
            return Ok(());
        }
        if target(memory, self.mode, stream.entry).is_some() {
            self.abort_entry(memory, clock, stream)?;
        }
        memory.write(word1, new[1]);
        // On its own: the unit may read word 1 before word 0.
        self.clean(memory, stream.entry);
        memory.publish();
        self.flush(memory, clock)?;
        self.store_word0(memory, stream.entry, new[0]);
        if let Some(word0) = stream.context_word0() {
            self.store_word0(memory, stream.context, word0);
        }
        self.flush(memory, clock)?;
        if self.features.cap().cm() {
            self.push_forget(memory, clock, stream, ABSENT)?;
            self.complete(memory, clock)?;
        }
        Ok(())
    }
}

impl<R: Registers> Unit for IntelVtd<R> {
    fn geometry(&self) -> Geometry {
        self.report.geometry
    }

    fn supports(&self, geometry: &Geometry) -> bool {
        self.features.supports(geometry)
    }

    fn needs_clean(&self) -> bool {
        !self.features.walks_snoop(self.mode)
    }

    fn caches_absence(&self) -> bool {
        self.features.cap().cm() || self.features.cap().rwbf()
    }

    fn attach<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: StreamId,
        binding: &Binding,
    ) -> Result<(), UnitError> {
        let index = self.table.find(stream).ok_or(UnitError::UnknownStream(stream))?;
        let Binding { tag, geometry, root } = *binding;
        if !self.features.supports(&geometry)
            || !(1..=self.features.last_tag()).contains(&tag.0)
            || !root.0.is_multiple_of(iommu_hal::FRAME_BYTES)
            || root.0 >> geometry.output_bits != 0
        {
            return Err(UnitError::Unsupported);
        }
        if self.out_of_order {
            return Err(UnitError::OutOfOrder);
        }
        let stream = self.table.streams[index];
        if self.rejected.is_some() {
            // The unit may not have forgotten what an earlier change left behind.
            self.complete(memory, clock)?;
        }
        let new = entry(&self.features, self.mode, binding);
        let changed = self.change_entry(memory, clock, stream, new);
        if changed.is_err() && !self.out_of_order {
            // The first error is the one to tell; this one has the same cause.
            let _ = self.abort_entry(memory, clock, stream);
        }
        changed
    }

    fn block<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: StreamId,
    ) -> Result<(), UnitError> {
        let index = self.table.find(stream).ok_or(UnitError::UnknownStream(stream))?;
        let stream = self.table.streams[index];
        self.abort_entry(memory, clock, stream)
    }

    #[inline]
    fn invalidate<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        tag: DomainTag,
        geometry: &Geometry,
        range: IovaRange,
        tables: bool,
    ) -> Result<(), UnitError> {
        match self.iotlb.range(tag, geometry, range, tables) {
            Some(descriptors) => {
                for descriptor in descriptors {
                    self.push_here(memory, clock, descriptor)?;
                }
                Ok(())
            }
            None => self.invalidate_all(memory, clock, tag, geometry),
        }
    }

    fn invalidate_all<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        tag: DomainTag,
        _geometry: &Geometry,
    ) -> Result<(), UnitError> {
        self.push(memory, clock, self.iotlb.domain(tag))
    }

    #[inline]
    fn sync<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) -> Result<Completed, UnitError> {
        if self.out_of_order {
            return Err(UnitError::OutOfOrder);
        }
        if self.pending || self.rejected.is_some() {
            self.complete(memory, clock)?;
        }
        Ok(Completed::by_hardware())
    }

    fn next_fault<M: TableMemory>(&mut self, memory: &mut M) -> Option<Fault> {
        let mut fault = decode(self.faults.next(&mut self.regs)?);
        if fault.reason == FaultReason::Permission {
            // The record does not tell an absent page from one without the right; the tables as they are now do.
            let index = self.table.find(fault.stream);
            let entry = index.map(|index| self.table.streams[index].entry);
            let target = entry.and_then(|entry| target(memory, self.mode, entry));
            let mapped = |target| fault.iova.is_some_and(|iova| is_mapped(memory, &target, iova));
            if !target.is_some_and(mapped) {
                fault.reason = FaultReason::NotMapped;
            }
        }
        Some(fault)
    }
}
