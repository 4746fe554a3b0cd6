//! Calls, replies and the scheduling contexts that go with them.

use super::*;

/// A client of priority 100 (PD 0, its channel 5) and a server of priority 200 (PD 1, its channel 2).
fn client_and_server() -> Plan {
    Plan::default().pd(100).pd(200).channel(0, 5, 1, 2)
}

#[test]
fn a_call_and_its_reply_carry_words_label_and_badge() {
    let mut bench = client_and_server().boot();
    bench.recv(1);
    bench.call(0, 5, &[11, 22, 33, 44]);
    assert_eq!(bench.running(), Some(1));
    assert_eq!(bench.badge(1), call_badge(2));
    assert_eq!(bench.info(1), info(7, 4));
    assert_eq!(bench.machine.registers[1][2..6], [11, 22, 33, 44]);

    bench.machine.registers[1][2..6].copy_from_slice(&[55, 66, 77, 88]);
    bench.system_call(1, REPLY_RECV, INPUT, info(9, 1));
    assert_eq!(bench.running(), Some(0));
    assert_eq!(bench.info(0), info(9, 1));
    assert_eq!(bench.badge(0), 0);
    assert_eq!(bench.machine.registers[0][2..6], [55, 22, 33, 44], "words past the length stay");
    assert_eq!(bench.state(1), State::Receiving { reply: true });
}

#[test]
fn words_past_the_fourth_come_from_the_ipc_buffer_and_120_are_the_most() {
    for (announced, carried) in [(5, 5), (120, 120), (121, 120), (127, 120)] {
        let mut bench = client_and_server().boot();
        bench.recv(1);
        let words: Vec<u64> = (1000..1120).collect();
        bench.machine.buffer(0).copy_from_slice(&words);
        bench.system_call(0, CALL, endpoint(5), info(7, announced));
        assert_eq!(bench.info(1), info(7, carried as u64));
        let received = bench.machine.buffer(1);
        assert_eq!(received[4..carried], words[4..carried]);
        assert!(received[carried..].iter().all(|&word| word == 0));
        assert!(received[..4].iter().all(|&word| word == 0), "the first four travel in registers");
    }
}

#[test]
fn announced_capabilities_stay_behind() {
    let mut bench = client_and_server().boot();
    bench.recv(1);
    let capabilities = 0b111 << 9 | 0b11 << 7;
    bench.system_call(0, CALL, endpoint(5), info(7, 2) | capabilities);
    assert_eq!(bench.info(1), info(7, 2));
}

#[test]
fn callers_are_served_by_priority_then_in_order() {
    let mut bench = Plan::default()
        .pd(200)
        .pd(10)
        .pd(30)
        .pd(20)
        .pd(20)
        .channel(1, 0, 0, 1)
        .channel(2, 0, 0, 2)
        .channel(3, 0, 0, 3)
        .channel(4, 0, 0, 4)
        .irq(0, 40, 9)
        .boot();
    // The server waits for its interrupt only, so that all calls queue.
    bench.recv(0);
    bench.call(2, 0, &[]);
    assert_eq!(bench.badge(0), call_badge(2));
    bench.system_call(0, RECV, 99, 0);
    assert_eq!(bench.machine.reports.len(), 1, "the server is gone");
    bench.call(3, 0, &[]);
    bench.call(4, 0, &[]);
    bench.call(1, 0, &[]);
    assert_eq!(bench.kernel.domains[0].senders, [3, 4, 1], "longest wait first among equals");
    assert_eq!(bench.running(), None);
}

#[test]
fn a_passive_server_runs_on_its_callers_context_from_the_second_call_on() {
    let mut bench = Plan::default().pd(100).passive(200).channel(0, 5, 1, 2).boot();
    bench.become_passive(1);
    assert_eq!(bench.context(1), Some(1), "the monitor binds the context and does not take it");

    bench.call(0, 5, &[]);
    assert_eq!(bench.context(1), Some(1));
    assert_eq!(bench.context(0), Some(0));
    bench.reply_recv(1, 0);
    assert_eq!(bench.context(1), None, "given back at the blocking receive");

    bench.call(0, 5, &[]);
    assert_eq!(bench.running(), Some(1));
    assert_eq!(bench.context(1), Some(0));
    assert_eq!(bench.context(0), None);
    bench.reply_recv(1, 0);
    assert_eq!(bench.running(), Some(0));
    assert_eq!(bench.context(0), Some(0));
    assert_eq!(bench.context(1), None);
}

#[test]
fn a_context_goes_down_a_chain_of_passive_servers_and_back() {
    let mut bench =
        Plan::default().pd(100).passive(150).passive(200).channel(0, 0, 1, 0).channel(1, 1, 2, 1).boot();
    bench.become_passive(2);
    bench.become_passive(1);
    // The first calls take the servers' own contexts from them.
    bench.call(0, 0, &[]);
    bench.call(1, 1, &[]);
    bench.reply_recv(2, 0);
    bench.reply_recv(1, 0);

    bench.call(0, 0, &[]);
    bench.call(1, 1, &[]);
    assert_eq!((bench.running(), bench.context(2)), (Some(2), Some(0)));
    bench.reply_recv(2, 0);
    assert_eq!((bench.running(), bench.context(1)), (Some(1), Some(0)));
    bench.reply_recv(1, 0);
    assert_eq!((bench.running(), bench.context(0)), (Some(0), Some(0)));
}

#[test]
fn a_queued_caller_lends_its_context_when_a_passive_server_receives() {
    let mut bench = Plan::default()
        .pd(90)
        .pd(100)
        .passive(200)
        .channel(0, 0, 2, 0)
        .channel(1, 0, 2, 1)
        .irq(1, 40, 7)
        .boot();
    bench.become_passive(2);
    bench.call(1, 0, &[]);
    bench.reply_recv(2, 0);
    bench.system_call(1, WAIT, INPUT, 0);
    bench.call(0, 0, &[]);
    assert_eq!(bench.context(2), Some(0));
    // In the middle of the call the other client wakes, but the server's priority is higher.
    bench.interrupt(40);
    assert_eq!(bench.running(), Some(2));
    bench.reply_recv(2, 0);
    assert_eq!(bench.running(), Some(1));
    bench.call(1, 0, &[]);
    assert_eq!((bench.running(), bench.context(2)), (Some(2), Some(1)));
    assert_eq!(bench.badge(2), call_badge(1));
}

#[test]
fn a_passive_server_handles_a_signal_on_its_own_context() {
    let mut bench = Plan::default().pd(100).passive(200).channel(0, 5, 1, 2).boot();
    bench.become_passive(1);
    bench.call(0, 5, &[]);
    bench.reply_recv(1, 0);
    assert_eq!(bench.context(1), None);
    bench.signal(0, 5);
    assert_eq!((bench.running(), bench.context(1)), (Some(1), Some(1)));
    assert_eq!(bench.badge(1), 1 << 2);
    bench.recv(1);
    assert_eq!((bench.running(), bench.context(1)), (Some(0), None));
}

#[test]
fn a_signal_during_a_call_is_taken_after_the_reply_on_the_own_context() {
    let mut bench = Plan::default().pd(100).passive(200).channel(0, 5, 1, 2).irq(1, 40, 3).boot();
    bench.become_passive(1);
    bench.call(0, 5, &[]);
    bench.reply_recv(1, 0);
    bench.call(0, 5, &[]);
    bench.interrupt(40);
    assert_eq!(bench.context(1), Some(0));
    bench.reply_recv(1, 0);
    assert_eq!(bench.running(), Some(1), "the server's notification comes before the client");
    assert_eq!((bench.badge(1), bench.context(1)), (1 << 3, Some(1)));
    assert_eq!(bench.context(0), Some(0));
}

#[test]
fn a_forgotten_caller_waits_for_ever_and_the_reply_object_serves_the_next() {
    let mut bench = Plan::default().pd(90).pd(100).pd(200).channel(0, 0, 2, 0).channel(1, 0, 2, 1).boot();
    bench.recv(2);
    bench.call(1, 0, &[]);
    bench.recv(2);
    assert_eq!(bench.state(1), State::Stopped);
    bench.call(0, 0, &[]);
    assert_eq!(bench.badge(2), call_badge(0));
    bench.reply_recv(2, 3);
    assert_eq!((bench.running(), bench.info(0)), (Some(0), info(3, 0)));
}

#[test]
fn a_forgotten_callers_context_stays_with_the_passive_server() {
    let mut bench =
        Plan::default().pd(90).pd(100).passive(200).channel(0, 0, 2, 0).channel(1, 0, 2, 1).boot();
    bench.become_passive(2);
    bench.call(1, 0, &[]);
    bench.reply_recv(2, 0);
    bench.call(1, 0, &[]);
    assert_eq!(bench.context(2), Some(1));
    bench.recv(2);
    assert_eq!((bench.state(1), bench.context(2)), (State::Stopped, Some(1)));
    bench.call(0, 0, &[]);
    assert_eq!(bench.context(2), Some(1), "it has one, so that the caller keeps its own");
    bench.reply_recv(2, 0);
    assert_eq!((bench.running(), bench.context(0)), (Some(0), Some(0)));
}

#[test]
fn a_reply_to_nobody_does_nothing() {
    let mut bench = client_and_server().boot();
    bench.reply_recv(1, 5);
    assert_eq!(bench.state(1), State::Receiving { reply: true });
    bench.call(0, 5, &[]);
    bench.system_call(1, SEND, REPLY, info(1, 0));
    assert_eq!(bench.state(0), State::Running);
    bench.system_call(1, SEND, REPLY, info(2, 0));
    assert_eq!(bench.info(0), info(1, 0), "the second reply went nowhere");
}

#[test]
fn a_passive_server_that_replies_without_receiving_loses_the_processor() {
    let mut bench = Plan::default().pd(100).passive(200).channel(0, 5, 1, 2).boot();
    bench.become_passive(1);
    bench.call(0, 5, &[]);
    bench.reply_recv(1, 0);
    bench.call(0, 5, &[]);
    bench.system_call(1, SEND, REPLY, info(1, 0));
    assert_eq!((bench.running(), bench.context(1)), (Some(0), None));
}

#[test]
fn a_plain_send_waits_for_the_receiver_and_for_no_reply() {
    let mut bench = Plan::default().pd(200).pd(100).channel(0, 5, 1, 2).boot();
    bench.machine.registers[0][2] = 4711;
    bench.system_call(0, SEND, endpoint(5), info(1, 1));
    assert_eq!(bench.state(0), State::Sending { to: 1, badge: call_badge(2), call: false });
    bench.recv(1);
    assert_eq!(bench.running(), Some(0));
    assert_eq!(bench.machine.registers[1][2], 4711);
    bench.system_call(0, -6, endpoint(5), info(1, 1));
    assert_eq!(bench.running(), Some(0), "a non-blocking send to a PD that does not receive is dropped");
    assert!(bench.kernel.domains[1].senders.is_empty());
}

#[test]
fn a_non_blocking_receive_finds_a_caller_or_nothing() {
    let mut bench = Plan::default().pd(200).pd(100).channel(0, 5, 1, 2).boot();
    bench.call(0, 5, &[]);
    bench.system_call(1, NB_RECV, INPUT, 0);
    assert_eq!(bench.badge(1), call_badge(2));
    bench.system_call(1, SEND, REPLY, 0);
    bench.system_call(0, WAIT, INPUT, 0);
    bench.system_call(1, NB_RECV, INPUT, 0);
    assert_eq!((bench.badge(1), bench.running()), (0, Some(1)));
}

#[test]
fn a_receive_without_reply_object_strands_the_caller() {
    let mut bench = client_and_server().boot();
    bench.system_call(1, WAIT, INPUT, 0);
    bench.call(0, 5, &[]);
    assert_eq!(bench.state(0), State::Stopped);
    assert_eq!(bench.running(), Some(1));
}
