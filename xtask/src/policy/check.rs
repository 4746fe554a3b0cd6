//! The rules of a policy: names, tables and clients.

use iommu_protocol::ring;
use iommu_server::policy::{MAX_AREAS, MAX_CLIENT_DEVICES, MAX_CLIENT_GRANTS, MAX_CLIENTS, MAX_GRANTS};
use toml::Spanned;

use super::{
    Checked, CheckedClient, Client, PciHost, Policy, SERVER_BLOB, calls, children, grants, interrupts, pci,
    roles, supervisors, units,
};
use crate::{
    board::Board,
    refusal::Refusal,
    sdf::{PAGE_BYTES, Perms, System},
};

/// The symbols that tell the server where its tables are.
pub(super) const TABLES_SYMBOLS: [&str; 3] = ["tables", "tables_bytes", "tables_paddr"];

/// What the checks look at.
pub(super) struct Context<'a> {
    pub policy: &'a Policy,
    pub system: &'a System,
    pub board: &'a Board,
    pub server: usize,
    /// The region of the server's tables.
    pub tables: usize,
    /// The units' registers, in the policy's order.
    pub registers: Vec<usize>,
    /// The PCI host and the region of its configuration space.
    pub pci_host: Option<(usize, usize)>,
}

/// Checks `policy` against `system` on `board`.
///
/// # Errors
/// The first rule that is broken (requirement R5 and decision 18).
pub fn check(policy: &Policy, system: &System, board: &Board) -> Result<Checked, Refusal> {
    let source = &policy.source;
    let server = find_pd(policy, system, &source.server)?;
    let pci_host = source.pci_host.as_ref().map(|name| find_pd(policy, system, name)).transpose()?;
    if pci_host == Some(server) {
        let name = source.pci_host.as_ref().unwrap_or(&source.server);
        return Err(policy.refuse(name, "the PCI host must be another protection domain than the server"));
    }
    let (units, registers) = units::check(policy, system, board, server)?;
    let tables = tables(policy, system, server)?;
    let server_blob = blob_region(policy, system, &source.server, server, SERVER_BLOB)?;
    let (pci_host, host_blob) = match (pci_host, &source.pci_host) {
        (Some(pd), Some(name)) => {
            let (ecam, blob) = pci::host(policy, system, board, name, pd)?;
            (Some((pd, ecam)), Some(blob))
        }
        _ => (None, None),
    };
    let context = Context { policy, system, board, server, tables, registers, pci_host };
    let devices = pci::devices(&context)?;
    let mut taken = vec![None; devices.len()];
    let mut clients: Vec<CheckedClient> = vec![];
    for client in &source.client {
        let checked = context.client(client, &devices, &mut taken, &clients)?;
        clients.push(checked);
    }
    if let Some(unowned) = taken.iter().position(Option::is_none) {
        let device = &source.device[unowned];
        let name = device.get_ref().name.get_ref();
        return Err(
            policy.refuse(device, format!("device '{name}' has no client; give it to one or remove it"))
        );
    }
    roles::groups(&context, &taken)?;
    roles::receivers(&context, &mut clients)?;
    let supervisors = supervisors::check(&context, &clients)?;
    supervisors::successors(&context, &mut clients, &supervisors)?;
    context.limits(&clients)?;
    let pci_host = match (context.pci_host, host_blob, &source.pci_host) {
        (Some((pd, _)), Some(blob), Some(name)) => {
            Some(PciHost { pd, blob, channel: context.channel(name, pd, server)?.1 })
        }
        _ => None,
    };
    calls::check(&context, &clients)?;
    children::check(&context)?;
    let told = units.into_iter().zip(&source.unit).map(|(kind, unit)| {
        let message = interrupts::fault_message(&context, kind, &unit.get_ref().name)?;
        Ok((kind, message))
    });
    let units = told.collect::<Result<_, Refusal>>()?;
    let timer_line = interrupts::timer_line(&context)?;
    let checked = Checked { server, server_blob, pci_host, units, timer_line, clients, supervisors };
    let (needed, region) = (super::compile::server_bytes(&checked), &system.regions[server_blob]);
    if needed as u64 > region.bytes {
        return Err(policy.refuse(
            &source.server,
            format!(
                "the compiled policy has {needed:#x} bytes, more than '{}' ({:#x}); make that larger",
                region.name, region.bytes
            ),
        ));
    }
    Ok(checked)
}

/// Finds the protection domain `name`.
pub(super) fn find_pd(policy: &Policy, system: &System, name: &Spanned<String>) -> Result<usize, Refusal> {
    system.pd(name.get_ref()).ok_or_else(|| {
        policy.refuse(name, format!("{} has no protection domain '{}'", system.place.file, name.get_ref()))
    })
}

/// Finds the memory region `name`, and checks the size that the policy expects of it.
pub(super) fn find_region(
    policy: &Policy,
    system: &System,
    name: &Spanned<String>,
    size: Option<&Spanned<u64>>,
) -> Result<usize, Refusal> {
    let region = system.region(name.get_ref()).ok_or_else(|| {
        policy.refuse(name, format!("{} has no memory region '{}'", system.place.file, name.get_ref()))
    })?;
    let bytes = system.regions[region].bytes;
    match size.filter(|size| *size.get_ref() != bytes) {
        Some(size) => Err(policy.refuse(
            size,
            format!(
                "'{}' has {bytes:#x} bytes in {}, not {:#x}; make them agree",
                name.get_ref(),
                system.place.file,
                size.get_ref()
            ),
        )),
        None => Ok(region),
    }
}

/// Finds the region that the generated file `blob` fills: mapped read-only by `pd`, by nobody else.
pub(super) fn blob_region(
    policy: &Policy,
    system: &System,
    name: &Spanned<String>,
    pd: usize,
    blob: &str,
) -> Result<usize, Refusal> {
    let of = &system.pds[pd];
    let filled =
        |region: usize| system.regions[region].prefill.as_ref().is_some_and(|fill| fill.path == blob);
    let read_only = Perms { read: true, write: false, execute: false };
    let Some(map) = of.maps.iter().find(|map| filled(map.region) && map.perms == read_only) else {
        return Err(policy.refuse(
            name,
            format!("'{}' must map, with perms=\"r\", a region with prefill_path=\"{blob}\"", of.name),
        ));
    };
    alone(policy, system, name, map.region, &[pd])?;
    for symbol in ["policy", "policy_bytes"] {
        if of.setvar(symbol).is_none() {
            return Err(policy.refuse(
                name,
                format!(
                    "'{}' needs its symbol '{symbol}' set by the map of '{}'",
                    of.name, system.regions[map.region].name
                ),
            ));
        }
    }
    Ok(map.region)
}

/// Refuses any protection domain but `owners` that maps `region`.
pub(super) fn alone(
    policy: &Policy,
    system: &System,
    name: &Spanned<String>,
    region: usize,
    owners: &[usize],
) -> Result<(), Refusal> {
    let owner = |pd: &str| owners.iter().any(|&owner| system.pds[owner].name == pd);
    match system.maps_of(region).find(|(pd, _)| !owner(&pd.name)) {
        Some((pd, map)) => Err(policy.refuse(
            name,
            format!(
                "'{}' also maps '{}' ({}); remove that map",
                pd.name, system.regions[region].name, map.place
            ),
        )),
        None => Ok(()),
    }
}

fn tables(policy: &Policy, system: &System, server: usize) -> Result<usize, Refusal> {
    let of = &system.pds[server];
    let [vaddr, bytes, paddr] = TABLES_SYMBOLS.map(|symbol| of.setvar(symbol));
    let region = paddr.and_then(|setvar| setvar.region());
    let map = region.and_then(|region| of.map_of(region)).filter(|map| map.perms.write && map.cached);
    let (Some(region), Some(map)) = (region, map) else {
        return Err(policy.refuse(
            &policy.source.server,
            "the server must map the region of its tables with perms=\"rw\", setvar_vaddr=\"tables\" and \
             setvar_size=\"tables_bytes\", and have its address in <setvar symbol=\"tables_paddr\">",
        ));
    };
    if vaddr.and_then(|setvar| setvar.number()) != Some(map.vaddr)
        || bytes.and_then(|setvar| setvar.region()) != Some(region)
    {
        return Err(policy.refuse(
            &policy.source.server,
            "the server's symbols 'tables', 'tables_bytes' and 'tables_paddr' must be of one region",
        ));
    }
    alone(policy, system, &policy.source.server, region, &[server])?;
    Ok(region)
}

impl Context<'_> {
    /// The ids of the channel by which `caller` calls `callee`: the caller's and the callee's.
    pub fn channel(&self, name: &Spanned<String>, caller: usize, callee: usize) -> Result<(u8, u8), Refusal> {
        let calling = |channel: &crate::sdf::Channel| {
            let (own, other) = channel.seen_from(caller)?;
            (other.pd == callee && own.pp).then_some((own.id, other.id, other.notify))
        };
        let mut channels = self.system.channels.iter().filter_map(calling);
        let (from, to) = (&self.system.pds[caller].name, &self.system.pds[callee].name);
        let Some((own, other, notify)) = channels.next() else {
            return Err(self.policy.refuse(
                name,
                format!(
                    "{} has no channel by which '{from}' calls '{to}' (pp=\"true\" at its end); add one",
                    self.system.place.file
                ),
            ));
        };
        if channels.next().is_some() {
            return Err(self
                .policy
                .refuse(name, format!("'{from}' can call '{to}' by two channels; leave one")));
        }
        if callee == self.server && !notify {
            return Err(self.policy.refuse(
                name,
                format!("the server must be able to signal '{from}'; remove notify=\"false\" from its end"),
            ));
        }
        Ok((own, other))
    }

    fn client(
        &self,
        spanned: &Spanned<Client>,
        devices: &[super::CheckedDevice],
        taken: &mut [Option<usize>],
        before: &[CheckedClient],
    ) -> Result<CheckedClient, Refusal> {
        let client = spanned.get_ref();
        let name = &client.pd;
        let pd = find_pd(self.policy, self.system, name)?;
        if pd == self.server || self.pci_host.is_some_and(|(host, _)| host == pd) {
            return Err(self
                .policy
                .refuse(name, format!("'{}' serves the clients and cannot be one", name.get_ref())));
        }
        if before.iter().any(|other| other.pd == pd) {
            return Err(self.policy.refuse(
                name,
                format!("'{}' is a client already; put both entries together", name.get_ref()),
            ));
        }
        let channel = self.channel(name, pd, self.server)?.1;
        let devices = match client.successor_of {
            Some(_) => vec![],
            None => pci::devices_of(self, client, pd, devices, taken, before.len())?,
        };
        let pci_channel = match self.pci_host {
            Some((host, _)) if !client.devices.is_empty() => Some(self.channel(name, pd, host)?.1),
            _ => None,
        };
        let fault_ring_vaddr = match &client.fault_ring {
            Some(ring) => self.fault_ring(ring, pd)?,
            None => 0,
        };
        for quota in [&client.areas, &client.frames] {
            if *quota.get_ref() == 0 {
                return Err(self.policy.refuse(quota, "a quota of 0 lets the client do nothing; raise it"));
            }
        }
        let grants = grants::check(self, client, pd)?;
        let (areas, frames) = (*client.areas.get_ref(), *client.frames.get_ref());
        let (predecessor, statistics) = (None, client.statistics);
        Ok(CheckedClient {
            pd,
            channel,
            pci_channel,
            fault_ring_vaddr,
            areas,
            frames,
            devices,
            grants,
            predecessor,
            statistics,
        })
    }

    fn fault_ring(&self, name: &Spanned<String>, client: usize) -> Result<u64, Refusal> {
        let region = find_region(self.policy, self.system, name, None)?;
        let of = &self.system.regions[region];
        let (server, pd) = (&self.system.pds[self.server], &self.system.pds[client]);
        let in_ram = of.fixed().is_none_or(|range| self.board.memory.ram.holds(range));
        if !in_ram || of.bytes < ring::BYTES as u64 {
            return Err(self.policy.refuse(
                name,
                format!("the fault ring '{}' must be RAM of {:#x} bytes or more", of.name, ring::BYTES),
            ));
        }
        let Some(map) = server.map_of(region).filter(|map| map.perms.write && map.vaddr != 0) else {
            return Err(self
                .policy
                .refuse(name, format!("the server must map '{}' with perms=\"rw\"", of.name)));
        };
        let read_only = Perms { read: true, write: false, execute: false };
        if pd.map_of(region).is_none_or(|map| map.perms != read_only) {
            return Err(self.policy.refuse(
                name,
                format!("'{}' must map its fault ring '{}' with perms=\"r\"", pd.name, of.name),
            ));
        }
        alone(self.policy, self.system, name, region, &[self.server, client])?;
        Ok(map.vaddr)
    }

    /// Checks that what is promised to all clients together exists.
    fn limits(&self, clients: &[CheckedClient]) -> Result<(), Refusal> {
        let source = &self.policy.source;
        let grants: usize = clients.iter().map(|client| client.grants.len()).sum();
        for (what, count, most) in [("clients", clients.len(), MAX_CLIENTS), ("grants", grants, MAX_GRANTS)] {
            if count > most {
                return Err(self.policy.refuse(
                    &source.server,
                    format!("{count} {what}, but the server holds {most}; remove some"),
                ));
            }
        }
        for client in &source.client {
            let client = client.get_ref();
            // Those of a successor are its predecessor's.
            let too_many = client
                .regions
                .get(MAX_CLIENT_GRANTS)
                .map(|grant| (&grant.get_ref().region, "regions", MAX_CLIENT_GRANTS))
                .or(client.devices.get(MAX_CLIENT_DEVICES).map(|name| (name, "devices", MAX_CLIENT_DEVICES)));
            if let Some((name, what, most)) = too_many {
                return Err(self.policy.refuse(
                    name,
                    format!("a client has {most} {what} at most; remove '{}'", name.get_ref()),
                ));
            }
        }
        let mut areas = 0;
        for client in &source.client {
            let quota = &client.get_ref().areas;
            areas += u64::from(*quota.get_ref());
            if areas > MAX_AREAS as u64 {
                return Err(self.policy.refuse(
                    quota,
                    format!(
                        "the clients so far are promised {areas} mappings, but the server has room for {MAX_AREAS}; \
                         lower the quotas"
                    ),
                ));
            }
        }
        let tables = &self.system.regions[self.tables];
        let (mut frames, all) = (0_u64, tables.bytes / PAGE_BYTES);
        for client in &source.client {
            let quota = &client.get_ref().frames;
            frames += u64::from(*quota.get_ref());
            if frames > all {
                return Err(self.policy.refuse(
                    quota,
                    format!(
                        "the clients so far are promised {frames} frames, but '{}' has {all}; lower the \
                        quotas or make it larger",
                        tables.name
                    ),
                ));
            }
        }
        Ok(())
    }
}
