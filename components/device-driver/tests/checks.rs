//! The checks in a world that is played: they pass in a sound one, and each notices what is wrong with another.
#![allow(unsafe_code)] // The device that is played reaches memory by address, as a real one does.

mod world;

use world::{NAMES, Schedule, Wrong, run};

const PLAIN: Schedule = Schedule { first: 0, together: true, head_start: 0 };

/// The number of checks of one driver.
const CHECKS: usize = 50;

fn passes(lines: &[String], name: &str) {
    let (done, checks) = lines.split_last().expect("lines");
    for line in checks {
        assert!(line.starts_with(&format!("ok {name}: ")), "{line}");
    }
    assert_eq!(*done, format!("done {name}: {CHECKS} checks"));
    assert_eq!(checks.len(), CHECKS);
}

#[test]
fn a_sound_world_passes_in_any_order_of_events() {
    for first in [0, 1] {
        for together in [false, true] {
            for head_start in [0, 1, 10, 1000] {
                let schedule = Schedule { first, together, head_start };
                let lines = run(Wrong::Nothing, schedule);
                for (lines, name) in lines.iter().zip(NAMES) {
                    passes(lines, name);
                }
            }
        }
    }
}

#[test]
fn what_was_tried_is_said() {
    let [lines, _] = run(Wrong::Nothing, PLAIN);
    for expected in [
        "ok edu0_driver: a write to an IOVA that was never mapped is stopped: memory unchanged; recorded: a write at 0xabcd000, not mapped",
        "ok edu0_driver: refused: an overlap (Overlap)",
        "ok edu0_driver: the peer by DMA: a write to its memory is stopped (physical address 0x40201000; the device puts 0x201000 on the bus)",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
    }
}

#[test]
fn a_device_with_all_address_bits_is_stopped_at_the_physical_address() {
    let lines = run(Wrong::WideMask, PLAIN);
    for (lines, name) in lines.iter().zip(NAMES) {
        passes(lines, name);
    }
    let expected = "(physical address 0x40201000; the device puts 0x40201000 on the bus)";
    assert!(lines[0].iter().any(|line| line.ends_with(expected)), "{lines:#?}");
}

#[test]
fn where_the_hardware_drops_records_the_device_tries_again() {
    for first in [0, 1] {
        for together in [false, true] {
            let lines = run(Wrong::DropsSome, Schedule { first, together, head_start: 0 });
            for (lines, name) in lines.iter().zip(NAMES) {
                passes(lines, name);
            }
        }
    }
}

/// The failures of both drivers.
fn failures(wrong: Wrong) -> Vec<String> {
    let lines = run(wrong, PLAIN);
    for (lines, name) in lines.iter().zip(NAMES) {
        let done = lines.last().expect("lines");
        assert!(done.starts_with(&format!("done {name}: ")), "{wrong:?} stops {name}: {lines:#?}");
    }
    lines.concat().into_iter().filter(|line| line.starts_with("FAIL ")).collect()
}

#[test]
fn whatever_is_wrong_is_noticed_by_the_check_for_it() {
    const NEVER_WRITTEN: &str = "a write to an IOVA that was never mapped";
    const NEVER_READ: &str = "a read of an IOVA that was never mapped";
    const VICTIM: &str = "after the peer's attack";
    let cases = [
        (
            Wrong::NothingStopped,
            NEVER_WRITTEN,
            "a write at 0xabcd000 by device 0 (stream 0x10), not mapped, found none",
        ),
        (Wrong::ReadOnlyWritten, "a write through a read-only mapping", "not permitted, found none"),
        (
            Wrong::StaleTranslations,
            "a write to an IOVA after UNMAP",
            "at 0x2200000 by device 0 (stream 0x10), not mapped, found none",
        ),
        (Wrong::ReadsLeak, NEVER_READ, "expected 0x0000000000000000 in word 0, found 0x"),
        (Wrong::AllOrNothing, "a write over the end of its mapping", "the page that is mapped: expected 0x"),
        (Wrong::WritesForgotten, "4096 bytes from memory", "the memory that the device wrote: expected 0x"),
        (Wrong::NoRecord, NEVER_WRITTEN, "found none"),
        (Wrong::DropsAll, NEVER_WRITTEN, "found none"),
        (Wrong::OtherIova, NEVER_WRITTEN, "found a write at 0xabcc000 by device 0 (stream 0x10), not mapped"),
        (
            Wrong::OtherReason,
            NEVER_WRITTEN,
            "found a write at 0xabcd000 by device 0 (stream 0x10), reason 0x3",
        ),
        (Wrong::OtherAccess, NEVER_READ, "found a write at 0x3210000 by device 0 (stream 0x10), not mapped"),
        (Wrong::RecordsToBoth, VICTIM, "the fault ring: expected nothing new, found "),
        (Wrong::SharedMappings, "the peer by DMA: what it alone has mapped", "found none"),
        (Wrong::SharedMappings, VICTIM, "the page that was mapped: expected 0x"),
        (Wrong::EnabledUnattached, "no bus mastering before", "expected NotAttached, found Ok"),
        (Wrong::StaysBusMaster, "after DETACH", "the device bus master: expected no, found yes"),
        (Wrong::SplitRemoves, "what was refused changed nothing", "expected 0x2000, found 0x0"),
        (Wrong::GenerationIgnored, "refused: a slot of another generation", "expected StaleRegion, found Ok"),
        (Wrong::SpacesKnown, "the peer by message", "expected NoSuchSpace, found NotAllowed"),
        (Wrong::ConstantsWritable, "refused: more rights than granted", "expected NotPermitted, found Ok"),
        (Wrong::OtherVersion, "the server speaks this version", "version 2 of the protocol instead of 1"),
        (Wrong::NoSpace, "an address space is made", "expected one, found NoMemory"),
        (Wrong::OtherInterrupt, "the device answers and interrupts", "expected 0x2, found 0x202"),
    ];
    for (wrong, check, found) in cases {
        let failures = failures(wrong);
        let told = |name: &str| {
            let start = format!("FAIL {name}: {check}");
            failures.iter().any(|line| line.starts_with(&start) && line.contains(found))
        };
        assert!(NAMES.into_iter().any(told), "{wrong:?}: {failures:#?}");
    }
}
