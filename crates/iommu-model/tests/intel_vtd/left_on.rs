//! A unit that a boot loader left on.

use iommu_hal::Registers;
use iommu_model::{
    Ack,
    intel_vtd::{Bench, Config, LeftOn},
};

use crate::rig::{DEVICE, QIE, RAM, Rig, SRTP, TE, blocked_by, forget_domain};

fn left(left: LeftOn) -> Rig {
    Rig::over(Bench::left_on(Config::default(), &left))
}

#[test]
fn everything_passes_until_it_is_taken_over_in_order() {
    let mut rig = left(LeftOn::default());
    assert!(rig.read(RAM).is_ok());
    assert_eq!((rig.regs.read32(0x1c), rig.regs.read32(0x34)), (TE | SRTP | QIE, 0b11));
    // The queue is drained and moved; translation stays on.
    assert_eq!(rig.regs.read64(0x80), rig.regs.read64(0x88));
    rig.command(TE);
    rig.regs.write64(0x88, 0);
    rig.regs.write64(0x90, rig.queue);
    rig.command(TE | QIE);
    rig.point_at_root(rig.root);
    assert!(rig.read(RAM).is_ok(), "the loader's entries are cached");
    rig.invalidate_all();
    assert_eq!(blocked_by(rig.read(RAM)), Some(0x1));
    assert_eq!((rig.bench.observed().translation_ended, rig.bench.cached_translations()), (0, 0));
}

#[test]
fn translations_that_were_left_serve_whoever_uses_their_domain() {
    let mut rig = left(LeftOn { translating: false, queue: false, faults: false, ..LeftOn::default() });
    rig.enable_queue();
    assert_eq!(rig.regs.read32(0x34), 0);
    assert!(rig.bench.cached_translations() > 0);
    rig.push(forget_domain(5));
    rig.sync();
    assert_eq!(rig.bench.cached_translations(), 7);
}

#[test]
#[should_panic(expected = "IQA written while queued invalidation is on")]
fn the_queue_must_be_off_before_it_is_moved() {
    let mut rig = left(LeftOn::default());
    rig.regs.write64(0x90, rig.queue);
}

#[test]
fn a_queue_that_stands_at_an_error_shows_it() {
    let mut rig = left(LeftOn { queue_error: true, faults: false, ..LeftOn::default() });
    assert_eq!(rig.regs.read32(0x34), 1 << 4);
    assert_ne!(rig.regs.read64(0x80), rig.regs.read64(0x88));
}

#[test]
fn interrupts_can_be_remapped_by_the_loader() {
    let rig = left(LeftOn { interrupts: true, ..LeftOn::default() });
    assert_eq!(blocked_by(rig.bench.interrupt(DEVICE, 0xfee0_0010, 0)), Some(0x22));
}

#[test]
fn protected_memory_blocks_devices_until_it_is_turned_off() {
    let config = Config { protected_memory: true, ..Config::default() };
    let mut rig = Rig::over(Bench::left_on(config, &LeftOn { protected_memory: true, ..LeftOn::default() }));
    assert_eq!(rig.regs.read64(0x8) >> 5 & 0b11, 0b11);
    assert_eq!(
        (rig.regs.read32(0x64), rig.regs.read32(0x68), rig.regs.read64(0x70)),
        (1 << 31 | 1, 0x20_0000, 1 << 32)
    );
    assert_eq!(blocked_by(rig.read(0x20_0000)), None);
    assert_eq!(blocked_by(rig.write(1 << 32, &[1])), None);
    assert!(rig.read(0x40_0000).is_ok());
    rig.bench.faults().protected_memory = Ack::AfterReads(2);
    rig.regs.write32(0x64, 0);
    assert_eq!((rig.regs.read32(0x64), rig.regs.read32(0x64)), (1, 0));
    assert!(rig.read(0x20_0000).is_ok());
}
