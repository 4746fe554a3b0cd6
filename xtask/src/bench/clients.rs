//! The benchmark's system with many clients: made of the one with one client, as the others are all alike.

use anyhow::{Context, Result};
use embedded_image::MAX_PDS;
use iommu_server::policy::MAX_CLIENTS;
use roxmltree::Document;

use super::figures::Kernel;
use crate::sdf::PAGE_BYTES;

/// Protection domains that are no clients: the server, the PCI host, the serial PD and the supervisor.
const SERVERS: usize = 4;

/// The measured client's memory.
const MEMORY: &str = "memory";

/// The channels of the measured client to the others begin here.
const FIRST_NEIGHBOUR: usize = 10;

/// Priority of the others: the measured one, which is below, lets them have their turns by calls.
const PRIORITY: u8 = 110;

/// What an other client may have. The server has 16,384 mappings and 4,070 table frames in all, of which the measured one
/// takes 10,000 and less than 2,048.
const AREAS: u32 = 128;
const FRAMES: u32 = 48;

/// The device on PCI's bus 0 where those of the others begin, eight functions each. There need be none: the benchmark
/// does no DMA.
const FIRST_PCI_DEVICE: usize = 8;

/// How many clients `kernel` has room for, as the server has.
pub fn most(kernel: Kernel) -> usize {
    match kernel {
        Kernel::Embedded => MAX_CLIENTS.min(MAX_PDS - SERVERS),
        Kernel::Sel4 => MAX_CLIENTS,
    }
}

/// Makes the system description and the policy of `clients` clients of those of one.
///
/// # Errors
/// They lack the protection domains of the benchmark.
pub fn multiply(system: &str, policy: &str, clients: usize) -> Result<(String, String)> {
    let (place, unit) = (behind_memory(system)?, unit(policy)?);
    let (mut system, mut policy) = (system.to_string(), policy.to_string());
    let (mut addresses, mut rest) = (String::new(), String::new());
    for number in 1..clients {
        let region = format!("memory_{number:02}");
        let place = place.map_or_else(String::new, |first| {
            format!(" phys_addr=\"{:#x}\"", first + (number as u64 - 1) * PAGE_BYTES)
        });
        addresses +=
            &format!("    <setvar symbol=\"region_paddr_{number:02}\" region_paddr=\"{region}\" />\n    ");
        rest += &client(number, &region, &place, number + 1 == clients);
        policy += &policy_of(number, &region, &unit);
    }
    insert(&mut system, "<protection_domain name=\"iommu_server\"", "</protection_domain>", &addresses)?;
    insert(&mut system, "", "</system>", &rest)?;
    Ok((system, policy))
}

/// The address behind the measured client's memory, where the system gives that one: the others' then need some too.
fn behind_memory(system: &str) -> Result<Option<u64>> {
    let document = Document::parse(system).context("the benchmark's system is malformed")?;
    let memory = document.descendants().find(|of| of.attribute("name") == Some(MEMORY));
    let number = |name| {
        let text = memory?.attribute(name)?.strip_prefix("0x")?;
        u64::from_str_radix(text, 16).ok()
    };
    Ok(number("phys_addr").zip(number("size")).and_then(|(first, bytes)| first.checked_add(bytes)))
}

/// The name of the policy's unit.
fn unit(policy: &str) -> Result<String> {
    let policy: toml::Table = policy.parse().context("the benchmark's policy is malformed")?;
    let name = || policy.get("unit")?.get(0)?.get("name")?.as_str();
    name().map(str::to_string).context("the benchmark's policy has no [[unit]]")
}

/// Puts `addition` before the first `end` that follows `start`.
fn insert(system: &mut String, start: &str, end: &str, addition: &str) -> Result<()> {
    let found = system.find(start).and_then(|start| Some(start + system[start..].find(end)?));
    let at = found.with_context(|| format!("the benchmark's system has no {start}...{end}"))?;
    system.insert_str(at, addition);
    Ok(())
}

/// Client `number`, its region and its channels: it calls the server and the PCI host, the measured one calls it.
fn client(number: usize, region: &str, place: &str, last: bool) -> String {
    let (server, neighbour) = (number + 1, FIRST_NEIGHBOUR + number - 1);
    let symbol = match (number, last) {
        (1, _) => " setvar_id=\"first_neighbour\"",
        (_, true) => " setvar_id=\"last_neighbour\"",
        _ => "",
    };
    format!(
        r#"
    <memory_region name="{region}" size="0x1000"{place} />
    <protection_domain name="client_{number:02}" priority="{PRIORITY}" passive="true">
        <program_image path="bench.elf" />
        <map mr="{region}" vaddr="0x30000000" perms="rw" />
    </protection_domain>
    <channel>
        <end pd="iommu_server" id="{server}" />
        <end pd="client_{number:02}" id="1" pp="true" notify="false" setvar_id="channel_iommu" />
    </channel>
    <channel>
        <end pd="pci_host" id="{server}" notify="false" />
        <end pd="client_{number:02}" id="2" pp="true" notify="false" />
    </channel>
    <channel>
        <end pd="client_{number:02}" id="0" notify="false" setvar_id="channel_bench" />
        <end pd="bench" id="{neighbour}" pp="true" notify="false"{symbol} />
    </channel>
"#
    )
}

fn policy_of(number: usize, region: &str, unit: &str) -> String {
    let (device, function) = (FIRST_PCI_DEVICE + (number - 1) / 8, (number - 1) % 8);
    format!(
        r#"
[[device]]
name = "device{number:02}"
unit = "{unit}"
pci = "00:{device:02x}.{function}"

[[client]]
pd = "client_{number:02}"
areas = {AREAS}
frames = {FRAMES}
devices = ["device{number:02}"]
regions = [{{ region = "{region}", rights = "rw" }}]
"#
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        board::Board,
        builder::{Source, describe, describe_for_sel4},
        sdf::System,
    };

    fn file(board: &str, name: &str) -> String {
        let folder = crate::bench::system_folder(&crate::root(), board);
        fs::read_to_string(folder.join(name)).unwrap()
    }

    fn described(kernel: Kernel, board: &str, clients: usize) -> System {
        let (system, policy) =
            multiply(&file(board, "system.xml"), &file(board, "policy.toml"), clients).unwrap();
        let system = Source { name: "clients.xml".into(), text: system };
        let policy = Source { name: "clients.toml".into(), text: policy };
        let board = Board::read(&crate::root(), board).unwrap();
        let describe = if kernel == Kernel::Embedded { describe } else { describe_for_sel4 };
        let described = describe(&system, Some(&policy), &board, vec![]).unwrap();
        assert_eq!(described.clients.len(), clients);
        described.system
    }

    #[test]
    fn a_system_of_as_many_clients_as_there_can_be_keeps_all_rules() {
        for board in ["qemu_virt_aarch64", "qemu_virt_aarch64_el1", "x86_64_generic"] {
            for kernel in [Kernel::Embedded, Kernel::Sel4] {
                described(kernel, board, most(kernel));
            }
        }
        assert_eq!(most(Kernel::Sel4), 32);
    }

    #[test]
    fn the_measured_client_can_call_every_other() {
        let system = described(Kernel::Sel4, "qemu_virt_aarch64", 32);
        let bench = system.pd("bench").unwrap();
        let called = system.channels.iter().filter_map(|channel| channel.seen_from(bench));
        let mut ids: Vec<u8> = called
            .filter(|(own, other)| own.pp && system.pds[other.pd].name.starts_with("client_"))
            .map(|(own, _)| own.id)
            .collect();
        ids.sort_unstable();
        let number = |symbol| system.pds[bench].setvar(symbol).unwrap().number().unwrap() as u8;
        assert_eq!(ids, (number("first_neighbour")..=number("last_neighbour")).collect::<Vec<_>>());
        assert_eq!(ids.len(), 31);
    }

    #[test]
    fn a_system_without_the_benchmark_is_refused() {
        let refusal = |policy| multiply("<system></system>", policy, 8).unwrap_err().to_string();
        let error = refusal("[[unit]]\nname = \"smmu0\"");
        assert!(error.contains("has no <protection_domain name=\"iommu_server\"..."), "{error}");
        assert_eq!(refusal(""), "the benchmark's policy has no [[unit]]");
    }
}
