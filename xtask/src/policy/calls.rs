//! Who may call the server (decision 18): nobody who could stop it by running out of budget inside a call, and
//! nobody whom a parent could stop inside one.

use super::{CheckedClient, check::Context};
use crate::refusal::Refusal;

/// Checks the scheduling of the server, its clients and everybody who reaches it by calls.
pub(super) fn check(context: &Context<'_>, clients: &[CheckedClient]) -> Result<(), Refusal> {
    let (policy, system) = (context.policy, context.system);
    let server = &system.pds[context.server];
    let reachers = reachers(context);
    for &pd in &reachers {
        let of = &system.pds[pd];
        if of.budget_us != of.period_us {
            let role = if pd == context.server { "is the server" } else { "reaches the server by calls" };
            return Err(of.place.refuse(format!(
                "'{}' {role}, so its budget ({} us) must equal its period ({} us): whoever runs dry inside a \
                 call stops the server",
                of.name, of.budget_us, of.period_us
            )));
        }
    }
    let equal = system.pds.iter().find(|pd| pd.priority == server.priority && pd.name != server.name);
    if let Some(equal) = equal {
        return Err(equal.place.refuse(format!(
            "'{}' has the server's priority, {}; the server's must be its own",
            equal.name, server.priority
        )));
    }
    let clients = clients.iter().zip(&policy.source.client);
    let clients = clients.map(|(client, source)| (client.pd, &source.get_ref().pd, "client"));
    let supervisors = policy.source.supervisor.iter().filter_map(|supervisor| {
        let name = &supervisor.get_ref().pd;
        Some((system.pd(name.get_ref())?, name, "supervisor"))
    });
    for (pd, name, role) in clients.chain(supervisors) {
        let pd = &system.pds[pd];
        if pd.priority >= server.priority {
            return Err(policy.refuse(
                name,
                format!(
                    "the server's priority, {}, must be above that of its {role} '{}', {}",
                    server.priority, pd.name, pd.priority
                ),
            ));
        }
    }
    parents(context, &reachers)
}

/// Refuses a parent that could stop one of `reachers` inside a call. The callee runs on the caller's scheduling
/// context then, and keeps it: the caller would never run again.
fn parents(context: &Context<'_>, reachers: &[usize]) -> Result<(), Refusal> {
    let system = context.system;
    let server = &system.pds[context.server];
    for &child in reachers {
        for ancestor in system.ancestors(child) {
            let (parent, of) = (&system.pds[ancestor], &system.pds[child].name);
            if parent.priority >= server.priority {
                return Err(parent.place.refuse(format!(
                    "no parent of a client above the server: '{}' (priority {}) could stop '{of}' inside a call \
                     to '{}' (priority {}), and '{of}' would never run again; lower it",
                    parent.name, parent.priority, server.name, server.priority
                )));
            }
            let callees = system.channels.iter().filter_map(|channel| channel.seen_from(child));
            let mut callees = callees.filter(|(own, _)| own.pp).map(|(_, other)| &system.pds[other.pd]);
            if let Some(callee) = callees.find(|callee| callee.passive && callee.priority <= parent.priority)
            {
                return Err(parent.place.refuse(format!(
                    "'{}' (priority {}) could stop '{of}' inside a call to '{}' (priority {}), and '{of}' would \
                     never run again; a parent must be below whom its children call",
                    parent.name, parent.priority, callee.name, callee.priority
                )));
            }
        }
    }
    Ok(())
}

/// The server and all protection domains that reach it by calls, directly or through others.
fn reachers(context: &Context<'_>) -> Vec<usize> {
    let mut found = vec![context.server];
    let mut next = 0;
    while let Some(&callee) = found.get(next) {
        next += 1;
        for channel in &context.system.channels {
            if let Some((_, caller)) = channel.seen_from(callee)
                && caller.pp
                && !found.contains(&caller.pd)
            {
                found.push(caller.pd);
            }
        }
    }
    found
}
