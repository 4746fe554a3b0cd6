//! Registers of the Non-secure programming interface (IHI 0070, 6.3).

use bitfield_struct::bitfield;

/// Byte offsets from the unit's base: page 0, then page 1 at 64 KiB (6.2).
pub mod offset {
    /// SMMU_IDR0, 32 bits. IDR1 to IDR4 follow it, each 4 bytes on.
    pub const IDR0: u32 = 0x00;
    /// SMMU_IDR1, 32 bits.
    pub const IDR1: u32 = 0x04;
    /// SMMU_IDR3, 32 bits.
    pub const IDR3: u32 = 0x0c;
    /// SMMU_IDR5, 32 bits.
    pub const IDR5: u32 = 0x14;
    /// SMMU_IIDR, 32 bits.
    pub const IIDR: u32 = 0x18;
    /// SMMU_AIDR, 32 bits.
    pub const AIDR: u32 = 0x1c;
    /// SMMU_CR0, 32 bits.
    pub const CR0: u32 = 0x20;
    /// SMMU_CR0ACK, 32 bits.
    pub const CR0ACK: u32 = 0x24;
    /// SMMU_CR1, 32 bits.
    pub const CR1: u32 = 0x28;
    /// SMMU_CR2, 32 bits.
    pub const CR2: u32 = 0x2c;
    /// SMMU_GBPA, 32 bits.
    pub const GBPA: u32 = 0x44;
    /// SMMU_IRQ_CTRL, 32 bits.
    pub const IRQ_CTRL: u32 = 0x50;
    /// SMMU_IRQ_CTRLACK, 32 bits.
    pub const IRQ_CTRLACK: u32 = 0x54;
    /// SMMU_GERROR, 32 bits.
    pub const GERROR: u32 = 0x60;
    /// SMMU_GERRORN, 32 bits.
    pub const GERRORN: u32 = 0x64;
    /// SMMU_GERROR_IRQ_CFG0, 64 bits.
    pub const GERROR_IRQ_CFG0: u32 = 0x68;
    /// SMMU_STRTAB_BASE, 64 bits.
    pub const STRTAB_BASE: u32 = 0x80;
    /// SMMU_STRTAB_BASE_CFG, 32 bits.
    pub const STRTAB_BASE_CFG: u32 = 0x88;
    /// SMMU_CMDQ_BASE, 64 bits.
    pub const CMDQ_BASE: u32 = 0x90;
    /// SMMU_CMDQ_PROD, 32 bits.
    pub const CMDQ_PROD: u32 = 0x98;
    /// SMMU_CMDQ_CONS, 32 bits.
    pub const CMDQ_CONS: u32 = 0x9c;
    /// SMMU_EVENTQ_BASE, 64 bits.
    pub const EVENTQ_BASE: u32 = 0xa0;
    /// SMMU_EVENTQ_IRQ_CFG0, 64 bits.
    pub const EVENTQ_IRQ_CFG0: u32 = 0xb0;
    /// SMMU_EVENTQ_PROD, 32 bits, on page 1.
    pub const EVENTQ_PROD: u32 = 0x1_00a8;
    /// SMMU_EVENTQ_CONS, 32 bits, on page 1.
    pub const EVENTQ_CONS: u32 = 0x1_00ac;
}

/// SMMU_IDR0: features (6.3.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Idr0 {
    /// S2P: stage 2 is implemented.
    pub s2p: bool,
    /// S1P: stage 1 is implemented.
    pub s1p: bool,
    /// TTF: bit 0 AArch32 tables, bit 1 AArch64 tables.
    #[bits(2)]
    pub ttf: u8,
    /// COHACC: accesses to tables and queues snoop the caches.
    pub cohacc: bool,
    /// BTM: broadcast TLB maintenance.
    pub btm: bool,
    /// HTTU: hardware updates of access and dirty state.
    #[bits(2)]
    pub httu: u8,
    /// DORMHINT.
    pub dormhint: bool,
    /// Hyp: the EL2 and EL2-E2H StreamWorlds exist.
    pub hyp: bool,
    /// ATS: PCIe address translation services.
    pub ats: bool,
    /// NS1ATS: stage 1 ATS alone is not there.
    pub ns1ats: bool,
    /// ASID16: ASIDs have 16 bits, else 8.
    pub asid16: bool,
    /// MSI: the unit can send its interrupts as messages.
    pub msi: bool,
    /// SEV: it can send wake-up events.
    pub sev: bool,
    /// ATOS: address translation registers.
    pub atos: bool,
    /// PRI: page requests.
    pub pri: bool,
    /// VMW: VMID wildcard matching.
    pub vmw: bool,
    /// VMID16: VMIDs have 16 bits, else 8.
    pub vmid16: bool,
    /// CD2L: two-level tables of context descriptors.
    pub cd2l: bool,
    /// VATOS.
    pub vatos: bool,
    /// TTENDIAN: 0 both, 2 little, 3 big.
    #[bits(2)]
    pub ttendian: u8,
    /// ATSRECERR.
    pub atsrecerr: bool,
    /// STALL_MODEL: 0 stall and terminate, 1 terminate alone, 2 stall alone.
    #[bits(2)]
    pub stall_model: u8,
    /// TERM_MODEL: terminated accesses always abort.
    pub term_model: bool,
    /// ST_LEVEL: 1 when two-level stream tables exist.
    #[bits(2)]
    pub st_level: u8,
    #[bits(3)]
    __: u8,
}

/// SMMU_IDR1: sizes (6.3.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Idr1 {
    /// SIDSIZE: bits of a StreamID.
    #[bits(6)]
    pub sidsize: u8,
    /// SSIDSIZE: bits of a SubstreamID.
    #[bits(5)]
    pub ssidsize: u8,
    /// PRIQS: base-2 logarithm of the most entries of the PRI queue.
    #[bits(5)]
    pub priqs: u8,
    /// EVENTQS: the same of the event queue.
    #[bits(5)]
    pub eventqs: u8,
    /// CMDQS: the same of the command queue.
    #[bits(5)]
    pub cmdqs: u8,
    /// ATTR_PERMS_OVR.
    pub attr_perms_ovr: bool,
    /// ATTR_TYPES_OVR.
    pub attr_types_ovr: bool,
    /// REL: preset base addresses are relative.
    pub rel: bool,
    /// QUEUES_PRESET: the queues' places are fixed.
    pub queues_preset: bool,
    /// TABLES_PRESET: the stream table's place is fixed.
    pub tables_preset: bool,
    /// ECMDQ: enhanced command queues.
    pub ecmdq: bool,
}

/// SMMU_IDR3: features (6.3.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Idr3 {
    #[bits(2)]
    __: u8,
    /// HAD: hierarchical attribute disable.
    pub had: bool,
    /// PBHA.
    pub pbha: bool,
    /// XNX: execute-never by privilege at stage 2.
    pub xnx: bool,
    /// PPS.
    pub pps: bool,
    __: bool,
    /// MPAM.
    pub mpam: bool,
    /// FWB: stage 2 may force write-back.
    pub fwb: bool,
    /// STT: small translation tables.
    pub stt: bool,
    /// RIL: range and level hints in TLB invalidations.
    pub ril: bool,
    /// BBML: how much break-before-make is needed when a block changes size.
    #[bits(2)]
    pub bbml: u8,
    #[bits(19)]
    __: u32,
}

/// SMMU_IDR5: addresses and granules (6.3.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Idr5 {
    /// OAS: size of an output address, encoded; see [`oas_bits`].
    #[bits(3)]
    pub oas: u8,
    __: bool,
    /// GRAN4K: the 4 KiB granule.
    pub gran4k: bool,
    /// GRAN16K: the 16 KiB granule.
    pub gran16k: bool,
    /// GRAN64K: the 64 KiB granule.
    pub gran64k: bool,
    #[bits(3)]
    __: u8,
    /// VAX: 1 when virtual addresses may have 52 bits.
    #[bits(2)]
    pub vax: u8,
    #[bits(4)]
    __: u8,
    /// STALL_MAX: the most accesses that stall at once.
    pub stall_max: u16,
}

/// The bits of an output address that IDR5.OAS, STE.S2PS or CD.IPS encode; `None` for a reserved encoding.
pub const fn oas_bits(oas: u8) -> Option<u8> {
    match oas {
        0 => Some(32),
        1 => Some(36),
        2 => Some(40),
        3 => Some(42),
        4 => Some(44),
        5 => Some(48),
        6 => Some(52),
        7 => Some(56),
        _ => None,
    }
}

/// SMMU_CR0 and SMMU_CR0ACK: what is on (6.3.9, 6.3.10).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cr0 {
    /// SMMUEN: streams go through the stream table; else GBPA rules.
    pub smmuen: bool,
    /// PRIQEN: page requests are queued.
    pub priqen: bool,
    /// EVENTQEN: events are queued.
    pub eventqen: bool,
    /// CMDQEN: commands are consumed.
    pub cmdqen: bool,
    /// ATSCHK: accesses that claim to be translated are checked against the stream table.
    pub atschk: bool,
    __: bool,
    /// VMW: VMID wildcard.
    #[bits(3)]
    pub vmw: u8,
    #[bits(23)]
    __: u32,
}

/// SMMU_CR1: memory attributes of table and queue accesses (6.3.11). Cacheability 1 is write-back, shareability
/// 3 is inner shareable.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cr1 {
    /// QUEUE_IC.
    #[bits(2)]
    pub queue_ic: u8,
    /// QUEUE_OC.
    #[bits(2)]
    pub queue_oc: u8,
    /// QUEUE_SH.
    #[bits(2)]
    pub queue_sh: u8,
    /// TABLE_IC.
    #[bits(2)]
    pub table_ic: u8,
    /// TABLE_OC.
    #[bits(2)]
    pub table_oc: u8,
    /// TABLE_SH.
    #[bits(2)]
    pub table_sh: u8,
    #[bits(20)]
    __: u32,
}

/// SMMU_CR2 (6.3.12).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cr2 {
    /// E2H: EL2 streams behave as EL2-E2H.
    pub e2h: bool,
    /// RECINVSID: C_BAD_STREAMID is recorded.
    pub recinvsid: bool,
    /// PTM: broadcast TLB maintenance is ignored.
    pub ptm: bool,
    #[bits(29)]
    __: u32,
}

/// SMMU_GBPA: what happens to streams while SMMUEN is 0 (6.3.14).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Gbpa {
    /// Attributes of accesses that pass.
    #[bits(20)]
    pub attributes: u32,
    /// ABORT: every access aborts.
    pub abort: bool,
    #[bits(10)]
    __: u16,
    /// Update: written 1 with a new value, reads 0 when it is in effect.
    pub update: bool,
}

/// SMMU_IRQ_CTRL and SMMU_IRQ_CTRLACK (6.3.16, 6.3.17).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IrqCtrl {
    /// GERROR_IRQEN.
    pub gerror: bool,
    /// PRIQ_IRQEN.
    pub priq: bool,
    /// EVENTQ_IRQEN.
    pub eventq: bool,
    #[bits(29)]
    __: u32,
}

/// SMMU_GERROR and SMMU_GERRORN: a bit that differs between the two is an active error (6.3.18, 6.3.19).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct GlobalErrors {
    /// CMDQ_ERR: the command queue stopped at a command; CMDQ_CONS.ERR says why.
    pub cmdq: bool,
    __: bool,
    /// EVENTQ_ABT_ERR: writing an event aborted; events are lost.
    pub eventq_abt: bool,
    /// PRIQ_ABT_ERR: writing a page request aborted.
    pub priq_abt: bool,
    /// MSI_CMDQ_ABT_ERR, MSI_EVENTQ_ABT_ERR, MSI_PRIQ_ABT_ERR, MSI_GERROR_ABT_ERR, from bit 0.
    #[bits(4)]
    pub msi_abt: u8,
    /// SFM_ERR: the unit has gone into service failure mode.
    pub sfm: bool,
    #[bits(23)]
    pub others: u32,
}

/// SMMU_STRTAB_BASE (6.3.23), SMMU_CMDQ_BASE (6.3.25) and SMMU_EVENTQ_BASE (6.3.28).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Base {
    /// LOG2SIZE of a queue; 0 in STRTAB_BASE.
    #[bits(5)]
    pub log2size: u8,
    /// ADDR: address bits 55:5.
    #[bits(51)]
    pub addr_5: u64,
    #[bits(6)]
    __: u8,
    /// RA (read-allocate) or, for the event queue, WA (write-allocate).
    pub allocate: bool,
    __: bool,
}

/// SMMU_STRTAB_BASE_CFG (6.3.24).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct StrtabBaseCfg {
    /// LOG2SIZE: base-2 logarithm of the number of streams.
    #[bits(6)]
    pub log2size: u8,
    /// SPLIT: bits of a StreamID that the second level resolves: 6, 8 or 10.
    #[bits(5)]
    pub split: u8,
    #[bits(5)]
    __: u8,
    /// FMT: 0 linear, 1 two-level.
    #[bits(2)]
    pub fmt: u8,
    #[bits(14)]
    __: u32,
}

/// SMMU_CMDQ_CONS (6.3.27).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CmdqCons {
    /// RD: index and, one bit above it, wrap.
    #[bits(20)]
    pub rd: u32,
    #[bits(4)]
    __: u8,
    /// ERR: why the queue stopped, while GERROR.CMDQ_ERR is active; see [`super::commands::CommandError`].
    #[bits(7)]
    pub err: u8,
    __: bool,
}

/// SMMU_EVENTQ_PROD and SMMU_EVENTQ_CONS (6.3.29, 6.3.30).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct EventqIndex {
    /// WR or RD: index and, one bit above it, wrap.
    #[bits(20)]
    pub index: u32,
    #[bits(11)]
    __: u16,
    /// OVFLG or OVACKFLG: an overflow is active while the two differ.
    pub overflow: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        assert_eq!(Idr0::ST_LEVEL_OFFSET, 27);
        assert_eq!(Idr0::STALL_MODEL_OFFSET, 24);
        assert_eq!(Idr0::TTENDIAN_OFFSET, 21);
        assert_eq!(Idr0::VMID16_OFFSET, 18);
        assert_eq!(Idr1::CMDQS_OFFSET, 21);
        assert_eq!(Idr1::TABLES_PRESET_OFFSET, 30);
        assert_eq!(Idr3::RIL_OFFSET, 10);
        assert_eq!(Idr5::VAX_OFFSET, 10);
        assert_eq!(Idr5::STALL_MAX_OFFSET, 16);
        assert_eq!(u32::from(Cr0::new().with_atschk(true).with_vmw(7)), 0x1d0);
        assert_eq!(Cr1::TABLE_SH_OFFSET, 10);
        assert_eq!(u32::from(Gbpa::new().with_abort(true).with_update(true)), 0x8010_0000);
        assert_eq!(u32::from(GlobalErrors::new().with_sfm(true).with_msi_abt(1)), 0x110);
        assert_eq!(
            u64::from(Base::new().with_addr_5(0x1000 >> 5).with_allocate(true)),
            0x4000_0000_0000_1000
        );
        assert_eq!(StrtabBaseCfg::FMT_OFFSET, 16);
        assert_eq!(CmdqCons::ERR_OFFSET, 24);
        assert_eq!(EventqIndex::OVERFLOW_OFFSET, 31);
    }

    #[test]
    fn qemus_registers_decode() {
        let idr0 = Idr0::from(0x0d44_101b);
        assert!(idr0.s1p() && idr0.s2p() && idr0.cohacc() && idr0.asid16() && idr0.vmid16());
        assert!(!idr0.ats() && !idr0.pri() && !idr0.msi() && !idr0.hyp());
        assert_eq!((idr0.ttf(), idr0.ttendian(), idr0.stall_model(), idr0.st_level()), (2, 2, 1, 1));
        let idr1 = Idr1::from(0x0273_0010);
        assert_eq!((idr1.sidsize(), idr1.cmdqs(), idr1.eventqs(), idr1.ssidsize()), (16, 19, 19, 0));
        let idr3 = Idr3::from(0x1414);
        assert!(idr3.ril() && idr3.had() && idr3.xnx());
        assert_eq!(idr3.bbml(), 2);
        let idr5 = Idr5::from(0x74);
        assert_eq!(oas_bits(idr5.oas()), Some(44));
        assert!(idr5.gran4k() && idr5.gran16k() && idr5.gran64k());
    }
}
