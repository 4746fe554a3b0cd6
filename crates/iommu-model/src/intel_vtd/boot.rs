//! A unit that a boot loader left on.

use super::{
    Bench, Config,
    fault_recording::{IQE, PFO, Record},
    global_command::{GlobalStatus, IRES, IRTPS, QIES, RTPS, TES},
    protected_memory::ProtectedMemory,
    tlb::{Allowed, Entry, Target},
    translate::Context,
};

/// What the boot loader left behind. Whatever is on, its memory is the loader's own, outside the table region.
#[derive(Debug, Clone, Copy)]
pub struct LeftOn {
    /// TE: every device passes through, and the entries of bus 0 are cached.
    pub translating: bool,
    /// QIE, with an empty queue.
    pub queue: bool,
    /// IRE, with a table of 256 entries that are not present.
    pub interrupts: bool,
    /// A fault record that nobody took, and an overflow.
    pub faults: bool,
    /// The queue stands at a descriptor that it refuses (FSTS.IQE).
    pub queue_error: bool,
    /// Protected memory regions are on: the low 2 MiB from 0x200000, and the 2 MiB from 0x1_0000_0000.
    pub protected_memory: bool,
    /// Cached translations, under domain ids 0 to 7, of the first GiB onto itself.
    pub stale_translations: bool,
}

impl Default for LeftOn {
    /// Everything on, nothing in order but the queue.
    fn default() -> Self {
        Self {
            translating: true,
            queue: true,
            interrupts: false,
            faults: true,
            queue_error: false,
            protected_memory: false,
            stale_translations: true,
        }
    }
}

const LOADER_ROOT: u64 = 0x1_0000;
const LOADER_CONTEXTS: u64 = 0x2_0000;
const LOADER_QUEUE: u64 = 0x3_0000;
const LOADER_INTERRUPTS: u64 = 0x4_0000;
const LOADER_LAST: u64 = 0x4_ffff;
/// Where the loader's queue stands.
const LOADER_HEAD: u64 = 0x90;
const STALE_DOMAINS: u16 = 8;

impl Bench {
    /// A unit as a boot loader left it: in legacy mode, with pass-through entries under domain id 1.
    pub fn left_on(config: Config, left: &LeftOn) -> Self {
        let bench = Self::new(config);
        {
            let machine = &mut *bench.machine.borrow_mut();
            let (memory, unit) = (&mut machine.memory, &mut machine.unit);
            assert!(LOADER_LAST < memory.base(), "the loader's tables lie below the table region");
            memory.allow_foreign_tables(LOADER_ROOT, LOADER_LAST);
            let widest = unit.config.widths.iter().max().copied().unwrap_or(48);
            let entry = [1 | 0b10 << 2, u64::from((widest - 30) / 9) | 1 << 8];
            for index in 0..256 {
                memory.poke(LOADER_ROOT + 16 * index, &(LOADER_CONTEXTS | 1).to_le_bytes());
                memory.poke(LOADER_CONTEXTS + 16 * index, &entry[0].to_le_bytes());
                memory.poke(LOADER_CONTEXTS + 16 * index + 8, &entry[1].to_le_bytes());
            }
            let registers = &mut unit.registers;
            let flag = |on, bits| if on { bits } else { 0 };
            (registers.root, registers.latched_root) = (LOADER_ROOT, LOADER_ROOT);
            registers.status = GlobalStatus::left(
                flag(left.translating, TES)
                    | RTPS
                    | flag(left.queue, QIES)
                    | flag(left.interrupts, IRES | IRTPS),
            );
            if left.queue {
                registers.queue_address = LOADER_QUEUE;
                let pending = if left.queue_error { 16 } else { 0 };
                (registers.queue_head, registers.queue_tail) = (LOADER_HEAD, LOADER_HEAD + pending);
            }
            (registers.interrupt_table, registers.latched_interrupt_table) =
                (LOADER_INTERRUPTS | 7, LOADER_INTERRUPTS | 7);
            if left.faults {
                let fault = Record { source: 8, pasid: None, information: 0x1000, write: false, code: 6 };
                registers.faults.record(&fault, false);
                registers.faults.raise(PFO);
            }
            if left.protected_memory {
                assert!(unit.config.protected_memory, "the unit has no protected memory regions");
                registers.protected = ProtectedMemory::left([0x20_0000, 0x20_0000, 1 << 32, 1 << 32]);
            }
            if left.queue_error {
                registers.faults.raise(IQE);
            }
            if left.translating {
                let words = [entry[0], entry[1], 0, 0];
                unit.contexts
                    .extend((0..256).map(|source| (source, Context { words, missing: None, born: 0 })));
            }
            if left.stale_translations {
                for domain in 0..STALE_DOMAINS {
                    let target = Target::Leaf { output: 0, allowed: Allowed::ALL };
                    let entry = Entry { domain, level: 3, first: 0, size_lg2: 30, target, born: 0 };
                    unit.tlb.insert(entry, |_| false);
                }
            }
        }
        bench
    }
}
