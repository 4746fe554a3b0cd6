//! The rules of a grant: which regions a client's devices may reach.

use iommu_server::policy::{MAX_REGIONS, RIGHT_READ, RIGHT_WRITE};
use toml::Spanned;

use super::{
    CheckedGrant, Client, Grant, Policy,
    check::{Context, find_region},
};
use crate::{
    refusal::Refusal,
    sdf::{Pd, Value},
};

/// What the server's symbols of physical addresses begin with; two decimal digits follow.
const PADDR_SYMBOL: &str = "region_paddr_";

/// Checks the grants of `client`, the protection domain `pd`.
pub(super) fn check(context: &Context<'_>, client: &Client, pd: usize) -> Result<Vec<CheckedGrant>, Refusal> {
    let mut grants: Vec<CheckedGrant> = vec![];
    for spanned in &client.regions {
        let grant = grant(context, spanned, pd)?;
        if grants.iter().any(|other| other.region == grant.region) {
            let name = &spanned.get_ref().region;
            return Err(context.policy.refuse(
                name,
                format!("'{}' is granted to this client already; leave one entry", name.get_ref()),
            ));
        }
        grants.push(grant);
    }
    Ok(grants)
}

fn grant(context: &Context<'_>, spanned: &Spanned<Grant>, pd: usize) -> Result<CheckedGrant, Refusal> {
    let (policy, system) = (context.policy, context.system);
    let Grant { region: name, rights: wanted, size } = spanned.get_ref();
    let region = find_region(policy, system, name, size.as_ref())?;
    let of = &system.regions[region];
    let refuse = |rule: String| Err(policy.refuse(name, format!("'{}' {rule}", of.name)));
    if region == context.tables {
        return refuse("holds the server's tables; a device must not reach them".into());
    }
    if context.registers.contains(&region) {
        return refuse("holds an IOMMU's registers; a device must not reach them".into());
    }
    if of.fixed().is_some_and(|range| !context.board.memory.ram.holds(range)) {
        return refuse("is device registers, not RAM; a device must not reach them".into());
    }
    if system.pds[context.server].map_of(region).is_some() {
        return refuse("is mapped by the server; a device must not reach the server's memory".into());
    }
    if let Some((host, _)) = context.pci_host
        && system.pds[host].map_of(region).is_some()
    {
        return refuse("is mapped by the PCI host; a device must not reach its memory".into());
    }
    let client = &system.pds[pd];
    let Some(map) = client.map_of(region) else {
        return match system.maps_of(region).next() {
            Some((owner, _)) => refuse(format!(
                "is private memory of '{}'; '{}' does not map it, so its devices must not reach it",
                owner.name, client.name
            )),
            None => refuse(format!("is not mapped by '{}'; map it, or remove the grant", client.name)),
        };
    };
    let rights = rights(policy, wanted)?;
    if rights & RIGHT_WRITE != 0 && !map.perms.write {
        return Err(policy.refuse(
            wanted,
            format!("'{}' maps '{}' read-only, so its devices must not write it", client.name, of.name),
        ));
    }
    Ok(CheckedGrant { region, number: number(context, name, region)?, rights })
}

/// The rights `wanted`, as the blob has them.
pub(super) fn rights(policy: &Policy, wanted: &Spanned<String>) -> Result<u8, Refusal> {
    match wanted.get_ref().as_str() {
        "r" => Ok(RIGHT_READ),
        "w" => Ok(RIGHT_WRITE),
        "rw" => Ok(RIGHT_READ | RIGHT_WRITE),
        other => Err(policy.refuse(wanted, format!("rights '{other}'; they are 'r', 'w' or 'rw'"))),
    }
}

/// Finds the number of the server's symbol that holds the region's physical address.
fn number(context: &Context<'_>, name: &Spanned<String>, region: usize) -> Result<u8, Refusal> {
    let server: &Pd = &context.system.pds[context.server];
    let numbered =
        server.setvars.iter().filter(|setvar| setvar.value == Value::Paddr(region)).find_map(|setvar| {
            let digits = setvar.symbol.strip_prefix(PADDR_SYMBOL).filter(|digits| digits.len() == 2)?;
            digits.parse::<u8>().ok().filter(|&number| usize::from(number) < MAX_REGIONS)
        });
    numbered.ok_or_else(|| {
        context.policy.refuse(
            name,
            format!(
                "the server does not know where '{0}' is; add <setvar symbol=\"{PADDR_SYMBOL}NN\" \
                 region_paddr=\"{0}\" /> with NN from 00 to {1} to '{2}'",
                name.get_ref(),
                MAX_REGIONS - 1,
                server.name
            ),
        )
    })
}
