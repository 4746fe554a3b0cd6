//! Who runs when.

use super::*;

/// Ticks of the plans' budgets.
const BUDGET: u64 = 1000 * TICKS_PER_US;

#[test]
fn the_highest_priority_runs_and_a_signal_upwards_preempts() {
    let mut bench = Plan::default().pd(10).pd(30).pd(20).channel(0, 0, 1, 0).channel(0, 1, 2, 1).boot();
    bench.system_call(1, WAIT, INPUT, 0);
    bench.system_call(2, WAIT, INPUT, 0);
    bench.signal(0, 1);
    assert_eq!(bench.running(), Some(2));
    bench.system_call(2, WAIT, INPUT, 0);
    bench.signal(0, 0);
    assert_eq!(bench.running(), Some(1));
    assert_eq!(bench.state(0), State::Running, "preempted, not blocked");
    bench.system_call(1, WAIT, INPUT, 0);
    assert_eq!(bench.running(), Some(0));
}

#[test]
fn the_lowest_and_the_highest_priority_work() {
    let mut bench = Plan::default().pd(0).pd(254).boot();
    bench.system_call(1, WAIT, INPUT, 0);
    bench.system_call(0, WAIT, INPUT, 0);
    assert_eq!(bench.running(), None);
}

#[test]
fn equals_take_turns_of_a_budget() {
    let mut bench = Plan::default().pd(50).pd(50).pd(50).pd(10).boot();
    let mut order = Vec::new();
    for _ in 0..7 {
        order.push(bench.running().unwrap());
        bench.pass(BUDGET - 1);
        assert_eq!(bench.running(), order.last().copied(), "not before its budget is spent");
        bench.pass(1);
    }
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn preemption_does_not_cost_a_turn() {
    let mut bench = Plan::default().pd(50).pd(50).pd(90).irq(2, 40, 0).boot();
    bench.system_call(2, WAIT, INPUT, 0);
    bench.pass(BUDGET / 4);
    bench.interrupt(40);
    assert_eq!((bench.running(), bench.machine.armed), (Some(2), None));
    bench.pass(5 * BUDGET);
    bench.system_call(2, WAIT, INPUT, 0);
    assert_eq!(bench.running(), Some(0), "its turn goes on");
    bench.pass(3 * BUDGET / 4 - 1);
    assert_eq!(bench.running(), Some(0));
    bench.pass(1);
    assert_eq!(bench.running(), Some(1));
}

#[test]
fn whoever_yields_or_blocks_loses_the_turn() {
    let mut bench = Plan::default().pd(50).pd(50).irq(0, 40, 0).boot();
    bench.pass(BUDGET / 2);
    bench.system_call(0, YIELD, 0, 0);
    assert_eq!(bench.running(), Some(1));
    bench.system_call(1, YIELD, 0, 0);
    assert_eq!(bench.running(), Some(0));
    assert_eq!(bench.machine.armed, Some(bench.machine.now + BUDGET), "with a whole budget again");
    bench.recv(0);
    assert_eq!(bench.running(), Some(1));
    bench.interrupt(40);
    assert_eq!(bench.running(), Some(1), "equals do not preempt");
}

#[test]
fn a_yield_without_rivals_goes_on() {
    let mut bench = Plan::default().pd(50).boot();
    bench.system_call(0, YIELD, 0, 0);
    assert_eq!((bench.running(), bench.machine.armed), (Some(0), None));
}

#[test]
fn the_timer_is_armed_only_among_rivals() {
    let mut bench = Plan::default().pd(50).pd(50).pd(60).irq(2, 40, 0).boot();
    assert_eq!(bench.machine.armed, None);
    bench.system_call(2, WAIT, INPUT, 0);
    assert_eq!(bench.machine.armed, Some(BUDGET));
    bench.interrupt(40);
    assert_eq!(bench.machine.armed, None);
    bench.system_call(2, WAIT, INPUT, 0);
    bench.system_call(0, WAIT, INPUT, 0);
    assert_eq!((bench.running(), bench.machine.armed), (Some(1), None));
}

#[test]
fn a_passive_server_spends_its_callers_budget() {
    // A passive server among rivals of its own priority.
    let mut bench = Plan::default().pd(50).passive(90).pd(90).channel(0, 0, 1, 0).irq(2, 40, 0).boot();
    bench.become_passive(1);
    bench.system_call(2, WAIT, INPUT, 0);
    bench.call(0, 0, &[]);
    bench.reply_recv(1, 0);
    bench.call(0, 0, &[]);
    bench.interrupt(40);
    assert_eq!((bench.running(), bench.context(1)), (Some(1), Some(0)));
    bench.pass(BUDGET / 2);
    bench.reply_recv(1, 0);
    assert_eq!(bench.kernel.domains[0].left, BUDGET / 2);
    assert_eq!(bench.kernel.domains[1].left, BUDGET);
    assert_eq!(bench.running(), Some(2));
}

#[test]
fn an_early_timer_interrupt_ends_no_turn() {
    let mut bench = Plan::default().pd(50).pd(50).boot();
    bench.system_call(0, YIELD, 0, 0);
    bench.kernel.tick(&mut bench.machine);
    assert_eq!(bench.running(), Some(1));
}
