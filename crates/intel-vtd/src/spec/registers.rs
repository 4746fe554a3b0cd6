//! Registers (11.4).

use bitfield_struct::bitfield;

/// Bytes of the register page. Fault records may lie beyond it on some units (11.4, CAP.FRO).
pub const REGISTER_BYTES: u32 = 4096;

/// End of the registers that every unit has in the same place, IRTA_REG the last of them; CAP.FRO and ECAP.IRO lead beyond.
pub const FIXED_REGISTERS_END: u32 = 0xc0;

/// Byte offsets from the unit's base (11.4, table of the register map).
pub mod offset {
    /// VER_REG, 32 bits.
    pub const VER: u32 = 0x00;
    /// CAP_REG, 64 bits.
    pub const CAP: u32 = 0x08;
    /// ECAP_REG, 64 bits.
    pub const ECAP: u32 = 0x10;
    /// GCMD_REG, 32 bits, write-only.
    pub const GCMD: u32 = 0x18;
    /// GSTS_REG, 32 bits, read-only.
    pub const GSTS: u32 = 0x1c;
    /// RTADDR_REG, 64 bits.
    pub const RTADDR: u32 = 0x20;
    /// CCMD_REG, 64 bits.
    pub const CCMD: u32 = 0x28;
    /// FSTS_REG, 32 bits.
    pub const FSTS: u32 = 0x34;
    /// FECTL_REG, 32 bits.
    pub const FECTL: u32 = 0x38;
    /// FEDATA_REG, 32 bits: the data of the message that tells of faults.
    pub const FEDATA: u32 = 0x3c;
    /// FEADDR_REG, 32 bits: the lower half of its address.
    pub const FEADDR: u32 = 0x40;
    /// FEUADDR_REG, 32 bits: the upper half; reserved without extended interrupt mode.
    pub const FEUADDR: u32 = 0x44;
    /// PMEN_REG, 32 bits.
    pub const PMEN: u32 = 0x64;
    /// IQH_REG, 64 bits, read-only.
    pub const IQH: u32 = 0x80;
    /// IQT_REG, 64 bits.
    pub const IQT: u32 = 0x88;
    /// IQA_REG, 64 bits.
    pub const IQA: u32 = 0x90;
    /// IECTL_REG, 32 bits.
    pub const IECTL: u32 = 0xa0;
    /// IQERCD_REG, 64 bits; there with scalable mode.
    pub const IQERCD: u32 = 0xb0;
}

/// CAP_REG (11.4).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cap {
    /// ND: a domain id has `4 + 2 * nd` bits.
    #[bits(3)]
    pub nd: u8,
    /// AFL: advanced fault log.
    pub afl: bool,
    /// RWBF: buffers of the chipset hold back stores to tables until they are flushed.
    pub rwbf: bool,
    /// PLMR: a protected low-memory region.
    pub plmr: bool,
    /// PHMR: a protected high-memory region.
    pub phmr: bool,
    /// CM: caching mode, absent entries are cached too.
    pub cm: bool,
    /// SAGAW: bit 1 three levels (39-bit addresses), bit 2 four levels (48-bit).
    #[bits(5)]
    pub sagaw: u8,
    #[bits(3)]
    __: u8,
    /// MGAW: bits of an input address, less one.
    #[bits(6)]
    pub mgaw: u8,
    /// ZLR: reads of no bytes may go to write-only pages.
    pub zlr: bool,
    __: bool,
    /// FRO: offset of the fault records, in 16 bytes.
    #[bits(10)]
    pub fro: u16,
    /// SSLPS: bit 0 pages of 2 MiB, bit 1 of 1 GiB, in the second stage.
    #[bits(4)]
    pub sslps: u8,
    __: bool,
    /// PSI: invalidation of the IOTLB by page.
    pub psi: bool,
    /// NFR: the number of fault records, less one.
    pub nfr: u8,
    /// MAMV: the largest address mask of an invalidation by page.
    #[bits(6)]
    pub mamv: u8,
    /// DWD: an invalidation can drain writes.
    pub dwd: bool,
    /// DRD: an invalidation can drain reads.
    pub drd: bool,
    /// FS1GP: first-stage pages of 1 GiB.
    pub fs1gp: bool,
    #[bits(2)]
    __: u8,
    /// PI: posted interrupts.
    pub pi: bool,
    /// FS5LP: first stage of five levels.
    pub fs5lp: bool,
    /// ECMDS: enhanced commands.
    pub ecmds: bool,
    /// ESIRTPS.
    pub esirtps: bool,
    /// ESRTPS: setting the root table pointer invalidates all caches.
    pub esrtps: bool,
}

/// ECAP_REG (11.4).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Ecap {
    /// C: accesses to tables snoop the caches. Those to the invalidation queue always do.
    pub c: bool,
    /// QI: queued invalidation.
    pub qi: bool,
    /// DT: device TLBs.
    pub dt: bool,
    /// IR: interrupt remapping.
    pub ir: bool,
    /// EIM: interrupt remapping with 32-bit APIC ids.
    pub eim: bool,
    #[bits(1)]
    __: u8,
    /// PT: pass-through.
    pub pt: bool,
    /// SC: snoop control.
    pub sc: bool,
    /// IRO: offset of the IOTLB registers, in 16 bytes.
    #[bits(10)]
    pub iro: u16,
    #[bits(2)]
    __: u8,
    /// MHMV.
    #[bits(4)]
    pub mhmv: u8,
    #[bits(2)]
    __: u8,
    /// NEST: nested translation.
    pub nest: bool,
    #[bits(2)]
    __: u8,
    /// PRS: page requests.
    pub prs: bool,
    /// ERS.
    pub ers: bool,
    /// SRS.
    pub srs: bool,
    __: bool,
    /// NWFS.
    pub nwfs: bool,
    /// EAFS.
    pub eafs: bool,
    /// PSS: bits of a PASID, less one.
    #[bits(5)]
    pub pss: u8,
    /// PASID: requests with PASID.
    pub pasid: bool,
    /// DIT.
    pub dit: bool,
    /// PDS.
    pub pds: bool,
    /// SMTS: scalable mode.
    pub smts: bool,
    /// VCS.
    pub vcs: bool,
    /// SSADS: accessed and dirty bits in the second stage.
    pub ssads: bool,
    /// SSTS: the second stage in scalable mode.
    pub ssts: bool,
    /// FSTS: the first stage in scalable mode.
    pub fsts: bool,
    /// SMPWCS: walks of the second stage in scalable mode can snoop.
    pub smpwcs: bool,
    /// RPS: the context entry's RID_PASID is looked at; else it is 0.
    pub rps: bool,
    #[bits(2)]
    __: u8,
    /// ADMS: abort-DMA mode.
    pub adms: bool,
    /// RPRIVS.
    pub rprivs: bool,
    #[bits(10)]
    __: u16,
}

/// GCMD_REG and, bit by bit, GSTS_REG (11.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Gcmd {
    #[bits(23)]
    __: u32,
    /// CFI: interrupts in compatibility format pass.
    pub cfi: bool,
    /// SIRTP: takes over IRTA_REG; done once.
    pub sirtp: bool,
    /// IRE: interrupt remapping on.
    pub ire: bool,
    /// QIE: queued invalidation on.
    pub qie: bool,
    /// WBF: flushes the write buffers; done once. In GSTS: a flush is under way.
    pub wbf: bool,
    /// EAFL: advanced fault log on.
    pub eafl: bool,
    /// SFL: takes over AFLOG_REG; done once.
    pub sfl: bool,
    /// SRTP: takes over RTADDR_REG; done once.
    pub srtp: bool,
    /// TE: translation on.
    pub te: bool,
}

/// TTM: what the root table is (11.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMode(pub u8);

impl TableMode {
    /// Legacy mode.
    pub const LEGACY: Self = Self(0b00);
    /// Scalable mode.
    pub const SCALABLE: Self = Self(0b01);
    /// Every request aborts.
    pub const ABORT_DMA: Self = Self(0b11);

    const fn into_bits(self) -> u8 {
        self.0
    }

    const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// RTADDR_REG (11.4).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct RootAddress {
    #[bits(10)]
    __: u16,
    /// TTM.
    #[bits(2)]
    pub mode: TableMode,
    /// RTA: address bits 63:12.
    #[bits(52)]
    pub address_12: u64,
}

/// CCMD_REG (11.4): invalidation of the context cache through registers.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct ContextCommand {
    #[bits(61)]
    __: u64,
    /// CIRG: 1 for everything.
    #[bits(2)]
    pub granularity: u8,
    /// ICC: begins; reads 0 when done.
    pub invalidate: bool,
}

/// IOTLB_REG (11.4), 8 bytes behind ECAP.IRO: invalidation of the IOTLB through registers.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct IotlbCommand {
    #[bits(48)]
    __: u64,
    /// DW: drain writes.
    pub drain_writes: bool,
    /// DR: drain reads.
    pub drain_reads: bool,
    #[bits(10)]
    __: u16,
    /// IIRG: 1 for everything.
    #[bits(2)]
    pub granularity: u8,
    __: bool,
    /// IVT: begins; reads 0 when done.
    pub invalidate: bool,
}

/// FSTS_REG (11.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct FaultStatus {
    /// PFO: a fault found no free record. Written 1: cleared.
    pub pfo: bool,
    /// PPF: some record holds a fault.
    pub ppf: bool,
    /// AFO. Written 1: cleared.
    pub afo: bool,
    /// APF. Written 1: cleared.
    pub apf: bool,
    /// IQE: the invalidation queue has stopped at a descriptor. Written 1: cleared.
    pub iqe: bool,
    /// ICE: a device TLB's answer was wrong. Written 1: cleared.
    pub ice: bool,
    /// ITE: a device TLB did not answer; waits under way were dropped. Written 1: cleared.
    pub ite: bool,
    __: bool,
    /// FRI: the record of the first fault, when PPF was set.
    pub fri: u8,
    #[bits(16)]
    __: u16,
}

/// FECTL_REG and IECTL_REG (11.4), which are alike.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct EventControl {
    #[bits(30)]
    __: u32,
    /// IP: an interrupt is held back.
    pub pending: bool,
    /// IM: interrupts are held back.
    pub mask: bool,
}

/// PMEN_REG (11.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ProtectedMemory {
    /// PRS: protection is on.
    pub status: bool,
    #[bits(30)]
    __: u32,
    /// EPM: turns it on.
    pub enable: bool,
}

/// IQA_REG (11.4).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct QueueAddress {
    /// QS: the queue has `2^qs` pages.
    #[bits(3)]
    pub pages_log2: u8,
    #[bits(8)]
    __: u8,
    /// DW: descriptors of 256 bits, which scalable mode needs.
    pub wide: bool,
    /// IQA: address bits 63:12.
    #[bits(52)]
    pub address_12: u64,
}

/// IQERCD_REG (11.4).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct QueueError {
    /// IQEI: why the queue stopped.
    #[bits(4)]
    pub reason: u8,
    #[bits(28)]
    __: u32,
    /// ITESID: the device that did not answer.
    pub silent: u16,
    /// ICESID: the device that answered wrongly.
    pub wrong: u16,
}

const _: () = assert!(size_of::<Cap>() == 8 && size_of::<Ecap>() == 8);
const _: () = assert!(size_of::<Gcmd>() == 4 && size_of::<FaultStatus>() == 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        assert_eq!((Cap::RWBF_OFFSET, Cap::CM_OFFSET, Cap::SAGAW_OFFSET, Cap::MGAW_OFFSET), (4, 7, 8, 16));
        assert_eq!((Cap::ZLR_OFFSET, Cap::FRO_OFFSET, Cap::SSLPS_OFFSET, Cap::PSI_OFFSET), (22, 24, 34, 39));
        assert_eq!((Cap::NFR_OFFSET, Cap::MAMV_OFFSET, Cap::DWD_OFFSET, Cap::DRD_OFFSET), (40, 48, 54, 55));
        assert_eq!((Cap::PI_OFFSET, Cap::ESRTPS_OFFSET), (59, 63));
        assert_eq!((Ecap::PT_OFFSET, Ecap::SC_OFFSET, Ecap::IRO_OFFSET, Ecap::MHMV_OFFSET), (6, 7, 8, 20));
        assert_eq!((Ecap::NEST_OFFSET, Ecap::PRS_OFFSET, Ecap::PSS_OFFSET), (26, 29, 35));
        assert_eq!((Ecap::PASID_OFFSET, Ecap::SMTS_OFFSET, Ecap::SSTS_OFFSET), (40, 43, 46));
        assert_eq!((Ecap::FSTS_OFFSET, Ecap::SMPWCS_OFFSET, Ecap::RPS_OFFSET), (47, 48, 49));
        assert_eq!((Ecap::ADMS_OFFSET, Ecap::RPRIVS_OFFSET), (52, 53));
        let bits = [
            Gcmd::CFI_OFFSET,
            Gcmd::SIRTP_OFFSET,
            Gcmd::IRE_OFFSET,
            Gcmd::QIE_OFFSET,
            Gcmd::WBF_OFFSET,
            Gcmd::EAFL_OFFSET,
            Gcmd::SFL_OFFSET,
            Gcmd::SRTP_OFFSET,
            Gcmd::TE_OFFSET,
        ];
        assert!(bits.into_iter().eq(23..32));
        assert_eq!((RootAddress::MODE_OFFSET, RootAddress::ADDRESS_12_OFFSET), (10, 12));
        assert_eq!((ContextCommand::GRANULARITY_OFFSET, ContextCommand::INVALIDATE_OFFSET), (61, 63));
        assert_eq!((IotlbCommand::DRAIN_WRITES_OFFSET, IotlbCommand::GRANULARITY_OFFSET), (48, 60));
        assert_eq!(IotlbCommand::INVALIDATE_OFFSET, 63);
        assert_eq!((FaultStatus::IQE_OFFSET, FaultStatus::ITE_OFFSET, FaultStatus::FRI_OFFSET), (4, 6, 8));
        assert_eq!((EventControl::PENDING_OFFSET, EventControl::MASK_OFFSET), (30, 31));
        assert_eq!((QueueAddress::WIDE_OFFSET, QueueAddress::ADDRESS_12_OFFSET), (11, 12));
        assert_eq!((QueueError::SILENT_OFFSET, QueueError::WRONG_OFFSET), (32, 48));
    }
}
