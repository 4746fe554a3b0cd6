//! The server over models of VT-d units: from the driver's message to DMA and back.

mod bench;

use bench::{
    ALICE, ALICES_CONSTANTS, ALICES_DEVICE, ALICES_MEMORY, BOB, BOBS_DEVICE, Page, READ, map, map_with,
    policy_with, start_over, unmap,
};
use iommu_model::{
    VirtualClock,
    intel_vtd::{Bench, Config, MemoryPort, RegisterPort},
};
use iommu_protocol::{DeviceIndex, MapFlags, RegionSlot, Request, SpaceId, Status, Words};
use iommu_server::{
    policy::{KIND_INTEL_VTD, UnitEntry},
    server::Server,
    start::StartError,
};

const IOVA: u64 = 0x4000_0000;
const PAGE: u64 = 0x1000;
const DEVICE: DeviceIndex = DeviceIndex(0);

struct World {
    bench: Bench,
    server: Server<'static, RegisterPort, MemoryPort, VirtualClock, Page>,
    alices_ring: Page,
    bobs_ring: Page,
    log: String,
}

fn vtd_policy() -> Vec<u8> {
    policy_with(|parts| {
        parts.units = vec![UnitEntry { kind: KIND_INTEL_VTD, fault_data: 0x35, fault_address: 0xfee0_0000 }]
    })
}

impl World {
    fn new(config: Config) -> Self {
        let bench = Bench::new(config);
        let (server, alices_ring, bobs_ring, log) =
            start_over(bench.ports(), &vtd_policy()).expect("the server starts");
        Self { bench, server, alices_ring, bobs_ring, log }
    }

    fn status(&mut self, channel: u8, request: Request) -> (Status, Words) {
        let (opcode, words) = request.encode();
        let answer = self.server.call(channel, opcode.label(), &words);
        (answer.status, answer.words)
    }

    fn ok(&mut self, channel: u8, request: Request) -> Words {
        let (status, words) = self.status(channel, request);
        assert_eq!(status, Status::Ok, "{request:?}");
        words
    }

    fn space(&mut self, channel: u8) -> SpaceId {
        SpaceId(self.ok(channel, Request::IoasAlloc).get(0) as u16)
    }

    fn writes(&self, iova: u64) -> bool {
        self.bench.dma_write(ALICES_DEVICE, iova, &[0x5a; 8]).is_ok()
    }

    fn byte(&self, at: u64) -> u8 {
        let mut byte = [0];
        self.bench.memory().peek(at, &mut byte);
        byte[0]
    }
}

fn kinds() -> [Config; 6] {
    [
        Config::default(),
        Config::caching_mode(),
        Config::narrow(),
        Config::scalable(),
        Config::server(),
        Config { queued_invalidation: true, ..Config::old() },
    ]
}

#[test]
fn a_device_reaches_what_is_mapped_and_nothing_else() {
    for kind in kinds() {
        let mut world = World::new(kind);
        assert!(world.log.contains("unit 0: VT-d 1.0"), "{}", world.log);
        let space = world.space(ALICE);
        world.ok(ALICE, map(space, IOVA, 0, PAGE));
        assert!(!world.writes(IOVA), "not attached");
        world.ok(ALICE, Request::Attach { space, device: DEVICE });
        assert!(world.writes(IOVA) && world.byte(ALICES_MEMORY) == 0x5a);
        // What the device found absent is there once it is mapped.
        assert!(!world.writes(IOVA + PAGE));
        world.ok(ALICE, map(space, IOVA + PAGE, PAGE, PAGE));
        assert!(world.writes(IOVA + PAGE) && world.byte(ALICES_MEMORY + PAGE) == 0x5a);
        world.ok(ALICE, map(space, 0x20_0000, 0x20_0000, 0x20_0000));
        assert!(world.writes(0x3f_f000) && world.byte(ALICES_MEMORY + 0x3f_f000) == 0x5a);
        assert!(world.bench.dma_write(BOBS_DEVICE, IOVA, &[1]).is_err());
        world.ok(ALICE, unmap(space, IOVA, PAGE));
        assert!(!world.writes(IOVA) && world.writes(IOVA + PAGE));
        world.ok(ALICE, Request::Detach { device: DEVICE });
        assert!(!world.writes(IOVA + PAGE));
        world.ok(ALICE, Request::Reset);
        assert_eq!(world.bench.observed().translation_ended, 0);
    }
}

#[test]
fn faults_reach_the_owner_with_the_rule_that_was_broken() {
    for kind in kinds() {
        let mut world = World::new(kind);
        let space = world.space(ALICE);
        world.ok(ALICE, Request::Attach { space, device: DEVICE });
        world.ok(ALICE, map_with(space, RegionSlot(1), READ, [IOVA, 0, PAGE]));
        world.bench.dma_read(ALICES_DEVICE, IOVA, &mut [0; 8]).expect("a read");
        let mut reasons = Vec::new();
        for iova in [IOVA + 0x18, IOVA + 5 * PAGE] {
            assert!(!world.writes(iova));
            let step = world.server.work(&mut world.log);
            assert_eq!(step.notify.collect::<Vec<_>>(), [ALICE]);
            let record = world.alices_ring.last();
            assert_eq!((record.iova, record.count), (iova & !0xfff, 1));
            reasons.push(record.reason());
        }
        assert_ne!(world.byte(ALICES_CONSTANTS), 0x5a);
        assert_ne!(reasons[0], reasons[1], "not permitted, and not mapped");
    }
}

#[test]
fn what_one_fault_record_cannot_hold_is_told_as_lost_in_the_same_step() {
    let mut world = World::new(Config { fault_records: 1, ..Config::default() });
    for channel in [ALICE, BOB] {
        let space = world.space(channel);
        world.ok(channel, Request::Attach { space, device: DEVICE });
    }
    for device in [ALICES_DEVICE, BOBS_DEVICE] {
        assert!(world.bench.dma_write(device, IOVA, &[1]).is_err());
    }
    assert_eq!(world.bench.observed().fault_interrupts, 1, "one interrupt for both");
    let step = world.server.work(&mut world.log);
    assert_eq!(step.notify.collect::<Vec<_>>(), [ALICE, BOB]);
    assert_eq!(world.alices_ring.last().iova, IOVA);
    assert_eq!(world.alices_ring.header().lost_by_hardware, 1);
    assert_eq!((world.bobs_ring.header().written, world.bobs_ring.header().lost_by_hardware), (0, 1));
    assert!(world.bench.dma_write(BOBS_DEVICE, IOVA, &[1]).is_err());
    assert_eq!(world.bench.observed().fault_interrupts, 2, "the next one is told again");
}

#[test]
fn the_interrupt_range_is_never_mapped() {
    let mut world = World::new(Config::default());
    let space = world.space(ALICE);
    for attached in [false, true] {
        for iova in [0xfee0_0000, 0xfeef_f000, 0xfede_f000] {
            let (status, _) = world.status(ALICE, map(space, iova, 0, 0x12_0000));
            assert_eq!(status, Status::Reserved, "{iova:#x}, {attached}");
        }
        if !attached {
            world.ok(ALICE, Request::Attach { space, device: DEVICE });
        }
    }
    let any = MapFlags { fixed: false, ..MapFlags { read: true, write: true, ..READ } };
    let placed = world.ok(ALICE, map_with(space, RegionSlot(0), any, [0, 0, 0x20_0000]));
    assert!(world.writes(placed.get(0)));
}

#[test]
fn the_client_learns_what_unit_it_has() {
    let config = Config::server();
    let mut world = World::new(config.clone());
    let info = |index| Request::HwInfo { device: DEVICE, index };
    let shape = world.ok(ALICE, info(0));
    assert_eq!(shape.get(0) & 0xff_00ff_ffff, 3 | 48 << 8 | 48 << 16 | 2 << 32);
    let registers = world.ok(ALICE, info(1));
    assert_eq!(registers.as_slice(), [config.cap(), config.ecap(), config.version.into(), 0]);
}

#[test]
fn a_unit_that_does_not_answer_stops_the_start_with_its_name_and_everything_aborts() {
    let bench = Bench::new(Config { clock_step_ns: 10_000, ..Config::default() });
    bench.faults().wait_never_completes = true;
    let error = start_over(bench.ports(), &vtd_policy()).map(|_| ()).unwrap_err();
    assert!(matches!(error, StartError::BringUp(0, _)));
    assert!(error.to_string().starts_with("unit 0: the VT-d unit did not answer"), "{error}");
    assert!(bench.dma_write(ALICES_DEVICE, ALICES_MEMORY, &[1]).is_err());
}
