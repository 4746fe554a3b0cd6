//! Physical placement, with whatever regions: what is placed lies in RAM, apart, aligned and outside the kernel.

use proptest::prelude::*;
use xtask::{
    board::{self, Board, Interval},
    builder::{Source, describe},
    image::layout::Layout,
    sdf::System,
};

/// Most regions of a system here.
const MAX_REGIONS: usize = 24;

const BASE: u64 = 0x4000_0000;

fn system(regions: &[(u64, Option<u64>)]) -> Option<System> {
    let mut text = "<system>\n".to_string();
    for (index, (pages, fixed)) in regions.iter().enumerate() {
        let fixed = fixed.map_or(String::new(), |page| format!(" phys_addr=\"{}\"", BASE + page * 0x1000));
        text += &format!("<memory_region name=\"r{index}\" size=\"{}\"{fixed} />\n", pages * 0x1000);
    }
    text += "<protection_domain name=\"a\"><program_image path=\"a.elf\" /></protection_domain>\n</system>\n";
    let source = Source { name: "system.xml".into(), text };
    // Fixed regions may overlap each other or the kernel: such a system is refused before it is placed.
    describe(&source, None, &board(), vec![]).ok().map(|described| described.system)
}

fn board() -> Board {
    Board::read(&xtask::root(), board::DEFAULT).unwrap()
}

proptest! {
    #[test]
    fn nothing_overlaps(
        regions in prop::collection::vec(
            (1..0x1000_u64, prop::option::weighted(0.2, 0..0x7_0000_u64)),
            1..MAX_REGIONS,
        ),
    ) {
        let board = board();
        let Some(system) = system(&regions) else { return Ok(()) };
        let layout = Layout::place(&system, &board, &[]).unwrap();
        for (index, range) in layout.regions.iter().enumerate() {
            prop_assert!(board.memory.ram.holds(*range) && !board.memory.kernel.meets(*range));
            prop_assert_eq!(range.last - range.first + 1, system.regions[index].bytes);
            match system.regions[index].paddr {
                Some(paddr) => prop_assert_eq!(range.first, paddr),
                None => prop_assert!(range.first.is_multiple_of(system.page_bytes(index))),
            }
            prop_assert!(layout.regions[..index].iter().all(|other| !other.meets(*range)));
        }
    }
}

#[test]
fn ram_is_filled_to_the_last_page() {
    let board = board();
    let Interval { first, last } = board.memory.kernel;
    let below = (first - board.memory.ram.first) / 0x1000;
    let above = (board.memory.ram.last - last) / 0x1000;
    let full = [(below, None), (above, None)];
    let layout = Layout::place(&system(&full).unwrap(), &board, &[]).unwrap();
    assert_eq!(layout.regions[0].last + 1, first);
    assert_eq!(layout.regions[1].last, board.memory.ram.last);
    let over = [(below, None), (above, None), (1, None)];
    let refusal = Layout::place(&system(&over).unwrap(), &board, &[]).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "system.xml:4:1: the region 'r2' (0x1000 bytes) does not fit into the RAM that is left"
    );
    let apart = [(below + 1, None), (above, None)];
    let refusal = Layout::place(&system(&apart).unwrap(), &board, &[]).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "system.xml:3:1: the region 'r1' (0x40000000 bytes) does not fit into the RAM that is left"
    );
}
