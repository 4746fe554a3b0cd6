//! Policy blobs that are refused, one for each rule.

use pci_host::policy::{
    BarEntry, FunctionEntry, Header, MAGIC, MAX_BARS, MAX_CHANNEL, MAX_FUNCTIONS, NO_CHANNEL, PciPolicy,
    PciPolicyError,
};
use zerocopy::IntoBytes;

fn function(requester: u16) -> FunctionEntry {
    FunctionEntry { requester, channel: 1, successor_channel: NO_CHANNEL, stream: requester.into() }
}

const BAR: BarEntry = BarEntry { paddr: 0x1000_0000, bytes: 0x10_0000, function: 1, bar: 5 };

/// What is said to a blob of these parts.
fn says(header: Header, functions: &[FunctionEntry], bars: &[BarEntry]) -> Result<(), PciPolicyError> {
    let bytes = [header.as_bytes(), functions.as_bytes(), bars.as_bytes()].concat();
    let mut words = vec![0_u64; bytes.len() / 8];
    words.as_mut_bytes().copy_from_slice(&bytes);
    PciPolicy::parse(words.as_bytes()).map(drop)
}

fn header(functions: usize, bars: usize) -> Header {
    Header { magic: MAGIC, functions: functions as u32, bars: bars as u32 }
}

#[test]
fn each_malformed_blob_is_refused_for_its_mistake() {
    let two = [function(0x10), function(0x18)];
    assert_eq!(says(header(2, 1), &two, &[BAR]), Ok(()));
    assert_eq!(says(header(2, 2), &two, &[BAR]), Err(PciPolicyError::Truncated));
    assert_eq!(says(header(4, 0), &two, &[]), Err(PciPolicyError::Truncated));
    assert_eq!(says(Header { magic: 1, ..header(0, 0) }, &[], &[]), Err(PciPolicyError::BadMagic(1)));
    assert_eq!(says(header(MAX_FUNCTIONS + 1, 0), &two, &[]), Err(PciPolicyError::TooMany));
    assert_eq!(says(header(2, MAX_BARS + 1), &two, &[]), Err(PciPolicyError::TooMany));
    let bad_function = |change: fn(&mut FunctionEntry)| {
        let mut functions = two;
        change(&mut functions[1]);
        assert_eq!(says(header(2, 0), &functions, &[]), Err(PciPolicyError::BadFunction(1)), "{functions:?}");
    };
    bad_function(|of| of.channel = MAX_CHANNEL + 1);
    bad_function(|of| of.successor_channel = MAX_CHANNEL + 1);
    bad_function(|of| of.successor_channel = of.channel);
    bad_function(|of| of.requester = 0x10);
    for bar in [BarEntry { function: 2, ..BAR }, BarEntry { bar: 6, ..BAR }] {
        assert_eq!(says(header(2, 2), &two, &[BAR, bar]), Err(PciPolicyError::BadBar(1)));
    }
}
