//! Registers of the High Precision Event Timers (IA-PC HPET Specification 1.0a, section 2.3).

use bitfield_struct::bitfield;

/// Bytes of the register block (2.3.1).
pub const REGISTER_BYTES: u32 = 1024;

/// Comparators whose registers the block holds (2.3.1 and 2.3.3: 0x20 bytes each, from 0x100 on).
pub const MAX_TIMERS: u32 = 24;

/// Longest period of the main counter that there may be, in femtoseconds (2.3.4).
pub const MAX_PERIOD_FS: u32 = 0x05f5_e100;

/// Byte offsets of the registers (2.3.3, table 2). All are accessed as halves of 32 bits here, which 2.3.1 allows.
pub mod offset {
    /// General capabilities and id, lower half.
    pub const CAPABILITIES: u32 = 0x000;
    /// Its upper half: the main counter's period in femtoseconds.
    pub const PERIOD: u32 = 0x004;
    /// General configuration, lower half.
    pub const CONFIGURATION: u32 = 0x010;
    /// Main counter, lower half.
    pub const COUNTER: u32 = 0x0f0;

    /// Configuration and capabilities of comparator `timer`, lower half.
    pub const fn timer_configuration(timer: u32) -> u32 {
        0x100 + 0x20 * timer
    }

    /// Its upper half: bit n says that the comparator can raise pin n of the I/O APIC.
    pub const fn timer_routes(timer: u32) -> u32 {
        timer_configuration(timer) + 4
    }

    /// Value of comparator `timer`, lower half.
    pub const fn timer_comparator(timer: u32) -> u32 {
        timer_configuration(timer) + 8
    }
}

/// General capabilities and id, lower half (2.3.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Capabilities {
    /// REV_ID: never 0.
    pub revision: u8,
    /// NUM_TIM_CAP: the number of comparators, less one.
    #[bits(5)]
    pub last_timer: u32,
    /// COUNT_SIZE_CAP: the main counter has 64 bits.
    pub wide: bool,
    __: bool,
    /// LEG_RT_CAP: comparators 0 and 1 can stand in for the legacy timers.
    pub legacy: bool,
    /// VENDOR_ID.
    pub vendor: u16,
}

/// General configuration, lower half (2.3.5).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Configuration {
    /// ENABLE_CNF: the main counter runs, interrupts are allowed.
    pub enable: bool,
    /// LEG_RT_CNF: comparators 0 and 1 stand in for the legacy timers.
    pub legacy: bool,
    #[bits(30)]
    __: u32,
}

/// Configuration and capabilities of a comparator, lower half (2.3.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct TimerConfiguration {
    __: bool,
    /// INT_TYPE_CNF: level triggered, else edge.
    pub level: bool,
    /// INT_ENB_CNF: it interrupts.
    pub interrupt: bool,
    /// TYPE_CNF: periodic, else one-shot.
    pub periodic: bool,
    /// PER_INT_CAP: it can be periodic.
    pub can_be_periodic: bool,
    /// SIZE_CAP: it has 64 bits.
    pub wide: bool,
    /// VAL_SET_CNF: writes of a periodic comparator's value set its accumulator.
    pub set_value: bool,
    __: bool,
    /// 32MODE_CNF: a comparator of 64 bits uses 32.
    pub narrow: bool,
    /// INT_ROUTE_CNF: the pin of the I/O APIC.
    #[bits(5)]
    pub route: u32,
    /// FSB_EN_CNF: it interrupts by a message.
    pub message: bool,
    /// FSB_INT_DEL_CAP: it can do that.
    pub can_message: bool,
    #[bits(16)]
    __: u32,
}

const _: () = {
    assert!(size_of::<Capabilities>() == 4);
    assert!(size_of::<Configuration>() == 4);
    assert!(size_of::<TimerConfiguration>() == 4);
    assert!(offset::timer_configuration(0) == 0x100 && offset::timer_comparator(2) == 0x148);
    assert!(offset::timer_configuration(MAX_TIMERS) == REGISTER_BYTES);
};
