//! Notifications and interrupts.

use super::*;

#[test]
fn badges_of_untaken_signals_are_joined() {
    let mut bench =
        Plan::default().pd(200).pd(100).channel(0, 1, 1, 3).channel(0, 2, 1, 4).irq(1, 40, 9).boot();
    bench.signal(0, 1);
    bench.signal(0, 2);
    bench.signal(0, 2);
    bench.interrupt(40);
    bench.system_call(0, WAIT, INPUT, 0);
    bench.recv(1);
    assert_eq!((bench.running(), bench.badge(1)), (Some(1), 1 << 3 | 1 << 4 | 1 << 9));
    bench.recv(1);
    assert_eq!(bench.running(), None, "taken once");
}

#[test]
fn a_signal_wakes_a_pd_that_waits_on_its_endpoint() {
    let mut bench = Plan::default().pd(100).pd(200).channel(0, 5, 1, 2).boot();
    bench.recv(1);
    assert_eq!(bench.state(1), State::Receiving { reply: true });
    bench.signal(0, 5);
    assert_eq!((bench.running(), bench.badge(1)), (Some(1), 1 << 2));
    // Its reply object is still good for the next call.
    bench.recv(1);
    bench.call(0, 5, &[]);
    bench.reply_recv(1, 6);
    assert_eq!((bench.running(), bench.info(0)), (Some(0), info(6, 0)));
}

#[test]
fn a_signal_comes_before_a_caller_that_waits_longer() {
    let mut bench = Plan::default().pd(200).pd(210).pd(100).channel(0, 0, 2, 0).channel(1, 0, 2, 1).boot();
    bench.system_call(1, YIELD, 0, 0);
    bench.signal(1, 0);
    bench.system_call(1, WAIT, INPUT, 0);
    bench.call(0, 0, &[]);
    bench.recv(2);
    assert_eq!(bench.badge(2), 1 << 1);
    bench.recv(2);
    assert_eq!(bench.badge(2), call_badge(0));
}

#[test]
fn a_signal_does_not_wake_a_pd_in_a_call() {
    let mut bench = Plan::default().pd(100).pd(200).channel(0, 5, 1, 2).irq(0, 40, 7).boot();
    bench.recv(1);
    bench.call(0, 5, &[]);
    bench.interrupt(40);
    assert_eq!(bench.state(0), State::AwaitingReply { from: 1 });
    bench.reply_recv(1, 0);
    bench.recv(0);
    assert_eq!((bench.running(), bench.badge(0)), (Some(0), 1 << 7));
}

#[test]
fn a_signal_leaves_the_senders_registers() {
    let mut bench = Plan::default().pd(200).pd(100).channel(0, 5, 1, 2).boot();
    bench.machine.registers[0][2..6].copy_from_slice(&[1, 2, 3, 4]);
    bench.system_call(0, SEND, notification(5), 0);
    assert_eq!(bench.machine.registers[0][0..6], [notification(5), 0, 1, 2, 3, 4]);
}

#[test]
fn a_call_of_a_notification_signals_and_returns() {
    let mut bench = Plan::default().pd(200).pd(100).channel(0, 5, 1, 2).boot();
    bench.system_call(0, CALL, notification(5), info(3, 0));
    assert_eq!((bench.running(), bench.badge(0), bench.info(0)), (Some(0), 0, 0));
    assert_eq!(bench.kernel.domains[1].signals, 1 << 2);
}

#[test]
fn an_interrupt_is_held_back_until_it_is_acknowledged() {
    for (config, label, wrong) in
        [(config::DEBUG, 31, 27), (config::RELEASE, 27, 31), (config::BENCHMARK, 27, 31)]
    {
        let mut plan = Plan::default().pd(100).irq(0, 40, 7);
        plan.config = Some(config);
        let mut bench = plan.boot();
        bench.recv(0);
        bench.interrupt(40);
        assert_eq!(bench.badge(0), 1 << 7);
        assert!(bench.machine.masked[&40]);
        bench.system_call(0, CALL, irq(7), info(wrong, 0));
        assert_eq!(bench.info(0), info(3, 0), "an operation that interrupts do not have");
        assert!(bench.machine.masked[&40]);
        bench.system_call(0, CALL, irq(7), info(label, 0));
        assert_eq!((bench.info(0), bench.badge(0)), (0, 0));
        assert!(!bench.machine.masked[&40]);
    }
}

#[test]
fn an_interrupt_of_nobody_is_masked() {
    let mut bench = Plan::default().pd(100).irq(0, 40, 7).boot();
    bench.interrupt(41);
    assert!(bench.machine.masked[&41]);
    assert_eq!(bench.kernel.domains[0].signals, 0);
}

#[test]
fn a_passive_pd_without_endpoint_gives_its_context_back() {
    let mut bench = Plan::default().pd(100).passive(200).irq(1, 40, 7).boot();
    bench.become_passive(1);
    assert_eq!(bench.state(1), State::Waiting);
    bench.interrupt(40);
    assert_eq!((bench.running(), bench.context(1), bench.badge(1)), (Some(1), Some(1), 1 << 7));
    bench.recv(1);
    assert_eq!((bench.running(), bench.context(1)), (Some(0), None));
    bench.interrupt(40);
    assert_eq!((bench.running(), bench.context(1)), (Some(1), Some(1)));
}
