//! S17: everything that can fail, made to fail at every n-th point: commands, waits, memory and quotas.

use iommu_protocol::{DeviceIndex, RegionSlot, Request, SpaceId, Status};

use crate::{
    MIB, MS, PAGE, PAGES_AT, assert_given_up,
    bench::{
        ALICE, ALICES_DEVICE, ALICES_MEMORY, BOB, BOBS_DEVICE, BOBS_MEMORY, Facts, READ, SUPERVISOR, Unit,
        map, over_every_unit, resumed, unmap,
    },
    expected::ward,
    lives::{CHANNELS, Lives, Op, SECOND_DEVICE, begin},
};

const FIRST: SpaceId = SpaceId(1);
const SECOND: SpaceId = SpaceId(2);

/// Most commands that the life below takes, and then some.
const NO_END: u32 = 500;

/// A life in which each kind of request has its part, by the number of the client.
fn life() -> Vec<(usize, Op)> {
    let attach = |space, device| Request::Attach { space, device: DeviceIndex(device) };
    let detach = |device| Request::Detach { device: DeviceIndex(device) };
    let copy = |source, target, iova, first, length| Request::Copy {
        source,
        target,
        flags: READ,
        iova,
        first,
        length,
    };
    let ask = |index: usize, request| (index, Op::Ask(request));
    let again = |n: usize, step: (usize, Op)| vec![step; n];
    let all = |space| Request::Unmap { space, first: 0, last: u64::MAX };
    let long = map(FIRST, PAGES_AT, 0, 4 * MIB);
    [
        vec![
            ask(0, Request::IoasAlloc),
            ask(0, map(FIRST, PAGE, 0, 3 * PAGE)),
            ask(0, attach(FIRST, 0)),
            ask(0, map(FIRST, 4 * MIB, 0, 2 * MIB)),
            ask(0, long),
            (0, Op::Resume(0)),
            (0, Op::Resume(0)),
            ask(0, map(SECOND, 1 << 30, 0, PAGE)),
            ask(0, copy(FIRST, SECOND, PAGE, PAGE, 3 * PAGE)),
            ask(0, unmap(FIRST, PAGE, 3 * PAGE)),
            ask(0, map(FIRST, 5 * PAGE, 0, PAGE)),
            ask(0, unmap(FIRST, 5 * PAGE, PAGE)),
            // A block where an empty table is kept.
            ask(0, map(FIRST, 0, 0, 2 * MIB)),
            ask(0, Request::Replace { space: SECOND, device: DeviceIndex(0) }),
        ],
        again(4, ask(0, all(FIRST))),
        vec![
            ask(0, attach(FIRST, 1)),
            ask(0, map(FIRST, PAGE, 0, PAGE)),
            ask(0, Request::Unmap { space: SECOND, first: 0, last: (1 << 31) - 1 }),
            ask(1, Request::IoasAlloc),
            ask(1, map(FIRST, PAGE, 0, PAGE)),
            ask(1, attach(FIRST, 0)),
            ask(1, map(FIRST, PAGES_AT, 0, 4 * MIB)),
            (1, Op::Hold),
            (1, Op::Work),
        ],
        again(4, (2, Op::Claim)),
        vec![
            ask(2, map(FIRST, 7 * PAGE, 0, PAGE)),
            ask(2, Request::Unmap { space: FIRST, first: 0, last: 2 * MIB - 1 }),
            ask(2, attach(FIRST, 0)),
            ask(2, map(FIRST, PAGES_AT, 0, 4 * MIB)),
        ],
        again(2, (0, Op::Revoke(0))),
        vec![
            (0, Op::Regrant(0)),
            ask(0, map(FIRST, PAGE, 0, PAGE)),
            ask(0, detach(0)),
            ask(0, Request::IoasDestroy { space: SECOND }),
            ask(0, detach(1)),
            ask(0, map(FIRST, 9 * PAGE, 0, PAGE)),
            ask(0, Request::IoasDestroy { space: FIRST }),
        ],
        again(4, (2, Op::Teardown)),
        again(3, ask(0, Request::Reset)),
    ]
    .concat()
}

/// Sends what `op` says, whatever comes back.
fn send(lives: &mut Lives, index: usize, op: &Op) -> Status {
    let (channel, client) = (CHANNELS[index], ward(index));
    let (channel, request) = match *op {
        Op::Ask(request) => (channel, request),
        Op::Resume(_) => (channel, resumed(map(FIRST, PAGES_AT, 0, 4 * MIB), PAGES_AT)),
        Op::Claim => (channel, Request::Claim),
        Op::Teardown => (SUPERVISOR, Request::Teardown { client }),
        Op::Hold => (SUPERVISOR, Request::Hold { client, deadline_ms: 500 }),
        Op::Revoke(slot) => (SUPERVISOR, Request::Revoke { client, slot: RegionSlot(slot) }),
        Op::Regrant(slot) => (SUPERVISOR, Request::Regrant { client, slot: RegionSlot(slot) }),
        Op::Work | Op::Expire => {
            lives.world.work();
            return Status::Ok;
        }
    };
    lives.world.status(channel, request)
}

/// How many mappings in places far from each other fit into what is free: less after a leak.
fn room(lives: &mut Lives) -> u64 {
    let space = lives.world.space(BOB);
    let fits =
        (0..).take_while(|n| lives.world.status(BOB, map(space, n << 30, 0, PAGE)) == Status::Ok).count();
    lives.world.finish(BOB, Request::Reset);
    fits as u64
}

/// Little memory for tables, which Bob alone could use up.
fn small(unit: &Unit) -> Lives {
    begin(&unit.clone().table_bytes(0x8_0000), |p| {
        (p.clients[1].areas, p.clients[1].frames) = (1000, 1000);
    })
}

/// Steps after the one that met a failure: what comes then is as it always is.
const STEPS_AFTER: usize = 5;

/// The life, on hardware that refuses command number `first` and number `second` after that; whether it came so far.
fn refused_life(unit: &Unit, first: u32, second: Option<u32>, full: u64) -> bool {
    let mut lives = small(unit);
    lives.arm_all(first, second);
    let mut left = STEPS_AFTER;
    for (index, op) in life() {
        lives.act(index, op, None);
        let (one, all) = lives.has_met();
        if all || one && second.is_some() {
            lives.expected.check(&mut lives.world);
        }
        left -= usize::from(all);
        if left == 0 {
            break;
        }
    }
    let reached = !lives.disarm();
    lives.end();
    assert_eq!(room(&mut lives), full, "commands {first} and {second:?}: nothing is lost");
    reached
}

fn room_at_start(unit: &Unit) -> u64 {
    let mut lives = small(unit);
    lives.end();
    let room = room(&mut lives);
    assert!(room > 20);
    room
}

/// One command that the hardware refuses is made good, and nobody notices; another one while that is made good, and the
/// request fails, all is as it was or as was said, and the same request succeeds.
fn s17_any_command_may_be_refused_once_and_again(unit: &Unit) {
    let full = room_at_start(unit);
    for second in [None, Some(1)] {
        let commands = (0..NO_END).take_while(|&first| refused_life(unit, first, second, full)).count();
        assert!((40..NO_END as usize).contains(&commands), "the life takes {commands} commands");
    }
}

/// A unit that has cached that nothing is there, and refuses two of the commands by which it is to forget that.
fn s17_a_map_is_seen_though_two_commands_are_refused(unit: &Unit) {
    for (first, second) in (0..4).flat_map(|first| (0..6).map(move |second| (first, second))) {
        let mut lives = begin(unit, |_| {});
        lives.apply(1, Op::Ask(Request::IoasAlloc), None);
        let attach = Request::Attach { space: FIRST, device: DeviceIndex(0) };
        lives.apply(1, Op::Ask(attach), None);
        lives.apply(1, Op::Ask(map(FIRST, 0, 0, PAGE)), Some((first, second)));
        lives.apply(1, Op::Ask(map(FIRST, 4 * MIB, 0, 2 * MIB)), Some((first, second)));
        lives.end();
    }
}

/// A wait that never ends: the unit is given up, which every request says within its bound, and nothing that its devices may
/// still reach is released.
fn s17_any_wait_may_be_without_end(unit: &Unit) {
    let mut waits = 0;
    loop {
        let mut lives = begin(&unit.clone().clock_step_ns(20_000), |_| {});
        let Facts { wait_limit_ns, register_limit_ns, .. } = lives.world.facts;
        lives.world.bench.stand_still(waits);
        let clock = lives.world.clock();
        let mut failed = false;
        for (index, op) in life() {
            let before = clock.elapsed_ns();
            let status = send(&mut lives, index, &op);
            let took = clock.elapsed_ns() - before;
            let most = if failed { MS } else { wait_limit_ns + register_limit_ns + MS };
            assert!(took <= most, "wait {waits}, {op:?}: {status:?} after {took} ns");
            assert!(failed || status != Status::HardwareFailed, "wait {waits}, {op:?}: {status:?}");
            assert!(status != Status::HardwareTimeout || took >= wait_limit_ns, "wait {waits}, {op:?}");
            // The server's own work says so to nobody who calls.
            failed |= took >= wait_limit_ns;
            let owners =
                [(ALICES_DEVICE, ALICES_MEMORY), (SECOND_DEVICE, ALICES_MEMORY), (BOBS_DEVICE, BOBS_MEMORY)];
            for (stream, memory) in owners {
                for iova in [0, PAGE, 4 * MIB, PAGES_AT, 1 << 30] {
                    if failed {
                        let what = format!("wait {waits}, {op:?}");
                        assert_given_up(&lives.world, stream, iova, memory, &what);
                    } else {
                        // Whatever the unit can cache it has cached.
                        _ = lives.world.bench.translate(stream, iova, false);
                    }
                }
            }
        }
        waits += 1;
        assert!(waits < NO_END);
        if !failed {
            break;
        }
    }
    assert!(waits > 15, "the life waits only {waits} times");
}

/// The life of clients whose quota ends at the n-th area or frame: what is refused is refused for that reason, and changes
/// nothing.
fn s17_any_charge_may_be_over_quota(unit: &Unit) {
    for areas in [true, false] {
        let mut refused = vec![];
        for most in 0..24 {
            let mut lives = begin(unit, |p| {
                for client in &mut p.clients {
                    (client.areas, client.frames) = if areas { (most, 64) } else { (1000, most + 1) };
                }
            });
            for (index, op) in life() {
                lives.act(index, op, None);
                if lives.over_quota != 0 {
                    lives.expected.check(&mut lives.world);
                }
            }
            refused.push(lives.over_quota);
            lives.end();
        }
        let last = refused.iter().rposition(|&times| times > 0).expect("it is too little at first");
        assert!(refused[0] > 0 && last < 23, "{refused:?}");
        assert!(refused.iter().filter(|&&times| times > 0).count() > 3, "{refused:?}");
    }
}

/// The server's memory ends at the n-th area or frame, as Bob holds the rest: the same as for quotas, and when he lets go the
/// same request succeeds.
fn s17_any_allocation_may_fail(unit: &Unit) {
    type Hog = fn(&mut Lives, u64) -> Status;
    let areas: Hog = |lives, n| lives.world.status(BOB, map(FIRST, PAGES_AT + n * PAGE, 0, PAGE));
    let frames: Hog = |lives, n| lives.world.status(BOB, map(FIRST, n << 30, 0, PAGE));
    let scarce = || {
        begin(&unit.clone().table_bytes(0xc_0000), |p| {
            for client in &mut p.clients {
                (client.areas, client.frames) = (2000, 2000);
            }
        })
    };
    let full = {
        let mut lives = scarce();
        lives.world.finish(ALICE, Request::Reset);
        let fits = [frames, areas].map(|hog| {
            lives.world.ok(BOB, Request::IoasAlloc);
            let fits = (0..2000).take_while(|&n| hog(&mut lives, n) == Status::Ok).count();
            lives.world.finish(BOB, Request::Reset);
            fits
        });
        (fits[0], fits[1])
    };
    for (hog, step) in [(areas, 1), (frames, 2)] {
        let (mut met, mut rounds) = (0, 0);
        for left in (0..8 * step as u64).step_by(step) {
            let mut lives = scarce();
            // Bob takes all, then gives a little back; he has no other part here.
            lives.world.ok(BOB, Request::IoasAlloc);
            let all = (0..2000).take_while(|&n| hog(&mut lives, n) == Status::Ok).count() as u64;
            assert!(all > 20 && all < 2000, "{all}");
            for n in all - left / step as u64..all {
                let at = if step == 1 { PAGES_AT + n * PAGE } else { n << 30 };
                lives.world.ok(BOB, unmap(FIRST, at, PAGE));
            }
            lives.expected.clients.remove(1);
            lives.scarce = true;
            for (index, op) in life().into_iter().filter(|(index, _)| *index == 0) {
                lives.apply(index, op.clone(), None);
                if lives.out_of_memory != 0 && lives.scarce {
                    lives.scarce = false;
                    lives.world.finish(BOB, Request::Reset);
                    lives.apply(index, op, None);
                }
            }
            let refused = lives.out_of_memory;
            // All frames and all areas are there again.
            for channel in CHANNELS {
                lives.world.finish(channel, Request::Reset);
            }
            for (again, step, most) in [(frames, 2, full.0), (areas, 1, full.1)] {
                lives.world.ok(BOB, Request::IoasAlloc);
                let fits = (0..2000).take_while(|&n| again(&mut lives, n) == Status::Ok).count();
                assert_eq!(fits, most, "{left} left, of what goes {step} at a time");
                lives.world.finish(BOB, Request::Reset);
            }
            met += refused;
            rounds += 1;
        }
        assert!(met > 3, "{met} of {rounds}");
    }
}

over_every_unit!(
    s17_any_command_may_be_refused_once_and_again,
    s17_a_map_is_seen_though_two_commands_are_refused,
    s17_any_wait_may_be_without_end,
    s17_any_charge_may_be_over_quota,
    s17_any_allocation_may_fail,
);
