//! VT-d: the invalidation queue, fault records in registers, the interrupt range (revision 4.1: 3.14, 6.5.2, 7.2, 7.3).

use iommu_hal::Registers;
use iommu_model::intel_vtd::{Bench, Config};
use iommu_protocol::{Request, ring::reason, stats};

use crate::{
    IOVA, PAGE,
    bench::{ALICE, ALICES_DEVICE, BOB, BOBS_DEVICE, STRANGER, map},
    errors, goes_on, working,
};

/// FSTS (11.4.7.1).
const FSTS: u32 = 0x34;
const PFO: u32 = 1 << 0;
const ICE: u32 = 1 << 5;
const ITE: u32 = 1 << 6;

fn kinds() -> [Config; 4] {
    [
        Config::default(),
        Config::caching_mode(),
        Config::server(),
        Config { queued_invalidation: true, ..Config::old() },
    ]
}

#[test]
fn queue_errors_are_counted_and_translation_goes_on() {
    for config in kinds() {
        let bench = Bench::new(config.clone());
        let (mut world, space) = working(&config.into(), &bench);
        assert_eq!(errors(&mut world), [0; 4]);
        bench.raise_errors(ICE | ITE);
        world.work();
        assert_eq!(bench.ports().0.read32(FSTS) & (ICE | ITE), 0, "acknowledged");
        assert_eq!(errors(&mut world), [0, 0, 0, 2]);
        assert!(world.log.contains("units reported 2 errors so far; they are repaired"), "{}", world.log);
        goes_on(&mut world, space);
    }
}

/// FSTS.IQE at each descriptor of an UNMAP in turn, the wait among them, and FSTS.ITE, which drops the wait.
#[test]
fn a_descriptor_that_is_refused_or_dropped_is_made_good() {
    for config in kinds() {
        let bench = Bench::new(config.clone());
        let (mut world, space) = working(&config.into(), &bench);
        for before in 0..2 {
            {
                let mut faults = bench.faults();
                (faults.next_descriptor_fails, faults.descriptors_before_failure) = (true, before);
            }
            goes_on(&mut world, space);
            assert!(!bench.faults().next_descriptor_fails, "it came so far");
        }
        bench.faults().next_wait_times_out = true;
        goes_on(&mut world, space);
        assert_eq!(errors(&mut world), [2, 0, 0, 1]);
    }
}

#[test]
fn an_overflow_of_the_records_is_told_in_the_step_that_ends_it() {
    let config = Config::server();
    let bench = Bench::new(config.clone());
    let (mut world, _) = working(&config.into(), &bench);
    for page in 1..=9 {
        bench.dma_write(ALICES_DEVICE, IOVA + page * PAGE, b"x").expect_err("not mapped");
    }
    assert_eq!(bench.observed().faults_lost, 1);
    assert_eq!(world.work().notify.collect::<Vec<_>>(), [ALICE, BOB]);
    assert_eq!(bench.ports().0.read32(FSTS) & PFO, 0, "acknowledged");
    assert_eq!(world.alices_ring.header().written, 8);
    assert_eq!([&world.alices_ring, &world.bobs_ring].map(|ring| ring.header().lost_by_hardware), [1, 1]);
    let faults = world.ok(BOB, Request::Stats { group: stats::FAULTS, client: None });
    assert_eq!(faults.get(3), 1, "a fault record was lost");
    bench.dma_write(ALICES_DEVICE, IOVA + PAGE, b"x").expect_err("not mapped");
    assert_eq!(world.work().notify.collect::<Vec<_>>(), [ALICE]);
    assert_eq!(world.alices_ring.header().written, 9);
}

/// A unit with one record that takes no second fault of the same device (7.2.1), as QEMU's: what is there is told, and after
/// that the next one.
#[test]
fn faults_that_collapse_in_the_hardware_are_told_as_far_as_it_tells_them() {
    let config = Config::default();
    let bench = Bench::new(config.clone());
    let (mut world, _) = working(&config.into(), &bench);
    world.attached_space(BOB);
    for round in 0..3 {
        for page in 1..100 {
            bench.dma_write(ALICES_DEVICE, IOVA + page * PAGE + 8 * round, b"x").expect_err("not mapped");
        }
        // Bob's finds no record free.
        bench.dma_write(BOBS_DEVICE, IOVA, b"x").expect_err("not mapped");
        assert_eq!(world.work().notify.collect::<Vec<_>>(), [ALICE, BOB]);
        let last = world.alices_ring.last();
        assert_eq!(
            (last.sequence, last.reason(), last.iova(), last.count),
            (round + 1, reason::NOT_MAPPED, Some(IOVA + PAGE), 1)
        );
        assert_eq!(world.bobs_ring.header().written, 0);
        assert_eq!(world.bobs_ring.header().lost_by_hardware, round + 1);
    }
    bench.dma_write(BOBS_DEVICE, IOVA, b"x").expect_err("not mapped");
    assert_eq!(world.work().notify.collect::<Vec<_>>(), [BOB]);
    assert_eq!(world.bobs_ring.last().stream, BOBS_DEVICE.0.into());
}

/// Whatever reason a record has (7.1.3), it comes to the owner of the device that it names, and to nobody else.
#[test]
fn any_reason_comes_to_its_owner() {
    let config = Config::server();
    let bench = Bench::new(config.clone());
    let (mut world, space) = working(&config.into(), &bench);
    for code in 0..=u8::MAX {
        let before = world.alices_ring.header().written;
        bench.inject_fault(ALICES_DEVICE, None, u64::MAX, code % 2 == 0, code);
        bench.inject_fault(STRANGER, Some(0xf_ffff), IOVA, true, code);
        assert_eq!(world.work().notify.collect::<Vec<_>>(), [ALICE], "{code:#x}");
        assert_eq!(world.alices_ring.header().written, before + 1, "{code:#x}");
        let last = world.alices_ring.last();
        assert_eq!((last.stream, last.device()), (ALICES_DEVICE.0.into(), 0), "{code:#x}");
        // Of interrupts (20h on; up to 2Fh none is of DMA) a record tells an index, and no address.
        assert_eq!(last.iova().is_none(), (0x20..=0x2f).contains(&code), "{code:#x}");
    }
    assert_eq!(world.bobs_ring.header().written, 0);
    assert!(world.log.contains("accesses that nobody reads of, last of stream 0x20"), "{}", world.log);
    goes_on(&mut world, space);
}

/// Nothing that is mapped leads through the interrupt range (3.14), beside which everything is as ever; that nothing can be
/// mapped in it every suite shows.
#[test]
fn no_access_through_the_interrupt_range_reaches_memory() {
    for config in kinds() {
        let bench = Bench::new(config.clone());
        let (mut world, space) = working(&config.into(), &bench);
        for (iova, offset) in [(0xfedf_f000, 0), (0xfef0_0000, PAGE)] {
            world.ok(ALICE, map(space, iova, offset, PAGE));
            bench.dma_write(ALICES_DEVICE, iova, b"beside").expect("mapped");
        }
        for iova in [0xfee0_0000, 0xfee0_0ff8, 0xfeef_fff8] {
            bench.dma_write(ALICES_DEVICE, iova, &[0; 8]).expect_err("neither memory nor an interrupt");
            bench.dma_read(ALICES_DEVICE, iova, &mut [0; 4]).expect_err("nothing to read");
        }
        assert_eq!(bench.observed().faults_recorded, 0);
    }
}
