//! Faults are told by the message that bring-up was given, and only then.

use super::*;

#[test]
fn faults_are_told_by_a_message_once_until_their_records_are_out() {
    for kind in kinds() {
        let mut board = start(&kind);
        let space = board.attached();
        board.map(&space, IOVA, DATA, 12, Rights::READ_WRITE);
        let told = |board: &Board| board.bench.observed().fault_interrupts;
        assert_eq!(told(&board), 0, "{kind:?}");
        for round in 1..=3 {
            assert!(board.bench.dma_write(STREAM, IOVA + PAGE, &[1]).is_err());
            assert!(board.bench.dma_write(STREAM, IOVA + PAGE, &[1]).is_err());
            assert_eq!(told(&board), round, "one for all that are pending: {kind:?}");
            while board.unit.next_fault(&mut board.memory).is_some() {}
            let _ = board.unit.service_errors(&mut board.memory, &board.clock);
        }
    }
}

#[test]
fn a_unit_that_was_given_no_message_sends_none() {
    let kind = model::Config::default();
    let wish = Config { fault_message: None, ..config(&[STREAM]) };
    let mut board = start_with(Bench::new(kind.clone()), &kind, &wish).unwrap();
    board.attached();
    assert!(board.bench.dma_write(STREAM, IOVA, &[1]).is_err());
    assert_eq!(board.bench.observed().fault_interrupts, 0);
    assert!(board.unit.next_fault(&mut board.memory).is_some(), "but it is found when asked for");
}

#[test]
fn the_message_goes_where_it_was_said() {
    let kind = model::Config::default();
    let board = start(&kind);
    let (mut regs, _, _) = board.bench.ports();
    assert_eq!([0x38, 0x3c, 0x40].map(|at| regs.read32(at)), [0, MESSAGE.data, MESSAGE.address as u32]);
}
