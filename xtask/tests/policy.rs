//! The policy blobs of the default system: read back by those who obey them.

use std::path::Path;

use iommu_server::policy::{
    self as server, ClientEntry, DeviceEntry, GrantEntry, NO_CLIENT, Policy, UnitEntry,
};
use pci_host::policy::{BarEntry, FunctionEntry, PciPolicy};
use xtask::{
    board::{self, Board},
    builder::{Source, describe, describe_for_sel4},
    dmar::Dmar,
    sdf::System,
};
use zerocopy::IntoBytes;

fn read(system: &str, policy: &str) -> Result<System, String> {
    let board = Board::read(&xtask::root(), board::DEFAULT).unwrap();
    let system = Source { name: "system.xml".into(), text: system.into() };
    let policy = Source { name: "policy.toml".into(), text: policy.into() };
    let described = describe(&system, Some(&policy), &board, vec![]);
    described.map(|described| described.system).map_err(|refusal| refusal.to_string())
}

fn base(file: &str) -> String {
    std::fs::read_to_string(Path::new("tests/refusals/base").join(file)).unwrap()
}

/// What fills `region`, as words.
fn blob(system: &System, region: &str) -> Vec<u64> {
    let region = &system.regions[system.region(region).unwrap()];
    let bytes = region.prefill.as_ref().unwrap().bytes.as_ref().unwrap();
    assert_eq!(bytes.len() as u64, region.bytes);
    bytes.as_chunks().0.iter().map(|&word| u64::from_le_bytes(word)).collect()
}

#[test]
fn the_default_system_is_good() {
    let file = |name| std::fs::read_to_string(xtask::root().join(name)).unwrap();
    read(&file("system.xml"), &file("policy.toml")).unwrap();
}

#[test]
fn an_x86_server_is_told_of_its_interrupts() {
    for folder in ["", "bench"] {
        let folder = Board::folder(&xtask::root(), "x86_64_generic").join(folder);
        let [system, policy] = ["system.xml", "policy.toml"].map(|name| Source {
            name: name.into(),
            text: std::fs::read_to_string(folder.join(name)).unwrap(),
        });
        let board = Board::read(&xtask::root(), "x86_64_generic").unwrap();
        let described = describe_for_sel4(&system, Some(&policy), &board, vec![]).unwrap();
        let words = blob(&described.system, "iommu_policy");
        let policy = Policy::parse(words.as_bytes()).unwrap();
        // Vector 40 of Microkit's is 0x58 of the CPU's; the timer's line is a pin.
        let unit = UnitEntry { kind: server::KIND_INTEL_VTD, fault_data: 0x58, fault_address: 0xfee0_0000 };
        assert_eq!((policy.units, policy.header.timer_line), (&[unit][..], 21));
    }
}

#[test]
fn a_vtd_unit_has_its_own_kind_and_one_page_of_registers() {
    let kind = |text: &str| text.replace("\"arm-smmu-v3\"", "\"intel-vtd\"");
    let small = base("system.xml")
        .replace("size=\"0x20000\" phys_addr=\"0x09050000\"", "size=\"0x1000\" phys_addr=\"0x09050000\"");
    assert_ne!(small, base("system.xml"));
    let system = read(&small, &kind(&base("policy.toml"))).unwrap();
    let words = blob(&system, "iommu_policy");
    let policy = Policy::parse(words.as_bytes()).unwrap();
    assert_eq!(policy.units.iter().map(|unit| unit.kind).collect::<Vec<_>>(), [server::KIND_INTEL_VTD]);
    assert!(read(&small, &base("policy.toml")).unwrap_err().contains("0x20000 bytes or more"));
}

/// The base system with `count` units more, each with registers and symbols of its own.
fn with_more_units(count: u64) -> (String, String) {
    let (mut system, mut policy) = (base("system.xml"), base("policy.toml"));
    for number in 1..=count {
        let paddr = 0x0a00_0000 + number * 0x10_0000;
        let region = format!(
            "<system>\n<memory_region name=\"smmu{number}_registers\" size=\"0x20000\" phys_addr=\"{paddr:#x}\" />"
        );
        system = system.replacen("<system>", &region, 1);
        let image = "<program_image path=\"iommu_server.elf\" />";
        let vaddr = 0x4000_0000 + number * 0x10_0000;
        let map = format!(
            "{image}\n<map mr=\"smmu{number}_registers\" vaddr=\"{vaddr:#x}\" perms=\"rw\" cached=\"false\" \
             setvar_vaddr=\"unit_registers_{number}\" setvar_size=\"unit_registers_bytes_{number}\" />"
        );
        system = system.replacen(image, &map, 1);
        policy += &format!(
            "[[unit]]\nname = \"smmu{number}\"\nkind = \"arm-smmu-v3\"\nregisters = \"smmu{number}_registers\"\n"
        );
    }
    (system, policy)
}

#[test]
fn devices_sit_behind_several_units() {
    let (system, policy) = with_more_units(server::MAX_UNITS as u64 - 1);
    let edu1 = "name = \"edu1\"\nunit = \"smmu0\"";
    let behind = policy.replacen(edu1, "name = \"edu1\"\nunit = \"smmu2\"", 1);
    assert_ne!(policy, behind);
    let system = read(&system, &behind).unwrap();
    let words = blob(&system, "iommu_policy");
    let policy = Policy::parse(words.as_bytes()).unwrap();
    assert_eq!(policy.units.len(), server::MAX_UNITS);
    assert_eq!(policy.devices.iter().map(|device| device.unit).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn more_units_than_the_server_holds_are_refused() {
    let (system, policy) = with_more_units(server::MAX_UNITS as u64);
    let refusal = read(&system, &policy).unwrap_err();
    assert!(refusal.ends_with("the server holds 4 units; remove this one"), "{refusal}");
}

#[test]
fn the_server_reads_its_policy() {
    let system = read(&base("system.xml"), &base("policy.toml")).unwrap();
    let words = blob(&system, "iommu_policy");
    let policy = Policy::parse(words.as_bytes()).unwrap();
    assert_eq!(policy.header.pci_host_channel, 0);
    let wired = UnitEntry { kind: server::KIND_ARM_SMMU_V3, fault_data: 0, fault_address: 0 };
    assert_eq!((policy.units, policy.header.timer_line), (&[wired][..], server::NO_LINE));
    let client = |fault_ring_vaddr, channel| ClientEntry {
        fault_ring_vaddr,
        areas: 4096,
        frames: 1024,
        channel,
        predecessor: NO_CLIENT,
        flags: 0,
        reserved: [0; 5],
    };
    assert_eq!(policy.clients, [client(0x2200_0000, 1), client(0x2201_0000, 2)]);
    let device = |stream, client| DeviceEntry {
        stream,
        client,
        unit: 0,
        fault_client: NO_CLIENT,
        fault_index: 0,
        max_faults_per_second: 20_000,
        reserved: [0; 4],
    };
    assert_eq!(policy.devices, [device(0x10, 0), device(0x18, 1)]);
    let grant =
        |bytes, client, region, rights| GrantEntry { bytes, client, region, rights, reserved: [0; 5] };
    assert_eq!(
        policy.grants,
        [
            grant(0x20_0000, 0, 0, 3),
            grant(0x1000, 0, 1, 1),
            grant(0x20_0000, 1, 2, 3),
            grant(0x1000, 1, 3, 1)
        ]
    );
}

/// The base with a supervisor of both drivers, and a client that succeeds the first and may map its device.
fn supervised() -> (String, String) {
    let system = base("system.xml")
        .replace(
            "</system>",
            r#"<protection_domain name="supervisor" priority="150"><program_image path="s.elf" /></protection_domain>
            <protection_domain name="edu0_next" priority="100">
                <program_image path="device_driver.elf" />
                <map mr="edu0_bar0" vaddr="0x20000000" perms="rw" cached="false" />
                <map mr="edu0_dma" vaddr="0x30000000" perms="rw" />
                <map mr="edu0_constants" vaddr="0x31000000" perms="rw" />
            </protection_domain>
            <channel><end pd="iommu_server" id="9" /><end pd="supervisor" id="1" pp="true" /></channel>
            <channel><end pd="iommu_server" id="11" /><end pd="edu0_next" id="1" pp="true" /></channel>
            <channel><end pd="pci_host" id="11" /><end pd="edu0_next" id="2" pp="true" /></channel>
            </system>"#,
        );
    let policy = base("policy.toml")
        .replace(
            "pci = \"00:02.0\"\n",
            "pci = \"00:02.0\"\nreserved = [[0x8000000, 0x8ffffff]]\ngroup = \"a\"\n",
        )
        .replace("pci = \"00:03.0\"\n", "pci = \"00:03.0\"\nmax_faults_per_second = 50\n")
        .replace("devices = [\"edu0\"]\n", "devices = [\"edu0\"]\nstatistics = true\n")
        .replace("devices = [\"edu1\"]\n", "devices = [\"edu1\"]\nfault_devices = [\"edu0\"]\n");
    let policy = policy
        + r#"
[[client]]
pd = "edu0_next"
areas = 10
frames = 10
devices = ["edu0"]
successor_of = "edu0_driver"
regions = [{ region = "edu0_dma", rights = "rw" }, { region = "edu0_constants", rights = "r" }]

[[supervisor]]
pd = "supervisor"
clients = ["edu1_driver", "edu0_next", "edu0_driver"]
"#;
    (system, policy)
}

#[test]
fn supervisors_successors_and_roles_reach_the_server() {
    let (system, policy) = supervised();
    let system = read(&system, &policy).unwrap();
    let words = blob(&system, "iommu_policy");
    let policy = Policy::parse(words.as_bytes()).unwrap();
    let clients: Vec<_> = policy.clients.iter().map(|of| (of.channel, of.predecessor, of.flags)).collect();
    assert_eq!(clients, [(1, NO_CLIENT, server::FLAG_STATISTICS), (2, NO_CLIENT, 0), (11, 0, 0)]);
    let devices: Vec<_> = policy
        .devices
        .iter()
        .map(|of| (of.stream, of.client, of.fault_client, of.fault_index, of.max_faults_per_second))
        .collect();
    assert_eq!(devices, [(0x10, 0, 1, 1, 20_000), (0x18, 1, NO_CLIENT, 0, 50)]);
    let reserved: Vec<_> = policy.reserved.iter().map(|of| (of.device, of.first, of.last)).collect();
    assert_eq!(reserved, [(0, 0x800_0000, 0x8ff_ffff)]);
    assert_eq!(policy.supervisors.iter().map(|of| of.channel).collect::<Vec<_>>(), [9]);
    let wards: Vec<_> = policy.wards.iter().map(|of| (of.supervisor, of.client)).collect();
    assert_eq!(wards, [(0, 1), (0, 2), (0, 0)]);
    let grants = |client| {
        let of = policy.grants.iter().filter(move |grant| grant.client == client);
        of.map(|grant| (grant.region, grant.rights)).collect::<Vec<_>>()
    };
    assert_eq!(grants(0), grants(2));
    // Both channels reach the function.
    let words = blob(&system, "pci_policy");
    let policy = PciPolicy::parse(words.as_bytes()).unwrap();
    let channels: Vec<_> = policy.functions.iter().map(|of| (of.channel, of.successor_channel)).collect();
    assert_eq!(channels, [(1, 11), (2, pci_host::policy::NO_CHANNEL)]);
}

#[test]
fn only_a_successor_maps_a_devices_registers_too() {
    let (system, policy) = supervised();
    let policy =
        policy.replace("successor_of = \"edu0_driver\"", "").replace("devices = [\"edu0\"]\n\n", "\n");
    assert_eq!(
        read(&system, &policy).unwrap_err(),
        "policy.toml:37:12: 'edu0_next' also maps 'edu0_bar0' (system.xml:96:17); remove that map"
    );
}

#[test]
fn the_pci_host_reads_its_policy() {
    let system = read(&base("system.xml"), &base("policy.toml")).unwrap();
    let words = blob(&system, "pci_policy");
    let policy = PciPolicy::parse(words.as_bytes()).unwrap();
    let function = |requester, channel| FunctionEntry {
        requester,
        channel,
        successor_channel: 0xff,
        stream: requester.into(),
    };
    assert_eq!(policy.functions, [function(0x10, 1), function(0x18, 2)]);
    let bar = |paddr, function| BarEntry { paddr, bytes: 0x10_0000, function, bar: 0 };
    assert_eq!(policy.bars, [bar(0x1000_0000, 0), bar(0x1010_0000, 1)]);
}

#[test]
fn two_clients_share_a_region_that_both_map() {
    let system = base("system.xml").replace(
        r#"<map mr="edu1_constants" vaddr="0x31000000""#,
        "<map mr=\"edu0_dma\" vaddr=\"0x40000000\" perms=\"r\" />\n        \
         <map mr=\"edu1_constants\" vaddr=\"0x31000000\"",
    );
    let share = |rights| {
        let line = r#"{ region = "edu1_constants", rights = "r" },"#;
        base("policy.toml").replace(line, &format!("{{ region = \"edu0_dma\", rights = \"{rights}\" }},"))
    };
    let words = blob(&read(&system, &share("r")).unwrap(), "iommu_policy");
    let policy = Policy::parse(words.as_bytes()).unwrap();
    let shared: Vec<_> = policy
        .grants
        .iter()
        .filter(|grant| grant.region == 0)
        .map(|grant| (grant.client, grant.rights))
        .collect();
    assert_eq!(shared, [(0, server::RIGHT_READ | server::RIGHT_WRITE), (1, server::RIGHT_READ)]);
    assert_eq!(
        read(&system, &share("rw")).unwrap_err(),
        "policy.toml:48:37: 'edu1_driver' maps 'edu0_dma' read-only, so its devices must not write it"
    );
}

/// The base with `clients` more clients, each with `grants` regions of its own that the server knows.
fn crowd(clients: usize, grants: usize) -> (String, String) {
    let (mut regions, mut pds, mut channels) = (String::new(), String::new(), String::new());
    let (mut setvars, mut entries) = (String::new(), String::new());
    for region in 0..grants {
        regions += &format!("<memory_region name=\"m{region}\" size=\"0x1000\" />\n");
        setvars +=
            &format!("<setvar symbol=\"region_paddr_{:02}\" region_paddr=\"m{region}\" />\n", region + 4);
    }
    for client in 0..clients {
        pds += &format!("<protection_domain name=\"c{client}\"><program_image path=\"c.elf\" />\n");
        entries += &format!("\n[[client]]\npd = \"c{client}\"\nareas = 1\nframes = 1\nregions = [\n");
        for region in 0..grants {
            pds += &format!("<map mr=\"m{region}\" vaddr=\"{}\" />\n", 0x4000_0000 + region * 0x1000);
            entries += &format!("{{ region = \"m{region}\", rights = \"rw\" }},\n");
        }
        entries += "]\n";
        pds += "</protection_domain>\n";
        let id = if client < 37 { client + 3 } else { client + 6 };
        channels += &format!(
            "<channel><end pd=\"iommu_server\" id=\"{id}\" /><end pd=\"c{client}\" id=\"0\" pp=\"true\" /></channel>\n"
        );
    }
    let system = base("system.xml")
        .replace("<irq irq=\"106\"", &format!("{setvars}<irq irq=\"106\""))
        .replace("</system>", &format!("{regions}{pds}{channels}</system>"));
    (system, base("policy.toml") + &entries)
}

#[test]
fn what_the_server_does_not_hold_is_refused() {
    let (system, policy) = crowd(5, 10);
    read(&system, &policy).unwrap();
    let (system, policy) = crowd(31, 0);
    assert_eq!(
        read(&system, &policy).unwrap_err(),
        "policy.toml:4:10: 33 clients, but the server holds 32; remove some"
    );
    let ranges = |count: u64| (0..count).map(|n| format!("[{n}, {n}]")).collect::<Vec<_>>().join(", ");
    let mut policy = base("policy.toml");
    for device in 0..9 {
        policy += &format!(
            "\n[[device]]\nname = \"d{device}\"\nunit = \"smmu0\"\npci = \"00:0{device}.1\"\nreserved = [{}]\n",
            ranges(4)
        );
    }
    assert_eq!(
        read(&base("system.xml"), &policy).unwrap_err(),
        "policy.toml:4:10: 36 reserved ranges, but the server holds 32; remove some"
    );
    let small = base("system.xml").replace(
        r#"<memory_region name="iommu_policy" size="0x4000""#,
        r#"<memory_region name="iommu_policy" size="0x1000""#,
    );
    assert_ne!(small, base("system.xml"));
    read(&small, &base("policy.toml")).unwrap();
    let (system, policy) = crowd(5, 25);
    assert_eq!(
        read(&system, &policy).unwrap_err(),
        "policy.toml:4:10: 129 grants, but the server holds 128; remove some"
    );
}

/// What is reserved in the server's blob, of the base system on a board with this dmar.toml: devices and ranges.
fn reserved_on(dmar: &str, policy: &str) -> Result<Vec<(u8, u64, u64)>, String> {
    let mut board = Board::read(&xtask::root(), board::DEFAULT).unwrap();
    board.dmar = Some(Dmar::parse("dmar.toml", dmar).unwrap());
    let system = Source { name: "system.xml".into(), text: base("system.xml") };
    let policy = Source { name: "policy.toml".into(), text: policy.into() };
    let described =
        describe(&system, Some(&policy), &board, vec![]).map_err(|refusal| refusal.to_string())?;
    let words = blob(&described.system, "iommu_policy");
    let policy = Policy::parse(words.as_bytes()).unwrap();
    Ok(policy.reserved.iter().map(|of| (of.device, of.first, of.last)).collect())
}

/// A board whose firmware reserves memory for 00:02.0 and 00:03.0, both behind the unit of the base system.
const RESERVING: &str = r#"
address_bits = 39
unit = [{ registers = 0x9050000, bytes = 0x1000, segment = 0, include_pci_all = true }]

[[reserved]]
first = 0x40001000
last = 0x40002fff
segment = 0
scope = [{ kind = "endpoint", bus = 0, path = ["02.0"] }, { kind = "endpoint", bus = 0, path = ["03.0"] }]

[[reserved]]
first = 0x40003000
last = 0x40003fff
segment = 0
scope = [{ kind = "endpoint", bus = 0, path = ["02.0"] }]

[[reserved]]
first = 0x50000000
last = 0x50000fff
segment = 1
scope = [{ kind = "endpoint", bus = 0, path = ["02.0"] }]
"#;

#[test]
fn what_firmware_reserves_for_a_device_reaches_the_server() {
    let policy = base("policy.toml");
    let found = reserved_on(RESERVING, &policy).unwrap();
    assert_eq!(found, [(0, 0x4000_1000, 0x4000_3fff), (1, 0x4000_1000, 0x4000_2fff)]);

    // What the policy reserves stays, joined with what it meets.
    let own = policy.replacen(
        "pci = \"00:02.0\"\n",
        "pci = \"00:02.0\"\nreserved = [[0x10, 0x1f], [0x40003800, 0x40004fff]]\n",
        1,
    );
    assert_ne!(own, policy);
    let found = reserved_on(RESERVING, &own).unwrap();
    assert_eq!(found, [(0, 0x10, 0x1f), (0, 0x4000_1000, 0x4000_4fff), (1, 0x4000_1000, 0x4000_2fff)]);
}

#[test]
fn a_device_that_may_be_behind_its_unit_is_the_policys_to_place() {
    let units = r#"
address_bits = 39
[[unit]]
registers = 0x9050000
bytes = 0x1000
segment = 0
include_pci_all = false
scope = [{ kind = "bridge", bus = 0, path = ["1c.0"] }]
[[unit]]
registers = 0xfed90000
bytes = 0x1000
segment = 0
include_pci_all = true
"#;
    // Bus 0 is known to be behind no bridge.
    let refusal = reserved_on(units, &base("policy.toml")).unwrap_err();
    assert!(refusal.contains("00:02.0 is behind the unit at 0xfed90000"), "{refusal}");
    let system = base("system.xml").replace(
        "size=\"0x100000\" phys_addr=\"0x4010000000\"",
        "size=\"0x200000\" phys_addr=\"0x4010000000\"",
    );
    assert_ne!(system, base("system.xml"));
    let policy = base("policy.toml").replace("pci = \"00:0", "pci = \"01:0");
    let on = |text: &str| {
        let mut board = Board::read(&xtask::root(), board::DEFAULT).unwrap();
        board.dmar = Some(Dmar::parse("dmar.toml", text).unwrap());
        let system = Source { name: "system.xml".into(), text: system.clone() };
        let policy = Source { name: "policy.toml".into(), text: policy.clone() };
        describe(&system, Some(&policy), &board, vec![]).map(drop).map_err(|refusal| refusal.to_string())
    };
    on(units).unwrap();
    on(&units.replace("path = [\"1c.0\"]", "path = [\"1c.0\"], buses = [1, 1]")).unwrap();
    let refusal = on(&units.replace("path = [\"1c.0\"]", "path = [\"1c.0\"], buses = [2, 2]")).unwrap_err();
    assert!(refusal.contains("01:02.0 is behind the unit at 0xfed90000"), "{refusal}");
}
