//! Images that are no system.

use super::*;

fn refusal(plan: Plan) -> SetupError {
    plan.try_boot().err().unwrap()
}

#[test]
fn contradictions_are_refused() {
    let mut plan = Plan::default().pd(1);
    plan.config = Some(9);
    assert_eq!(refusal(plan), SetupError::UnknownConfig(9));
    assert_eq!(refusal(Plan::default().pd(1).pd(255)), SetupError::PriorityTooHigh { pd: 1, priority: 255 });
    let twice = Plan::default().pd(1).pd(2).channel(0, 3, 1, 3).channel(0, 4, 1, 3);
    assert_eq!(refusal(twice), SetupError::ChannelTwice { pd: 1, id: 3 });
    let twice = Plan::default().pd(1).pd(2).channel(0, 3, 1, 3).irq(0, 40, 3);
    assert_eq!(refusal(twice), SetupError::ChannelTwice { pd: 0, id: 3 });
    let twice = Plan::default().pd(1).pd(2).irq(0, 40, 3).irq(1, 40, 3);
    assert_eq!(refusal(twice), SetupError::IrqTwice(40));
    let mut many = Plan::default().pd(1).pd(2);
    for number in 0..65 {
        many = many.irq(u32::from(number >= 60), 40 + number, (number % 60) as u8);
    }
    assert_eq!(refusal(many), SetupError::TooManyIrqs(65));
    let twice = Plan::default().pd(1).io_ports(0, 3, 8, 8).io_ports(0, 3, 9, 9);
    assert_eq!(refusal(twice), SetupError::PortIdTwice { pd: 0, id: 3 });
    let twice = Plan::default().pd(1).pd(2).io_ports(0, 3, 0x3f8, 0x3ff).io_ports(1, 3, 0x3ff, 0xffff);
    assert_eq!(refusal(twice), SetupError::PortsTwice { first: 0x3ff, last: 0xffff });
    let many = (0..65).fold(Plan::default().pd(1).pd(2), |plan, port| {
        plan.io_ports(u32::from(port >= 60), (port % 60) as u8, port, port)
    });
    assert_eq!(refusal(many), SetupError::TooManyPorts(65));
}

#[test]
fn an_empty_system_waits() {
    assert_eq!(Plan::default().boot().running(), None);
}

#[test]
fn a_full_system_boots_and_all_its_channels_work() {
    const LAST: usize = MAX_PDS - 1;
    let mut plan = (0..MAX_PDS as u8).fold(Plan::default(), |plan, pd| plan.pd(pd * 2));
    for channel in 0..=61 {
        plan = plan.channel(LAST as u32, channel, LAST as u32 - 1, 61 - channel);
    }
    let mut bench = plan.boot();
    for channel in 0..=61 {
        bench.signal(LAST, channel);
    }
    bench.system_call(LAST, WAIT, INPUT, 0);
    bench.recv(LAST - 1);
    assert_eq!(bench.badge(LAST - 1), (1 << 62) - 1);
}
