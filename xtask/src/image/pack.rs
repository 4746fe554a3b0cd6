//! Packing: the tables and data of the image, and the flat kernel before them.

use anyhow::{Result, ensure};
use embedded_image::{
    Channel, Header, IoPorts, Irq, Load, MAGIC, Map, NO_PARENT, Pd, Table, VERSION, channel, flags, source,
};
use object::{
    LittleEndian, Object, ObjectSymbol,
    elf::PT_LOAD,
    read::elf::{ElfFile64, ProgramHeader},
};
use zerocopy::{Immutable, IntoBytes};

use super::{elf::Program, layout::Layout};
use crate::{
    board::{Arch, Board, Interval},
    sdf::{self, IrqSource, PAGE_BYTES, Perms, System},
};

/// The kernel's symbol for the end of itself, where the image begins.
const IMAGE_SYMBOL: &str = "__image";

const READ_WRITE: Perms = Perms { read: true, write: true, execute: false };

/// Packs the image of a placed system.
pub fn pack(system: &System, board: &Board, config: u32, programs: &[Program], layout: &Layout) -> Vec<u8> {
    let mut contents = Contents::default();
    for (index, (pd, program)) in system.pds.iter().zip(programs).enumerate() {
        let mut name = [0; 64];
        name[..pd.name.len()].copy_from_slice(pd.name.as_bytes());
        contents.pds.push(Pd {
            name,
            priority: pd.priority,
            passive: pd.passive.into(),
            // Few enough that all fit, as the checks for the embedded kernel say.
            parent: pd.parent.as_ref().map_or(NO_PARENT, |parent| parent.pd as u8),
            child: pd.parent.as_ref().map_or(0, |parent| parent.id),
            fpu: pd.fpu.into(),
            reserved: [0; 3],
            budget_us: pd.budget_us,
            entry: program.entry,
            stack_top: board.stack_top(),
            ipc_buffer: board.address_space.ipc_buffer,
        });
        contents.irqs.extend(pd.irqs.iter().map(|irq| image_irq(index, irq)));
        contents.io_ports.extend(pd.ioports.iter().map(|ports| IoPorts {
            pd: index as u32,
            first: ports.first,
            last: ports.last(),
            id: ports.id,
            reserved: [0; 7],
        }));
        let places = &layout.pds[index];
        for (segment, &at) in program.segments.iter().zip(&places.segments) {
            contents.map(index, segment.vaddr, at, segment.perms, true);
            contents.load(at, &segment.data);
        }
        for (vaddr, at) in [
            (board.stack_bottom(pd.stack_bytes), places.stack),
            (board.address_space.ipc_buffer, places.ipc_buffer),
        ] {
            contents.map(index, vaddr, at, READ_WRITE, true);
            contents.load(at, &[]);
        }
        for map in &pd.maps {
            contents.map(index, map.vaddr, layout.regions[map.region], map.perms, map.cached);
        }
    }
    for (region, &at) in system.regions.iter().zip(&layout.regions) {
        if board.memory.ram.holds(at) {
            let data = region.prefill.as_ref().and_then(|prefill| prefill.bytes.as_deref());
            contents.load(at, data.unwrap_or(&[]));
        }
    }
    contents.channels.extend(system.channels.iter().map(|of| {
        let [a, b] = &of.ends;
        let flag = |set, flag| if set { flag } else { 0 };
        Channel {
            a_pd: a.pd as u32,
            b_pd: b.pd as u32,
            a_id: a.id,
            b_id: b.id,
            reserved: [0; 2],
            flags: flag(a.notify, channel::A_NOTIFIES)
                | flag(b.notify, channel::B_NOTIFIES)
                | flag(a.pp, channel::A_CALLS)
                | flag(b.pp, channel::B_CALLS),
        }
    }));
    contents.finish(board.header, config)
}

/// An interrupt that the protection domain at index `pd` handles.
fn image_irq(pd: usize, irq: &sdf::Irq) -> Irq {
    let from = |source, io_apic, pin, low| Irq {
        pd: pd as u32,
        number: irq.number as u32,
        id: irq.id,
        edge: irq.edge().into(),
        source,
        io_apic,
        pin,
        low,
        reserved: [0; 2],
    };
    match irq.source {
        IrqSource::Gic { .. } => from(source::LINE, 0, 0, 0),
        // The checks have found them to be of one I/O APIC's.
        IrqSource::IoApic { ioapic, pin, low, .. } => {
            from(source::IO_APIC, ioapic as u8, pin as u8, low.into())
        }
        IrqSource::Message { .. } => from(source::MESSAGE, 0, 0, 0),
    }
}

/// The tables of an image in the making; loads' offsets count from the start of `data`.
#[derive(Default)]
struct Contents {
    pds: Vec<Pd>,
    maps: Vec<Map>,
    loads: Vec<Load>,
    channels: Vec<Channel>,
    irqs: Vec<Irq>,
    io_ports: Vec<IoPorts>,
    data: Vec<u8>,
}

impl Contents {
    fn map(&mut self, pd: usize, vaddr: u64, at: Interval, perms: Perms, cached: bool) {
        let flags = [
            (perms.read, flags::READ),
            (perms.write, flags::WRITE),
            (perms.execute, flags::EXECUTE),
            (cached, flags::CACHED),
        ];
        let flags = flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag);
        self.maps.push(Map { pd: pd as u32, flags, vaddr, paddr: at.first, bytes: at.last - at.first + 1 });
    }

    fn load(&mut self, at: Interval, data: &[u8]) {
        let end = data.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let data_offset = self.data.len() as u64;
        self.data.extend_from_slice(&data[..end]);
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        self.loads.push(Load {
            paddr: at.first,
            bytes: at.last - at.first + 1,
            data_offset,
            data_bytes: end as u64,
        });
    }

    fn finish(mut self, board: u32, config: u32) -> Vec<u8> {
        let mut offset = size_of::<Header>() as u64;
        let mut table = |count: usize, entry: usize| {
            let table = Table { offset, count: count as u64 };
            offset += (count * entry) as u64;
            table
        };
        let pds = table(self.pds.len(), size_of::<Pd>());
        let maps = table(self.maps.len(), size_of::<Map>());
        let loads = table(self.loads.len(), size_of::<Load>());
        let channels = table(self.channels.len(), size_of::<Channel>());
        let irqs = table(self.irqs.len(), size_of::<Irq>());
        let io_ports = table(self.io_ports.len(), size_of::<IoPorts>());
        for load in &mut self.loads {
            load.data_offset += offset;
        }
        let total_bytes = offset + self.data.len() as u64;
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            board,
            config,
            reserved: 0,
            total_bytes,
            pds,
            maps,
            loads,
            channels,
            irqs,
            io_ports,
        };
        let mut image = header.as_bytes().to_vec();
        append(&mut image, &self.pds);
        append(&mut image, &self.maps);
        append(&mut image, &self.loads);
        append(&mut image, &self.channels);
        append(&mut image, &self.irqs);
        append(&mut image, &self.io_ports);
        image.extend_from_slice(&self.data);
        image
    }
}

fn append<T: IntoBytes + Immutable>(image: &mut Vec<u8>, entries: &[T]) {
    image.extend_from_slice(entries.as_bytes());
}

/// Lays out the kernel's ELF file `kernel` as it is loaded on `board`, up to where the image goes, and appends `image`.
///
/// # Errors
/// It is no kernel for this board, or does not fit.
pub fn flatten(kernel: &[u8], board: &Board, image: &[u8]) -> Result<Vec<u8>> {
    let file: ElfFile64<'_, LittleEndian> = ElfFile64::parse(kernel)?;
    let endian = file.endian();
    let segments = || file.elf_program_headers().iter().filter(|segment| segment.p_type(endian) == PT_LOAD);
    let base = match board.arch {
        // QEMU loads it at the first byte of the kernel's memory.
        Arch::Aarch64 => board.memory.kernel.first,
        // It says itself where, in its Multiboot header.
        Arch::X86_64 => segments().map(|segment| segment.p_paddr(endian)).min().unwrap_or_default(),
    };
    let symbol =
        file.symbols().find(|symbol| symbol.name() == Ok(IMAGE_SYMBOL)).map(|symbol| symbol.address());
    let mut flat: Vec<u8> = vec![];
    let mut end = None;
    for segment in segments() {
        let (at, bytes) = (segment.p_paddr(endian), segment.p_memsz(endian));
        let Some(range) = Interval::of(at, bytes) else { continue };
        ensure!(board.memory.kernel.holds(range), "the kernel has a segment at {at:#x}, outside its memory");
        let data = segment.data(endian, kernel).ok().filter(|data| data.len() as u64 <= bytes);
        let Some(data) = data else { anyhow::bail!("the kernel's segment at {at:#x} is malformed") };
        let first = (at - base) as usize;
        flat.resize(flat.len().max(first + bytes as usize), 0);
        flat[first..first + data.len()].copy_from_slice(data);
        // The kernel may run at another address than it is loaded at; the symbol is at or right after a segment.
        let offset = symbol.and_then(|symbol| symbol.checked_sub(segment.p_vaddr(endian)));
        end = offset.filter(|&offset| offset <= bytes).map(|offset| first as u64 + offset).or(end);
    }
    let Some(end) = end else {
        anyhow::bail!("the kernel lacks the symbol {IMAGE_SYMBOL}, where the image begins")
    };
    ensure!(
        end >= flat.len() as u64 && end.is_multiple_of(PAGE_BYTES),
        "the kernel's {IMAGE_SYMBOL} must be at a page after its last segment, not at {:#x}",
        base + end
    );
    flat.resize(end as usize, 0);
    flat.extend_from_slice(image);
    let room = board.memory.kernel.last - base + 1;
    ensure!(
        flat.len() as u64 <= room,
        "kernel and image have {:#x} bytes, but this board has room for {room:#x}",
        flat.len()
    );
    Ok(flat)
}
