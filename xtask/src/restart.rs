//! What a supervisor is told of its children: who they are, and where in their programs they restart.

use std::{collections::HashMap, fs, path::PathBuf};

use anyhow::{Context, Result};
use pd_restart::{FIRST_ENTRY, HEADER_BYTES, MAX_DATA_BYTES, RESTART_ENTRY, headers_end, spans};
use supervisor::policy::{ChildEntry, Header, MAGIC, NAME_BYTES, NO_CHANNEL, NO_CLIENT, parse};
use zerocopy::IntoBytes;

use crate::{
    board::{Arch, Interval},
    image::elf::Program,
    sdf::System,
};

/// The prefill file that the builder generates for the supervisor `pd`.
pub fn blob_name(pd: &str) -> String {
    format!("{pd}_children.bin")
}

/// A supervisor, as the policy has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervisor {
    /// The name of its protection domain.
    pub pd: String,
    /// Those of its clients', in the order by which the server knows them from it.
    pub clients: Vec<String>,
}

/// Fills the blobs of those of `supervisors` that map one; `programs` has the ELF file of each program, for `arch`.
///
/// # Errors
/// A child's program cannot be read, or not be restarted.
pub fn fill(
    system: &mut System,
    supervisors: &[Supervisor],
    programs: &HashMap<String, PathBuf>,
    arch: Arch,
) -> Result<()> {
    for supervisor in supervisors {
        let name = blob_name(&supervisor.pd);
        let fills = |fill: &crate::sdf::Prefill| fill.path == name;
        let region = system.regions.iter().position(|region| region.prefill.as_ref().is_some_and(fills));
        // The policy's checks have found the protection domain.
        let (Some(region), Some(pd)) = (region, system.pd(&supervisor.pd)) else { continue };
        let mut entries = vec![];
        for child in 0..system.pds.len() {
            if let Some(entry) = entry(system, supervisor, pd, child, programs, arch)? {
                entries.push(entry);
            }
        }
        let header = Header { magic: MAGIC, children: entries.len() as u64 };
        let mut blob = [header.as_bytes(), entries.as_bytes()].concat();
        assert!(parse(&blob).is_ok(), "the supervisor would refuse its policy");
        let region = &mut system.regions[region];
        assert!(blob.len() as u64 <= region.bytes, "what a supervisor is told is larger than a page");
        // Microkit's tool cannot fill a region that has whole pages more than its file.
        blob.resize(region.bytes as usize, 0);
        if let Some(prefill) = &mut region.prefill {
            prefill.bytes = Some(blob);
        }
    }
    Ok(())
}

/// What `supervisor`, the protection domain at index `pd`, is told of the one at `child`, if that is its child.
fn entry(
    system: &System,
    supervisor: &Supervisor,
    pd: usize,
    child: usize,
    programs: &HashMap<String, PathBuf>,
    arch: Arch,
) -> Result<Option<ChildEntry>> {
    let of = &system.pds[child];
    let Some(parent) = of.parent.as_ref().filter(|parent| parent.pd == pd) else { return Ok(None) };
    let path = programs.get(&of.program);
    let path =
        path.with_context(|| of.program_place.refuse(format!("no program '{}' was built", of.program)))?;
    let bytes = fs::read(path).with_context(|| {
        of.program_place.refuse(format!(
            "the program '{}' cannot be read from {}",
            of.program,
            path.display()
        ))
    })?;
    let entry = restart_entry(&bytes, arch).map_err(|rule| {
        let message = format!("'{}' {rule}; '{}' restarts '{}'", of.program, supervisor.pd, of.name);
        of.program_place.refuse(message)
    })?;
    let client = supervisor.clients.iter().position(|client| *client == of.name);
    let asks = system.channels.iter().filter_map(|channel| channel.seen_from(pd));
    let mut asks = asks.filter(|(_, other)| other.pd == child && other.notify).map(|(own, _)| own.id);
    let mut name = [0; NAME_BYTES];
    name[..of.name.len()].copy_from_slice(of.name.as_bytes());
    Ok(Some(ChildEntry {
        entry,
        id: parent.id,
        // Fewer than the server's clients, which a byte counts.
        client: client.map_or(NO_CLIENT, |client| client as u8),
        channel: asks.next().unwrap_or(NO_CHANNEL),
        reserved: [0; 5],
        name,
    }))
}

/// Where the program for `arch` in the ELF file `bytes` restarts.
///
/// # Errors
/// Why it does not, to follow its name.
pub fn restart_entry(bytes: &[u8], arch: Arch) -> Result<u64, String> {
    let program = Program::parse(bytes, arch)?;
    let missing = format!("cannot be restarted: link 'pd-restart', and with --entry={FIRST_ENTRY}");
    let (Some((restart, _)), Some((first, _))) = (program.symbol(RESTART_ENTRY), program.symbol(FIRST_ENTRY))
    else {
        return Err(missing);
    };
    if program.entry != first {
        return Err(missing);
    }
    let end = headers_end(&bytes[..bytes.len().min(HEADER_BYTES)]).and_then(|end| bytes.get(..end));
    let writable =
        end.map(spans).and_then(Result::ok).ok_or("cannot be restarted: too many writable segments")?;
    let headers =
        program.symbol("__ehdr_start").and_then(|(first, _)| Interval::of(first, HEADER_BYTES as u64));
    let loaded = |range| program.segments.iter().any(|segment| segment.range().holds(range));
    if !headers.is_some_and(loaded) {
        return Err("cannot be restarted: its ELF headers are not loaded; link them into a segment".into());
    }
    let data: usize = writable.iter().map(|span| span.data).sum();
    if data > MAX_DATA_BYTES {
        return Err(format!("has {data} bytes of data, but one that is restarted at most {MAX_DATA_BYTES}"));
    }
    Ok(restart)
}
