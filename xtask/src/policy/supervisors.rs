//! The rules of supervisors, and of clients that take over from others.

use iommu_server::policy::MAX_SUPERVISORS;
use toml::Spanned;

use super::{
    CheckedClient, Client,
    check::{Context, find_pd},
    interrupts::TIMER_SYMBOL,
};
use crate::refusal::Refusal;

/// Checks the supervisors: the server's end of each one's channel, and its clients' numbers.
pub(super) fn check(context: &Context<'_>, clients: &[CheckedClient]) -> Result<Vec<(u8, Vec<u8>)>, Refusal> {
    let (policy, system) = (context.policy, context.system);
    let mut checked: Vec<(u8, Vec<u8>)> = vec![];
    let mut pds = vec![];
    for supervisor in &policy.source.supervisor {
        let supervisor = supervisor.get_ref();
        let name = &supervisor.pd;
        let pd = find_pd(policy, system, name)?;
        let refuse = |rule: String| Err(policy.refuse(name, rule));
        if pd == context.server || context.pci_host.is_some_and(|(host, _)| host == pd) {
            return refuse(format!("'{}' serves the clients and cannot be a supervisor", name.get_ref()));
        }
        if clients.iter().any(|client| client.pd == pd) {
            return refuse(format!("'{}' is a client and cannot be a supervisor too", name.get_ref()));
        }
        if pds.contains(&pd) {
            return refuse(format!(
                "'{}' is a supervisor already; put both entries together",
                name.get_ref()
            ));
        }
        pds.push(pd);
        if system.pds[context.server].setvar(TIMER_SYMBOL).is_none() {
            return refuse(format!(
                "a supervisor needs a server that keeps deadlines; give '{}' an <irq> with \
                 setvar_id=\"{TIMER_SYMBOL}\"",
                system.pds[context.server].name
            ));
        }
        let channel = context.channel(name, pd, context.server)?.1;
        if supervisor.clients.get_ref().is_empty() {
            return Err(policy.refuse(&supervisor.clients, "a supervisor without clients; list them"));
        }
        let mut own = vec![];
        for client in supervisor.clients.get_ref() {
            let number = number(context, client)?;
            if checked.iter().any(|(_, others)| others.contains(&number)) || own.contains(&number) {
                return Err(policy.refuse(
                    client,
                    format!("'{}' has a supervisor already; leave one entry", client.get_ref()),
                ));
            }
            own.push(number);
        }
        if checked.len() == MAX_SUPERVISORS {
            return refuse(format!("the server holds {MAX_SUPERVISORS} supervisors; remove some"));
        }
        checked.push((channel, own));
    }
    Ok(checked)
}

/// Checks the clients that take over from others, and finds from whom.
pub(super) fn successors(
    context: &Context<'_>,
    clients: &mut [CheckedClient],
    supervisors: &[(u8, Vec<u8>)],
) -> Result<(), Refusal> {
    let policy = context.policy;
    let sources = &policy.source.client;
    for (index, client) in sources.iter().enumerate() {
        let client = client.get_ref();
        let Some(name) = &client.successor_of else { continue };
        let number = number(context, name)?;
        let of = sources[usize::from(number)].get_ref();
        let refuse = |rule: String| Err(policy.refuse(name, rule));
        if of.successor_of.is_some() {
            return refuse(match usize::from(number) == index {
                true => format!("'{}' cannot succeed itself", name.get_ref()),
                false => format!("'{}' succeeds another itself; name that one", name.get_ref()),
            });
        }
        if clients.iter().any(|other| other.predecessor == Some(number)) {
            return refuse(format!("'{}' has a successor already; leave one", name.get_ref()));
        }
        if !supervisors.iter().any(|(_, clients)| clients.contains(&number)) {
            return refuse(format!(
                "nobody can hold for a successor what '{}' has; list it under a [[supervisor]]",
                name.get_ref()
            ));
        }
        let names = |client: &Client| -> Vec<String> {
            client.devices.iter().map(|name| name.get_ref().clone()).collect()
        };
        if names(client) != names(of) {
            return refuse(format!("a successor has the devices of '{}', in that order", name.get_ref()));
        }
        let grants = |client: &CheckedClient| -> Vec<(usize, u8)> {
            client.grants.iter().map(|grant| (grant.region, grant.rights)).collect()
        };
        if grants(&clients[index]) != grants(&clients[usize::from(number)]) {
            return refuse(format!(
                "a successor has the regions of '{}', in that order and with their rights",
                name.get_ref()
            ));
        }
        clients[index].predecessor = Some(number);
    }
    Ok(())
}

/// The protection domain `pd` and the one that succeeds it: both may map its devices' registers.
pub(super) fn with_successor(context: &Context<'_>, pd: usize) -> Vec<usize> {
    let (policy, system) = (context.policy, context.system);
    let name = &system.pds[pd].name;
    let successor =
        policy.source.client.iter().map(Spanned::get_ref).find(|client| {
            client.successor_of.as_ref().is_some_and(|predecessor| predecessor.get_ref() == name)
        });
    let successor = successor.and_then(|client| system.pd(client.pd.get_ref()));
    [pd].into_iter().chain(successor).collect()
}

/// The number of the client whose protection domain is `name`; the blob has no room for more.
fn number(context: &Context<'_>, name: &Spanned<String>) -> Result<u8, Refusal> {
    let found = context.policy.client_number(name)?;
    u8::try_from(found).map_err(|_| {
        context
            .policy
            .refuse(name, format!("'{}' is client number {found}; there are too many", name.get_ref()))
    })
}
