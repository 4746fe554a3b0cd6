//! What the modelled unit implements, and the capability registers that say so (11.4.2, 11.4.3).

/// What the unit implements. The default is what QEMU 10.0 has, and so are the named ones that say so.
#[derive(Debug, Clone)]
pub struct Config {
    /// VER.
    pub version: u32,
    /// Bits of a domain id: 4 to 16, even (CAP.ND).
    pub domain_bits: u32,
    /// Stores reach the unit only after a write-buffer flush (CAP.RWBF).
    pub write_buffer: bool,
    /// Entries that are not present or wrong are cached too (CAP.CM).
    pub caching_mode: bool,
    /// Widths of second-stage tables, of 39 and 48 bits (CAP.SAGAW).
    pub widths: Vec<u32>,
    /// Bits of an address that devices may send (CAP.MGAW).
    pub guest_bits: u32,
    /// Bits of a physical address (the platform's HAW).
    pub host_bits: u32,
    /// Log2 of the large pages of second-stage tables, of 21 and 30 (CAP.SSLPS).
    pub large_pages: Vec<u32>,
    /// Invalidation by page (CAP.PSI); else by domain.
    pub page_selective: bool,
    /// Fault recording registers, 1 to 256 (CAP.NFR plus 1).
    pub fault_records: u32,
    /// The largest address mask of an invalidation by page (CAP.MAMV).
    pub max_address_mask: u32,
    /// Writes and reads can be drained (CAP.DWD and CAP.DRD).
    pub drains: bool,
    /// Setting the root table pointer invalidates everything (CAP.ESRTPS); likewise for interrupts
    /// (CAP.ESIRTPS).
    pub pointer_invalidates: bool,
    /// The unit snoops the CPU's caches for its tables (ECAP.C and, in scalable mode, ECAP.SMPWCS).
    pub coherent: bool,
    /// Queued invalidation (ECAP.QI).
    pub queued_invalidation: bool,
    /// Interrupt remapping (ECAP.IR).
    pub interrupt_remapping: bool,
    /// Interrupts with 32-bit destinations (ECAP.EIM).
    pub extended_interrupts: bool,
    /// Pass-through entries (ECAP.PT).
    pub pass_through: bool,
    /// Snoop control in second-stage entries (ECAP.SC).
    pub snoop_control: bool,
    /// Scalable mode, with second-stage tables (ECAP.SMTS and ECAP.SSTS).
    pub scalable: bool,
    /// Bits of a PASID that requests may carry; 0: they carry none (ECAP.PASID, ECAP.PSS).
    pub pasid_bits: u32,
    /// Context entries name the PASID of requests without one (ECAP.RPS); else it is 0.
    pub rid_pasid: bool,
    /// The mode that aborts all DMA (ECAP.ADMS).
    pub abort_mode: bool,
    /// Supervisor requests (ECAP.SRS); only told.
    pub supervisor_requests: bool,
    /// Protected memory regions, low and high (CAP.PLMR, CAP.PHMR).
    pub protected_memory: bool,
    /// Byte offset of the fault recording registers, a multiple of 16 (CAP.FRO).
    pub fault_offset: u32,
    /// Byte offset of IVA, a multiple of 16; IOTLB follows (ECAP.IRO).
    pub iotlb_offset: u32,
    /// A fault of a device that has a record pending is not recorded again (7.2.1).
    pub collapses_faults: bool,
    /// Tables that the unit has seen are read ahead: a change to one leaves the old entry cached.
    pub reads_ahead: bool,
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
            version: 0x10,
            domain_bits: 16,
            write_buffer: false,
            caching_mode: false,
            widths: vec![39, 48],
            guest_bits: 48,
            host_bits: 48,
            large_pages: vec![21, 30],
            page_selective: true,
            fault_records: 1,
            max_address_mask: 18,
            drains: true,
            pointer_invalidates: false,
            coherent: false,
            queued_invalidation: true,
            interrupt_remapping: true,
            extended_interrupts: false,
            pass_through: true,
            snoop_control: false,
            scalable: false,
            pasid_bits: 0,
            rid_pasid: false,
            abort_mode: false,
            supervisor_requests: false,
            protected_memory: false,
            fault_offset: 0x220,
            iotlb_offset: 0xf0,
            collapses_faults: true,
            reads_ahead: true,
            table_base: 0x5000_0000,
            table_bytes: 0x40_0000,
            clock_step_ns: 1_000,
        }
    }
}

impl Config {
    /// QEMU's `caching-mode=on`.
    pub fn caching_mode() -> Self {
        Self { caching_mode: true, ..Self::default() }
    }

    /// QEMU's `aw-bits=39`.
    pub fn narrow() -> Self {
        Self { widths: vec![39], guest_bits: 39, host_bits: 39, ..Self::default() }
    }

    /// QEMU's `x-scalable-mode=on`.
    pub fn scalable() -> Self {
        Self { scalable: true, supervisor_requests: true, ..Self::default() }
    }

    /// QEMU's `intremap=off`.
    pub fn without_interrupt_remapping() -> Self {
        Self { interrupt_remapping: false, ..Self::default() }
    }

    /// A unit that snoops the CPU's caches, as most machines have.
    pub fn coherent() -> Self {
        Self { coherent: true, ..Self::default() }
    }

    /// An old unit: explicit write-buffer flushes, invalidation through registers alone, 4 KiB pages.
    pub fn old() -> Self {
        Self {
            write_buffer: true,
            queued_invalidation: false,
            interrupt_remapping: false,
            large_pages: Vec::new(),
            ..Self::default()
        }
    }

    /// A unit as servers have it now: snooping, eight fault records, scalable mode with PASIDs, an abort mode, and
    /// its registers elsewhere.
    pub fn server() -> Self {
        Self {
            coherent: true,
            fault_records: 8,
            scalable: true,
            pasid_bits: 20,
            rid_pasid: true,
            abort_mode: true,
            pointer_invalidates: true,
            snoop_control: true,
            fault_offset: 0x400,
            iotlb_offset: 0x500,
            collapses_faults: false,
            ..Self::default()
        }
    }

    /// CAP.
    pub fn cap(&self) -> u64 {
        let widths: u64 = self.widths.iter().map(|&bits| 1 << (8 + (bits - 30) / 9)).sum();
        let pages: u64 = self.large_pages.iter().map(|&lg2| 1 << (34 + (lg2 - 21) / 9)).sum();
        u64::from((self.domain_bits - 4) / 2)
            | u64::from(self.write_buffer) << 4
            | if self.protected_memory { 0b11 << 5 } else { 0 }
            | u64::from(self.caching_mode) << 7
            | widths
            | u64::from(self.guest_bits - 1) << 16
            | u64::from(self.fault_offset / 16) << 24
            | pages
            | u64::from(self.page_selective) << 39
            | u64::from(self.fault_records - 1) << 40
            | u64::from(self.max_address_mask) << 48
            | u64::from(self.drains) << 54
            | u64::from(self.drains) << 55
            | u64::from(self.pointer_invalidates && self.interrupt_remapping) << 62
            | u64::from(self.pointer_invalidates) << 63
    }

    /// ECAP.
    pub fn ecap(&self) -> u64 {
        let pasids = if self.pasid_bits == 0 { 0 } else { u64::from(self.pasid_bits - 1) << 35 | 1 << 40 };
        u64::from(self.coherent)
            | u64::from(self.queued_invalidation) << 1
            | u64::from(self.interrupt_remapping) << 3
            | u64::from(self.extended_interrupts) << 4
            | u64::from(self.pass_through) << 6
            | u64::from(self.snoop_control) << 7
            | u64::from(self.iotlb_offset / 16) << 8
            | if self.interrupt_remapping { 0xf << 20 } else { 0 }
            | u64::from(self.supervisor_requests) << 31
            | pasids
            | u64::from(self.scalable) << 43
            | u64::from(self.scalable) << 46
            | u64::from(self.scalable && self.coherent) << 48
            | u64::from(self.rid_pasid) << 49
            | u64::from(self.abort_mode) << 52
    }

    /// Panics where no unit is like this.
    pub(super) fn check(&self) {
        assert!(self.domain_bits.is_multiple_of(2) && (4..=16).contains(&self.domain_bits), "CAP.ND");
        assert!(
            !self.widths.is_empty() && self.widths.iter().all(|width| [39, 48].contains(width)),
            "CAP.SAGAW"
        );
        assert!(self.large_pages.iter().all(|lg2| [21, 30].contains(lg2)), "CAP.SSLPS");
        assert!((1..=256).contains(&self.fault_records), "CAP.NFR");
        assert!(self.host_bits <= 52 && self.guest_bits <= 64, "address widths");
        assert!(
            self.queued_invalidation || !self.scalable && !self.interrupt_remapping,
            "scalable mode and interrupt remapping need queued invalidation"
        );
        assert!(self.scalable || self.pasid_bits == 0 && !self.rid_pasid, "PASIDs are for scalable mode");
    }

    /// Whether no more bits than a domain id has are set.
    pub(super) const fn is_domain(&self, id: u64) -> bool {
        id >> self.domain_bits == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that QEMU 10.0.2 shows.
    #[test]
    fn the_presets_read_as_qemu_does() {
        let told = |config: Config| (config.cap(), config.ecap());
        assert_eq!(told(Config::default()), (0xd2_008c_222f_0606, 0xf0_0f4a));
        assert_eq!(told(Config::without_interrupt_remapping()), (0xd2_008c_222f_0606, 0xf42));
        assert_eq!(told(Config::caching_mode()), (0xd2_008c_222f_0686, 0xf0_0f4a));
        assert_eq!(told(Config::narrow()), (0xd2_008c_2226_0206, 0xf0_0f4a));
        assert_eq!(told(Config::scalable()), (0xd2_008c_222f_0606, 0x4800_80f0_0f4a));
        let extended = Config { extended_interrupts: true, ..Config::default() };
        assert_eq!(extended.ecap(), 0xf0_0f5a);
    }

    #[test]
    fn the_others_say_what_they_are() {
        let old = Config::old();
        assert_eq!((old.cap() >> 4 & 1, old.cap() >> 34 & 0xf, old.ecap() >> 1 & 1), (1, 0, 0));
        let server = Config::server();
        assert_eq!((server.cap() >> 40 & 0xff, server.cap() >> 62), (7, 0b11));
        assert_eq!(
            (server.ecap() & 1, server.ecap() >> 35 & 0x3f, server.ecap() >> 48 & 0b11),
            (1, 0x33, 0b11)
        );
    }
}
