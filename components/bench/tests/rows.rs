//! Which measurements are made, and of what.

use bench::{run, run_among};
use iommu_protocol::{Opcode, Status};

use world::{AREAS_PER_REQUEST, Lines, Port, Shared, Street, price};

mod world;

fn alone() -> (Shared, Lines) {
    let world = Shared::default();
    let mut lines = Lines::default();
    let port = Port(world.clone(), 0);
    run(port.clone(), port, "bench", &mut lines);
    (world, lines)
}

fn among(world: &Shared, neighbours: u8) -> Lines {
    let mut lines = Lines::default();
    let port = Port(world.clone(), 0);
    run_among(port.clone(), port, Street::new(world, neighbours), "bench", &mut lines);
    lines
}

/// All but the PCI host's, a supervisor's, and what takes a fault storm or a supervisor to have come first.
fn of_clients() -> impl Iterator<Item = Opcode> {
    let others = [
        Opcode::IsAttached,
        Opcode::NextWithdrawn,
        Opcode::Teardown,
        Opcode::Hold,
        Opcode::Revoke,
        Opcode::Regrant,
        Opcode::Enable,
        Opcode::Claim,
    ];
    Opcode::ALL.into_iter().filter(move |opcode| !others.contains(opcode))
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
    assert_eq!(lines.rows(), of_clients().map(largest).collect::<Vec<_>>());
    // All of them attach their device and hold 100 pages; between the calls they map and unmap.
    let asked = &world.borrow().asked;
    for number in 1..=31 {
        let count = |opcode: Opcode| asked[&number][&opcode.label()];
        assert!(count(Opcode::Attach) > 1, "{number}");
        assert_eq!(count(Opcode::Map), count(Opcode::Unmap) + 100, "{number}");
    }
    let turns = |number: u8| asked[&number][&Opcode::Unmap.label()];
    let measured: u64 = asked[&0].values().sum();
    assert_eq!((1..=31).map(turns).sum::<u64>(), measured, "one before each call");
    assert!(turns(1) - turns(31) <= 1, "in turn");
}

#[test]
fn a_client_that_fails_fails_the_run() {
    let world = Shared::default();
    let street = Street::new(&world, 9);
    world.borrow_mut().refuse = Some((3, Status::QuotaExceeded));
    let mut lines = Lines::default();
    let port = Port(world.clone(), 0);
    run_among(port.clone(), port.clone(), street, "bench", &mut lines);
    assert!(lines.0.contains(&"FAIL bench: other client 3 was refused: QuotaExceeded".to_string()));
    world.borrow_mut().refuse = Some((0, Status::HardwareFailed));
    let mut lines = Lines::default();
    run(port.clone(), port, "bench", &mut lines);
    assert_eq!(lines.0, ["FAIL bench: no server: HardwareFailed"]);
}
