//! Which measurements are made, and of what.

use bench::{run, run_among};
use iommu_protocol::{Opcode, Status, stats};

use world::{AREAS_PER_REQUEST, Lines, Office, Port, SUPERVISOR, Shared, Street, price};

mod world;

fn alone() -> (Shared, Lines) {
    let world = Shared::default();
    let mut lines = Lines::default();
    let port = Port(world.clone(), 0);
    run(port.clone(), port, Office::new(&world), "bench", &mut lines);
    (world, lines)
}

fn among(world: &Shared, neighbours: u8) -> Lines {
    let mut lines = Lines::default();
    let port = Port(world.clone(), 0);
    run_among(port.clone(), port, Office::new(world), Street::new(world, neighbours), "bench", &mut lines);
    lines
}

/// What a supervisor asks for, and what follows on it, in the rows' order and words.
const SUPERVISED: [(Opcode, &str); 7] = [
    (Opcode::Teardown, "Teardown"),
    (Opcode::Hold, "Hold"),
    (Opcode::Revoke, "Revoke"),
    (Opcode::Regrant, "Regrant"),
    (Opcode::Stats, "Stats of a client"),
    (Opcode::Claim, "Claim"),
    (Opcode::Enable, "Enable"),
];

/// All but the PCI host's, and those.
fn of_clients() -> impl Iterator<Item = Opcode> {
    let others = |opcode: &Opcode| {
        let supervised = SUPERVISED.iter().any(|(other, _)| other == opcode && *opcode != Opcode::Stats);
        supervised || matches!(opcode, Opcode::IsAttached | Opcode::NextWithdrawn)
    };
    Opcode::ALL.into_iter().filter(move |opcode| !others(opcode))
}

#[test]
fn every_row_is_printed_once() {
    let (_, lines) = alone();
    let mut expected = vec!["empty call".to_string()];
    let mut add = |name: String| expected.push(name);
    for space in ["empty space", "space of 1000 mappings"] {
        ["attach", "detach"].iter().for_each(|verb| add(format!("{verb}, {space}")));
    }
    let mut places = vec!["4 KiB, in a random hole of 10000 other mappings".to_string()];
    for others in ["", ", 100 other mappings", ", 1000 other mappings", ", 10000 other mappings"] {
        places.extend(["4 KiB", "64 KiB", "2 MiB"].map(|size| format!("{size}{others}")));
    }
    for place in places {
        ["map", "unmap", "map + unmap"].iter().for_each(|verb| add(format!("{verb} {place}")));
    }
    add("map newest + unmap oldest of 64 x 4 KiB".into());
    add("map newest + unmap oldest of 64 x 4 KiB, 10000 other mappings".into());
    add("unmap of everything, 1000 mappings".into());
    of_clients().for_each(|opcode| add(format!("largest {opcode:?}")));
    SUPERVISED.iter().for_each(|(_, name)| add(format!("largest {name}")));
    let mut printed: Vec<String> = lines.rows().into_iter().map(|(name, _)| name).collect();
    printed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(printed, expected);
    assert_eq!(*lines.0.last().unwrap(), format!("done bench: {} checks", expected.len()));
}

#[test]
fn figures_are_of_the_calls_alone() {
    let (_, lines) = alone();
    let (map, unmap) = (price(Opcode::Map), price(Opcode::Unmap));
    let every = |name: &str, took: u64| assert_eq!(lines.row(name), [took; 3], "{name}");
    every("empty call", price(Opcode::Version));
    every("map 64 KiB, 100 other mappings", map);
    every("unmap 2 MiB", unmap);
    every("map + unmap 4 KiB, in a random hole of 10000 other mappings", map + unmap);
    every("map newest + unmap oldest of 64 x 4 KiB", map + unmap);
    every("attach, space of 1000 mappings", price(Opcode::Attach));
    every("unmap of everything, 1000 mappings", 1000_u64.div_ceil(AREAS_PER_REQUEST as u64) * unmap);
    of_clients().for_each(|opcode| every(&format!("largest {opcode:?}"), price(opcode)));
    SUPERVISED.iter().for_each(|(opcode, name)| every(&format!("largest {name}"), price(*opcode)));
}

#[test]
fn pages_among_the_others_have_others_on_both_sides() {
    let (world, _) = alone();
    let squeezed = &world.borrow().squeezed;
    // Random holes: one page at a time, hardly ever in the same hole twice.
    let random = &squeezed[&10_000];
    assert!(random.len() > 900, "{}", random.len());
    let spread = random.last().unwrap() - random.first().unwrap();
    assert!(spread > 0x2000 * 9_900, "{spread:#x}");
    // The FIFO: each one newer than 64 others, and in a hole of its own.
    assert_eq!(squeezed[&10_064].len(), 1002);
}

#[test]
fn one_client_is_measured_among_others_that_call_in_between() {
    let world = Shared::default();
    let lines = among(&world, 31);
    let largest = |opcode| (format!("largest {opcode:?}, 32 clients"), [price(opcode); 3]);
    let supervised = |(opcode, name)| (format!("largest {name}, 32 clients"), [price(opcode); 3]);
    let expected = of_clients().map(largest).chain(SUPERVISED.map(supervised));
    assert_eq!(lines.rows(), expected.collect::<Vec<_>>());
    // All of them attach their device and hold 100 pages; between the calls they map and unmap.
    let asked = &world.borrow().asked;
    for number in 1..=31 {
        let count = |opcode: Opcode| asked[&number][&opcode.label()];
        assert!(count(Opcode::Attach) > 1, "{number}");
        assert_eq!(count(Opcode::Map), count(Opcode::Unmap) + 100, "{number}");
    }
    let turns = |number: u8| asked[&number][&Opcode::Unmap.label()];
    let measured: u64 = asked[&0].values().sum();
    let supervised = SUPERVISED.iter().filter(|(opcode, _)| *opcode != Opcode::Stats);
    let supervised =
        supervised.filter_map(|(opcode, _)| asked[&SUPERVISOR].get(&opcode.label())).sum::<u64>();
    // How often it asked for counters only to see whether the server is done, nobody knows.
    let turned = (1..=31).map(turns).sum::<u64>();
    let stats = 100 * u64::from(stats::GROUPS);
    assert_eq!(turned, measured + supervised + stats, "one before each call");
    assert!(turns(1) - turns(31) <= 1, "in turn");
}

#[test]
fn what_a_supervisor_asks_for_meets_as_much_as_there_can_be() {
    let (world, _) = alone();
    let world = world.borrow();
    for opcode in [Opcode::Teardown, Opcode::Revoke] {
        // One message takes out 64; what is left of a space goes with the last.
        let found = &world.found[&opcode.label()];
        assert!(found.is_superset(&[64, 192, 10_000, 10_064].into()), "{opcode:?}: {found:?}");
    }
    let half_done = [Opcode::Map, Opcode::Copy, Opcode::Revoke].map(|opcode| Some(opcode.label()));
    assert!(half_done.iter().all(|request| world.claimed.contains(request)), "{:?}", world.claimed);
    // Nothing is left to those who come later.
    let asked = &world.asked[&SUPERVISOR];
    assert_eq!(asked[&Opcode::Revoke.label()], asked[&Opcode::Regrant.label()]);
    assert_eq!(asked[&Opcode::Hold.label()], 100 + 4 + 2);
}

#[test]
fn a_client_that_fails_fails_the_run() {
    let world = Shared::default();
    let street = Street::new(&world, 9);
    world.borrow_mut().refuse = Some((3, Status::QuotaExceeded));
    let mut lines = Lines::default();
    let port = Port(world.clone(), 0);
    run_among(port.clone(), port.clone(), Office::new(&world), street, "bench", &mut lines);
    assert!(lines.0.contains(&"FAIL bench: other client 3 was refused: QuotaExceeded".to_string()));
    world.borrow_mut().refuse = Some((0, Status::HardwareFailed));
    let mut lines = Lines::default();
    run(port.clone(), port, Office::new(&world), "bench", &mut lines);
    assert_eq!(lines.0, ["FAIL bench: no server: HardwareFailed"]);
}
