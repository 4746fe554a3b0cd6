//! The parent of the drivers: restarts one that died (L1), and one that asks to be replaced (L2).
//!
//! - A driver that **dies** leaves nothing behind. It is stopped; the IOMMU server ends all that it has, so that its
//!   devices abort; only then it starts again, as if it had never run.
//! - A driver that is **replaced** hands over. The server holds all that it has, so that its devices go on with what is
//!   mapped; it is stopped, and its successor, the same program from its start, claims what is held. If it does not
//!   within [`HOLD_MS`], the server ends it as after a death.
//!
//! A driver asks to be replaced by a signal on the channel to its parent. It can so have itself restarted and nobody
//! else, and nothing but a fault or that signal makes the supervisor act.
//!
//! Who the children are stands in a [policy](mod@policy) that the image builder compiles. The library knows no
//! Microkit: stopping, restarting and printing are the port [`Machine`].
#![no_std]

mod fault;
pub mod policy;

use core::fmt;

use iommu_client::{Call, ClientError, Supervisor as Server};
use iommu_protocol::ClientIndex;

pub use fault::Fault;
use policy::Children;

/// Milliseconds that a successor has to claim what its predecessor had.
pub const HOLD_MS: u32 = 5_000;

/// Deaths after which a child is left stopped: what dies so often does so again.
pub const MAX_DEATHS: u32 = 64;

/// What the supervisor reaches of the machine. A child is named by the id that its parent knows it by.
pub trait Machine {
    /// The kernel's refusal.
    type Error: fmt::Display;

    /// Stops `child`.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn stop(&mut self, child: u8) -> Result<(), Self::Error>;

    /// Lets `child`, which is stopped, run from `entry` on.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn restart(&mut self, child: u8, entry: u64) -> Result<(), Self::Error>;

    /// Prints a line.
    fn report(&mut self, line: fmt::Arguments<'_>);
}

/// A supervisor at work.
#[derive(Debug)]
pub struct Supervisor<M, C> {
    machine: M,
    /// Without one there are no clients among the children.
    server: Option<Server<C>>,
    children: Children,
}

impl<M: Machine, C: Call> Supervisor<M, C> {
    /// The supervisor of `children`. `server` is the channel to the IOMMU server; without one no child has anything
    /// there.
    ///
    /// # Errors
    /// The server speaks another version of the protocol; the machine, to say so.
    pub fn new(machine: M, server: Option<C>, children: Children) -> Result<Self, (M, ClientError)> {
        match server.map(Server::connect).transpose() {
            Ok(server) => Ok(Self { machine, server, children }),
            Err(error) => Err((machine, error)),
        }
    }

    /// `child` has died of `fault`: ends what it has, and restarts it.
    pub fn died(&mut self, child: u8, fault: Fault) {
        let Some(index) = self.children.iter().position(|of| of.id == child) else {
            self.machine.report(format_args!("a child that is not in the policy (id {child}) died: {fault}"));
            return;
        };
        self.machine.report(format_args!("'{}' died: {fault}", self.children[index].name()));
        if !self.stopped(index) || !self.torn_down(index) {
            return;
        }
        let of = &mut self.children[index];
        of.deaths += 1;
        if of.deaths > MAX_DEATHS {
            let name = of.name();
            self.machine.report(format_args!("'{name}' died {MAX_DEATHS} times before; it stays stopped"));
            return;
        }
        self.restart(index);
    }

    /// Replaces the children that have signalled: those whose channel `signalled` tells of.
    pub fn signalled(&mut self, signalled: impl Fn(u8) -> bool) {
        for index in 0..self.children.len() {
            if self.children[index].channel.is_some_and(&signalled) {
                self.replace(index);
            }
        }
    }

    /// The server has signalled: a deadline has passed.
    pub fn unclaimed(&mut self) {
        self.machine.report(format_args!(
            "the IOMMU server has ended what a replaced driver had: it was not claimed within {HOLD_MS} ms"
        ));
    }

    fn replace(&mut self, index: usize) {
        if !self.held(index) || !self.stopped(index) {
            return;
        }
        self.restart(index);
        let of = &mut self.children[index];
        of.replaced = of.replaced.saturating_add(1);
        // A driver that asks again and again does not fill the console.
        if of.replaced.is_power_of_two() {
            let times = if of.replaced == 1 { "time" } else { "times" };
            self.machine.report(format_args!("'{}' replaced, {} {times} so far", of.name(), of.replaced));
        }
    }

    /// Has the server keep what a child has; without that it runs on.
    fn held(&mut self, index: usize) -> bool {
        let (of, machine) = (&self.children[index], &mut self.machine);
        let Some((server, client)) = served(&mut self.server, of.client) else { return true };
        let held = server.hold(client, HOLD_MS);
        if let Err(error) = &held {
            let name = of.name();
            machine.report(format_args!(
                "'{name}' is not replaced: the server does not hold what it has: {error}"
            ));
        }
        held.is_ok()
    }

    /// Has the server end what a child has; without that it does not start again.
    fn torn_down(&mut self, index: usize) -> bool {
        let (of, machine) = (&self.children[index], &mut self.machine);
        let Some((server, client)) = served(&mut self.server, of.client) else { return true };
        let ended = server.teardown(client);
        if let Err(error) = &ended {
            let name = of.name();
            machine.report(format_args!(
                "'{name}' stays stopped: the server has not ended what it has: {error}"
            ));
        }
        ended.is_ok()
    }

    fn stopped(&mut self, index: usize) -> bool {
        let of = &self.children[index];
        let stopped = self.machine.stop(of.id);
        if let Err(error) = &stopped {
            self.machine.report(format_args!("'{}' cannot be stopped: {error}", of.name()));
        }
        stopped.is_ok()
    }

    fn restart(&mut self, index: usize) {
        let of = &self.children[index];
        if let Err(error) = self.machine.restart(of.id, of.entry) {
            self.machine.report(format_args!("'{}' cannot be restarted: {error}", of.name()));
        }
    }
}

/// The server, and the client that a child is there, if it is one.
fn served<C>(server: &mut Option<Server<C>>, client: Option<u8>) -> Option<(&mut Server<C>, ClientIndex)> {
    Some((server.as_mut()?, ClientIndex(client?.into())))
}
