//! What software must not do with registers.

use iommu_hal::Registers;
use iommu_model::smmu_v3::{Ack, Config};

use crate::rig::Rig;

#[test]
fn identification_follows_the_configuration() {
    let mut rig = Rig::off(Config {
        stage1: false,
        coherent: false,
        stream_bits: 8,
        two_level: false,
        output_bits: 40,
        granules: vec![12],
        range_invalidation: false,
        block_change_level: 0,
        command_queue_lg2: 8,
        event_queue_lg2: 7,
        ..Config::default()
    });
    let registers = [0x00, 0x04, 0x08, 0x0c, 0x10, 0x14].map(|offset| rig.regs.read32(offset));
    assert_eq!(registers, [0x0544_1009, 0x0107_0008, 0, 0x4, 0, 0x12]);
}

#[test]
fn wide_registers_have_halves() {
    let mut rig = Rig::off(Config::default());
    rig.regs.write32(0x84, 1);
    rig.regs.write32(0x80, 0x1000);
    assert_eq!(rig.regs.read64(0x80), 0x1_0000_1000);
    assert_eq!(rig.regs.read32(0x84), 1);
}

macro_rules! refused {
    ($($name:ident: $words:literal, |$rig:ident| $body:block)*) => {$(
        #[test]
        #[should_panic(expected = $words)]
        fn $name() {
            let mut $rig = Rig::on(Config::default());
            $body
        }
    )*};
}

refused! {
    reserved_bits_of_cr0: "reserved bits set", |rig| { rig.regs.write32(0x20, 0b1111); }
    a_stream_table_that_moves_in_use: "STRTAB_BASE written while SMMUEN", |rig| {
        rig.regs.write64(0x80, rig.streams);
    }
    a_stream_table_that_changes_shape_in_use: "STRTAB_BASE_CFG written while SMMUEN", |rig| {
        rig.regs.write32(0x88, 6);
    }
    a_command_queue_that_moves_in_use: "CMDQ_BASE written while CMDQEN", |rig| {
        rig.regs.write64(0x90, rig.commands | 3);
    }
    a_read_index_set_in_use: "CMDQ_CONS written while CMDQEN", |rig| { rig.regs.write32(0x9c, 0); }
    an_event_queue_that_moves_in_use: "EVENTQ_BASE written while EVENTQEN", |rig| {
        rig.regs.write64(0xa0, rig.events | 2);
    }
    cr2_in_use: "CR2 written while SMMUEN", |rig| { rig.regs.write32(0x2c, 0b10); }
    attributes_that_change_in_use: "attributes changed while in use", |rig| { rig.regs.write32(0x28, 0xd71); }
    more_commands_than_the_queue_holds: "overruns the commands", |rig| {
        rig.bench.faults().sync_never_completes = true;
        for _ in 0..8 {
            rig.push([0x46, 0]);
        }
        rig.regs.write32(0x98, (rig.produced + 1) & 0xf);
    }
    a_command_changed_before_it_is_consumed: "not yet consumed", |rig| {
        rig.bench.faults().sync_never_completes = true;
        rig.push([0x46, 0]);
        rig.store(rig.commands + 16 * u64::from((rig.produced - 1) & 7) + 8, 0);
    }
    a_write_index_past_its_bits: "beyond index and wrap bit", |rig| { rig.regs.write32(0x98, 0x10); }
    a_write_index_that_moves_back: "moved backwards", |rig| {
        rig.bench.faults().sync_never_completes = true;
        rig.push([0x46, 0]);
        rig.push([0x46, 0]);
        rig.regs.write32(0x98, rig.produced - 1);
    }
    the_first_page_of_an_event_index: "the index is on page 1", |rig| { rig.regs.read32(0xa8); }
    the_first_page_of_an_event_index_for_writing: "the index is on page 1", |rig| {
        rig.regs.write32(0xac, 0);
    }
    a_wide_read_of_narrow_registers: "no 64-bit register", |rig| { rig.regs.read64(0); }
    a_wide_write_of_narrow_registers: "no 64-bit register", |rig| { rig.regs.write64(0x98, 0); }
    a_misaligned_read: "misaligned", |rig| { rig.regs.read32(2); }
    a_register_that_is_none: "no register", |rig| { rig.regs.read32(0x200); }
    a_register_that_cannot_be_written: "no writable register", |rig| { rig.regs.write32(0x60, 0); }
    an_error_acknowledged_that_is_not_active: "not active", |rig| { rig.regs.write32(0x64, 1); }
    a_global_bypass_without_update: "without Update", |rig| { rig.regs.write32(0x44, 0x1000); }
    a_global_bypass_during_an_update: "before its Update", |rig| {
        rig.bench.faults().gbpa_update = Ack::Never;
        rig.regs.write32(0x44, 0x8010_1000);
        rig.regs.write32(0x44, 0x8000_1000);
    }
    a_field_changed_during_its_update: "changed again before its Update", |rig| {
        rig.bench.faults().cr0_ack = Ack::Never;
        rig.regs.write32(0x20, 0b1100);
        rig.regs.write32(0x20, 0b1101);
    }
    memory_outside_the_region: "outside the table region", |rig| { rig.store(0x1000, 0); }
}

#[test]
#[should_panic(expected = "not aligned to its 128 bytes")]
fn a_queue_is_aligned_to_its_size() {
    let mut rig = Rig::off(Config::default());
    rig.commands += 0x20;
    rig.queues();
}

#[test]
#[should_panic(expected = "not aligned to 4096")]
fn a_stream_table_is_aligned_to_its_size() {
    let mut rig = Rig::off(Config::default());
    rig.queues();
    rig.push([0x04, 31]);
    rig.push([0x30, 0]);
    rig.sync();
    rig.streams += 0x40;
    rig.enable_streams();
}

#[test]
#[should_panic(expected = "CMDQEN before CMDQ_BASE")]
fn a_queue_is_set_up_before_it_is_enabled() {
    Rig::off(Config::default()).regs.write32(0x20, 0b1000);
}

#[test]
#[should_panic(expected = "CMDQEN before CMDQ_BASE, then PROD and CONS")]
fn indexes_are_set_after_the_size() {
    let mut rig = Rig::off(Config::default());
    rig.queues();
    rig.set_cr0(0);
    rig.regs.write64(0x90, rig.commands | 3);
    rig.regs.write32(0x20, 0b1000);
}

#[test]
#[should_panic(expected = "SMMUEN before the TLBs were invalidated")]
fn caches_are_emptied_before_translation_begins() {
    let mut rig = Rig::off(Config::default());
    rig.queues();
    rig.push([0x04, 31]);
    rig.sync();
    rig.enable_streams();
}

#[test]
#[should_panic(expected = "SMMUEN before CR1, CR2, STRTAB_BASE")]
fn the_stream_table_is_set_up_before_translation_begins() {
    let mut rig = Rig::off(Config::default());
    rig.queues();
    rig.regs.write32(0x20, 0b1101);
}

#[test]
#[should_panic(expected = "exceed IDR1.CMDQS")]
fn a_queue_is_no_larger_than_the_unit_allows() {
    let mut rig = Rig::off(Config { command_queue_lg2: 2, ..Config::default() });
    rig.queues();
}

#[test]
#[should_panic(expected = "reserved without MSIs")]
fn messages_need_a_unit_that_sends_them() {
    Rig::off(Config::default()).regs.write64(0x68, 0x1000);
}

#[test]
#[should_panic(expected = "SMMUEN before CMD_TLBI_EL2_ALL")]
fn a_hypervisor_has_caches_of_its_own() {
    Rig::on(Config { hypervisor: true, ..Config::default() });
}

#[test]
fn a_hypervisor_s_caches_are_emptied_too() {
    let mut rig = Rig::off(Config { hypervisor: true, ..Config::default() });
    rig.queues();
    for command in [[0x04, 31], [0x30, 0], [0x20, 0]] {
        rig.push(command);
    }
    rig.sync();
    rig.enable_streams();
}
