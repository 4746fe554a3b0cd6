//! Channels as lines: what one protection domain has with many is one line with a branch for each.

use std::collections::{HashMap, HashSet};

use crate::sdf::System;

/// What goes along a channel in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Protected procedure calls.
    Call,
    /// Notifications.
    Notification,
}

/// One direction of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The protection domain that calls or signals.
    pub from: usize,
    /// The one that is called or signalled.
    pub to: usize,
    /// What goes there.
    pub kind: Kind,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What goes along it.
    pub kind: Kind,
    /// The protection domain that all its hops share, and whether they go to it.
    pub hub: (usize, bool),
    /// The protection domains at its other ends.
    pub others: Vec<usize>,
    /// It goes both ways; then it has one other end.
    pub both: bool,
}

impl Line {
    /// Its hops.
    pub fn hops(&self) -> Vec<Hop> {
        let (hub, inwards) = self.hub;
        let mut hops = vec![];
        for &other in &self.others {
            let (from, to) = if inwards { (other, hub) } else { (hub, other) };
            hops.push(Hop { from, to, kind: self.kind });
            if self.both {
                hops.push(Hop { from: to, to: from, kind: self.kind });
            }
        }
        hops
    }
}

/// The hops of the channels of `system`, each once, in their order.
pub fn hops(system: &System) -> Vec<Hop> {
    let (mut hops, mut seen) = (vec![], HashSet::new());
    for channel in &system.channels {
        for (own, other) in [(0, 1), (1, 0)] {
            let (from, to) = (&channel.ends[own], &channel.ends[other]);
            let kinds = [(from.pp, Kind::Call), (from.notify, Kind::Notification)];
            for (_, kind) in kinds.into_iter().filter(|(has, _)| *has) {
                let hop = Hop { from: from.pd, to: to.pd, kind };
                // One of a protection domain to itself has no two ends to draw.
                if hop.from != hop.to && seen.insert(hop) {
                    hops.push(hop);
                }
            }
        }
    }
    hops
}

/// Lines that have each of `hops` once: as few as going for the largest first gives.
pub fn lines(mut hops: Vec<Hop>) -> Vec<Line> {
    let mut lines: Vec<Line> = vec![];
    while let Some((kind, hub, inwards)) = largest(&hops) {
        let (own, rest): (Vec<Hop>, Vec<Hop>) =
            hops.iter().partition(|hop| hop.kind == kind && hub == if inwards { hop.to } else { hop.from });
        let others = own.iter().map(|hop| if inwards { hop.from } else { hop.to }).collect();
        lines.push(Line { kind, hub: (hub, inwards), others, both: false });
        hops = rest;
    }
    join_opposites(lines)
}

/// The hub that most of `hops` share, and whether they go to it: the first of equals.
fn largest(hops: &[Hop]) -> Option<(Kind, usize, bool)> {
    let ends = |hop: &Hop| [(hop.kind, hop.to, true), (hop.kind, hop.from, false)];
    let mut counts: HashMap<(Kind, usize, bool), usize> = HashMap::new();
    for end in hops.iter().flat_map(ends) {
        *counts.entry(end).or_default() += 1;
    }
    let most = counts.values().max()?;
    hops.iter().flat_map(ends).find(|end| counts.get(end) == Some(most))
}

/// Joins lines of one hop that are each other's way back.
fn join_opposites(lines: Vec<Line>) -> Vec<Line> {
    let mut joined: Vec<Line> = vec![];
    for line in lines {
        let back = |other: &&mut Line| match (&*other.hops(), &*line.hops()) {
            ([there], [back]) => (there.kind, there.from, there.to) == (back.kind, back.to, back.from),
            _ => false,
        };
        match joined.iter_mut().find(back) {
            Some(other) => other.both = true,
            None => joined.push(line),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hop(from: usize, to: usize) -> Hop {
        Hop { from, to, kind: Kind::Notification }
    }

    #[test]
    fn what_many_have_with_one_is_one_line() {
        let lines = lines(vec![hop(1, 2), hop(1, 3), hop(4, 3), hop(5, 3), hop(2, 4), hop(4, 2)]);
        let hubs: Vec<_> = lines.iter().map(|line| (line.hub, line.others.clone(), line.both)).collect();
        assert_eq!(
            hubs,
            [((3, true), vec![1, 4, 5], false), ((2, true), vec![1, 4], false), ((4, true), vec![2], false)]
        );
        assert_eq!(super::lines(vec![hop(2, 4), hop(4, 2)]).len(), 1);
    }

    proptest! {
        #[test]
        fn each_hop_is_in_one_line(pairs in prop::collection::hash_set((0..9usize, 0..9usize, any::<bool>()), 0..40)) {
            let kind = |call| if call { Kind::Call } else { Kind::Notification };
            let hops: Vec<Hop> = pairs.into_iter().filter(|(from, to, _)| from != to)
                .map(|(from, to, call)| Hop { from, to, kind: kind(call) }).collect();
            let mut found: Vec<Hop> = lines(hops.clone()).iter().flat_map(Line::hops).collect();
            let mut hops = hops;
            for list in [&mut found, &mut hops] {
                list.sort_by_key(|hop| (hop.from, hop.to, hop.kind));
            }
            prop_assert_eq!(found, hops);
        }
    }
}
