//! PDs that do what they may not.

use super::*;

const INVALID_CAPABILITY: u64 = 2;
const ILLEGAL_OPERATION: u64 = 3;

#[test]
fn a_call_of_an_empty_slot_returns_an_error() {
    let mut bench = Plan::default().pd(100).boot();
    // Empty slots of each kind, the last slot, and one that the root node has no entry for.
    for slot in
        [0, 7, MONITOR, 8, 72, 73, notification(3), endpoint(3), 137, irq(3), 202, 511, 1 << 58, u64::MAX]
    {
        bench.machine.registers[0][2] = 99;
        bench.system_call(0, CALL, slot, info(27, 0));
        assert_eq!(bench.info(0), info(INVALID_CAPABILITY, 1), "slot {slot:#x}");
        assert_eq!((bench.badge(0), bench.machine.registers[0][2]), (0, 0));
    }
    assert!(bench.machine.reports.is_empty());
}

#[test]
fn a_send_to_an_empty_slot_is_dropped() {
    let mut bench = Plan::default().pd(100).boot();
    bench.system_call(0, SEND, notification(3), 0);
    bench.system_call(0, -6, u64::MAX >> 8, 0);
    assert_eq!(bench.running(), Some(0));
}

#[test]
fn objects_without_operations_refuse() {
    let mut bench = Plan::default().passive(100).boot();
    for slot in [2, 3, 6, MONITOR] {
        bench.system_call(0, CALL, slot, info(1, 0));
        assert_eq!(bench.info(0), info(ILLEGAL_OPERATION, 0), "slot {slot}");
    }
}

#[test]
fn a_slot_outside_the_capability_space_stops_the_caller() {
    for number in [CALL, SEND] {
        let mut bench = Plan::default().pd(100).boot();
        bench.system_call(0, number, 512, 0);
        let cause = Cause::NoCapability { slot: 512, receiving: false };
        assert_eq!(bench.machine.reports, [(0, cause, 0)]);
        assert_eq!((bench.running(), bench.state(0)), (None, State::Stopped));
    }
}

#[test]
fn receiving_from_anything_but_the_input_stops() {
    for slot in [0, 3, REPLY, notification(5), endpoint(5), 600] {
        let mut bench = Plan::default().pd(200).pd(100).channel(0, 5, 1, 2).boot();
        bench.system_call(0, RECV, slot, 0);
        assert_eq!(bench.machine.reports, [(0, Cause::NoCapability { slot, receiving: true }, 0)]);
        assert_eq!(bench.running(), Some(1), "others go on");
    }
}

#[test]
fn receiving_calls_without_a_reply_object_stops() {
    let mut bench = Plan::default().pd(100).pd(200).channel(0, 5, 1, 2).boot();
    bench.machine.registers[1][0] = INPUT;
    bench.machine.registers[1][6] = 3;
    bench.kernel.system_call(&mut bench.machine, RECV);
    assert_eq!(bench.machine.reports, [(1, Cause::NoCapability { slot: 3, receiving: true }, 0)]);
}

#[test]
fn unknown_system_calls_stop() {
    for number in [0, 1, -13, i64::MIN, i64::MAX] {
        let mut bench = Plan::default().pd(100).boot();
        bench.system_call(0, number, 0, 0);
        assert_eq!(bench.machine.reports, [(0, Cause::UnknownSystemCall(number), 0)]);
    }
}

#[test]
fn printing_is_for_the_debug_configuration() {
    let mut plan = Plan::default().pd(100);
    plan.config = Some(config::DEBUG);
    let mut bench = plan.boot();
    bench.system_call(0, -12, u64::from(b'x'), 0);
    assert_eq!(bench.machine.output, "x");
    for config in [config::RELEASE, config::BENCHMARK] {
        let mut plan = Plan::default().pd(100);
        plan.config = Some(config);
        let mut bench = plan.boot();
        bench.system_call(0, -12, u64::from(b'x'), 0);
        assert_eq!(bench.machine.output, "");
        assert_eq!(bench.machine.reports, [(0, Cause::UnknownSystemCall(-12), 0)]);
    }
}

#[test]
fn a_fault_stops_one_pd_and_names_who_waits_for_it() {
    let mut bench = Plan::default()
        .pd(50)
        .pd(60)
        .pd(40)
        .passive(200)
        .channel(0, 0, 3, 0)
        .channel(1, 0, 3, 1)
        .irq(2, 40, 0)
        .boot();
    bench.become_passive(3);
    bench.call(1, 0, &[]);
    bench.kernel.stop(&mut bench.machine, Cause::Exception);
    bench.check();
    assert_eq!(bench.machine.reports, [(3, Cause::Exception, 1 << 1)]);
    assert_eq!(bench.running(), Some(0));
    bench.call(0, 0, &[]);
    assert_eq!(bench.state(0), State::Sending { to: 3, badge: call_badge(0), call: true });
    assert_eq!(bench.running(), Some(2), "callers wait for ever, others run");
    bench.system_call(2, WAIT, INPUT, 0);
    bench.interrupt(40);
    assert_eq!(bench.running(), Some(2));
}

#[test]
fn a_dead_pd_keeps_no_context_that_was_lent_to_it_from_running_others() {
    let mut bench = Plan::default().pd(50).passive(200).pd(10).channel(0, 0, 1, 0).boot();
    bench.become_passive(1);
    bench.call(0, 0, &[]);
    bench.reply_recv(1, 0);
    bench.call(0, 0, &[]);
    bench.kernel.stop(&mut bench.machine, Cause::Exception);
    bench.check();
    assert_eq!((bench.running(), bench.context(1)), (Some(2), Some(0)));
}

#[test]
fn a_caller_that_dies_later_does_not_hurt_the_server() {
    let mut bench = Plan::default().pd(50).passive(200).channel(0, 0, 1, 0).boot();
    bench.become_passive(1);
    bench.call(0, 0, &[]);
    bench.reply_recv(1, 0);
    bench.call(0, 0, &[]);
    bench.reply_recv(1, 0);
    bench.kernel.stop(&mut bench.machine, Cause::Exception);
    bench.check();
    assert_eq!(bench.running(), None);
    assert_eq!(bench.state(1), State::Receiving { reply: true });
}

#[test]
fn a_pd_that_calls_itself_waits_for_ever() {
    let mut bench = Plan::default().pd(50).pd(60).channel(0, 0, 1, 0).boot();
    bench.system_call(1, CALL, INPUT, 0);
    assert_eq!(bench.running(), Some(0));
    bench.call(0, 0, &[]);
    assert_eq!(bench.running(), None);
}
