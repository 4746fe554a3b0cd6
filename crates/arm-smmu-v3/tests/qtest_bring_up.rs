//! Bring-up of QEMU's SMMUv3 from several states.

mod common;

use arm_smmu_v3::{BringUpError, Config, SmmuV3, Stage};
use common::{Bare, DATA, PAGE, SMMU, STAGES, TABLES, bare, machine, pattern};
use iommu_hal::{
    Carver, Format, MAX_STREAMS, PhysAddr, Registers, Rights, StreamId, StreamListError, TableMemory, Unit,
};
use iommu_qtest::{Machine, QemuMemory, QemuRegisters};

/// Where the boot loader of these tests has its tables.
const LEFT_BEHIND: PhysAddr = PhysAddr(0x4a00_0000);

/// Leaves the unit on with a linear stream table in which the device's stream passes by untranslated, and with
/// queues, as a boot loader may. Offsets and fields are written out, not taken from the driver.
fn left_on_by_a_boot_loader(bare: &Bare) {
    let mut regs = QemuRegisters::new(&bare.qemu, SMMU);
    let mut memory = QemuMemory::new(&bare.qemu, LEFT_BEHIND, 1 << 20);
    let entry = PhysAddr(LEFT_BEHIND.0 + u64::from(bare.stream().0) * 64);
    memory.write(entry, 0b1001); // valid, bypass
    regs.write64(0x80, LEFT_BEHIND.0);
    regs.write32(0x88, 8); // 256 streams, linear
    regs.write64(0x90, (LEFT_BEHIND.0 + 0x1_0000) | 4);
    regs.write64(0xa0, (LEFT_BEHIND.0 + 0x2_0000) | 4);
    regs.write32(0x20, 1 << 3 | 1 << 2 | 1);
    assert_eq!(regs.read32(0x24), 1 << 3 | 1 << 2 | 1);
}

fn dma_lands(bare: &Bare, at: u64) -> bool {
    bare.qemu.write(at, &pattern(1));
    bare.edu.read_ram(at, 64);
    bare.qemu.fill(at, PAGE, 0);
    bare.edu.write_ram(at, 64);
    bare.qemu.read(at, 64) != [0; 64]
}

#[test]
fn a_unit_that_passes_everything_aborts_after_bring_up() {
    for stage in STAGES {
        let bare = bare(&machine(stage));
        assert!(dma_lands(&bare, DATA), "GBPA lets it pass before");
        let mut bench = bare.bring_up(None);
        bench.qemu.fill(DATA, PAGE, 0);
        bench.edu.write_ram(DATA, 64);
        assert_eq!(bench.qemu.read(DATA, 64), [0; 64]);
        assert_eq!(bench.fault(), None);
        let report = bench.unit.report();
        assert_eq!((report.cr0_found, report.gbpa_found & 1 << 20), (0, 0));
        assert_eq!(report.self_test.aborting_streams, 1);
    }
}

#[test]
fn a_unit_that_a_boot_loader_left_on_with_bypass_entries_aborts_after_bring_up() {
    for stage in STAGES {
        let bare = bare(&machine(stage));
        left_on_by_a_boot_loader(&bare);
        assert!(dma_lands(&bare, DATA), "the bypass entry lets it pass before");
        let mut bench = bare.bring_up(None);
        bench.qemu.fill(DATA, PAGE, 0);
        bench.edu.write_ram(DATA, 64);
        assert_eq!(bench.qemu.read(DATA, 64), [0; 64]);
        assert_eq!(bench.fault(), None);
        assert_eq!(bench.unit.report().cr0_found, 1 << 3 | 1 << 2 | 1);

        let space = bench.attached();
        bench.map(&space, 0x1000, DATA, 12, Rights::READ_WRITE);
        let data = bench.load_device(0x1000, DATA, 2);
        bench.qemu.fill(DATA, PAGE, 0);
        bench.edu.write_ram(0x1000, PAGE);
        assert!(bench.qemu.read(DATA, 4096) == data);
    }
}

#[test]
fn a_queue_that_a_boot_loader_left_in_error_is_of_no_consequence() {
    let bare = bare(&machine(Stage::Two));
    left_on_by_a_boot_loader(&bare);
    let mut regs = QemuRegisters::new(&bare.qemu, SMMU);
    bare.qemu.write64(LEFT_BEHIND.0 + 0x1_0000, 0xff); // no such command
    regs.write32(0x98, 1);
    assert_eq!(regs.read32(0x60) ^ regs.read32(0x64), 1, "CMDQ_ERR is active");
    let mut bench = bare.bring_up(None);
    assert_eq!(bench.unit.report().errors_found, 1);
    assert_eq!(bench.unit.service_errors(&mut bench.memory, &bench.clock).active, 0);
    bench.attached();
}

#[test]
fn bring_up_after_bring_up_starts_anew() {
    for stage in STAGES {
        let mut first = bare(&machine(stage)).bring_up(None);
        let space = first.attached();
        first.map(&space, 0x1000, DATA, 12, Rights::READ_WRITE);
        first.load_device(0x1000, DATA, 3);
        let again = Bare { qemu: first.qemu, edu: first.edu, memory: first.memory, clock: first.clock };
        let mut second = again.bring_up(None);
        second.qemu.fill(DATA, PAGE, 0);
        second.edu.write_ram(0x1000, 64);
        assert_eq!(second.qemu.read(DATA, 64), [0; 64], "the old attachment is gone");
        second.attach(&space);
        second.edu.write_ram(0x1000, 64);
        assert_ne!(second.qemu.read(DATA, 64), [0; 64]);
    }
}

#[test]
fn a_unit_with_both_stages_walks_both_formats_side_by_side() {
    for stage in [None, Some(Stage::One), Some(Stage::Two)] {
        let nested = Machine::arm_virt().with("-device edu,dma_mask=0xffffffffffffffff");
        let mut bench = bare(&nested).bring_up(stage);
        let preferred = if stage == Some(Stage::One) { Format::ArmStage1 } else { Format::ArmStage2 };
        assert_eq!(bench.unit.geometry(), common::geometry(preferred));
        for (round, format) in
            [Format::ArmStage1, Format::ArmStage2, Format::ArmStage1].into_iter().enumerate()
        {
            let mut space = bench.space(common::TAG);
            space.geometry = common::geometry(format);
            let pa = DATA + round as u64 * PAGE;
            bench.map(&space, 0x1000, pa, 12, Rights::READ_WRITE);
            bench.attach(&space);
            let data = bench.load_device(0x1000, pa, round as u8);
            bench.qemu.fill(pa, PAGE, 0);
            bench.edu.write_ram(0x1000, PAGE);
            assert!(bench.qemu.read(pa, 4096) == data, "{format:?}");
        }
        assert_eq!(bench.fault(), None);
    }
}

#[test]
fn the_report_tells_what_was_found_and_chosen() {
    let bare = bare(&machine(Stage::One));
    left_on_by_a_boot_loader(&bare);
    let bench = bare.bring_up(None);
    let text = bench.unit.report().to_string();
    for part in [
        "SMMUv3.1",
        "IDR0 0x0d44101a",
        "stage 1 alone, 44-bit addresses, 16-bit StreamIDs",
        "CR0 0xd (left on)",
        "stage 1 (the unit has no stage 2), 4 levels, 44-bit addresses in, 44-bit out; walks snoop",
        "two levels",
        "256 commands, 2048 events; invalidation by range (RIL)",
        "1 streams abort",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.ends_with('\n') && text.lines().count() < 12, "{text}");
}

#[test]
fn a_wrong_configuration_is_named() {
    let bare = bare(&machine(Stage::One));
    let Bare { qemu, mut memory, clock, .. } = bare;
    let mut bring_up = |streams: &[StreamId], stage, bytes| {
        let regs = QemuRegisters::new(&qemu, SMMU);
        let mut carver = Carver::new(TABLES, bytes);
        let config = Config { streams, stage, record_unknown: false };
        SmmuV3::bring_up(regs, &mut memory, &clock, &mut carver, &config).map(|_| ()).unwrap_err()
    };
    let plenty = 4 << 20;
    assert_eq!(bring_up(&[], Some(Stage::Two), plenty), BringUpError::NoSuchStage(Stage::Two));
    let stream = StreamId(1 << 16);
    assert_eq!(
        bring_up(&[stream], None, plenty),
        BringUpError::Streams(StreamListError::TooLarge { stream, bits: 16 })
    );
    let twice = [StreamId(8), StreamId(3), StreamId(8)];
    assert_eq!(bring_up(&twice, None, plenty), BringUpError::Streams(StreamListError::Twice(StreamId(8))));
    let many: Vec<StreamId> = (0..=MAX_STREAMS as u32).map(StreamId).collect();
    assert_eq!(bring_up(&many, None, plenty), BringUpError::Streams(StreamListError::TooMany));
    assert!(matches!(bring_up(&[], None, PAGE), BringUpError::OutOfTableMemory(_)));
    assert!(matches!(bring_up(&[StreamId(1)], None, 0x1_4000), BringUpError::OutOfTableMemory(_)));
    for error in [bring_up(&twice, None, plenty), bring_up(&[], None, PAGE)] {
        assert!(!error.to_string().is_empty());
    }
    // Whatever else was wrong, the unit passes nothing.
    assert_ne!(qemu.read32(SMMU + 0x44) & 1 << 20, 0);
}

#[test]
fn streams_that_are_not_named_abort_and_are_recorded_only_on_wish() {
    for record_unknown in [false, true] {
        for neighbour in [true, false] {
            let Bare { qemu, edu, mut memory, clock } = bare(&machine(Stage::Two));
            let own = u32::from(edu.requester());
            // On the same bus: the level 2 table is there. On another: it is not.
            let named = StreamId(if neighbour { own + 1 } else { 0x100 });
            let mut carver = Carver::new(TABLES, 4 << 20);
            let config = Config { streams: &[named], stage: None, record_unknown };
            let regs = QemuRegisters::new(&qemu, SMMU);
            let mut unit = SmmuV3::bring_up(regs, &mut memory, &clock, &mut carver, &config).unwrap();
            qemu.fill(DATA, PAGE, 0);
            edu.write_ram(DATA, 4);
            assert_eq!(qemu.read(DATA, 4), [0; 4]);
            let fault = unit.next_fault(&mut memory);
            if record_unknown {
                let fault = fault.expect("a record");
                assert_eq!(fault.stream, StreamId(own));
                assert_eq!(fault.reason, iommu_hal::FaultReason::StreamAborted);
                assert_eq!(fault.iova, None);
            } else if neighbour {
                assert_eq!(fault, None);
            } // QEMU records C_BAD_STREAMID whatever CR2.RECINVSID says.
        }
    }
}
