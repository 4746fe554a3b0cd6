extern crate std;

use std::{cell::RefCell, rc::Rc, vec::Vec};

use super::*;

/// 100 MHz.
const PERIOD_FS: u32 = 10_000_000;

/// Timers of which each access takes `step` ticks.
#[derive(Debug)]
struct Board {
    capabilities: u32,
    period: u32,
    configuration: u32,
    counter: u32,
    step: u32,
    /// Configuration, routes, comparator.
    timers: [[u32; 3]; 3],
    writes: Vec<(u32, u32)>,
}

impl Board {
    fn new() -> Self {
        Self {
            capabilities: 0x8086_a201,
            period: PERIOD_FS,
            configuration: 0,
            counter: u32::MAX - 500,
            step: 1,
            timers: [[0x30, 0x0004, 0], [0x34, 0x00ff_0104, 0], [0x2e, 0x00ff_0104, 0]],
            writes: Vec::new(),
        }
    }
}

#[derive(Debug, Clone)]
struct Port(Rc<RefCell<Board>>);

impl Registers for Port {
    fn read32(&mut self, at: u32) -> u32 {
        let mut board = self.0.borrow_mut();
        board.counter = board.counter.wrapping_add(board.step);
        match at {
            0 => board.capabilities,
            4 => board.period,
            0x10 => board.configuration,
            0xf0 => board.counter,
            _ => board.timers[(at as usize - 0x100) / 0x20][at as usize % 0x20 / 4],
        }
    }

    fn write32(&mut self, at: u32, value: u32) {
        let mut board = self.0.borrow_mut();
        board.writes.push((at, value));
        match at {
            0x10 => board.configuration = value,
            _ => board.timers[(at as usize - 0x100) / 0x20][at as usize % 0x20 / 4] = value,
        }
    }

    fn read64(&mut self, _: u32) -> u64 {
        unreachable!("halves alone")
    }

    fn write64(&mut self, _: u32, _: u64) {
        unreachable!("halves alone")
    }
}

fn board(change: impl FnOnce(&mut Board)) -> Port {
    let mut board = Board::new();
    change(&mut board);
    Port(Rc::new(RefCell::new(board)))
}

#[test]
fn what_is_no_hpet_is_refused() {
    let refused = |change: fn(&mut Board)| Hpet::open(board(change)).unwrap_err();
    for change in [
        |board: &mut Board| (board.capabilities, board.period) = (u32::MAX, u32::MAX),
        |board: &mut Board| (board.capabilities, board.period) = (0, 0),
        |board: &mut Board| board.period = 0,
        |board: &mut Board| board.period = MAX_PERIOD_FS + 1,
        |board: &mut Board| board.capabilities = 0x8086_a200,
    ] {
        assert!(matches!(refused(change), HpetError::NotThere(..)));
    }
}

#[test]
fn a_counter_that_runs_is_left_alone() {
    let port = board(|board| board.configuration = 3);
    let hpet = Hpet::open(port.clone()).unwrap();
    assert!(port.0.borrow().writes.is_empty(), "its registers may be mapped read-only");
    assert_eq!((hpet.ns(1), hpet.ns(u32::MAX)), (10, 42_949_672_950));
    let port = board(|_| ());
    Hpet::open(port.clone()).unwrap();
    assert_eq!(port.0.borrow().writes, [(0x10, 1)]);
}

#[test]
fn the_alarm_takes_a_comparator_that_can_raise_its_pin_and_quiets_all() {
    let port = board(|board| board.configuration = 2);
    Hpet::open(port.clone()).unwrap().into_alarm(21).unwrap();
    let board = port.0.borrow();
    assert_eq!(board.configuration, 1, "no legacy timers");
    assert!(board.timers.iter().all(|timer| timer[0] & 4 == 0), "nothing interrupts");
    assert_eq!(board.timers[1][0], 1 << 8 | 21 << 9, "comparator 1: 32 bits, pin 21, edge");
}

#[test]
fn a_pin_that_no_comparator_can_raise_is_refused() {
    for line in [3, 24, 31, 32, u32::MAX] {
        let port = board(|_| ());
        let error = Hpet::open(port.clone()).unwrap().into_alarm(line).unwrap_err();
        assert_eq!(error, HpetError::NoRoute { line, possible: 0x00ff_0104 });
    }
}

#[test]
fn an_alarm_is_set_across_the_counters_end_and_stopped() {
    let port = board(|_| ());
    let mut alarm = Hpet::open(port.clone()).unwrap().into_alarm(2).unwrap();
    let before = port.0.borrow().counter;
    alarm.set(50_000);
    let [configuration, _, comparator] = port.0.borrow().timers[0];
    assert_eq!(configuration, 1 << 8 | 2 << 9 | 4);
    assert_eq!(comparator.wrapping_sub(before), 5_001, "50 us from the reading of the counter, one tick on");
    alarm.set(u64::MAX);
    let (comparator, now) = (port.0.borrow().timers[0][2], port.0.borrow().counter);
    assert!((MAX_TICKS - 10..=MAX_TICKS).contains(&comparator.wrapping_sub(now)));
    alarm.stop();
    assert_eq!(port.0.borrow().timers[0][0] & 4, 0);
}

#[test]
fn an_alarm_that_is_over_before_it_is_set_is_set_anew_a_bounded_number_of_times() {
    let port = board(|board| board.step = 100);
    let mut alarm = Hpet::open(port.clone()).unwrap().into_alarm(2).unwrap();
    alarm.set(0);
    let comparator = port.0.borrow().timers[0][2];
    let ahead = comparator.wrapping_sub(port.0.borrow().counter);
    assert!(ahead > 0 && ahead < 200, "{ahead}");
    // One of which nothing can be ahead.
    port.0.borrow_mut().step = 1 << 31;
    port.0.borrow_mut().writes.clear();
    alarm.set(1);
    assert_eq!(port.0.borrow().writes.len() as u32, 2 * MAX_TRIES);
}

#[test]
fn another_counter_is_measured() {
    for (hz, per_read) in [(3_700_000_000, 37), (1_000_000_000, 10), (100_000_000, 1)] {
        let port = board(|_| ());
        let mut hpet = Hpet::open(port.clone()).unwrap();
        // Each reading of the HPET takes one tick, 10 ns; the other counter is seen to run meanwhile.
        let counter = || u64::from(port.0.borrow().counter.wrapping_add(1_000)) * per_read;
        assert_eq!(hpet.measure(counter), Some(hz));
    }
}

#[test]
fn a_counter_that_stands_still_is_given_up() {
    let port = board(|board| board.step = 0);
    let mut ticks = 0;
    let counter = || {
        ticks += 1_000_000;
        ticks
    };
    assert_eq!(Hpet::open(port).unwrap().measure(counter), None);
    assert!((GIVEN_UP_TICKS..2 * GIVEN_UP_TICKS).contains(&ticks));
}
