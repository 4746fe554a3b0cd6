//! Every bound, by name.

/// Clients. As many as a Microkit protection domain has channels.
pub const MAX_CLIENTS: usize = 62;

/// Region slots of one client.
pub const MAX_GRANTS: usize = 16;

/// Devices of one client.
pub const MAX_DEVICES: usize = 8;

/// Devices of all clients.
pub const MAX_STREAMS: usize = MAX_CLIENTS * MAX_DEVICES;

/// Address spaces of all clients. Their tags are `1..=MAX_SPACES`, which 8 bits of VMID hold.
pub const MAX_SPACES: usize = 64;

/// Address spaces of one client.
pub const MAX_SPACES_PER_CLIENT: usize = 16;

/// Reserved ranges of one device.
pub const MAX_RESERVED: usize = 4;

/// Ranges in which a space may be allowed to place mappings.
pub const MAX_ALLOWED: usize = 8;

/// Mappings that one COPY takes from.
pub const MAX_COPIED: u32 = MAX_AREAS_PER_REQUEST;

/// Bytes that one COPY of several mappings fills in one request, so that its tables are reserved together.
pub const MAX_COPIED_AT_ONCE: u64 = 1 << 20;

/// IOMMUs.
pub const MAX_UNITS: usize = 4;

/// What one request may spend on table entries, as [`Table::fill`](iommu_pgtable::Table::fill) and
/// [`Table::clear`](iommu_pgtable::Table::clear) count: enough for 2 MiB in 4 KiB pages with all their tables.
pub const MAX_TABLE_WRITES: u32 = 640;

/// Areas that one request takes out, or looks at on its way to such, at most.
pub const MAX_AREAS_PER_REQUEST: u32 = 64;

/// Calls of [`Unit`](iommu_hal::Unit) that one request makes at most: RESET blocks every device of a client, then
/// invalidates everything of a space and waits for that, on each unit, after which nothing more of it is cached. UNMAP
/// invalidates what it took out and an empty table elsewhere, and waits.
pub const MAX_COMMANDS: u32 = (MAX_DEVICES + 2 * MAX_UNITS) as u32;

const _: () = assert!(3 * MAX_UNITS <= MAX_COMMANDS as usize);
const _: () = assert!(MAX_SPACES < 1 << 8 && MAX_CLIENTS < 1 << 8 && MAX_GRANTS <= 1 << 8);
const _: () = assert!(MAX_UNITS <= u8::BITS as usize && MAX_DEVICES < 1 << 8);
const _: () = assert!(MAX_TABLE_WRITES >= iommu_pgtable::Table::MIN_BUDGET + 511);
