//! What the modelled unit implements, and the identification registers that say so (IHI 0070, 6.3.1 to 6.3.6).

/// What the unit implements. The default is what QEMU 10.0 has.
#[derive(Debug, Clone)]
pub struct Config {
    /// Stage 1 is implemented (IDR0.S1P).
    pub stage1: bool,
    /// Stage 2 is implemented (IDR0.S2P).
    pub stage2: bool,
    /// Table formats: bit 0 VMSAv8-32 LPAE, bit 1 VMSAv8-64 (IDR0.TTF). The model walks VMSAv8-64 alone.
    pub formats: u32,
    /// The unit snoops the CPU's caches (IDR0.COHACC).
    pub coherent: bool,
    /// Stage 1 contexts of a hypervisor (IDR0.Hyp). The model knows only their invalidation.
    pub hypervisor: bool,
    /// ASIDs have 16 bits, else 8 (IDR0.ASID16).
    pub asid16: bool,
    /// VMIDs have 16 bits, else 8 (IDR0.VMID16).
    pub vmid16: bool,
    /// Interrupts can be messages (IDR0.MSI).
    pub msi: bool,
    /// CMD_SYNC can wake a PE (IDR0.SEV).
    pub wake_events: bool,
    /// A terminated access is always aborted, never read as zero (IDR0.TERM_MODEL).
    pub always_aborts: bool,
    /// Two-level stream tables (IDR0.ST_LEVEL).
    pub two_level: bool,
    /// Bits of a StreamID, at most 32 (IDR1.SIDSIZE).
    pub stream_bits: u32,
    /// Bits of a SubstreamID (IDR1.SSIDSIZE). Devices here send none.
    pub substream_bits: u32,
    /// Log2 of the most commands that the queue can hold, at most 19 (IDR1.CMDQS).
    pub command_queue_lg2: u32,
    /// Log2 of the most events that the queue can hold, at most 19 (IDR1.EVENTQS).
    pub event_queue_lg2: u32,
    /// Memory types and shareability can be overridden (IDR1.ATTR_TYPES_OVR).
    pub overrides_types: bool,
    /// Privilege and instruction attributes can be overridden (IDR1.ATTR_PERMS_OVR).
    pub overrides_permissions: bool,
    /// Hierarchical attributes can be disabled (IDR3.HAD).
    pub hierarchy_disable: bool,
    /// Range invalidation and level hint (IDR3.RIL).
    pub range_invalidation: bool,
    /// The level of support for changes of block size, 0 to 2 (IDR3.BBML).
    pub block_change_level: u32,
    /// Bits of a physical address: 32, 36, 40, 42, 44 or 48 (IDR5.OAS).
    pub output_bits: u32,
    /// Log2 of each granule that is implemented, of 12, 14 and 16 (IDR5.GRAN4K, GRAN16K, GRAN64K).
    pub granules: Vec<u32>,
    /// The architecture's minor version (AIDR).
    pub minor_version: u32,
    /// Tables that the unit has seen are read ahead: a change to one leaves the old entry cached.
    pub reads_ahead: bool,
    /// GBPA.ABORT after reset.
    pub aborts_at_reset: bool,
    /// Physical address of the table region.
    pub table_base: u64,
    /// Bytes of the table region.
    pub table_bytes: u64,
    /// Nanoseconds by which the clock moves on at each reading.
    pub clock_step_ns: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            stage1: true,
            stage2: true,
            formats: 0b10,
            coherent: true,
            hypervisor: false,
            asid16: true,
            vmid16: true,
            msi: false,
            wake_events: false,
            always_aborts: true,
            two_level: true,
            stream_bits: 16,
            substream_bits: 0,
            command_queue_lg2: 19,
            event_queue_lg2: 19,
            overrides_types: false,
            overrides_permissions: false,
            hierarchy_disable: true,
            range_invalidation: true,
            block_change_level: 2,
            output_bits: 44,
            granules: vec![12, 14, 16],
            minor_version: 1,
            reads_ahead: true,
            aborts_at_reset: false,
            table_base: 0x5000_0000,
            table_bytes: 0x40_0000,
            clock_step_ns: 1_000,
        }
    }
}

impl Config {
    pub(super) fn idr0(&self) -> u32 {
        u32::from(self.stage2)
            | u32::from(self.stage1) << 1
            | self.formats << 2
            | u32::from(self.coherent) << 4
            | u32::from(self.hypervisor) << 9
            | u32::from(self.asid16) << 12
            | u32::from(self.msi) << 13
            | u32::from(self.wake_events) << 14
            | u32::from(self.vmid16) << 18
            | 0b10 << 21 // little-endian tables
            | 0b01 << 24 // no stalls
            | u32::from(self.always_aborts) << 26
            | u32::from(self.two_level) << 27
    }

    pub(super) const fn idr1(&self) -> u32 {
        self.stream_bits
            | self.substream_bits << 6
            | self.event_queue_lg2 << 16
            | self.command_queue_lg2 << 21
            | (self.overrides_permissions as u32) << 26
            | (self.overrides_types as u32) << 27
    }

    pub(super) const fn idr3(&self) -> u32 {
        (self.hierarchy_disable as u32) << 2
            | (self.range_invalidation as u32) << 10
            | self.block_change_level << 11
    }

    pub(super) fn idr5(&self) -> u32 {
        let granules = self.granules.iter().map(|granule| match granule {
            12 => 1 << 4,
            14 => 1 << 5,
            16 => 1 << 6,
            other => panic!("no granule of 2^{other} bytes"),
        });
        let size = OUTPUT_SIZES.iter().position(|&bits| bits == self.output_bits);
        size.expect("an output size that IDR5.OAS can tell") as u32 | granules.sum::<u32>()
    }

    /// The most significant bit, plus one, of what an output size field of 3 bits allows, capped at the unit's
    /// own (STE.S2PS, CD.IPS).
    pub(super) fn effective_size(&self, field: u64) -> u32 {
        let bits = OUTPUT_SIZES.get(field as usize).copied().unwrap_or(self.output_bits);
        bits.min(self.output_bits)
    }
}

const OUTPUT_SIZES: [u32; 6] = [32, 36, 40, 42, 44, 48];

#[cfg(test)]
mod tests {
    use super::*;

    /// QEMU 10.0.2's values but for SSIDSIZE, XNX and the fields that the model has no use for.
    #[test]
    fn the_default_reads_as_qemu_does() {
        let config = Config::default();
        assert_eq!(config.idr0(), 0x0d44_101b);
        assert_eq!(config.idr1(), 0x0273_0010);
        assert_eq!(config.idr3(), 0x1404);
        assert_eq!(config.idr5(), 0x74);
    }

    #[test]
    fn sizes_are_capped_at_the_unit() {
        let config = Config { output_bits: 40, ..Config::default() };
        assert_eq!([0, 1, 2, 5, 7].map(|field| config.effective_size(field)), [32, 36, 40, 40, 40]);
    }
}
