//! SMMUv3: the command queue, the event queue, GERROR (IHI 0070, 6.3.19, 7.1, 7.2).

use iommu_model::smmu_v3::{Bench, Config};
use iommu_protocol::{Request, stats};

use crate::{
    IOVA, PAGE,
    bench::{ALICE, ALICES_DEVICE, BOB, STRANGER},
    errors, goes_on, working,
};

#[test]
fn global_errors_are_counted_and_translation_goes_on() {
    let bench = Bench::new(Config::default());
    let (mut world, space) = working(&Config::default().into(), &bench);
    assert_eq!(errors(&mut world), [0; 4]);
    // GERROR: event queue write aborted, MSI write of the event queue aborted (6.3.19).
    bench.raise_errors(1 << 2 | 1 << 5);
    world.work();
    assert_eq!(bench.active_errors(), 0, "acknowledged");
    let errors = errors(&mut world);
    assert_eq!((errors[0], errors[1], errors[2]), (0, 1, 0));
    assert!(errors[3] >= 1);
    let faults = world.ok(BOB, Request::Stats { group: stats::FAULTS, client: None });
    assert_eq!(faults.get(3), 1, "a fault record was lost");
    assert!(world.log.contains("units reported 2 errors"), "{}", world.log);
    goes_on(&mut world, space);
}

/// CMDQ_CONS.ERR: illegal, abort on fetch, ATC invalidation without answer (7.1).
#[test]
fn a_command_that_is_refused_is_made_good() {
    for code in 1..=3 {
        let bench = Bench::new(Config::default());
        let (mut world, space) = working(&Config::default().into(), &bench);
        for before in 0..2 {
            {
                let mut faults = bench.faults();
                (faults.next_command_fails, faults.commands_before_failure) = (Some(code), before);
            }
            goes_on(&mut world, space);
            assert_eq!(errors(&mut world)[0], u64::from(before) + 1, "{code}");
        }
    }
}

#[test]
fn an_overflow_of_the_event_queue_is_told_in_the_step_that_ends_it() {
    let config = Config { event_queue_lg2: 3, ..Config::default() };
    let bench = Bench::new(config.clone());
    let (mut world, _) = working(&config.into(), &bench);
    for page in 1..=9 {
        bench.dma_write(ALICES_DEVICE, IOVA + page * PAGE, b"x").expect_err("not mapped");
    }
    assert_eq!(bench.observed().events_lost, 1);
    assert_eq!(world.work().notify.collect::<Vec<_>>(), [ALICE, BOB]);
    assert_eq!(world.alices_ring.header().written, 8);
    assert_eq!([&world.alices_ring, &world.bobs_ring].map(|ring| ring.header().lost_by_hardware), [1, 1]);
    bench.dma_write(ALICES_DEVICE, IOVA + PAGE, b"x").expect_err("not mapped");
    assert_eq!(world.work().notify.collect::<Vec<_>>(), [ALICE]);
    assert_eq!(world.alices_ring.header().written, 9);
}

/// Whatever number an event has (7.3), it comes to the owner of the stream that it names, and to nobody else.
#[test]
fn any_event_comes_to_its_owner() {
    let bench = Bench::new(Config::default());
    let (mut world, space) = working(&Config::default().into(), &bench);
    for number in 0..=u8::MAX {
        let before = world.alices_ring.header().written;
        bench.inject_event([u64::from(number) | u64::from(ALICES_DEVICE.0) << 32, u64::MAX, IOVA, u64::MAX]);
        bench.inject_event([u64::from(number) | u64::from(STRANGER.0) << 32, 0, IOVA, 0]);
        assert_eq!(world.work().notify.collect::<Vec<_>>(), [ALICE], "{number:#x}");
        assert_eq!(world.alices_ring.header().written, before + 1, "{number:#x}");
        let last = world.alices_ring.last();
        assert_eq!((last.stream, last.device()), (ALICES_DEVICE.0.into(), 0), "{number:#x}");
    }
    assert_eq!(world.bobs_ring.header().written, 0);
    assert!(world.log.contains("accesses that nobody reads of, last of stream 0x20"), "{}", world.log);
    goes_on(&mut world, space);
}
