//! Bring-up, requests, and the server's signals.

use core::fmt;

use iommu_client::Call;
use iommu_protocol::{
    DeviceIndex, MessageError, Request as ServerRequest, Status as ServerStatus, Words,
    pci::{Info, Request, Status},
};

use crate::{
    config::{self, COMMAND_BUS_MASTER, ConfigSpace, DEVICES_PER_BUS, FUNCTIONS_PER_DEVICE, Ids, Requester},
    place::place,
    policy::{FunctionEntry, MAX_CHANNEL, MAX_FUNCTIONS, PciPolicy},
};

/// More streams than the server has to name in a row: the devices of all its clients.
pub const MAX_WITHDRAWN: usize = 512;

/// The PCI host over a configuration space.
#[derive(Debug)]
pub struct Host<'a, C> {
    config: C,
    policy: PciPolicy<'a>,
    /// Per function of the policy: it is placed and decodes memory.
    usable: [bool; MAX_FUNCTIONS],
    /// The functions of the policy that are bus masters, a bit each.
    masters: u64,
}

const _: () = assert!(MAX_FUNCTIONS <= u64::BITS as usize);

impl<'a, C: ConfigSpace> Host<'a, C> {
    /// Clears bus mastering of every function on every bus, then makes those of `policy` ready. `report` gets a
    /// line for each function that there is or should be.
    pub fn bring_up(config: C, policy: PciPolicy<'a>, report: &mut impl FnMut(fmt::Arguments<'_>)) -> Self {
        let mut host = Self { config, policy, usable: [false; MAX_FUNCTIONS], masters: 0 };
        for bus in 0..host.config.buses() {
            for device in 0..DEVICES_PER_BUS {
                host.quiet_device(bus << 8 | device << 3, report);
            }
        }
        for index in 0..policy.functions.len() {
            host.make_ready(index, report);
        }
        host
    }

    /// Clears bus mastering of all functions of the device whose function 0 is `first`.
    fn quiet_device(&mut self, first: u16, report: &mut impl FnMut(fmt::Arguments<'_>)) {
        for function in 0..FUNCTIONS_PER_DEVICE {
            let at = Requester(first | function);
            let Some(ids) = config::ids(&mut self.config, at) else {
                // A device has a function 0.
                if function == 0 { return } else { continue }
            };
            self.quiet(at, ids, report);
            if function == 0 && !config::header_type(&mut self.config, at).1 {
                return;
            }
        }
    }

    /// Clears bus mastering of the function `at`.
    fn quiet(&mut self, at: Requester, ids: Ids, report: &mut impl FnMut(fmt::Arguments<'_>)) {
        config::change_command(&mut self.config, at, COMMAND_BUS_MASTER, 0);
        if config::command(&mut self.config, at) & COMMAND_BUS_MASTER != 0 {
            report(format_args!("pci {at} {ids}: bus mastering cannot be turned off"));
        } else if !self.policy.functions.iter().any(|entry| entry.requester == at.0) {
            report(format_args!("pci {at} {ids}: not in the policy, bus mastering off"));
        }
    }

    /// Makes function `index` of the policy ready.
    fn make_ready(&mut self, index: usize, report: &mut impl FnMut(fmt::Arguments<'_>)) {
        let at = Requester(self.policy.functions[index].requester);
        let places = self.policy.bars.iter().filter(|bar| bar.function as usize == index);
        if let Err(error) = place(&mut self.config, at, places.clone()) {
            report(format_args!("pci {at}: left out: {error}"));
            return;
        }
        self.usable[index] = true;
        if let Some(ids) = config::ids(&mut self.config, at) {
            let places = Places(places);
            report(format_args!("pci {at} {ids}:{places} bus mastering off"));
        }
    }

    /// Answers the request `label`, `words` that came in on `channel`; `server` is the IOMMU server. One call to
    /// it at most.
    pub fn request(
        &mut self,
        server: &mut impl Call,
        channel: u8,
        label: u64,
        words: &Words,
    ) -> (u64, Words) {
        let (status, words) = match Request::decode(label, words) {
            Ok(request) => self.answer(server, channel, request),
            Err(MessageError::UnknownLabel(_)) => (Status::UnknownRequest, Words::default()),
            Err(_) => (Status::BadMessage, Words::default()),
        };
        (status.label(), words)
    }

    fn answer(&mut self, server: &mut impl Call, channel: u8, request: Request) -> (Status, Words) {
        let (Request::Info { function } | Request::Enable { function } | Request::Disable { function }) =
            request
        else {
            return (Status::UnknownRequest, Words::default());
        };
        let Some((index, entry)) = self.find(channel, function) else {
            return (Status::NoSuchFunction, Words::default());
        };
        if let Request::Info { .. } = request {
            return (Status::Ok, self.info(index, entry).encode());
        }
        let status = match request {
            _ if !self.usable[index] => Status::NotUsable,
            Request::Enable { .. } => self.enable(server, index),
            _ => {
                self.set_bus_master(index, false);
                Status::Ok
            }
        };
        (status, Words::default())
    }

    /// The function that `channel` knows by `index`, and its number in the policy.
    fn find(&self, channel: u8, index: DeviceIndex) -> Option<(usize, &'a FunctionEntry)> {
        let own = self.policy.functions.iter().enumerate().filter(|(_, entry)| {
            channel <= MAX_CHANNEL && [entry.channel, entry.successor_channel].contains(&channel)
        });
        own.into_iter().nth(index.0.into())
    }

    fn info(&mut self, index: usize, entry: &FunctionEntry) -> Info {
        let usable = self.usable[index];
        let at = Requester(entry.requester);
        let ids = if usable { config::ids(&mut self.config, at) } else { None };
        let Ids { vendor, device } = ids.unwrap_or(Ids { vendor: u16::MAX, device: u16::MAX });
        Info {
            requester: entry.requester,
            usable,
            bus_master: usable && self.is_bus_master(entry),
            vendor,
            device,
        }
    }

    fn enable(&mut self, server: &mut impl Call, index: usize) -> Status {
        match is_attached(server, self.policy.functions[index].stream) {
            Some(true) => {
                self.set_bus_master(index, true);
                Status::Ok
            }
            Some(false) => Status::NotAttached,
            None => Status::NoAnswer,
        }
    }

    /// Follows the server's signal that functions may no longer be attached: clears bus mastering of each one that it
    /// names; of all, where it names more than there can be or does not answer as it should.
    pub fn settle(&mut self, server: &mut impl Call) {
        for _ in 0..MAX_WITHDRAWN {
            if self.masters == 0 {
                return;
            }
            let Some((stream, more)) = next_withdrawn(server) else { break };
            if let Some(stream) = stream {
                self.withdraw(|entry| entry.stream == stream);
            }
            if !more {
                return;
            }
        }
        self.withdraw(|_| true);
    }

    /// Clears bus mastering of the functions that `leaves` names.
    fn withdraw(&mut self, leaves: impl Fn(&FunctionEntry) -> bool) {
        let mut masters = self.masters;
        while masters != 0 {
            let index = masters.trailing_zeros() as usize;
            masters &= masters - 1;
            if leaves(&self.policy.functions[index]) {
                self.set_bus_master(index, false);
            }
        }
    }

    fn is_bus_master(&mut self, entry: &FunctionEntry) -> bool {
        config::command(&mut self.config, Requester(entry.requester)) & COMMAND_BUS_MASTER != 0
    }

    fn set_bus_master(&mut self, index: usize, on: bool) {
        let (clear, set) = if on { (0, COMMAND_BUS_MASTER) } else { (COMMAND_BUS_MASTER, 0) };
        config::change_command(
            &mut self.config,
            Requester(self.policy.functions[index].requester),
            clear,
            set,
        );
        self.masters = if on { self.masters | 1 << index } else { self.masters & !(1 << index) };
    }
}

/// Asks the IOMMU server which stream is to be withdrawn, if any is, and whether there may be more; `None` where its
/// reply says neither.
fn next_withdrawn(server: &mut impl Call) -> Option<(Option<u32>, bool)> {
    let (opcode, words) = ServerRequest::NextWithdrawn.encode();
    let (label, words) = server.call(opcode.label(), &words);
    match (ServerStatus::from_label(label)?, words.as_slice()) {
        (ServerStatus::Ok, [0, _]) => Some((None, false)),
        (ServerStatus::Ok, [count @ (1 | 2), stream]) => {
            u32::try_from(*stream).ok().map(|stream| (Some(stream), *count == 2))
        }
        _ => None,
    }
}

/// Asks the IOMMU server whether `stream` is attached; `None` where its reply says neither yes nor no.
fn is_attached(server: &mut impl Call, stream: u32) -> Option<bool> {
    let (opcode, words) = ServerRequest::IsAttached { stream }.encode();
    let (label, words) = server.call(opcode.label(), &words);
    match (ServerStatus::from_label(label)?, words.as_slice()) {
        (ServerStatus::Ok, [0]) => Some(false),
        (ServerStatus::Ok, [1]) => Some(true),
        _ => None,
    }
}

/// A list of placed BARs.
struct Places<P>(P);

impl<'a, P: Iterator<Item = &'a crate::policy::BarEntry> + Clone> fmt::Display for Places<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.clone().try_for_each(|bar| write!(f, " BAR {} at {:#x},", bar.bar, bar.paddr))
    }
}
