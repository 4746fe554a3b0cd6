//! What a PD may invoke: Microkit's capability slots, computed from the image's tables.

use core::fmt;

use embedded_image::{Image, MAX_CHANNEL, MAX_CHILD, MAX_IO_PORTS, MAX_PDS, NO_PARENT, channel};

use crate::fault::FAULT_BADGE;
use crate::ports::MAX_PORT_RANGES;

/// Most interrupts in one image.
pub const MAX_IRQS: usize = 64;

/// Bit of a badge that says "a call", as in Microkit.
const CALL_BADGE: u64 = 1 << 63;

const CHANNELS: usize = MAX_CHANNEL as usize + 1;
const CHILDREN: usize = MAX_CHILD as usize + 1;
const PORT_RANGES: usize = MAX_IO_PORTS as usize + 1;

const INPUT: u64 = 1;
const FAULT_ENDPOINT: u64 = 2;
const VSPACE: u64 = 3;
const REPLY: u64 = 4;
const MONITOR: u64 = 5;
const OWN_TCB: u64 = 6;
const NOTIFICATIONS: u64 = 10;
const ENDPOINTS: u64 = 74;
const IRQS: u64 = 138;
const CHILD_TCBS: u64 = 202;
const VM_TCBS: u64 = 266;
const IO_PORTS: u64 = 394;
const SLOTS: u64 = 512;

/// Microkit's capability space is a node of 64 entries, told apart by the highest 6 bits, of which entry 0 leads
/// to the node with [`SLOTS`] entries.
const ROOT_SHIFT: u32 = 58;

/// A capability that a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cap {
    /// Nothing.
    Null,
    /// The PD's own endpoint or notification.
    Input,
    /// The PD's reply object.
    Reply,
    /// The monitor, to which a passive PD gives its scheduling context.
    Monitor,
    /// The notification of `pd`.
    Notification { pd: usize, badge: u64 },
    /// The endpoint of `pd`.
    Endpoint { pd: usize, badge: u64 },
    /// An interrupt, by the index of its route.
    Irq(usize),
    /// The thread of the child `pd`.
    Thread { pd: usize },
    /// A range of I/O ports, by its index.
    Ports(usize),
    /// An object that exists on seL4 and has no operation here.
    Inert,
}

/// An end of a channel that a slot leads to.
#[derive(Debug, Clone, Copy)]
struct End {
    pd: u8,
    channel: u8,
}

/// An interrupt and where it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) number: u32,
    pub(crate) pd: usize,
    pub(crate) badge: u64,
}

/// All interrupts' routes.
pub(crate) type Routes = heapless::Vec<Route, MAX_IRQS>;

/// Why an image's tables do not make a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupError {
    /// [`embedded_image::Header::config`] is none that is known.
    UnknownConfig(u32),
    /// A PD's priority is above [`MAX_PRIORITY`](crate::MAX_PRIORITY).
    PriorityTooHigh {
        /// The PD.
        pd: usize,
        /// Its priority.
        priority: u8,
    },
    /// A PD uses one channel id twice.
    ChannelTwice {
        /// The PD.
        pd: usize,
        /// The id.
        id: u8,
    },
    /// A PD has two children with one id.
    ChildTwice {
        /// The PD.
        pd: usize,
        /// The id.
        id: u8,
    },
    /// Two PDs handle the interrupt of this number.
    IrqTwice(u32),
    /// More than [`MAX_IRQS`] interrupts.
    TooManyIrqs(usize),
    /// A PD knows two ranges of I/O ports by one id.
    PortIdTwice {
        /// The PD.
        pd: usize,
        /// The id.
        id: u8,
    },
    /// This range of I/O ports shares ports with one before it.
    PortsTwice {
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
    },
    /// More than [`MAX_PORT_RANGES`](crate::MAX_PORT_RANGES) ranges of I/O ports.
    TooManyPorts(usize),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownConfig(config) => write!(f, "configuration {config} is unknown"),
            Self::PriorityTooHigh { pd, priority } => {
                write!(f, "protection domain {pd} has priority {priority}, above {}", crate::MAX_PRIORITY)
            }
            Self::ChannelTwice { pd, id } => {
                write!(f, "protection domain {pd} has two channels with id {id}")
            }
            Self::ChildTwice { pd, id } => {
                write!(f, "protection domain {pd} has two children with id {id}")
            }
            Self::IrqTwice(number) => write!(f, "interrupt {number} has two handlers"),
            Self::TooManyIrqs(count) => write!(f, "{count} interrupts, at most {MAX_IRQS} fit"),
            Self::PortIdTwice { pd, id } => {
                write!(f, "protection domain {pd} has two ranges of I/O ports with id {id}")
            }
            Self::PortsTwice { first, last } => {
                write!(f, "of the I/O ports {first:#x} to {last:#x} some belong to two ranges")
            }
            Self::TooManyPorts(count) => {
                write!(f, "{count} ranges of I/O ports, at most {MAX_PORT_RANGES} fit")
            }
        }
    }
}

/// The capabilities of one PD.
#[derive(Debug, Clone)]
pub(crate) struct Caps {
    notifications: [Option<End>; CHANNELS],
    endpoints: [Option<End>; CHANNELS],
    /// Indices of routes.
    irqs: [Option<u8>; CHANNELS],
    /// Indices of PDs.
    children: [Option<u8>; CHILDREN],
    /// Indices of ranges.
    ports: [Option<u8>; PORT_RANGES],
    /// The PD that gets its faults, and the badge that they come with.
    pub(crate) parent: Option<(usize, u64)>,
    /// Channel ids in use.
    used: u64,
    passive: bool,
    /// Some other PD may call this one or is its child, so that its input is an endpoint.
    pub(crate) takes_calls: bool,
}

impl Caps {
    fn new(passive: bool) -> Self {
        Self {
            notifications: [None; CHANNELS],
            endpoints: [None; CHANNELS],
            irqs: [None; CHANNELS],
            children: [None; CHILDREN],
            ports: [None; PORT_RANGES],
            parent: None,
            used: 0,
            passive,
            takes_calls: false,
        }
    }

    /// Computes all PDs' capabilities and the interrupts' routes.
    pub(crate) fn of_image(image: &Image<'_>) -> Result<(heapless::Vec<Self, MAX_PDS>, Routes), SetupError> {
        // `Image::parse` admits no more PDs than fit, and no index or channel id out of range.
        let mut all: heapless::Vec<Self, MAX_PDS> =
            image.pds.iter().map(|pd| Self::new(pd.passive != 0)).collect();
        for link in image.channels {
            let a = End { pd: link.a_pd as u8, channel: link.a_id };
            let b = End { pd: link.b_pd as u8, channel: link.b_id };
            let may = |flag| link.flags & flag != 0;
            join(&mut all, a, b, may(channel::A_NOTIFIES), may(channel::A_CALLS))?;
            join(&mut all, b, a, may(channel::B_NOTIFIES), may(channel::B_CALLS))?;
        }
        for (index, child) in image.pds.iter().enumerate().filter(|(_, pd)| pd.parent != NO_PARENT) {
            let parent = usize::from(child.parent);
            all[index].parent = Some((parent, FAULT_BADGE | u64::from(child.child)));
            all[parent].takes_calls = true;
            if all[parent].children[usize::from(child.child)].replace(index as u8).is_some() {
                return Err(SetupError::ChildTwice { pd: parent, id: child.child });
            }
        }
        let mut routes = Routes::new();
        for irq in image.irqs {
            let pd = irq.pd as usize;
            all[pd].claim(pd, irq.id)?;
            // At most `MAX_IRQS`, once the push below has worked.
            all[pd].irqs[usize::from(irq.id)] = Some(routes.len() as u8);
            if routes.iter().any(|route| route.number == irq.number) {
                return Err(SetupError::IrqTwice(irq.number));
            }
            let route = Route { number: irq.number, pd, badge: 1 << irq.id };
            routes.push(route).map_err(|_| SetupError::TooManyIrqs(image.irqs.len()))?;
        }
        // No more than fit, as `ports::ranges` has found.
        for (index, ports) in image.io_ports.iter().enumerate() {
            let pd = ports.pd as usize;
            if all[pd].ports[usize::from(ports.id)].replace(index as u8).is_some() {
                return Err(SetupError::PortIdTwice { pd, id: ports.id });
            }
        }
        Ok((all, routes))
    }

    fn claim(&mut self, pd: usize, id: u8) -> Result<(), SetupError> {
        if self.used & 1 << id != 0 {
            return Err(SetupError::ChannelTwice { pd, id });
        }
        self.used |= 1 << id;
        Ok(())
    }

    /// What `slot` holds; `None` where the capability space has no such slot.
    #[inline(always)]
    pub(crate) fn lookup(&self, slot: u64) -> Option<Cap> {
        let cap = match slot {
            INPUT => Cap::Input,
            REPLY => Cap::Reply,
            MONITOR if self.passive => Cap::Monitor,
            FAULT_ENDPOINT => match self.parent {
                Some((pd, badge)) => Cap::Endpoint { pd, badge },
                None => Cap::Inert,
            },
            VSPACE | OWN_TCB => Cap::Inert,
            NOTIFICATIONS..ENDPOINTS => match entry(&self.notifications, slot - NOTIFICATIONS) {
                Some(end) => Cap::Notification { pd: usize::from(end.pd), badge: 1 << end.channel },
                None => Cap::Null,
            },
            ENDPOINTS..IRQS => match entry(&self.endpoints, slot - ENDPOINTS) {
                Some(end) => {
                    Cap::Endpoint { pd: usize::from(end.pd), badge: CALL_BADGE | u64::from(end.channel) }
                }
                None => Cap::Null,
            },
            IRQS..CHILD_TCBS => match entry(&self.irqs, slot - IRQS) {
                Some(route) => Cap::Irq(usize::from(route)),
                None => Cap::Null,
            },
            CHILD_TCBS..VM_TCBS => match entry(&self.children, slot - CHILD_TCBS) {
                Some(pd) => Cap::Thread { pd: usize::from(pd) },
                None => Cap::Null,
            },
            IO_PORTS..SLOTS => match entry(&self.ports, slot - IO_PORTS) {
                Some(range) => Cap::Ports(usize::from(range)),
                None => Cap::Null,
            },
            _ if slot < SLOTS || slot >> ROOT_SHIFT != 0 => Cap::Null,
            _ => return None,
        };
        Some(cap)
    }

    /// Whether `slot` holds the PD's reply object.
    pub(crate) fn is_reply(slot: u64) -> bool {
        slot == REPLY
    }

    /// Whether `slot` holds the PD's input.
    pub(crate) fn is_input(slot: u64) -> bool {
        slot == INPUT
    }
}

fn entry<T: Copy>(table: &[Option<T>; CHANNELS], index: u64) -> Option<T> {
    table.get(index as usize).copied().flatten()
}

/// Gives the PD at `from` what the channel lets it do to the PD at `to`.
fn join(all: &mut [Caps], from: End, to: End, notifies: bool, calls: bool) -> Result<(), SetupError> {
    let (pd, index) = (usize::from(from.pd), usize::from(from.channel));
    all[pd].claim(pd, from.channel)?;
    all[pd].notifications[index] = notifies.then_some(to);
    all[pd].endpoints[index] = calls.then_some(to);
    all[usize::from(to.pd)].takes_calls |= calls;
    Ok(())
}
