//! Parsing: the rules that a single element or name can break.

use std::{collections::HashMap, fs, sync::Arc};

use roxmltree::Document;

use super::{Channel, End, Files, MAX_ID, MAX_PDS, PAGE_BYTES, Pd, Prefill, Region, System};
use super::{
    LARGE_PAGE_BYTES, SetVar, Value, parse_pd,
    xml::{Attribute, Element},
};
use crate::{
    board::Arch,
    refusal::{Place, Refusal},
};

/// The name that Microkit keeps for its own protection domain.
const MONITOR: &str = "monitor";

impl System {
    /// Parses `text`, the content of `file`, for `arch`; prefill files come from `files`.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn parse(file: &str, text: &str, files: &Files, arch: Arch) -> Result<Self, Refusal> {
        let file: Arc<str> = file.into();
        let start = Place { file: file.clone(), line: 1, column: 1 };
        let document = Document::parse(text).map_err(|error| {
            let position = error.pos();
            let place = Place { line: position.row, column: position.col, ..start.clone() };
            place.refuse(format!("not well-formed XML: {error}"))
        })?;
        let root = Element::root(&file, &document);
        if root.name() != "system" {
            return Err(root
                .place()
                .refuse(format!("the root element is <{}>; it must be <system>", root.name())));
        }
        root.only(&[])?;
        root.no_text()?;
        let mut system = Self { place: start, regions: vec![], pds: vec![], channels: vec![] };
        for child in root.children() {
            match child.name() {
                "memory_region" => system.regions.push(region(child, files)?),
                "protection_domain" | "channel" => {}
                "virtual_machine" => {
                    return Err(child.place().refuse(
                        "<virtual_machine> must be in the <protection_domain> that manages it; \
                         and the embedded kernel does not do virtual machines",
                    ));
                }
                "domains" => return Err(child.unsupported("scheduling domains")),
                "io_address_space" => {
                    return Err(child.place().refuse(match arch {
                        Arch::Aarch64 => {
                            "<io_address_space>: Microkit has IO address spaces on x86 only; \
                             name the device in policy.toml instead"
                        }
                        Arch::X86_64 => {
                            "<io_address_space>: the kernel's own VT-d driver is off where the IOMMU server has the \
                             unit; name the device in policy.toml instead"
                        }
                    }));
                }
                _ => return Err(child.unknown("system", "memory_region, protection_domain and channel")),
            }
        }
        unique("memory region", system.regions.iter().map(|region| (&*region.name, &region.place)))?;
        for child in root.children().filter(|child| child.name() == "protection_domain") {
            parse_pd::pd(child, &system.regions, arch, None, &mut system.pds)?;
        }
        names(&system)?;
        for child in root.children().filter(|child| child.name() == "channel") {
            let channel = channel(child, &mut system.pds)?;
            system.channels.push(channel);
        }
        Ok(system)
    }
}

fn region(element: Element<'_>, files: &Files) -> Result<Region, Refusal> {
    element.only(&["name", "size", "page_size", "phys_addr", "prefill_path", "prefill_bootinfo"])?;
    element.empty()?;
    let name = element.required("name")?.value.to_string();
    let page_bytes = element.optional("page_size").map(page_size).transpose()?;
    let unit = page_bytes.unwrap_or(PAGE_BYTES);
    if let Some(bootinfo) = element.optional("prefill_bootinfo") {
        return Err(bootinfo.unsupported("memory filled with boot information"));
    }
    let prefill = element.optional("prefill_path").map(|path| prefill(path, files)).transpose()?;
    let content = prefill.as_ref().and_then(|prefill| prefill.bytes.as_ref()).map(|bytes| bytes.len() as u64);
    let bytes = match (element.optional("size"), content) {
        (Some(size), content) => {
            let bytes = size.number()?;
            if !bytes.is_multiple_of(unit) || bytes == 0 {
                return Err(
                    size.refuse(&format!("must be a multiple of the page size, {unit:#x}, and not 0"))
                );
            }
            if let Some(content) = content.filter(|&content| content > bytes) {
                return Err(
                    size.refuse(&format!("the prefill file has {content:#x} bytes; make the region larger"))
                );
            }
            bytes
        }
        (None, Some(content)) => content.next_multiple_of(unit),
        (None, None) => {
            return Err(element.place().refuse(
                "<memory_region> lacks the attribute 'size'; only a region with a prefill file at hand can do without",
            ));
        }
    };
    let paddr = element.optional("phys_addr").map(|paddr| physical(paddr, bytes, unit)).transpose()?;
    Ok(Region { name, bytes, page_bytes, paddr, prefill, place: element.place() })
}

fn page_size(attribute: Attribute<'_>) -> Result<u64, Refusal> {
    match attribute.number()? {
        bytes @ (PAGE_BYTES | LARGE_PAGE_BYTES) => Ok(bytes),
        _ => Err(attribute.refuse("a page has 0x1000 or 0x200000 bytes; use one of them")),
    }
}

fn physical(attribute: Attribute<'_>, bytes: u64, unit: u64) -> Result<u64, Refusal> {
    let paddr = attribute.number()?;
    if !paddr.is_multiple_of(unit) {
        return Err(attribute.refuse(&format!("must be a multiple of the page size, {unit:#x}")));
    }
    match paddr.checked_add(bytes - 1) {
        Some(_) => Ok(paddr),
        None => Err(attribute.refuse("the region passes the last 64-bit address")),
    }
}

fn prefill(attribute: Attribute<'_>, files: &Files) -> Result<Prefill, Refusal> {
    let path = attribute.value.to_string();
    if files.generated.contains(&path) {
        return Ok(Prefill { path, bytes: None });
    }
    let Some(found) = files.folders.iter().map(|folder| folder.join(&path)).find(|full| full.is_file())
    else {
        let folders: Vec<_> = files.folders.iter().map(|folder| folder.display().to_string()).collect();
        return Err(attribute.refuse(&format!("no such file in {}", folders.join(", "))));
    };
    match fs::read(&found) {
        Ok(bytes) if bytes.is_empty() => Err(attribute.refuse("the file is empty")),
        Ok(bytes) => Ok(Prefill { path, bytes: Some(bytes) }),
        Err(error) => Err(attribute.refuse(&format!("cannot be read: {error}"))),
    }
}

fn unique<'a>(what: &str, named: impl Iterator<Item = (&'a str, &'a Place)>) -> Result<(), Refusal> {
    let mut seen = HashMap::new();
    for (name, place) in named {
        if let Some(first) = seen.insert(name, place) {
            return Err(place.refuse(format!(
                "the {what} name '{name}' is taken since line {}; choose another",
                first.line
            )));
        }
    }
    Ok(())
}

fn names(system: &System) -> Result<(), Refusal> {
    unique("protection domain", system.pds.iter().map(|pd| (&*pd.name, &pd.place)))?;
    if system.pds.is_empty() {
        return Err(system.place.refuse("the system has no <protection_domain>; it needs at least one"));
    }
    if let Some(pd) = system.pds.get(MAX_PDS) {
        return Err(pd.place.refuse(format!("Microkit has at most {MAX_PDS} protection domains")));
    }
    match system.pds.iter().find(|pd| pd.name == MONITOR) {
        Some(pd) => Err(pd.place.refuse(format!("the name '{MONITOR}' is Microkit's own; choose another"))),
        None => Ok(()),
    }
}

fn channel(element: Element<'_>, pds: &mut [Pd]) -> Result<Channel, Refusal> {
    element.only(&[])?;
    let ends = element.children().map(|child| end(child, pds)).collect::<Result<Vec<_>, _>>()?;
    let ends: [End; 2] = ends.try_into().map_err(|ends: Vec<_>| {
        element.place().refuse(format!("<channel> has {} ends; it must have exactly two", ends.len()))
    })?;
    if ends[0].pp && ends[1].pp {
        return Err(ends[1].place.refuse(
            "both ends have pp=\"true\", but the called end must have the higher priority; take one away",
        ));
    }
    Ok(Channel { ends, place: element.place() })
}

fn end(element: Element<'_>, pds: &mut [Pd]) -> Result<End, Refusal> {
    if element.name() != "end" {
        return Err(element.unknown("channel", "only end"));
    }
    element.only(&["pd", "id", "pp", "notify", "setvar_id"])?;
    element.empty()?;
    let name = element.required("pd")?;
    let Some(pd) = pds.iter().position(|pd| pd.name == name.value) else {
        return Err(name.refuse("there is no protection domain of this name"));
    };
    let id = id(element)?;
    if let Some(symbol) = element.optional("setvar_id") {
        add_setvar(&mut pds[pd].setvars, symbol, Value::Number(id.into()))?;
    }
    let flag = |name, default| element.optional(name).map_or(Ok(default), |attribute| attribute.flag());
    Ok(End { pd, id, pp: flag("pp", false)?, notify: flag("notify", true)?, place: element.place() })
}

/// Reads the id of a channel's end, an interrupt or a child.
pub(super) fn id(element: Element<'_>) -> Result<u8, Refusal> {
    let attribute = element.required("id")?;
    match attribute.decimal()? {
        id @ 0..=MAX_ID => Ok(id as u8),
        _ => Err(attribute.refuse(&format!("ids go from 0 to {MAX_ID}"))),
    }
}

/// Adds a symbol to those of a protection domain.
pub(super) fn add_setvar(
    setvars: &mut Vec<SetVar>,
    symbol: Attribute<'_>,
    value: Value,
) -> Result<(), Refusal> {
    if let Some(first) = setvars.iter().find(|setvar| setvar.symbol == symbol.value) {
        return Err(symbol.refuse(&format!(
            "this program's symbol is set already, on line {}; set each symbol once",
            first.place.line
        )));
    }
    setvars.push(SetVar { symbol: symbol.value.to_string(), value, place: symbol.place() });
    Ok(())
}
