//! The unit at work: [`iommu_hal::Unit`] for [`SmmuV3`].

use iommu_hal::{
    Binding, COMPLETION_LIMIT_NS, Clock, Completed, DomainTag, Fault, Format, Geometry, IovaRange, PhysAddr,
    QUEUE_SPACE_LIMIT_NS, REGISTER_LIMIT_NS, Registers, StreamId, TableMemory, Unit, UnitError, poll,
};

use crate::{
    entries::{ABORT, context, stage1_entry, stage2_entry, tag_of},
    errors::ErrorCounts,
    events::{EventQueue, decode},
    features::Features,
    invalidate::{RangeCommands, by_tag},
    queue::CommandQueue,
    report::Report,
    spec::{
        cd::CD_BYTES,
        commands::Command,
        registers::{CmdqCons, Cr0, offset},
        ste::{STE_BYTES, Ste, SteWord0},
    },
    stream_table::{Stream, StreamTable},
};

/// An SMMUv3 that was brought up.
#[derive(Debug)]
pub struct SmmuV3<R> {
    pub(crate) regs: R,
    pub(crate) features: Features,
    pub(crate) commands: CommandQueue,
    pub(crate) events: EventQueue,
    pub(crate) table: StreamTable,
    pub(crate) report: Report,
    pub(crate) counts: ErrorCounts,
    /// A command was refused since the last completion; its error.
    pub(crate) rejected: Option<u8>,
    /// Commands were queued since the last completion.
    pub(crate) pending: bool,
    /// A wait passed its deadline or the unit stopped working.
    pub(crate) out_of_order: bool,
}

impl<R: Registers> SmmuV3<R> {
    /// What bring-up found, chose and tried.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The registers, for diagnosis and tests. Writing them behind the driver's back breaks its promises.
    pub fn registers(&mut self) -> &mut R {
        &mut self.regs
    }

    /// Where the command queue stands, for [`SmmuV3::commands_since`].
    pub fn commands(&self) -> u32 {
        self.commands.position()
    }

    /// How many commands were queued since it stood at `before`, as long as they are fewer than two laps.
    pub fn commands_since(&self, before: u32) -> u32 {
        self.commands.since(before)
    }

    /// Queues a command.
    #[inline]
    pub(crate) fn push<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        command: Command,
    ) -> Result<(), UnitError> {
        if self.commands.full() {
            self.wait_for_space(memory, clock)?;
        }
        self.commands.store(memory, command);
        self.pending = true;
        Ok(())
    }

    /// Waits for a free entry of the command queue. A unit that is out of order has none.
    #[cold]
    fn wait_for_space<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
    ) -> Result<(), UnitError> {
        if self.out_of_order {
            return Err(UnitError::OutOfOrder);
        }
        self.ring(memory);
        let what = "space in the command queue";
        self.wait_for_queue(memory, clock, QUEUE_SPACE_LIMIT_NS, what, |queue| !queue.full())
    }

    /// Completes everything queued. Where the unit refused a command, everything is invalidated in its stead.
    #[inline]
    pub(crate) fn complete<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
    ) -> Result<(), UnitError> {
        self.push(memory, clock, Command::SYNC)?;
        self.drain(memory, clock)?;
        if self.rejected.is_some() {
            self.make_good(memory, clock)?;
        }
        self.pending = false;
        Ok(())
    }

    /// Does what refused commands may have left undone, and more: forgets everything.
    #[cold]
    fn make_good<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) -> Result<(), UnitError> {
        self.rejected = None;
        // Translations last: until old entries are forgotten, more may be made with them.
        for command in [Command::CFGI_ALL, Command::SYNC, Command::TLBI_NSNH_ALL, Command::SYNC] {
            self.push(memory, clock, command)?;
        }
        self.drain(memory, clock)?;
        match self.rejected {
            Some(error) => Err(UnitError::CommandRejected(error)),
            None => Ok(()),
        }
    }

    /// Rings and waits until everything queued, which ends with a CMD_SYNC, is consumed.
    #[inline]
    pub(crate) fn drain<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
    ) -> Result<(), UnitError> {
        self.ring(memory);
        self.wait_for_queue(
            memory,
            clock,
            COMPLETION_LIMIT_NS,
            "completion of CMD_SYNC",
            CommandQueue::drained,
        )
    }

    #[inline]
    fn ring<M: TableMemory>(&mut self, memory: &mut M) {
        if let Some(prod) = self.commands.ring(memory) {
            self.regs.write32(offset::CMDQ_PROD, prod);
        }
    }

    #[inline]
    fn wait_for_queue<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        limit_ns: u64,
        waiting_for: &'static str,
        done: impl Fn(&CommandQueue) -> bool,
    ) -> Result<(), UnitError> {
        let cons = CmdqCons::from(self.regs.read32(offset::CMDQ_CONS));
        self.commands.consumed(cons.rd());
        if done(&self.commands) {
            return Ok(());
        }
        self.poll_queue(memory, clock, limit_ns, waiting_for, done)
    }

    /// Waits for the command queue with a deadline. Where the unit has stopped at a command, the command is
    /// replaced and the wait goes on.
    #[cold]
    fn poll_queue<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        limit_ns: u64,
        waiting_for: &'static str,
        done: impl Fn(&CommandQueue) -> bool,
    ) -> Result<(), UnitError> {
        let waited = poll(clock, limit_ns, waiting_for, || {
            if self.active_errors().cmdq() {
                self.repair_command(memory);
            }
            let cons = CmdqCons::from(self.regs.read32(offset::CMDQ_CONS));
            self.commands.consumed(cons.rd());
            done(&self.commands)
        });
        if waited.is_err() {
            self.counts.timeouts += 1;
            self.give_up(memory, clock);
        }
        waited
    }

    /// Aborts everything by every means left: all entries, then the unit off with GBPA.ABORT in charge.
    #[cold]
    pub(crate) fn give_up<M: TableMemory>(&mut self, memory: &mut M, clock: &impl Clock) {
        self.out_of_order = true;
        self.commands.close();
        for index in 0..self.table.streams.len() {
            let entry = self.table.streams[index].entry;
            self.store_word0(memory, entry, ABORT);
        }
        self.regs.write32(offset::CR0, Cr0::new().into());
        let off = poll(clock, REGISTER_LIMIT_NS, "CR0ACK to say that the unit is off", || {
            !Cr0::from(self.regs.read32(offset::CR0ACK)).smmuen()
        });
        self.counts.timeouts += u64::from(off.is_err());
    }

    /// Stores the word that decides between abort and translation.
    fn store_word0<M: TableMemory>(&mut self, memory: &mut M, entry: PhysAddr, word0: SteWord0) {
        memory.publish();
        memory.write(entry, word0.into());
        self.clean(memory, entry, STE_BYTES);
        memory.publish();
    }

    fn clean<M: TableMemory>(&self, memory: &mut M, at: PhysAddr, bytes: u64) {
        if !self.features.idr0().cohacc() {
            memory.clean(at, bytes);
        }
    }

    /// Makes the entry of `stream` abort and completes all that was translated with it.
    fn abort_entry<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: Stream,
    ) -> Result<(), UnitError> {
        let old = tag_of(memory, stream.entry);
        self.store_word0(memory, stream.entry, ABORT);
        self.forget_entry(memory, clock, stream, old)
    }

    /// Makes the unit fetch the entry of `stream` anew, and completes the accesses that were translated under
    /// the tag which it had before.
    fn forget_entry<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: Stream,
        old: Option<(DomainTag, Format)>,
    ) -> Result<(), UnitError> {
        self.push(memory, clock, Command::cfgi_ste(stream.id.0, true))?;
        if let Some((tag, format)) = old {
            // Only once the old entry is forgotten can nothing be translated with it any more.
            self.push(memory, clock, Command::SYNC)?;
            self.push(memory, clock, by_tag(tag, format))?;
        }
        self.complete(memory, clock)
    }

    /// Changes an entry so that the unit sees the old one, the new one or abort (H5). The unit reads an entry's
    /// 64-bit words one by one and in any order, so words 1 to 3 change only while word 0 says abort, and word
    /// 0 only after the unit has forgotten what the others were.
    ///
    /// Nothing is cached under the new tag but translations of its own tables: a stream that leaves a tag takes
    /// along what is cached under it.
    fn change_entry<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: Stream,
        new: &Ste,
    ) -> Result<(), UnitError> {
        let mut old = tag_of(memory, stream.entry);
        let word_at = |index: usize| PhysAddr(stream.entry.0 + 8 * index as u64);
        let words = new.words();
        let others_change = (1..Ste::WORDS).any(|index| memory.read(word_at(index)) != words[index]);
        if others_change {
            if old.is_some() {
                self.abort_entry(memory, clock, stream)?;
                old = None;
            }
            for (index, &word) in words.iter().enumerate().skip(1) {
                memory.write(word_at(index), word);
            }
            self.clean(memory, stream.entry, STE_BYTES);
            self.forget_entry(memory, clock, stream, None)?;
        }
        self.store_word0(memory, stream.entry, new.word0);
        self.forget_entry(memory, clock, stream, old)
    }

    /// Makes the entry of `stream` say `binding`.
    fn point_at<M: TableMemory>(
        &mut self,
        memory: &mut M,
        clock: &impl Clock,
        stream: Stream,
        binding: &Binding,
    ) -> Result<(), UnitError> {
        if self.rejected.is_some() {
            // The unit may not have forgotten what an earlier change left behind.
            self.complete(memory, clock)?;
        }
        let entry = match binding.geometry.format {
            Format::ArmStage1 => {
                let at = self.prepare_context(memory, stream, binding);
                stage1_entry(&self.features, at)
            }
            Format::ArmStage2 => stage2_entry(&self.features, binding),
            Format::VtdSecondStage => return Err(UnitError::Unsupported),
        };
        self.change_entry(memory, clock, stream, &entry)
    }

    /// Writes the context descriptor for `binding` where the unit does not look, and gives its place.
    fn prepare_context<M: TableMemory>(
        &mut self,
        memory: &mut M,
        stream: Stream,
        binding: &Binding,
    ) -> PhysAddr {
        let used = SteWord0::from(memory.read(stream.entry)).s1contextptr_6() << 6;
        let at = stream.context_beside(PhysAddr(used));
        for (index, word) in context(&self.features, binding).words().into_iter().enumerate() {
            memory.write(PhysAddr(at.0 + 8 * index as u64), word);
        }
        self.clean(memory, at, CD_BYTES);
        at
    }
}

impl<R: Registers> Unit for SmmuV3<R> {
    fn geometry(&self) -> Geometry {
        self.report.geometry
    }

    fn supports(&self, geometry: &Geometry) -> bool {
        self.features.supports(geometry)
    }

    fn needs_clean(&self) -> bool {
        !self.features.idr0().cohacc()
    }

    fn caches_absence(&self) -> bool {
        false
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
            || !(1..=self.features.last_tag(geometry.format)).contains(&tag.0)
            || !root.0.is_multiple_of(iommu_hal::FRAME_BYTES)
            || root.0 >> self.features.output_bits() != 0
        {
            return Err(UnitError::Unsupported);
        }
        if self.out_of_order {
            return Err(UnitError::OutOfOrder);
        }
        let stream = self.table.streams[index];
        let changed = self.point_at(memory, clock, stream, binding);
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
        let ril = self.features.idr3().ril();
        match RangeCommands::new(tag, geometry, range, tables, ril) {
            Some(commands) => {
                for command in commands {
                    self.push(memory, clock, command)?;
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
        geometry: &Geometry,
    ) -> Result<(), UnitError> {
        self.push(memory, clock, by_tag(tag, geometry.format))
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
        self.events.next(&mut self.regs, memory).map(decode)
    }
}
