//! A unit that a boot loader left on.

use super::{
    Bench, Config, Smmu,
    config_cache::Cached,
    registers,
    stream_table::{STE_BYTES, Ste},
    tlb::{Allowed, Entry, Stage, Tag, Target},
};

/// What the boot loader left behind. Whatever is on, its memory is the loader's own, outside the table region.
#[derive(Debug, Clone, Copy)]
pub struct LeftOn {
    /// SMMUEN: every stream below 256 has an entry that bypasses, and it is cached.
    pub translating: bool,
    /// CMDQEN, with an empty queue.
    pub command_queue: bool,
    /// EVENTQEN, with this many records that nobody took, of 128.
    pub event_queue: Option<u32>,
    /// GBPA.ABORT.
    pub aborts: bool,
    /// Global errors that nobody acknowledged.
    pub errors: u32,
    /// Cached translations, under VMIDs and ASIDs 0 to 7, of the first GiB onto itself.
    pub stale_translations: bool,
}

impl Default for LeftOn {
    /// Everything on, nothing in order.
    fn default() -> Self {
        Self {
            translating: true,
            command_queue: true,
            event_queue: Some(3),
            aborts: false,
            errors: 0b101,
            stale_translations: true,
        }
    }
}

/// Where the loader has its tables.
const LOADER_BASE: u64 = 0x1_0000;
const LOADER_COMMANDS: u64 = 0x2_0000;
const LOADER_EVENTS: u64 = 0x3_0000;
const LOADER_LAST: u64 = 0x3_ffff;
const LOADER_STREAMS_LG2: u32 = 8;
/// Both queues hold 128 entries.
const LOADER_QUEUE_LG2: u32 = 7;
const STALE_TAGS: u16 = 8;

const EVERYTHING: Allowed = Allowed {
    unprivileged_read: true,
    unprivileged_write: true,
    unprivileged_execute: true,
    privileged_read: true,
    privileged_write: true,
    privileged_execute: true,
};

impl Bench {
    /// A unit as a boot loader left it.
    pub fn left_on(config: Config, left: &LeftOn) -> Self {
        let bench = Self::new(config);
        {
            let machine = &mut *bench.machine.borrow_mut();
            let memory = &mut machine.memory;
            assert!(LOADER_LAST < memory.base(), "the loader's tables lie below the table region");
            memory.allow_foreign_tables(LOADER_BASE, LOADER_LAST);
            for stream in 0..1 << LOADER_STREAMS_LG2 {
                memory.poke(LOADER_BASE + STE_BYTES * stream, &bypass()[0].to_le_bytes());
            }
            machine.unit.leave(left);
            machine.unit.follow(memory);
        }
        bench
    }
}

/// V, and Config 0b100.
const fn bypass() -> [u64; 8] {
    [0b1001, 0, 0, 0, 0, 0, 0, 0]
}

impl Smmu {
    fn leave(&mut self, left: &LeftOn) {
        let registers: &mut registers::RegisterFile = &mut self.registers;
        registers.strtab_base = LOADER_BASE;
        registers.strtab_shape = LOADER_STREAMS_LG2;
        registers.cmdq_base = LOADER_COMMANDS | u64::from(LOADER_QUEUE_LG2);
        (registers.cmdq_prod, registers.cmdq_cons) = (9, 9);
        registers.eventq_base = LOADER_EVENTS | u64::from(LOADER_QUEUE_LG2);
        (registers.eventq_prod, registers.eventq_cons) = (left.event_queue.unwrap_or(0), 0);
        let cr0 = u32::from(left.translating)
            | u32::from(left.event_queue.is_some()) << 2
            | u32::from(left.command_queue) << 3;
        registers.leave_on(cr0, left.aborts);
        registers.activate(left.errors);
        if left.translating {
            let entries =
                (0..1 << LOADER_STREAMS_LG2).map(|stream| (stream, Cached { value: Ste(bypass()), born: 0 }));
            self.cache.entries.extend(entries);
        }
        if left.stale_translations {
            self.leave_translations();
        }
        self.was_open = !left.translating && !left.aborts;
    }

    fn leave_translations(&mut self) {
        for vmid in 0..STALE_TAGS {
            for (stage, asids) in [(Stage::One, STALE_TAGS), (Stage::Two, 1)] {
                for asid in 0..asids {
                    let entry = Entry {
                        tag: Tag { stage, vmid, asid },
                        global: false,
                        granule_lg2: 12,
                        level: 1,
                        first: 0,
                        size_lg2: 30,
                        target: Target::Leaf { output: 0, allowed: EVERYTHING },
                        born: 0,
                    };
                    self.tlb.insert(entry, |_| false);
                }
            }
        }
    }
}
