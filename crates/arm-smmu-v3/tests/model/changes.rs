//! Changes of entries, as the unit may see them at any store (H5).

use iommu_hal::UnitError;
use proptest::prelude::*;

use super::*;

/// What a stream is asked to be next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Attach { neighbour: bool, format: Format, tag: u16 },
    Block { neighbour: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let format = prop_oneof![Just(Format::ArmStage1), Just(Format::ArmStage2)];
    prop_oneof![
        3 => (any::<bool>(), format, 1..4u16)
            .prop_map(|(neighbour, format, tag)| Step::Attach { neighbour, format, tag }),
        1 => any::<bool>().prop_map(|neighbour| Step::Block { neighbour }),
    ]
}

/// Six address spaces, each with `IOVA` on a page of its own that holds its number.
fn spaces(board: &mut Board) -> Vec<Binding> {
    let mut spaces = Vec::new();
    for format in [Format::ArmStage1, Format::ArmStage2] {
        for tag in 1..4 {
            let space = board.space(tag, geometry(format, board));
            let pa = DATA + spaces.len() as u64 * PAGE;
            board.map(&space, IOVA, pa, 12, Rights::READ_WRITE);
            board.bench.memory().poke(pa, &[spaces.len() as u8 + 1]);
            spaces.push(space);
        }
    }
    spaces
}

fn reads(board: &Board, stream: StreamId) -> Option<u8> {
    let mut byte = [0];
    board.bench.dma_read(stream, IOVA, &mut byte).ok().map(|()| byte[0])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_change_shows_the_old_entry_the_new_one_or_abort(
        steps in proptest::collection::vec(step(), 1..30),
        coherent: bool,
        reads_ahead: bool,
    ) {
        let kind = model::Config { coherent, reads_ahead, ..model::Config::default() };
        let mut board = start(&kind);
        let spaces = spaces(&mut board);
        let mut expected = [None; 2];
        for step in steps {
            let Board { unit, memory, clock, .. } = &mut board;
            match step {
                Step::Attach { neighbour, format, tag } => {
                    let index = usize::from(format == Format::ArmStage2) * 3 + usize::from(tag) - 1;
                    let stream = [STREAM, NEIGHBOUR][usize::from(neighbour)];
                    unit.attach(memory, clock, stream, &spaces[index]).unwrap();
                    expected[usize::from(neighbour)] = Some(index as u8 + 1);
                }
                Step::Block { neighbour } => {
                    unit.block(memory, clock, [STREAM, NEIGHBOUR][usize::from(neighbour)]).unwrap();
                    expected[usize::from(neighbour)] = None;
                }
            }
            prop_assert_eq!([reads(&board, STREAM), reads(&board, NEIGHBOUR)], expected);
        }
    }
}

#[test]
fn an_entry_passes_only_through_old_abort_and_new() {
    let mut board = start(&model::Config::default());
    let spaces = spaces(&mut board);
    for (one, two) in [(0, 1), (0, 3), (3, 0), (3, 4)] {
        let Board { unit, memory, clock, bench, .. } = &mut board;
        unit.attach(memory, clock, STREAM, &spaces[one]).unwrap();
        let skip = bench.entry_history(STREAM).len() - 1;
        let old = bench.entry_history(STREAM)[skip];
        unit.attach(memory, clock, STREAM, &spaces[two]).unwrap();
        let history = bench.entry_history(STREAM).split_off(skip);
        let new = *history.last().unwrap();
        assert_ne!(old, new);
        for state in &history {
            let aborts = state[0] == 1;
            assert!(aborts || *state == old || *state == new, "{state:x?}");
        }
        // From one stage 1 space to another the stream never aborts: one store moves it.
        let hitless = one < 3 && two < 3;
        assert_eq!(history.len() == 2, hitless, "{history:x?}");
    }
}

#[test]
fn changes_take_a_bounded_number_of_syncs() {
    let mut board = start(&model::Config::default());
    let spaces = spaces(&mut board);
    let mut syncs_of = |change: &mut dyn FnMut(&mut Board)| {
        let before = board.bench.observed().syncs_completed;
        change(&mut board);
        board.bench.observed().syncs_completed - before
    };
    let mut attach = |index: usize| {
        let space = spaces[index];
        syncs_of(&mut |board: &mut Board| {
            board.unit.attach(&mut board.memory, &board.clock, STREAM, &space).unwrap();
        })
    };
    assert_eq!(attach(3), 2, "from abort");
    assert_eq!(attach(4), 4, "from stage 2 to stage 2");
    assert_eq!(attach(0), 4, "from stage 2 to stage 1");
    assert_eq!(attach(1), 2, "from stage 1 to stage 1");
    let block = syncs_of(&mut |board: &mut Board| {
        board.unit.block(&mut board.memory, &board.clock, STREAM).unwrap();
    });
    assert_eq!(block, 2);
    let sync = syncs_of(&mut |board: &mut Board| board.sync());
    assert_eq!(sync, 0, "nothing was queued");
}

#[test]
fn tags_wider_than_the_unit_has_are_refused() {
    let kind = model::Config { asid16: false, vmid16: false, ..model::Config::default() };
    let mut board = start(&kind);
    for format in [Format::ArmStage1, Format::ArmStage2] {
        let geometry = geometry(format, &board);
        let wide = board.space(0x100, geometry);
        let widest = board.space(0xff, geometry);
        let Board { unit, memory, clock, .. } = &mut board;
        assert_eq!(unit.attach(memory, clock, STREAM, &wide), Err(UnitError::Unsupported));
        assert_eq!(unit.attach(memory, clock, STREAM, &widest), Ok(()));
    }
}
