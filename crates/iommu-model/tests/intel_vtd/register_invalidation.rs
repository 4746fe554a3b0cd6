//! Invalidation through CCMD and IOTLB (6.5.1, 11.4.6).

use iommu_hal::Registers;
use iommu_model::{Ack, intel_vtd::Config};

use crate::rig::{DEVICE, RAM, Rig, SRTP, TE, blocked_by};

const GO: u64 = 1 << 63;
const DRAIN: u64 = 0b11 << 48;

fn contexts(rig: &mut Rig, command: u64) -> u64 {
    rig.regs.write64(0x28, GO | command);
    rig.regs.read64(0x28)
}

fn translations(rig: &mut Rig, command: u64) -> u64 {
    rig.regs.write64(0xf8, GO | DRAIN | command);
    rig.regs.read64(0xf8)
}

/// A unit without a queue, with a device of domain 5 that has used its page at 0x3000.
fn warm(config: Config) -> (Rig, u64) {
    let mut rig = Rig::off(Config { queued_invalidation: false, interrupt_remapping: false, ..config });
    rig.store(rig.root, rig.contexts | 1);
    rig.regs.write64(0x20, rig.root);
    rig.regs.write32(0x18, SRTP);
    assert_eq!(contexts(&mut rig, 1 << 61) >> 59, 0b0101);
    assert_eq!(translations(&mut rig, 1 << 60) >> 57 & 0b11, 0b01);
    rig.command(TE);
    let (root, _, last) = rig.tables();
    rig.store(last + 8 * 3, RAM | 0b11);
    rig.attach(DEVICE, root, 5);
    rig.read(0x3000).unwrap();
    (rig, last)
}

#[test]
fn context_commands_name_devices_domains_or_all() {
    for (command, forgets) in [
        (1 << 61, true),
        (2 << 61 | 5, true),
        (2 << 61 | 6, false),
        (3 << 61 | 0x18 << 16 | 5, true),
        (3 << 61 | 0x1f << 16 | 3 << 32 | 5, true),
        (3 << 61 | 0x19 << 16 | 5, false),
        (3 << 61 | 0x18 << 16 | 6, false),
    ] {
        let (mut rig, _) = warm(Config::default());
        rig.store(rig.entry_at(DEVICE), 0);
        assert_eq!(contexts(&mut rig, command) >> 59 & 0b11, command >> 61);
        assert_eq!(rig.read(0x3000).is_err(), forgets, "{command:#x}");
    }
}

#[test]
fn translation_commands_name_pages_domains_or_all() {
    for (command, address, forgets) in [
        (1 << 60, 0, true),
        (2 << 60 | 5 << 32, 0, true),
        (2 << 60 | 6 << 32, 0, false),
        (3 << 60 | 5 << 32, 0x3000, true),
        (3 << 60 | 5 << 32, 2, true),
        (3 << 60 | 5 << 32, 0x4000, false),
        (3 << 60 | 6 << 32, 0x3000, false),
    ] {
        let (mut rig, last) = warm(Config::default());
        rig.store(last + 8 * 3, 0);
        rig.regs.write64(0xf0, address);
        assert_eq!(translations(&mut rig, command) >> 57 & 0b11, command >> 60);
        assert_eq!(rig.read(0x3000).is_err(), forgets, "{command:#x} {address:#x}");
    }
}

#[test]
fn without_page_selection_the_domain_goes_and_the_answer_says_so() {
    let (mut rig, last) = warm(Config { page_selective: false, ..Config::default() });
    rig.store(last + 8 * 3, 0);
    rig.regs.write64(0xf0, 0x9000);
    assert_eq!(translations(&mut rig, 3 << 60 | 5 << 32) >> 57 & 0b11, 0b10);
    assert!(rig.read(0x3000).is_err());
}

#[test]
fn commands_can_be_written_in_halves_and_be_late_or_lost() {
    let (mut rig, last) = warm(Config::default());
    rig.store(last + 8 * 3, 0);
    rig.bench.faults().iotlb_command = Ack::AfterReads(2);
    rig.regs.write32(0xf8, 0);
    rig.regs.write32(0xfc, ((GO | DRAIN | 1 << 60) >> 32) as u32);
    assert!(rig.read(0x3000).is_ok());
    assert_eq!((rig.regs.read32(0xfc) >> 31, rig.regs.read32(0xfc) >> 31), (1, 0));
    assert_eq!(blocked_by(rig.read(0x3000)), Some(0x6));
    rig.bench.faults().context_command = Ack::Never;
    assert_eq!(contexts(&mut rig, 1 << 61) >> 63, 1);
}

#[test]
#[should_panic(expected = "before the last command has completed")]
fn one_command_at_a_time() {
    let (mut rig, _) = warm(Config::default());
    rig.bench.faults().context_command = Ack::Never;
    contexts(&mut rig, 1 << 61);
    translations(&mut rig, 1 << 60);
}

#[test]
#[should_panic(expected = "while queued invalidation is on")]
fn the_registers_rest_while_there_is_a_queue() {
    let mut rig = Rig::on(Config::default());
    contexts(&mut rig, 1 << 61);
}

#[test]
#[should_panic(expected = "CIRG 0 is reserved")]
fn a_command_has_a_granularity() {
    let (mut rig, _) = warm(Config::default());
    contexts(&mut rig, 0);
}

#[test]
#[should_panic(expected = "larger than CAP.MAMV")]
fn a_mask_fits_the_unit() {
    let (mut rig, _) = warm(Config { max_address_mask: 9, ..Config::default() });
    rig.regs.write64(0xf0, 10);
    translations(&mut rig, 3 << 60 | 5 << 32);
}

#[test]
#[should_panic(expected = "without DR and DW")]
fn what_is_under_way_is_drained() {
    let (mut rig, _) = warm(Config::default());
    rig.regs.write64(0xf8, GO | 1 << 60);
}

#[test]
fn an_old_unit_works_through_them() {
    let (mut rig, last) = {
        let mut rig = Rig::off(Config::old());
        rig.store(rig.root, rig.contexts | 1);
        rig.regs.write64(0x20, rig.root);
        rig.regs.write32(0x18, SRTP);
        contexts(&mut rig, 1 << 61);
        translations(&mut rig, 1 << 60);
        rig.command(TE);
        let (root, _, last) = rig.tables();
        rig.store(last, RAM | 0b11);
        rig.attach(DEVICE, root, 5);
        rig.command(TE | 1 << 27);
        (rig, last)
    };
    rig.read(0).unwrap();
    rig.store(last, 0);
    translations(&mut rig, 2 << 60 | 5 << 32);
    assert!(rig.read(0).is_err());
}
